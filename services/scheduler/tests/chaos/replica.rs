//! A scheduler in a process of its own: this test binary again, told by its environment what to be.

use std::io::Read as _;
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskplane_bus::InProcessBus;
use taskplane_platform::{Feed, Platform, relay};
use taskplane_runtime::{Clock, Lifecycle};
use taskplane_store::{DatabaseClock, Keyring, Store, StoreOptions};

use crate::scene::CLUSTER;

const DATABASE: &str = "TASKPLANE_CHAOS_DATABASE";
const AHEAD: &str = "TASKPLANE_CHAOS_AHEAD_MICROS";

static SPAWNING: Mutex<()> = Mutex::new(());

/// Killed when it is dropped.
pub struct Replica {
    child: Child,
    pub stopped: bool,
}

impl Replica {
    /// Another one on this database, that believes the time to be so far ahead. `test` is the test that asks: the first thing it
    /// does is to see whether it [is one](Replica::lived).
    pub fn spawn(test: &str, database: &str, ahead: i64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--quiet"]);
        command.env(DATABASE, database).env(AHEAD, ahead.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        // Until it becomes another program, a new process has all files open that this one has: also the lock of a SQLite file
        // that the next one is to take.
        let one_by_one = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn().unwrap();
        drop(one_by_one);
        Self { child, stopped: false }
    }

    /// Lives as a replica if this process is one, and says whether it was.
    pub fn lived() -> bool {
        let (Ok(database), Ok(ahead)) = (std::env::var(DATABASE), std::env::var(AHEAD)) else { return false };
        // A replica that is held up reads no end of input: the system ends it together with the test.
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live(&database, ahead.parse().unwrap()));
        true
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stop(&mut self) {
        self.stopped = true;
        self.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&mut self) {
        self.stopped = false;
        self.signal(Signal::SIGCONT);
    }

    /// Whether it ended by itself, which no replica does.
    pub fn is_gone(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn live(database: &str, ahead: i64) {
    let options =
        StoreOptions { max_connections: 4, clock: DatabaseClock::Ahead(ahead), secrets: Keyring::new(&[[7; 32]]) };
    let store = Store::connect(database, options).await.unwrap();
    let lifecycle = Lifecycle::new();
    let bus = InProcessBus::new(NonZeroUsize::new(4096).unwrap());
    let platform =
        Platform { clock: Clock::ahead(ahead), store, feed: Feed::new(Arc::new(bus)), lifecycle: lifecycle.clone() };
    lifecycle.spawn("relay", relay(platform.clone()));
    let soft = lifecycle.soft().clone();
    std::thread::spawn(move || {
        // Ends with the process that holds the other end.
        let _ = std::io::stdin().read(&mut [0]);
        soft.cancel();
    });
    taskplane_scheduler::run(platform, CLUSTER.parse().unwrap()).await.unwrap();
    lifecycle.ended().await;
}
