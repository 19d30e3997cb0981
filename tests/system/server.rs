//! Processes of ours, each of which ends with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing that a test waits for takes longer, or it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Process {
    pub name: String,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Its log goes to `dir`. `name` begins with what it is: `api-1` is a taskplane-api.
    pub fn start(dir: &Path, name: &str, args: Vec<String>) -> Self {
        Self::start_with(dir, name, args, Vec::new())
    }

    /// The same with something in its environment.
    pub fn start_with(dir: &Path, name: &str, args: Vec<String>, env: Vec<(&'static str, String)>) -> Self {
        let log = dir.join(format!("{name}.log"));
        let child = spawn(name, &args, &env, &log);
        Self { name: name.to_owned(), args, env, log, child }
    }

    /// As a crash ends a process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// The same again, after its end.
    pub fn start_again(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "{} still runs", self.name);
        self.child = spawn(&self.name, &self.args, &self.env, &self.log);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    pub async fn ended(&mut self) -> ExitStatus {
        until(|| self.child.try_wait().unwrap()).await
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All that it has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- log of {}\n{log}---", self.name);
        }
    }
}

/// Must be called on the thread of the test: the system ends the process together with that, whatever ends it.
fn spawn(name: &str, args: &[String], env: &[(&str, String)], log: &Path) -> Child {
    let service = name.split('-').next().unwrap();
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary(&format!("taskplane-{service}"))).args(args);
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// What `make` built beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.is_file(), "{} is not built: run the tests with `make test`", path.display());
    path
}

/// Looks until there is something to be seen.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Fails rather than waits for ever.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}
