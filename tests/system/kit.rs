//! A whole system of a test's own: a database, keys, objects, and as many of each service as it likes.

use std::fs;
use std::path::PathBuf;

use taskplane_testkit::postgres::Postgres;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::client::Client;
use crate::server::{Process, until};

pub struct System {
    /// First, so that they end before what they stand on goes.
    pub processes: Vec<Process>,
    pub dir: TempDir,
    pub database: String,
    /// Flags of all services, of all that speak to each other, and of single ones.
    pub extra: Extra,
}

#[derive(Default, Clone)]
pub struct Extra {
    /// What an api says on its internal port.
    pub api: Vec<String>,
    pub executor: Vec<String>,
    pub control: Vec<String>,
    /// What test builds are told otherwise.
    pub env: Vec<(&'static str, String)>,
}

/// Two of each, and ready.
pub const TWO_OF_EACH: &[&str] =
    &["api-1", "api-2", "scheduler-1", "scheduler-2", "reaper-1", "reaper-2", "executor-1", "executor-2"];

impl System {
    /// Nothing runs yet.
    pub async fn prepare() -> Self {
        Self::on(tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap())
    }

    /// The same on a database of the caller's own.
    pub fn on(database: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, digit) in [("token", "1"), ("secret", "2")] {
            fs::write(dir.path().join(format!("{name}.key")), digit.repeat(64)).unwrap();
        }
        Self { dir, database, extra: Extra::default(), processes: Vec::new() }
    }

    /// With these processes, in this order.
    pub async fn start(names: &[&str]) -> Self {
        let mut system = Self::prepare().await;
        system.launch(names).await;
        system
    }

    /// Starts these as well, and waits until each is ready.
    pub async fn launch(&mut self, names: &[&str]) {
        for name in names {
            let args = self.args(name);
            self.processes.push(Process::start_with(self.dir.path(), name, args, self.extra.env.clone()));
            self.ready(name).await;
        }
    }

    /// What a process of that name is started with.
    pub fn args(&self, name: &str) -> Vec<String> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let objects = format!("file://{}", file("objects"));
        let secrets = file("secret.key");
        let mut args: Vec<String> = Vec::new();
        let mut say = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
        let service = name.split('-').next().unwrap();
        if service != "executor" {
            say(&["--database-url", &self.database, "--secret-key-file", &secrets, "--grace", "0.5"]);
        }
        match service {
            "api" => {
                let (public, internal) = (file(name), file(&format!("{name}.internal")));
                say(&["--migrate", "--token-key-file", &file("token.key"), "--objects-url", &objects]);
                say(&["--listen", "127.0.0.1:0", "--address-file", &public]);
                say(&["--internal-listen", "127.0.0.1:0", "--internal-address-file", &internal]);
            }
            "reaper" => say(&["--objects-url", &objects]),
            "executor" => {
                say(&["--executor-name", name, "--api-address", &self.internal_addresses(), "--grace", "0.5"]);
                say(&["--objects-url", &objects, "--data-dir", &file(&format!("{name}.data"))]);
            }
            _ => {}
        }
        let Extra { api, executor, control, env: _ } = &self.extra;
        args.extend(if service == "executor" { executor } else { control }.iter().cloned());
        if service == "api" {
            args.extend(api.iter().cloned());
        }
        args
    }

    /// Until it says so in its log, for this life of it.
    async fn ready(&mut self, name: &str) {
        let process = self.process(name);
        let service = process.name.split('-').next().unwrap().to_owned();
        until(|| {
            let log = process.log();
            assert!(process.runs(), "{} ended: {log}", process.name);
            log.contains(&format!("the {service} is ready")).then_some(())
        })
        .await;
    }

    pub fn process(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name == name).expect(name)
    }

    /// Kills it, for good.
    pub fn kill(&mut self, name: &str) {
        self.process(name).kill();
    }

    pub fn address(&self, api: &str) -> String {
        fs::read_to_string(self.path(api)).unwrap().trim().to_owned()
    }

    pub fn internal_addresses(&self) -> String {
        let apis = self.processes.iter().filter(|process| process.name.starts_with("api-"));
        let addresses = apis.map(|api| fs::read_to_string(self.path(&format!("{}.internal", api.name))).unwrap());
        addresses.map(|address| address.trim().to_owned()).collect::<Vec<_>>().join(",")
    }

    pub fn channel(&self, api: &str) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address(api))).unwrap().connect_lazy()
    }

    pub fn client(&self, api: &str) -> Client {
        Client::new(self.channel(api))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
