//! The consumers of `examples/`, in two languages, as somebody would write them who has only read `docs/EVENTS.md`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use taskplane_bus::outside;
use uuid::Uuid;

use crate::world::World;

/// A program of the virtual environment that `make setup` makes.
#[expect(clippy::disallowed_methods, reason = "a test has no command line to take the directory from")]
fn python() -> PathBuf {
    let cache = std::env::var_os("TASKPLANE_CACHE").filter(|cache| !cache.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cache/taskplane"));
    let path = cache.join("venv/bin/python");
    assert!(path.exists(), "{} is not there: run `make setup`", path.display());
    path
}

fn in_python(world: &World) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/consumers/consumer.py");
    let mut command = Command::new(python());
    command.arg(script).args(["--url", &world.nats.url(), "--until-idle", "3"]);
    command
}

fn in_rust(world: &World) -> Command {
    let built = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("consumer");
    assert!(built.exists(), "{} is not there: cargo build -p taskplane-bus --examples", built.display());
    let mut command = Command::new(built);
    command.args([world.nats.url().as_str(), "TASKPLANE_EVENTS", "taskplane.v1.>", "3"]);
    command
}

/// What a consumer printed: for each thing its facts, in order.
fn facts(mut consumer: Command) -> HashMap<Uuid, Vec<(u64, String)>> {
    let output = consumer.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{consumer:?}: {said}");
    let mut facts: HashMap<Uuid, Vec<(u64, String)>> = HashMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| event[field].as_str().unwrap();
        let entry = (text("sequence").parse().unwrap(), text("fact").to_owned());
        facts.entry(text("uid").parse().unwrap()).or_default().push(entry);
    }
    facts
}

async fn both_read_what_the_database_tells(world: &World) {
    world.read_whole().await;
    let told = world.told().await.into_iter();
    let fact = |event: &taskplane_domain::event::Event| (event.sequence, event.fact.as_str().to_owned());
    let told: HashMap<_, _> = told.map(|(uid, events)| (uid, events.iter().map(fact).collect::<Vec<_>>())).collect();
    for consumer in [in_python(world), in_rust(world)] {
        let read = tokio::task::spawn_blocking(move || facts(consumer)).await.unwrap();
        assert_eq!(read, told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_in_two_languages_read_gapless_histories_also_of_a_stream_that_was_lost() {
    let world = Arc::new(World::new(2).await);
    world.live_through_many(10).await;
    both_read_what_the_database_tells(&world).await;
    let beside = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.live_through_many(15).await }
    });
    world.until(async || outside::delete_stream(&world.options).await.unwrap()).await;
    beside.await.unwrap();
    both_read_what_the_database_tells(&world).await;
    Arc::into_inner(world).unwrap().end().await;
}
