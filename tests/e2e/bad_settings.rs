//! What is said of a Space or an App and cannot be so: refused by field, and nothing of it is kept.

use prost_types::FieldMask;
use taskplane_proto::v1 as pb;

use crate::client::{archive_source, env, image_source, spec, violations};
use crate::unharmed::{CANARY, Unharmed, is_printable};

#[tokio::test]
async fn a_space_or_an_app_that_is_not_right_is_refused_by_field() {
    let target = Unharmed::start().await;
    let mut cases = Vec::new();
    for count in [-1, 100_001, i32::MAX, i32::MIN] {
        cases.push(("space.task_retention_count", pb::Space { task_retention_count: count, ..Default::default() }));
    }
    for bytes in [-1, 1, 4095, i64::MIN] {
        cases.push(("space.log_cap_bytes", pb::Space { log_cap_bytes: bytes, ..Default::default() }));
    }
    let quota = |live_tasks, running_tasks, waiting_tasks| pb::Space {
        quota: Some(pb::SpaceQuota { live_tasks, running_tasks, waiting_tasks }),
        ..Default::default()
    };
    cases.push(("space.quota.live_tasks", quota(-1, 0, 0)));
    cases.push(("space.quota.running_tasks", quota(0, 1_000_001, 0)));
    cases.push(("space.quota.waiting_tasks", quota(0, 0, i32::MIN)));
    cases.push(("space.minimum_finished_tasks", pb::Space { minimum_finished_tasks: Some(-1), ..Default::default() }));
    let time = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    for age in [time(-1, 0), time(0, 1), time(i64::MAX, 0)] {
        cases.push(("space.task_retention_age", pb::Space { task_retention_age: age, ..Default::default() }));
    }
    for timeout in [time(-1, 0), time(366 * 86_400, 0)] {
        cases.push(("space.default_task_timeout", pb::Space { default_task_timeout: timeout, ..Default::default() }));
    }
    let memory = |memory: &str| Some(pb::Resources { memory: memory.into(), ..Default::default() });
    cases.push(("space.max_resources.memory", pb::Space { max_resources: memory("1Ei"), ..Default::default() }));
    let crossed = pb::Space { min_resources: memory("2G"), max_resources: memory("1G"), ..Default::default() };
    cases.push(("space.env[A]", pb::Space { env: env(&[("A", "zzcanary\0")]), ..Default::default() }));
    cases.push(("space.env[VCAP_X]", pb::Space { env: env(&[("VCAP_X", "")]), ..Default::default() }));
    cases.push(("space.env[A]", pb::Space { env: env(&[("A", &"x".repeat(32 * 1024 + 1))]), ..Default::default() }));
    let half = "x".repeat(32 * 1024 - 1);
    let too_much = env(&[("A", &half), ("B", &half), ("C", "")]);
    cases.push(("space.env", pb::Space { env: too_much.clone(), ..Default::default() }));
    let mut spaces = target.client.spaces.clone();
    for (field, space) in cases {
        let request = pb::CreateSpaceRequest { space_id: "new".into(), space: Some(space.clone()) };
        assert_eq!(violations(spaces.create_space(request).await.expect_err(field)), [field]);
        let update_mask = Some(FieldMask { paths: vec!["env".into()] });
        let space = Some(pb::Space { name: "spaces/s".into(), ..space });
        let request = pb::UpdateSpaceRequest { space, update_mask };
        assert_eq!(violations(spaces.update_space(request).await.expect_err(field)), [field]);
    }
    // What lies between two fields is looked at when a Space is to be as they say.
    let request = pb::CreateSpaceRequest { space_id: "new".into(), space: Some(crossed.clone()) };
    assert_eq!(violations(spaces.create_space(request).await.unwrap_err()), ["space.min_resources.memory"]);
    let update_mask = Some(FieldMask { paths: vec!["min_resources".into(), "max_resources".into()] });
    let space = Some(pb::Space { name: "spaces/s".into(), ..crossed });
    let request = pb::UpdateSpaceRequest { space, update_mask };
    assert_eq!(violations(spaces.update_space(request).await.unwrap_err()), ["space.min_resources.memory"]);
    let named = || Some(pb::Space { name: "spaces/s".into(), ..Default::default() });
    for paths in [&[][..], &["name"], &["env", "uid"], &["*"], &[""], &["env_names.A"], &["zzcanary\u{1b}[2J"]] {
        let mask = FieldMask { paths: paths.iter().map(|path| (*path).into()).collect() };
        let request = pb::UpdateSpaceRequest { space: named(), update_mask: Some(mask) };
        assert_eq!(violations(spaces.update_space(request).await.unwrap_err()), ["update_mask"], "{paths:?}");
    }
    let request = pb::UpdateSpaceRequest { space: named(), update_mask: None };
    assert_eq!(violations(spaces.update_space(request).await.unwrap_err()), ["update_mask"]);

    let base = || spec("a", archive_source());
    let resources = pb::Resources { memory: "1e400".into(), ..Default::default() };
    let mut cases = vec![
        ("app.command", pb::PushAppSpec { command: Some(" ".into()), ..base() }),
        ("app.command", pb::PushAppSpec { command: Some("x".repeat(16 * 1024 + 1)), ..base() }),
        ("app.env[1]", pb::PushAppSpec { env: env(&[("1", CANARY)]), ..base() }),
        ("app.env", pb::PushAppSpec { env: too_much, ..base() }),
        ("app.resources.memory", pb::PushAppSpec { resources: Some(resources), ..base() }),
        ("app.source", pb::PushAppSpec { source: Some(pb::AppSource { kind: None }), ..base() }),
        ("app.source", pb::PushAppSpec { source: None, ..spec("new", archive_source()) }),
    ];
    for image in ["", " ", "a b", "-a", "a/", "a\u{1b}", "\u{430}", "$(id)", "a;b", &"x".repeat(513)] {
        cases.push(("app.source.image", spec("a", image_source(image))));
    }
    for (field, app) in cases {
        let shown = format!("{app:?}");
        let refused = target.client.push(app, Vec::new()).await.expect_err(&shown);
        assert!(is_printable(&refused), "{shown}: {:?}", refused.message());
        assert_eq!(violations(refused), [field], "{shown:.200}");
    }
    target.check().await;
}
