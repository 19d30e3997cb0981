//! How replicas come up: on an empty database, before their schema, without a database.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use taskplane_testkit::postgres::Postgres;
use taskplane_testkit::proxy::Proxy;
use tokio::task::JoinSet;

use crate::kit::System;
use crate::server::{Process, binary, until};

#[tokio::test]
async fn of_five_replicas_that_start_at_once_on_an_empty_database_one_migrates_and_none_crashes() {
    let mut system = System::prepare().await;
    let names = ["api-1", "api-2", "api-3", "api-4", "api-5"];
    for name in names {
        let args = system.args(name);
        system.processes.push(Process::start(system.dir.path(), name, args));
    }
    for name in names {
        let process = system.process(name);
        until(|| {
            assert!(process.runs(), "{} ended: {}", process.name, process.log());
            process.log().contains("the api is ready").then_some(())
        })
        .await;
    }
    for name in names {
        system.client(name).space(name).await;
    }
}

#[tokio::test]
async fn who_does_not_migrate_waits_for_who_does() {
    let mut system = System::prepare().await;
    for name in ["scheduler-1", "reaper-1"] {
        let args = system.args(name);
        system.processes.push(Process::start(system.dir.path(), name, args));
    }
    for name in ["scheduler-1", "reaper-1"] {
        let process = system.process(name);
        until(|| process.log().contains("waiting for the schema").then_some(())).await;
        assert!(process.runs() && !process.log().contains("is ready"));
    }
    let migrations: JoinSet<_> = (0..5)
        .map(|_| {
            let mut migrate = Command::new(binary("taskplane-api"));
            migrate.args(["migrate", "--database-url", &system.database]).stderr(Stdio::piped());
            tokio::task::spawn_blocking(move || migrate.output().unwrap())
        })
        .fold(JoinSet::new(), |mut all, migration| {
            all.spawn(migration);
            all
        });
    for migrated in migrations.join_all().await {
        let migrated = migrated.unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    for name in ["scheduler-1", "reaper-1"] {
        let process = system.process(name);
        until(|| process.log().contains("is ready").then_some(())).await;
    }
}

#[tokio::test]
async fn a_process_that_waits_can_be_asked_to_stop() {
    let mut system = System::prepare().await;
    let args = system.args("scheduler-1");
    system.processes.push(Process::start(system.dir.path(), "scheduler-1", args));
    let waiting = system.process("scheduler-1");
    until(|| waiting.log().contains("waiting for the schema").then_some(())).await;
    waiting.signal(Signal::SIGTERM);
    waiting.ended().await;
}

#[tokio::test]
async fn a_database_that_goes_away_at_the_start_is_waited_for() {
    let system = System::start(&["api-1"]).await;
    let line = Proxy::start(Postgres::address_of(&system.database)).await.unwrap();
    let directory = system.dir.path().display().to_string();
    for name in ["scheduler-1", "reaper-1", "api-2"] {
        // It stands in the midst of its first transaction while its connections break.
        let env = vec![
            ("TASKPLANE_FAILPOINTS", "store::secrets_check::before_commit!hold".to_owned()),
            ("TASKPLANE_HOLD_DIR", directory.clone()),
        ];
        let mut args = system.args(name);
        let url = args.iter_mut().find(|arg| **arg == system.database).unwrap();
        *url = Postgres::by_way_of(&system.database, line.address());
        let mut process = Process::start_with(system.dir.path(), name, args, env);
        let held = system.path("held");
        until(|| held.exists().then_some(())).await;
        line.reset_all();
        std::fs::remove_file(held).unwrap();
        until(|| {
            assert!(process.runs(), "{name} ended: {}", process.log());
            let log = process.log();
            (log.contains("the database went away at the start") && log.contains("is ready")).then_some(())
        })
        .await;
    }
}
