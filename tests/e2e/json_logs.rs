//! What a server writes with `--log-format json`: one object a line, with fields of the list in `docs/LOGGING.md` alone.

use std::collections::BTreeSet;

use taskplane_proto::v1 as pb;

use crate::client::{env, task};
use crate::jobs::{create, job};
use crate::server::{Options, Server};

const CANARY: &str = "zzcanary";

fn listed() -> BTreeSet<&'static str> {
    let document = include_str!("../../docs/LOGGING.md");
    let (_, chapter) = document.split_once("## Fields\n").unwrap();
    let table = chapter.split("\n## ").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells
        .filter(|cell| cell.starts_with('`'))
        .flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`')))
        .collect()
}

#[tokio::test]
async fn every_line_is_an_object_with_fields_of_the_list() {
    let args = ["--log-format", "json", "--log", "debug"].map(str::to_owned).to_vec();
    let mut server = Server::start_with(Options { args: args.clone(), ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    create(&client, job("true"), Some("* * * * *")).await;
    let spec = pb::RunTaskRequest { ..task(&format!("echo {CANARY}; exit 3")) };
    let spec = pb::RunTaskRequest { env: env(&[("SECRET", CANARY)]), ..spec };
    let failed = client.run_task(spec).await.unwrap();
    client.over(&failed.name).await;
    let cancelled = client.run(&format!("sleep 600 # {CANARY}")).await;
    client.running(&cancelled.name).await;
    client.cancel(&cancelled.name).await;
    client.over(&cancelled.name).await;
    assert!(client.run_task(pb::RunTaskRequest { parent: "spaces/s/apps/none".into(), ..task(CANARY) }).await.is_err());
    let lost = client.run("sleep 600").await;
    client.running(&lost.name).await;
    server.kill();
    let mut server = server.restarted(Options { args, ..Options::default() }).await;
    server.client().over(&lost.name).await;
    assert!(server.stop().await);

    let (log, listed) = (server.log(), listed());
    let mut targets = BTreeSet::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let fields = line.as_object().unwrap();
        for needed in ["timestamp", "level", "target", "message"] {
            assert!(fields[needed].is_string(), "no {needed}: {line}");
        }
        let odd: Vec<_> = fields.keys().filter(|name| !listed.contains(name.as_str())).collect();
        assert!(odd.is_empty(), "{odd:?} are not on the list: {line}");
        targets.insert(fields["target"].as_str().unwrap().split("::").next().unwrap().to_owned());
    }
    assert!(!log.contains(CANARY), "a secret, a command or output is in the log");
    for talks in ["taskplane_api", "taskplane_standalone"] {
        assert!(targets.contains(talks), "{targets:?}");
    }
}
