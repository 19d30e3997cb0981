//! A place to act in: a whole system that all scenarios of the place share, and a Space of one's own in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use taskplane_proto::v1::{self as pb, Reason, ReasonClass, TaskState};
use taskplane_testkit::nats::Nats;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};

use crate::client::{Client, archive, archive_source, env, is_final};
use crate::kit::{System, TWO_OF_EACH};

/// A cluster that is worked hard takes its time.
pub const PATIENCE: Duration = Duration::from_secs(240);
#[cfg(feature = "cluster")]
pub const IMAGE: &str = "docker.io/rig/app:1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Local,
    #[cfg(feature = "cluster")]
    Cluster,
}

pub struct Stage {
    pub place: Place,
    /// Its id.
    pub space: String,
    /// By one api.
    pub client: Client,
    /// By the other one.
    pub other: Client,
}

#[cfg(feature = "cluster")]
impl Drop for Stage {
    fn drop(&mut self) {
        if self.place == Place::Cluster {
            crate::admin::leave(&self.namespace());
        }
    }
}

/// How a Task ended.
#[derive(Debug, PartialEq)]
pub struct End {
    pub state: TaskState,
    pub reason: Reason,
    pub class: ReasonClass,
    pub exit_code: Option<i32>,
}

impl Stage {
    pub async fn local(scenario: &str) -> Self {
        static SYSTEM: OnceCell<[String; 2]> = OnceCell::const_new();
        let apis = SYSTEM.get_or_init(async || started(Vec::new()).await).await;
        Self::new(Place::Local, scenario, apis).await
    }

    #[cfg(feature = "cluster")]
    pub async fn cluster(scenario: &str) -> Self {
        static SYSTEM: OnceCell<[String; 2]> = OnceCell::const_new();
        let apis = SYSTEM.get_or_init(async || started(on_cluster()).await).await;
        Self::new(Place::Cluster, scenario, apis).await
    }

    async fn new(place: Place, scenario: &str, apis: &[String; 2]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let words: String = scenario.split('_').filter_map(|word| word.chars().next()).take(12).collect();
        // Another than any earlier one's: namespaces outlive the systems that made them.
        let run = std::process::id();
        let space = format!("{words}-{run}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let [client, other] = apis.each_ref().map(|api| Client::new(channel(api)));
        client.space(&space).await;
        let stage = Self { place, space, client, other };
        stage.push("a", &[]).await;
        stage
    }

    /// The App `id` of what runs here, with these variables.
    pub async fn push(&self, id: &str, vars: &[(&str, &str)]) {
        let (source, archive) = match self.place {
            Place::Local => (archive_source(), archive(&[("file", "of the App")])),
            #[cfg(feature = "cluster")]
            Place::Cluster => (crate::client::image_source(IMAGE), Vec::new()),
        };
        self.push_spec(pb::PushAppSpec { env: env(vars), source: Some(source), ..self.spec(id) }, archive).await;
    }

    pub fn spec(&self, id: &str) -> pb::PushAppSpec {
        pb::PushAppSpec { parent: format!("spaces/{}", self.space), app_id: id.into(), ..Default::default() }
    }

    pub async fn push_spec(&self, spec: pb::PushAppSpec, archive: Vec<u8>) {
        self.client.push(spec, archive).await.unwrap();
    }

    pub fn app(&self) -> String {
        format!("spaces/{}/apps/a", self.space)
    }

    #[cfg(feature = "cluster")]
    pub fn namespace(&self) -> String {
        format!("space-{}", self.space)
    }

    /// Little is enough, so that many have room.
    pub fn task(&self, command: &str) -> pb::RunTaskRequest {
        let resources = pb::Resources { memory: "64Mi".into(), cpu: "10m".into(), disk: "64Mi".into() };
        pb::RunTaskRequest {
            parent: self.app(),
            command: command.into(),
            resources: Some(resources),
            ..Default::default()
        }
    }

    pub async fn run(&self, command: &str) -> pb::Task {
        self.client.run_task(self.task(command)).await.unwrap()
    }

    /// Waits until the Task is as `wanted`, and says what it was instead when that does not come.
    pub async fn reaches(&self, name: &str, what: &str, wanted: impl Fn(&pb::Task) -> bool) -> pb::Task {
        let look = async {
            loop {
                let task = self.other.get(name).await;
                if wanted(&task) {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(task) => task,
            Err(_) => panic!("{name} is never {what}: {:?}", self.client.get(name).await),
        }
    }

    pub async fn running(&self, name: &str) -> pb::Task {
        self.reaches(name, "running", |task| task.state() == TaskState::Running).await
    }

    pub async fn over(&self, name: &str) -> pb::Task {
        self.reaches(name, "over", |task| is_final(task.state())).await
    }

    /// Runs the command to its end.
    pub async fn end_of(&self, command: &str) -> End {
        let task = self.run(command).await;
        end(&self.over(&task.name).await)
    }

    /// Where this place tells it, SIGNALLED; a cluster makes 255 of every signal.
    pub fn signalled(&self) -> Reason {
        match self.place {
            Place::Local => Reason::Signalled,
            #[cfg(feature = "cluster")]
            Place::Cluster => Reason::SignalledOr255,
        }
    }
}

/// As it is told of the last attempt.
pub fn end(task: &pb::Task) -> End {
    let class = task.attempts.last().map(pb::Attempt::reason_class).unwrap_or_default();
    End { state: task.state(), reason: task.reason(), class, exit_code: task.exit_code }
}

pub fn succeeded() -> End {
    End {
        state: TaskState::Succeeded,
        reason: Reason::Unspecified,
        class: ReasonClass::Unspecified,
        exit_code: Some(0),
    }
}

pub fn failed(reason: Reason, class: ReasonClass, exit_code: Option<i32>) -> End {
    End { state: TaskState::Failed, reason, class, exit_code }
}

/// The name of its first attempt's PipelineRun.
#[cfg(feature = "cluster")]
pub fn run_of(task: &pb::Task) -> String {
    format!("t-{}-1", task.uid.replace('-', ""))
}

pub fn is_cancelled(task: &pb::Task) -> bool {
    task.state() == TaskState::Cancelled
}

/// What an executor is told to run Tasks on the cluster of tests/rig, with an executor's rights and no others.
#[cfg(feature = "cluster")]
pub fn on_cluster() -> Vec<String> {
    let kubeconfig = std::env::var("TASKPLANE_KUBECONFIG").expect("a cluster: run `make test-cluster`");
    let account = "taskplane/taskplane-executor";
    ["--backend", "tekton", "--kubeconfig", &kubeconfig, "--executor-account", account].map(str::to_owned).to_vec()
}

/// A system of two of each service with its database and bus, which ends with the test program. It has a thread of its own:
/// those of tests end before.
async fn started(executor: Vec<String>) -> [String; 2] {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("system".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let nats = Nats::start().unwrap();
                let mut system = System::prepare().await;
                system.extra.control = vec!["--nats-url".into(), nats.url()];
                system.extra.executor = executor;
                system.launch(TWO_OF_EACH).await;
                tell.send(["api-1", "api-2"].map(|api| system.address(api))).unwrap();
                std::future::pending::<()>().await;
            });
        })
        .unwrap();
    told.await.expect("a system that starts")
}

fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}
