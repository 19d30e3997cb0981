//! Secrets in the database: sealed, each in its own row, under keys that are known.

use prost::Message as _;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use taskplane_domain::app::App;
use taskplane_domain::job::{ConcurrencyPolicy, Job, Plan, TaskTemplate};
use taskplane_domain::name::{JobName, ServiceName};
use taskplane_domain::service::{ServiceInstance, ServiceSpec};
use taskplane_domain::space::SpaceSettings;
use taskplane_domain::uid::{AppUid, JobUid, ScheduleUid, ServiceUid, TaskUid};
use taskplane_proto::internal::v1 as pb;
use taskplane_store::{Corrupt, Keyring, StoreError};

use crate::job_kit::{drain, tasks_of};
use crate::kit::{Kit, asked, env, name, touch};

crate::on_both_engines![
    no_value_lies_open_and_every_value_comes_back,
    a_secret_moved_to_another_row_does_not_open,
    what_an_earlier_release_wrote_open_is_still_read,
    a_database_whose_key_is_missing_is_refused_at_the_start,
    a_rotated_key_opens_what_the_one_before_sealed,
];

const CANARY: &str = "canary-7f3a";

/// Whether any cell of these columns holds the text.
async fn lies_open(kit: &Kit, text: &str) -> Vec<&'static str> {
    let columns = [
        ("space_envs.env", "space_envs", "env"),
        ("app_revisions.spec", "app_revisions", "spec"),
        ("tasks.spec", "tasks", "spec"),
        ("jobs.template", "jobs", "template"),
        ("events.data", "events", "data"),
        ("service_revisions.spec", "service_revisions", "spec"),
    ];
    let db = Database::connect(kit.url.replace("sqlite:", "sqlite://")).await.unwrap();
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    for (label, table, column) in columns {
        let text = match db.get_database_backend() {
            DbBackend::Postgres => {
                format!("SELECT 1 FROM {table} WHERE position('{digits}' in encode({column}, 'hex')) > 0")
            }
            _ => format!("SELECT 1 FROM {table} WHERE instr(lower(hex({column})), '{digits}') > 0"),
        };
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), text)).await.unwrap();
        found.extend((!rows.is_empty()).then_some(label));
    }
    db.close().await.unwrap();
    found
}

async fn a_job(kit: &Kit, app: &App) -> Job {
    let named = (JobUid(kit.uid()), JobName { space: app.name.space.clone(), job: name("j") });
    let template = TaskTemplate { env: env(&[("J", CANARY)]), ..TaskTemplate::default() };
    let change = Job::create(named, app, template, ConcurrencyPolicy::Always, kit.now());
    let plan = Plan::parse("", "@hourly", "", Default::default(), None).unwrap();
    kit.store.job_create(change.scheduled(ScheduleUid(kit.uid()), name("h"), plan, false)).await.unwrap()
}

async fn no_value_lies_open_and_every_value_comes_back(kit: Kit) {
    let space = kit.a_space("s").await;
    let settings = SpaceSettings { env: env(&[("S", CANARY)]), ..space.settings.clone() };
    let change = space.update(settings, kit.now()).unwrap();
    kit.store.space_update(&change).await.unwrap();
    let space = change.space;
    let credentials = format!(r#"{{"password": "{CANARY}"}}"#);
    let spec = ServiceSpec::parse("".into(), "".into(), vec![], credentials, "".into()).unwrap();
    let named = ServiceName { space: space.name.0.clone(), service: name("db") };
    let service = ServiceInstance::create(ServiceUid(kit.uid()), space.uid, named, spec, kit.now());
    kit.store.service_create(&service).await.unwrap();
    let push = touch(kit.a_push(&space, "a"), CANARY);
    let app = App::create(AppUid(kit.uid()), space.uid, push, kit.now()).unwrap();
    kit.store.app_create(&app).await.unwrap();
    let app = app.app;
    let job = a_job(&kit, &app).await;
    let mut request = asked(&app);
    request.overrides.env = env(&[("T", CANARY)]);
    let birth = kit.a_birth_as(TaskUid(kit.uid()), &space, &app, request);
    let task = kit.store.task_accept(birth, None).await.unwrap().task;
    kit.advance(3600);
    drain(&kit.store, 10).await;

    assert!(lies_open(&kit, CANARY).await.is_empty(), "{:?}", lies_open(&kit, CANARY).await);
    // That it would be found is seen in what is no secret.
    assert_eq!(lies_open(&kit, "registry.example").await, ["app_revisions.spec"]);

    assert_eq!(kit.store.space_get(&space.name).await.unwrap().settings.env, env(&[("S", CANARY)]));
    assert_eq!(kit.store.service_get(&service.service.name).await.unwrap(), service.service);
    assert_eq!(kit.store.app_get(&app.name).await.unwrap().spec.env, env(&[("A", CANARY)]));
    assert_eq!(kit.store.job_get(&job.name).await.unwrap().job.template.env, env(&[("J", CANARY)]));
    let read = kit.store.task_get(&task.name).await.unwrap();
    assert_eq!((read.spec.env.names(), &read), (vec!["T"], &task));
    assert_eq!(kit.store.task_env(&read).unwrap(), env(&[("T", CANARY)]));
    let ticked = tasks_of(&kit, Some(&job.name)).await.remove(0);
    assert_eq!(kit.store.task_env(&ticked).unwrap(), env(&[("J", CANARY)]));
}

async fn a_secret_moved_to_another_row_does_not_open(kit: Kit) {
    let (space, app, victim) = kit.the_usual().await;
    let other = kit.an_app(&space, "b").await;
    let thief = kit.a_task(&space, &other).await;
    let row = format!("(SELECT spec FROM tasks WHERE uid = {})", literal(&kit, victim.uid.0));
    kit.execute(&format!("UPDATE tasks SET spec = {row} WHERE uid = {}", literal(&kit, thief.uid.0))).await;
    let thief = kit.store.task_get(&thief.name).await.unwrap();
    assert_eq!(corrupt(kit.store.task_env(&thief).unwrap_err()), ("tasks", "spec"));
    let row = format!("(SELECT spec FROM app_revisions WHERE app_uid = {})", literal(&kit, app.uid.0));
    kit.execute(&format!("UPDATE app_revisions SET spec = {row} WHERE app_uid = {}", literal(&kit, other.uid.0))).await;
    assert_eq!(corrupt(kit.store.app_get(&other.name).await.unwrap_err()), ("app_revisions", "spec"));
}

async fn what_an_earlier_release_wrote_open_is_still_read(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let open = |name: &str| pb::EnvSet::from(&env(&[(name, "old")]));
    let spec = pb::AppSpec { env: Some(open("A")), ..(&app.spec).into() };
    let task_spec = pb::TaskSpec { env: Some(open("T")), ..(&task.spec).into() };
    for (table, column, bytes) in [
        ("space_envs", "env", open("S").encode_to_vec()),
        ("app_revisions", "spec", spec.encode_to_vec()),
        ("tasks", "spec", task_spec.encode_to_vec()),
    ] {
        kit.execute(&format!("UPDATE {table} SET {column} = {}", blob(&kit, &bytes))).await;
    }
    assert_eq!(kit.store.space_get(&space.name).await.unwrap().settings.env, env(&[("S", "old")]));
    assert_eq!(kit.store.app_get(&app.name).await.unwrap().spec.env, env(&[("A", "old")]));
    let task = kit.store.task_get(&task.name).await.unwrap();
    assert_eq!(kit.store.task_env(&task).unwrap(), env(&[("T", "old")]));
}

async fn a_database_whose_key_is_missing_is_refused_at_the_start(kit: Kit) {
    let (space, _, task) = kit.the_usual().await;
    kit.store.secrets_check().await.unwrap();
    let kit = kit.restarted_with(Keyring::new(&[[8; 32]])).await;
    let refused = kit.store.secrets_check().await.unwrap_err();
    assert!(matches!(refused, StoreError::KeyMissing(_)) && refused.to_string().contains("--secret-key-file"));
    // Whoever goes on regardless hears it of each row, and not that the row is broken.
    let locked = kit.store.space_get(&space.name).await.unwrap_err();
    assert!(locked.to_string().contains("--secret-key-file"), "{locked}");
    let task = kit.store.task_get(&task.name).await.unwrap();
    assert!(kit.store.task_env(&task).unwrap_err().to_string().contains("--secret-key-file"));
}

async fn a_rotated_key_opens_what_the_one_before_sealed(kit: Kit) {
    let (space, _, _) = kit.the_usual().await;
    kit.store.secrets_check().await.unwrap();
    let kit = kit.restarted_with(Keyring::new(&[[8; 32], [7; 32]])).await;
    kit.store.secrets_check().await.unwrap();
    kit.store.space_get(&space.name).await.unwrap();
    // From now on there are rows under either.
    let kit = kit.restarted_with(Keyring::new(&[[8; 32]])).await;
    assert!(matches!(kit.store.secrets_check().await, Err(StoreError::KeyMissing(_))));
    let kit = kit.restarted().await;
    assert!(matches!(kit.store.secrets_check().await, Err(StoreError::KeyMissing(_))));
}

fn corrupt(error: StoreError) -> (&'static str, &'static str) {
    match error {
        StoreError::Corrupt(Corrupt { table, column, .. }) => (table, column),
        error => panic!("{error}"),
    }
}

fn literal(kit: &Kit, uid: uuid::Uuid) -> String {
    if kit.url.starts_with("sqlite") { blob(kit, uid.as_bytes()) } else { format!("'{uid}'") }
}

fn blob(kit: &Kit, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if kit.url.starts_with("sqlite") { format!("x'{digits}'") } else { format!("'\\x{digits}'") }
}
