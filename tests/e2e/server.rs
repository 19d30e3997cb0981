//! A standalone process of a test's own, in a directory of its own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::client::Client;

/// Nothing that a test waits for takes longer, or it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    pub dir: Arc<TempDir>,
    pub address: String,
}

/// How a server is started; the default is the product's own, but for a short grace.
#[derive(Clone, Default)]
pub struct Options {
    /// As `TASKPLANE_FAILPOINTS` has them.
    pub failpoints: Option<String>,
    /// How far ahead of the real time it lives.
    pub ahead: Duration,
    pub args: Vec<String>,
    /// Whom it runs as, where that is not who tests.
    pub user: Option<u32>,
}

/// A user without rights.
pub const NOBODY: u32 = 65534;

impl Server {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), options).await
    }

    pub async fn start_in(dir: Arc<TempDir>, options: Options) -> Self {
        let (mut child, address_file) = spawn(&dir, &options);
        let address = within(async {
            loop {
                if let Ok(address) = std::fs::read_to_string(&address_file) {
                    return address.trim().to_owned();
                }
                if let Some(status) = child.try_wait().unwrap() {
                    let log = std::fs::read_to_string(dir.path().join("server.log")).unwrap();
                    panic!("the server ended with {status}: {log}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        Self { child, dir, address }
    }

    /// A new process on the same data, that dies at a failpoint whether it is ready by then or not.
    pub async fn killed_by(self, options: Options) {
        self.crashed(options).await;
    }

    /// The same, with what it left.
    pub async fn crashed(mut self, options: Options) -> Self {
        self.kill();
        let (mut child, _) = spawn(&self.dir, &options);
        within(async {
            while child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        self
    }

    /// As a crash, or the kernel, ends a process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and returns whether it went well.
    pub async fn stop(&mut self) -> bool {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.ended().await.success()
    }

    /// Waits until it has ended by itself, as at a failpoint.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        within(async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// The same data under a new process.
    pub async fn restarted(mut self, options: Options) -> Self {
        self.kill();
        let dir = Arc::clone(&self.dir);
        drop(self);
        Self::start_in(dir, options).await
    }

    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub fn client(&self) -> Client {
        Client::new(self.channel())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that it has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn spawn(dir: &TempDir, options: &Options) -> (Child, PathBuf) {
    let address_file = dir.path().join("address");
    let _ = std::fs::remove_file(&address_file);
    let log = std::fs::File::options().create(true).append(true).open(dir.path().join("server.log")).unwrap();
    let mut command = match options.user {
        None => Command::new(binary("taskplane-standalone")),
        Some(user) => given_to(user, dir.path()),
    };
    if !options.args.iter().any(|arg| arg == "--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    if !options.args.iter().any(|arg| arg == "--grace") {
        command.args(["--grace", "0.5"]);
    }
    command
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .arg("--address-file")
        .arg(&address_file)
        .args(&options.args)
        .env("TASKPLANE_HOLD_DIR", dir.path())
        .env("CANARY_OF_THE_SERVER", "must not be seen by Tasks")
        .env("TASKPLANE_CLOCK_AHEAD_MICROS", options.ahead.as_micros().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(points) = &options.failpoints {
        command.env("TASKPLANE_FAILPOINTS", points);
    }
    (command.spawn().unwrap(), address_file)
}

/// The server as that user: neither the directory of the build nor a test's own are open to others.
fn given_to(user: u32, dir: &Path) -> Command {
    for name in ["taskplane-standalone", "taskplane-shim"] {
        let (built, linked) = (binary(name), dir.join(name));
        std::fs::hard_link(&built, &linked).or_else(|_| std::fs::copy(&built, &linked).map(drop)).unwrap();
    }
    std::os::unix::fs::chown(dir, Some(user), Some(user)).unwrap();
    let mut command = Command::new(dir.join("taskplane-standalone"));
    command.uid(user).gid(user);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default();
            eprintln!("--- log of the server\n{log}---");
        }
    }
}

/// What `make` built beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.is_file(), "{} is not built: run the tests with `make test`", path.display());
    path
}

/// Fails rather than waits for ever.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}
