//! One process of ours, as often as it is started: killed, held up, asked to stop. It ends with the test, whatever ends that.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub struct Process {
    pub name: String,
    program: PathBuf,
    args: Vec<String>,
    /// Where it kills itself in its next life.
    pub failpoint: Option<String>,
    log: PathBuf,
    child: Option<Child>,
    held: bool,
    /// Resident memory at its highest, over all its lives.
    peak: u64,
}

impl Process {
    /// Not started yet. Its log goes to `directory`.
    pub fn new(name: &str, program: &str, directory: &Path, args: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            program: binary(program),
            args,
            failpoint: None,
            log: directory.join(format!("{name}.log")),
            child: None,
            held: false,
            peak: 0,
        }
    }

    /// Must be called on the thread of the test: the system ends the process together with that.
    pub fn start(&mut self) {
        assert!(!self.runs(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(&self.args);
        command.envs(self.failpoint.take().map(|point| ("TASKPLANE_FAILPOINTS", point)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.held = false;
        self.child = Some(command.spawn().unwrap());
    }

    /// Whether it is there, held up or not.
    pub fn runs(&mut self) -> bool {
        self.ended().is_none() && self.child.is_some()
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    pub fn is_held(&self) -> bool {
        self.held
    }

    /// As a crash ends a process.
    pub fn kill(&mut self) {
        self.peak();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    pub fn hold(&mut self) {
        self.held = true;
        self.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&mut self) {
        self.held = false;
        self.signal(Signal::SIGCONT);
    }

    pub fn asks_to_stop(&mut self) {
        self.peak();
        self.signal(Signal::SIGTERM);
    }

    /// Waits for its end; `None` when it takes longer than that.
    pub async fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() > until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its highest resident memory so far, in bytes.
    pub fn peak(&mut self) -> u64 {
        let status = self.child.as_ref().map(|child| std::fs::read_to_string(format!("/proc/{}/status", child.id())));
        let status = status.and_then(Result::ok).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
        self.peak = self.peak.max(kilobytes * 1024);
        self.peak
    }

    /// All that it has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // An error says that it has ended meanwhile.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `make` built beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.is_file(), "{} is not built: run the tests with `make test`", path.display());
    path
}
