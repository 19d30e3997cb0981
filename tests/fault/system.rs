//! The system under test: real processes, two of each, a real database and a real bus, with a proxy on every line between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use taskplane_testkit::nats::Nats;
use taskplane_testkit::postgres::Postgres;
use taskplane_testkit::proxy::Proxy;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::history::History;
use crate::process::Process;

/// Until a process that was started is of use; a machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Of each service.
const REPLICAS: usize = 2;
/// Between the gentle and the forced end of a Task.
const GRACE: &str = "1";

pub struct System {
    pub members: Vec<Member>,
    pub postgres: Postgres,
    pub nats: Nats,
    url: String,
    directory: Option<TempDir>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Api,
    Scheduler,
    Reaper,
    /// Which one of them.
    Executor(usize),
}

/// A process and its lines.
pub struct Member {
    pub role: Role,
    pub process: Process,
    /// To the database.
    pub database: Option<Proxy>,
    /// To the bus.
    pub bus: Option<Proxy>,
    /// From clients.
    pub door: Option<Door>,
    /// From executors.
    pub internal: Option<Door>,
    /// When it is to be started again, if it is not to run now.
    pub down_until: Option<Instant>,
}

/// Where a process is reached; each of those who come has a line of its own.
pub struct Door {
    pub lines: Vec<Proxy>,
    /// Where the process writes down what address it got.
    address_file: PathBuf,
}

impl Door {
    async fn new(address_file: PathBuf, lines: usize) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut door = Self { lines: Vec::new(), address_file };
        for _ in 0..lines {
            door.lines.push(Proxy::start(nowhere).await.unwrap());
        }
        door
    }

    /// Leads to the process once that says where it is.
    fn looks(&self) -> bool {
        let address = std::fs::read_to_string(&self.address_file).ok().and_then(|text| text.trim().parse().ok());
        address.map(|address| self.lines.iter().for_each(|line| line.lead_to(address))).is_some()
    }

    fn closes(&self) {
        let _ = std::fs::remove_file(&self.address_file);
    }
}

impl System {
    /// All at once, on an empty database.
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("taskplane-fault-").tempdir().unwrap();
        let postgres = tokio::task::spawn_blocking(|| Postgres::start_durable().unwrap()).await.unwrap();
        let nats = tokio::task::spawn_blocking(|| Nats::start().unwrap()).await.unwrap();
        let url = postgres.create_database();
        let mut system = Self { members: Vec::new(), postgres, nats, url: url.clone(), directory: Some(directory) };
        for key in ["token.key", "secret.key"] {
            std::fs::write(system.path(key), "5a".repeat(32) + "\n").unwrap();
        }
        std::fs::create_dir(system.path("objects")).unwrap();
        for number in 1..=REPLICAS {
            system.add_api(number, &url).await;
        }
        for number in 1..=REPLICAS {
            system.add_control(Role::Scheduler, &format!("scheduler-{number}"), "taskplane-scheduler", &url, &[]).await;
            let objects = ["--objects-url".to_owned(), system.objects()];
            system.add_control(Role::Reaper, &format!("reaper-{number}"), "taskplane-reaper", &url, &objects).await;
            system.add_executor(number);
        }
        system.members.iter_mut().for_each(Member::start);
        system.is_ready().await;
        system
    }

    async fn add_api(&mut self, number: usize, url: &str) {
        let name = format!("api-{number}");
        let door = Door::new(self.path(&format!("{name}.address")), 1).await;
        let internal = Door::new(self.path(&format!("{name}.internal")), REPLICAS).await;
        let args = [
            ("--listen", "127.0.0.1:0".to_owned()),
            ("--address-file", door.address_file.display().to_string()),
            ("--internal-listen", "127.0.0.1:0".to_owned()),
            ("--internal-address-file", internal.address_file.display().to_string()),
            ("--objects-url", self.objects()),
            ("--token-key-file", self.path("token.key").display().to_string()),
            ("--run-task-rate", "1000".to_owned()),
        ];
        self.add_control(Role::Api, &name, "taskplane-api", url, &flags(args)).await;
        let member = self.members.last_mut().unwrap();
        (member.door, member.internal) = (Some(door), Some(internal));
    }

    /// A process with lines to the database and to the bus.
    async fn add_control(&mut self, role: Role, name: &str, program: &str, url: &str, own: &[String]) {
        let database = Proxy::start(Postgres::address_of(url)).await.unwrap();
        let bus = Proxy::start(SocketAddr::from(([127, 0, 0, 1], self.nats.port()))).await.unwrap();
        let mut args = flags([
            ("--database-url", Postgres::by_way_of(url, database.address())),
            ("--nats-url", format!("nats://{}", bus.address())),
            ("--secret-key-file", self.path("secret.key").display().to_string()),
            ("--grace", GRACE.to_owned()),
        ]);
        args.push("--migrate".to_owned());
        args.extend_from_slice(own);
        let process = Process::new(name, program, self.directory(), args);
        let (database, bus) = (Some(database), Some(bus));
        self.members.push(Member { role, process, database, bus, door: None, internal: None, down_until: None });
    }

    fn add_executor(&mut self, number: usize) {
        let name = format!("executor-{number}");
        let internal = self.members.iter().filter_map(|member| member.internal.as_ref());
        let apis: Vec<String> = internal.map(|door| door.lines[number - 1].address().to_string()).collect();
        let args = flags([
            ("--executor-name", name.clone()),
            ("--api-address", apis.join(",")),
            ("--objects-url", self.objects()),
            ("--data-dir", self.path(&name).display().to_string()),
            ("--grace", GRACE.to_owned()),
            ("--capacity", "16".to_owned()),
        ]);
        let process = Process::new(&name, "taskplane-executor", self.directory(), args);
        let role = Role::Executor(number - 1);
        self.members.push(Member {
            role,
            process,
            database: None,
            bus: None,
            door: None,
            internal: None,
            down_until: None,
        });
    }

    fn objects(&self) -> String {
        format!("file://{}", self.path("objects").display())
    }

    pub fn directory(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// By way of the proxies, hence wherever the processes are by then.
    pub fn doors(&self) -> Vec<Channel> {
        let doors = self.members.iter().filter_map(|member| member.door.as_ref());
        doors
            .map(|door| {
                Endpoint::from_shared(format!("http://{}", door.lines[0].address()))
                    .unwrap()
                    .connect_timeout(Duration::from_secs(5))
                    .http2_keep_alive_interval(Duration::from_secs(5))
                    .keep_alive_timeout(Duration::from_secs(5))
                    .connect_lazy()
            })
            .collect()
    }

    /// One executor's lines to the apis.
    pub fn lines_of(&self, executor: usize) -> impl Iterator<Item = &Proxy> {
        self.members.iter().filter_map(|member| member.internal.as_ref()).map(move |door| &door.lines[executor])
    }

    /// Starts what ended by itself or was down long enough, and leads the doors to where the processes are.
    pub fn supervise(&mut self, history: &History) {
        let now = Instant::now();
        for member in &mut self.members {
            match member.process.ended() {
                Some(status) if member.down_until.is_none() => {
                    history.fault(format!("{} ended by itself with {status}", member.process.name));
                    member.process.kill();
                    member.down_until = Some(now + Duration::from_millis(500));
                }
                _ => {}
            }
            if member.down_until.is_some_and(|until| until <= now) && !member.process.runs() {
                history.fault(format!("{} starts", member.process.name));
                member.start();
            }
            member.looks();
        }
    }

    /// Waits until every process says that it can be used.
    pub async fn is_ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        for member in &mut self.members {
            while !member.looks() {
                let ended = member.process.ended();
                let log = || member.process.log();
                assert!(ended.is_none(), "{} ended with {ended:?}: {}", member.process.name, log());
                assert!(Instant::now() < until, "{} is not ready: {}", member.process.name, log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// One answer of the database itself, past all of us.
    pub fn ask_database(&self, query: &str) -> String {
        let psql = Command::new(Postgres::binary("psql")).args(["-X", "-A", "-t", "-c", query, &self.url]).output();
        let output = psql.unwrap();
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Keeps everything that was written, and says where.
    pub fn keep(&mut self) -> PathBuf {
        self.directory.take().unwrap().keep()
    }
}

impl Member {
    pub fn start(&mut self) {
        self.door.iter().chain(&self.internal).for_each(Door::closes);
        self.down_until = None;
        self.process.start();
    }

    /// Not to run until then.
    pub fn kill(&mut self, until: Instant) {
        self.process.kill();
        self.down_until = Some(until);
    }

    /// Whether all its doors lead to it.
    fn looks(&self) -> bool {
        self.door.iter().chain(&self.internal).filter(|door| !door.looks()).count() == 0
    }
}

fn flags<const N: usize>(flags: [(&str, String); N]) -> Vec<String> {
    flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// A seed of one's own choice, or any; it is told with whatever fails.
pub fn seed() -> u64 {
    set("TASKPLANE_CHAOS_SEED").unwrap_or_else(rand::random)
}

/// How long, when somebody said so.
pub fn duration() -> Option<Duration> {
    set("TASKPLANE_CHAOS_SECONDS").map(Duration::from_secs)
}

/// How many Tasks the burst has, when somebody said so.
pub fn burst() -> Option<u64> {
    set("TASKPLANE_CHAOS_BURST")
}

fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The same again for the same seed.
pub fn chance(seed: u64) -> StdRng {
    rand::SeedableRng::seed_from_u64(seed)
}
