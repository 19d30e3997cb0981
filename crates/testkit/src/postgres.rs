//! A real PostgreSQL for tests: a cluster of its own in a temporary directory, gone with the test process.
//!
//! A small shell keeps the server: it makes the cluster, starts the server, says so, and waits for its standard input to end.
//! That happens when the [`Postgres`] is dropped, and just as well when the test process is killed; then it stops the server
//! and removes the cluster.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use nix::unistd::{Uid, User};

/// Between looking for a free port and listening on it another process may take it.
const START_ATTEMPTS: usize = 5;

/// `$1` binaries, `$2` cluster, `$3` settings. It must outlive the tests to clean up: signals meant for them are not meant for
/// it, nor does it mind that nobody listens any more.
const KEEPER: &str = r#"
trap '' INT TERM HUP PIPE
start() {
    "$1/initdb" --auth=trust --username=postgres --encoding=UTF8 --locale=C --no-sync --pgdata="$2/data" &&
        printf '%s' "$3" >>"$2/data/postgresql.conf" &&
        "$1/pg_ctl" start -s -w -t 60 -D "$2/data" -l "$2/log"
}
if start "$@" </dev/null >"$2/log" 2>&1; then echo ready; else echo failed; fi
cat >/dev/null
"$1/pg_ctl" stop -s -w -m immediate -D "$2/data" >/dev/null 2>&1
rm -rf "$2"
"#;

/// No test waits for a disk: a crash may lose what it likes.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum_naptime = 5min
log_timezone = 'UTC'
timezone = 'UTC'
";

/// What a crash of the server alone must not lose: a commit that was answered is with the operating system.
const DURABLE: &str = "
synchronous_commit = on
";

/// As a server in use: a commit that was answered is on the disk. For measurements, which would be worth nothing without.
const ON_DISK: &str = "
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
";

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, and what is in memory is written.
    Fast,
    /// As a crash: nothing is tidied up, and the next start recovers.
    Immediate,
}

/// A running server that ends with this value, or with the process.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    binaries: PathBuf,
    cluster: PathBuf,
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes a cluster and starts a server on it. Takes a second or two.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with("")
    }

    /// The same for tests that stop it: what it has acknowledged, it keeps, whatever ends it short of the machine.
    pub fn start_durable() -> anyhow::Result<Self> {
        Self::start_with(DURABLE)
    }

    /// The same as it would be in use, down to the disk.
    pub fn start_on_disk() -> anyhow::Result<Self> {
        Self::start_with(ON_DISK)
    }

    fn start_with(settings: &str) -> anyhow::Result<Self> {
        let binaries = find_binaries()?;
        for _ in 1..START_ATTEMPTS {
            if let Ok(started) = Self::start_once(&binaries, settings) {
                return Ok(started);
            }
        }
        Self::start_once(&binaries, settings)
    }

    /// Stops the server; its keeper and its cluster stay.
    pub fn stop(&self, how: Stop) -> anyhow::Result<()> {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.control(&["stop", "-s", "-w", "-t", "60", "-m", mode])
    }

    /// Starts a stopped server again, on the same cluster and port.
    pub fn resume(&self) -> anyhow::Result<()> {
        let log = self.cluster.join("log");
        self.control(&["start", "-s", "-w", "-t", "60", "-l", &log.to_string_lossy()])
    }

    fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut pg_ctl = as_owner(self.binaries.join("pg_ctl"), owner()?.as_ref());
        // What a server inherits it keeps: nobody is to wait for the end of its output.
        pg_ctl.args(arguments).arg("-D").arg(self.cluster.join("data")).current_dir("/");
        pg_ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let ended = pg_ctl.status().context("pg_ctl does not start")?;
        if !ended.success() {
            let log = fs::read_to_string(self.cluster.join("log")).unwrap_or_default();
            bail!("pg_ctl {arguments:?} ended with {ended}: {}", log.trim());
        }
        Ok(())
    }

    /// Where the server of such a URL listens.
    ///
    /// # Panics
    /// When it is no URL of a server of ours.
    #[must_use]
    pub fn address_of(url: &str) -> SocketAddr {
        let host = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).map(|(host, _)| host);
        match host.and_then(|host| host.parse().ok()) {
            Some(address) => address,
            None => panic!("no URL of a server of this suite: {url}"),
        }
    }

    /// The same database, by way of a proxy.
    #[must_use]
    pub fn by_way_of(url: &str, proxy: SocketAddr) -> String {
        url.replacen(&Self::address_of(url).to_string(), &proxy.to_string(), 1)
    }

    /// One of PostgreSQL's programs.
    ///
    /// # Panics
    /// When PostgreSQL is not installed.
    #[must_use]
    pub fn binary(name: &str) -> PathBuf {
        match find_binaries() {
            Ok(binaries) => binaries.join(name),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// The one server of this test process, started when it is first asked for.
    ///
    /// # Panics
    /// When no server can be started; the message says what to install.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start() {
            Ok(started) => started,
            Err(error) => panic!("no PostgreSQL for tests: {error:#}"),
        })
    }

    /// A new and empty database, as a URL to connect to.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut createdb = Command::new(self.binaries.join("createdb"));
        createdb.args(["--host=127.0.0.1", "--username=postgres", "--template=template0"]);
        createdb.arg(format!("--port={}", self.port)).arg(&name);
        match run(&mut createdb) {
            Ok(_) => self.url(&name),
            Err(error) => panic!("no database for this test: {error:#}"),
        }
    }

    /// A copy of one that nobody is connected to, as a URL.
    ///
    /// # Panics
    /// When the server does not copy it.
    pub fn copy_database(&self, url: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let template = url.rsplit('/').next().unwrap_or_default();
        let mut createdb = Command::new(self.binaries.join("createdb"));
        createdb.args(["--host=127.0.0.1", "--username=postgres"]).arg(format!("--template={template}"));
        createdb.arg(format!("--port={}", self.port)).arg(&name);
        match run(&mut createdb) {
            Ok(_) => self.url(&name),
            Err(error) => panic!("no copy of the database: {error:#}"),
        }
    }

    /// Where a database of this server is found.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn start_once(binaries: &Path, settings: &str) -> anyhow::Result<Self> {
        let owner = owner()?;
        let directory = tempfile::Builder::new().prefix("taskplane-pg-").tempdir().context("no temporary directory")?;
        let cluster = directory.path();
        if let Some(owner) = &owner {
            chown(cluster, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).context("the cluster has no owner")?;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("no free port")?.port();
        let own = format!("port = {port}\nunix_socket_directories = '{}'\n", cluster.display());

        let mut keeper = as_owner("/bin/sh", owner.as_ref());
        keeper.args(["-c", KEEPER, "keeper"]).args([binaries, cluster]).arg([SETTINGS, settings, &own].concat());
        keeper.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().context("the server's keeper does not start")?;
        // From here on the keeper removes the directory, whatever becomes of this process.
        let cluster = directory.keep();
        let said = keeper.stdout.take().map(first_line).transpose()?.unwrap_or_default();
        let log = fs::read_to_string(cluster.join("log")).unwrap_or_default();
        let databases = AtomicU32::new(0);
        let started = Self { keeper, binaries: binaries.to_owned(), cluster: cluster.clone(), port, databases };
        if said != "ready" {
            bail!("the PostgreSQL server does not start: {}", log.trim());
        }
        Ok(started)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing to tell anybody about: the keeper ends by itself, and waiting only makes the end visible to the caller.
        let _ = self.keeper.wait();
    }
}

fn first_line(from: impl Read) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// PostgreSQL refuses to run as root, so root lends it another user.
fn owner() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")
}

fn as_owner(program: impl AsRef<OsStr>, owner: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    if let Some(owner) = owner {
        command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
    }
    command
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

/// `TASKPLANE_PG_BIN`, else what `pg_config` says, else the newest that Debian's packages installed.
#[expect(clippy::disallowed_methods, reason = "a test has no command line to take the directory from")]
fn find_binaries() -> anyhow::Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("TASKPLANE_PG_BIN") {
        let chosen = PathBuf::from(chosen);
        if !holds_a_server(&chosen) {
            bail!("TASKPLANE_PG_BIN is {}, which holds no PostgreSQL server", chosen.display());
        }
        return Ok(chosen);
    }
    let told = run(Command::new("pg_config").arg("--bindir")).ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let candidates = told.into_iter().chain(newest_first(Path::new("/usr/lib/postgresql")));
    candidates.into_iter().find(|directory| holds_a_server(directory)).context(
        "PostgreSQL's server is not installed: run `apt-get install postgresql`, \
         or name the directory of initdb and pg_ctl in TASKPLANE_PG_BIN",
    )
}

fn holds_a_server(directory: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres", "createdb"].iter().all(|binary| directory.join(binary).is_file())
}

/// Debian keeps the versions side by side, each in a directory that is its number.
fn newest_first(versions: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(versions) else {
        return Vec::new();
    };
    let numbered = listed.flatten().filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    let mut numbered: Vec<(u32, PathBuf)> = numbered.collect();
    numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    numbered.into_iter().map(|(_, path)| path.join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn ask(url: &str, query: &str) -> String {
        let psql = find_binaries().unwrap().join("psql");
        let output = run(Command::new(psql).args(["-X", "-A", "-t", "-c", query, url])).unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn databases_are_new_and_apart() {
        let (one, two) = (Postgres::shared().create_database(), Postgres::shared().create_database());
        assert_ne!(one, two);
        ask(&one, "create table only_here ()");
        assert_eq!(ask(&one, "select count(*) from pg_tables where tablename = 'only_here'"), "1");
        assert_eq!(ask(&two, "select count(*) from pg_tables where tablename = 'only_here'"), "0");
        assert_eq!(ask(&two, "show max_connections"), "200");
        assert_eq!(ask(&two, "show server_encoding"), "UTF8");
    }

    #[test]
    fn a_durable_server_keeps_what_it_acknowledged_however_it_is_stopped() {
        let postgres = Postgres::start_durable().unwrap();
        let url = postgres.create_database();
        ask(&url, "create table kept (a int)");
        for (rows, how) in [(1, Stop::Immediate), (2, Stop::Fast)] {
            ask(&url, "insert into kept values (1)");
            postgres.stop(how).unwrap();
            assert!(TcpStream::connect(Postgres::address_of(&url)).is_err());
            postgres.resume().unwrap();
            assert_eq!(ask(&url, "select count(*) from kept"), rows.to_string());
        }
    }

    #[test]
    fn a_dropped_server_leaves_nothing() {
        let postgres = Postgres::start().unwrap();
        let (port, cluster) = (postgres.port, postgres.cluster.clone());
        assert!(cluster.is_dir());
        drop(postgres);
        assert!(!cluster.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_server_ends_when_nobody_holds_its_pipe() {
        let mut postgres = Postgres::start().unwrap();
        let (port, cluster) = (postgres.port, postgres.cluster.clone());
        // What the system does to a killed process: its files are closed, and nothing of it is run.
        drop(postgres.keeper.stdin.take());
        postgres.keeper.wait().unwrap();
        assert!(!cluster.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
