//! A real nats-server for tests, with JetStream in a temporary directory, gone with the test process.
//!
//! A small shell keeps the server and takes orders on its standard input: start, kill, stop, hold, go, wipe, save, restore. When
//! the input ends, because the [`Nats`] was dropped or the test process died, it kills the server and removes the directory.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// `$1` server, `$2` directory. Each order is answered with a line. Signals meant for the tests are not meant for it.
const KEEPER: &str = r#"
trap '' INT TERM HUP PIPE
server=
end() { [ -z "$server" ] || { kill "$1" "$server"; wait "$server"; server=; }; }
while read -r order; do
    case "$order" in
        start) "$1" -c "$2/nats.conf" </dev/null >>"$2/log" 2>&1 & server=$! ;;
        kill) end -KILL ;;
        stop) end -TERM ;;
        hold) kill -STOP "$server" ;;
        go) kill -CONT "$server" ;;
        wipe) rm -rf "$2/store" ;;
        save) rm -rf "$2/saved" && cp -a "$2/store" "$2/saved" ;;
        restore) rm -rf "$2/store" && cp -a "$2/saved" "$2/store" ;;
    esac 2>/dev/null
    echo done
done
end -KILL 2>/dev/null
rm -rf "$2"
"#;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that ends with this value, or with the process. It keeps its port and its store over restarts.
#[derive(Debug)]
pub struct Nats {
    keeper: Child,
    answers: Mutex<BufReader<ChildStdout>>,
    directory: PathBuf,
    port: u16,
}

/// What the server is told besides.
#[derive(Debug, Clone, Default)]
pub struct NatsSetup {
    /// In the language of its configuration file.
    pub config: String,
    /// Files beside it, by their names.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Nats {
    /// Starts one that takes everybody without TLS.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&NatsSetup::default())
    }

    pub fn start_with(setup: &NatsSetup) -> anyhow::Result<Self> {
        let nats = Self::prepare(setup)?;
        nats.run()?;
        Ok(nats)
    }

    /// Everything but the start itself: there is an address at which nobody answers yet.
    pub fn prepare(setup: &NatsSetup) -> anyhow::Result<Self> {
        let server = find_server()?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("no free port")?.port();
        let directory = tempfile::Builder::new().prefix("taskplane-nats-").tempdir().context("no directory")?;
        let path = directory.path();
        for (name, content) in &setup.files {
            fs::write(path.join(name), content)?;
        }
        let own = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{0}/store\", max_mem: 64M, max_file: 2G }}\n",
            path.display()
        );
        fs::write(path.join("nats.conf"), [&own, setup.config.as_str()].concat())?;
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(server).arg(path);
        keeper.current_dir(path).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().context("the server's keeper does not start")?;
        // From here on the keeper removes the directory, whatever becomes of this process.
        let directory = directory.keep();
        let answers = keeper.stdout.take().context("the keeper has no output")?;
        Ok(Self { keeper, answers: Mutex::new(BufReader::new(answers)), directory, port })
    }

    /// Where it is found; the same over restarts.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where files of the setup lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts the server, again if it was ended before, and waits until it answers.
    #[expect(clippy::disallowed_methods, reason = "a start is short, and whoever waits for it may have no tokio")]
    pub fn run(&self) -> anyhow::Result<()> {
        self.order("start")?;
        let since = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            ensure!(since.elapsed() < PATIENCE, "nats-server does not start: {}", log().trim());
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// As a crash ends it.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.order("kill")
    }

    /// As an operator ends it.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.order("stop")
    }

    /// It stands still, and its connections stay.
    pub fn hold(&self) -> anyhow::Result<()> {
        self.order("hold")
    }

    pub fn go_on(&self) -> anyhow::Result<()> {
        self.order("go")
    }

    /// Removes the store of a server that was ended.
    pub fn wipe(&self) -> anyhow::Result<()> {
        self.order("wipe")
    }

    /// Copies the store as it is.
    pub fn save(&self) -> anyhow::Result<()> {
        self.order("save")
    }

    /// Puts the copy back under a server that was ended: what came later is lost, as when it had never reached the disk.
    pub fn restore(&self) -> anyhow::Result<()> {
        self.order("restore")
    }

    fn order(&self, order: &str) -> anyhow::Result<()> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(self.keeper.stdin.as_ref().context("the keeper is gone")?, "{order}")?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        ensure!(answer.trim_end() == "done", "the keeper did not {order}");
        Ok(())
    }

    /// A server says who it is to whoever connects.
    fn answers(&self) -> bool {
        let Ok(connection) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut line = String::new();
        let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
        BufReader::new(connection).read_line(&mut line).is_ok() && line.starts_with("INFO ")
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing to tell anybody about: the keeper ends by itself, and waiting only makes the end visible to the caller.
        let _ = self.keeper.wait();
    }
}

/// `TASKPLANE_NATS_SERVER`, else what `make setup` installed, else what is found on the path.
#[expect(clippy::disallowed_methods, reason = "a test has no command line to take the program from")]
fn find_server() -> anyhow::Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("TASKPLANE_NATS_SERVER") {
        return Ok(chosen.into());
    }
    let cache = std::env::var_os("TASKPLANE_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let installed = cache.unwrap_or_else(|| home.join(".cache/taskplane")).join("venv/bin/nats-server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::iter::once(installed).chain(std::env::split_paths(&path).map(|at| at.join("nats-server")));
    match candidates.into_iter().find(|candidate| candidate.is_file()) {
        Some(found) => Ok(found),
        None => bail!("nats-server is not installed: run `make setup`, or name it in TASKPLANE_NATS_SERVER"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_comes_back_where_it_was_and_goes_with_its_keeper() {
        let nats = Nats::start().unwrap();
        let (port, directory) = (nats.port, nats.directory.clone());
        nats.kill().unwrap();
        assert!(!nats.answers());
        nats.run().unwrap();
        assert!(nats.answers());
        drop(nats);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        assert!(!directory.exists());
    }
}
