//! A process of the control plane: the settings that all of them have, and the parts that they are composed from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use taskplane_domain::task::Deadlines;
use taskplane_runtime::worker::jittered;
use taskplane_runtime::{Clock, Lifecycle, failpoint};
use taskplane_store::{DatabaseClock, Keyring, SchemaState, Store, StoreError, StoreOptions};

use crate::bus::{BusArgs, CheckedBus};
use crate::{Feed, Platform, database, relay};

/// Between two looks at a schema, or a database, that is not there yet.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a process waits for a database that does not answer, before it says so and ends.
const DATABASE: Duration = Duration::from_secs(60);

/// Settings of every process of the control plane.
#[derive(Debug, Clone, clap::Args)]
pub struct ControlArgs {
    /// The database that all processes share: postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, env = "TASKPLANE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    /// Most connections to the database that this process keeps
    #[arg(long, env = "TASKPLANE_DATABASE_CONNECTIONS", default_value = "16", value_name = "CONNECTIONS", value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,
    /// Keys that seal environment values and credentials in the database: one or two lines of 64 hexadecimal digits, the
    /// same for all processes; what one sealed is lost without it
    #[arg(long, env = "TASKPLANE_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: PathBuf,
    /// Bring the database to this release's schema before anything else; of several that do at once, one does it
    #[arg(long, env = "TASKPLANE_MIGRATE")]
    pub migrate: bool,
    #[command(flatten)]
    pub bus: BusArgs,
    #[command(flatten)]
    pub deadlines: DeadlineArgs,
}

/// When a Task is late; the same for all processes.
#[derive(Debug, Clone, clap::Args)]
pub struct DeadlineArgs {
    /// Time between SIGTERM and SIGKILL for a Task that is to end, in seconds
    #[arg(long, env = "TASKPLANE_GRACE", default_value = "30", value_name = "SECONDS", value_parser = taskplane_runtime::start::seconds)]
    pub grace: Duration,
    /// How long a Task may be STARTING before its attempt is given up, in seconds
    #[arg(long, env = "TASKPLANE_START_DEADLINE", default_value = "3600", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub start_deadline: u32,
}

impl DeadlineArgs {
    pub fn deadlines(&self) -> Deadlines {
        Deadlines { grace: self.grace, start: Duration::from_secs(self.start_deadline.into()) }
    }
}

/// Settings that can work, as far as can be told without anybody else.
#[derive(Debug)]
pub struct Control {
    database_url: String,
    options: StoreOptions,
    migrate: bool,
    bus: CheckedBus,
}

impl ControlArgs {
    pub fn check(&self) -> anyhow::Result<Control> {
        let url = &self.database_url;
        check_database(url)?;
        let secrets = keys("--secret-key-file", &self.secret_key_file)?;
        let options = StoreOptions {
            max_connections: self.database_connections,
            clock: database_clock(),
            ..StoreOptions::new(secrets)
        };
        Ok(Control { database_url: url.clone(), options, migrate: self.migrate, bus: self.bus.check()? })
    }
}

/// Processes share a server, not a file.
pub fn check_database(url: &str) -> anyhow::Result<()> {
    ensure!(
        !url.starts_with("sqlite:"),
        "--database-url names a SQLite file, which belongs to one process: name a PostgreSQL database with postgres://…, or run taskplane-standalone"
    );
    Store::check(url).context("--database-url")
}

/// Reads a key file; `flag` is named when it cannot be used.
pub fn keys(flag: &str, file: &Path) -> anyhow::Result<Keyring> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{flag} {} cannot be read", file.display()))?;
    Keyring::parse(&text).with_context(|| format!("{flag} {}", file.display()))
}

impl Control {
    /// Connects, has the schema ready, and begins to tell of events.
    pub async fn open(self, lifecycle: Lifecycle) -> anyhow::Result<Platform> {
        let store = connect(&self.database_url, &self.options).await?;
        if self.migrate {
            let migrated = insist(&lifecycle, async || store.migrate().await).await;
            migrated.context("the database cannot be brought to this release's schema")?;
        }
        await_schema(&store, &lifecycle).await?;
        insist(&lifecycle, async || store.secrets_check().await).await?;
        let feed = Feed::new(self.bus.open(&lifecycle).await?);
        let platform = Platform { clock: Clock::ahead(failpoint::clock_ahead()), store, feed, lifecycle };
        platform.lifecycle.spawn("relay", relay(platform.clone()));
        platform.lifecycle.spawn("database", database(platform.clone()));
        Ok(platform)
    }
}

impl Platform {
    /// After its service: lets the rest of the process end, and gives the connections back.
    pub async fn close(self) -> anyhow::Result<()> {
        self.lifecycle.soft().cancel();
        self.lifecycle.ended().await;
        Ok(self.store.close().await?)
    }
}

/// A database that is not up yet is waited for, a while; one that refuses us is not.
pub async fn connect(url: &str, options: &StoreOptions) -> anyhow::Result<Store> {
    let patient = async {
        loop {
            match Store::connect(url, options.clone()).await {
                Err(StoreError::Unreachable { at, source }) => {
                    tracing::warn!(address = at, error = source, "the database does not answer, trying again");
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                connected => return connected,
            }
        }
    };
    match tokio::time::timeout(DATABASE, patient).await {
        Ok(connected) => Ok(connected?),
        // Once more, for what there is to say.
        Err(_) => Ok(Store::connect(url, options.clone()).await?),
    }
}

/// Until the database has answered: one that goes away meanwhile is waited for. What it refuses is refused.
async fn insist<T>(lifecycle: &Lifecycle, ask: impl AsyncFn() -> Result<T, StoreError>) -> anyhow::Result<T> {
    loop {
        match ask().await {
            Err(error) if error.is_absence() => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "the database went away at the start, trying again");
            }
            answer => return Ok(answer?),
        }
        tokio::select! {
            () = lifecycle.soft().cancelled() => anyhow::bail!("asked to stop before the database answered"),
            () = tokio::time::sleep(jittered(PAUSE)) => {}
        }
    }
}

/// Returns when somebody has brought the schema to where this release can use it.
async fn await_schema(store: &Store, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let mut told = false;
    loop {
        match store.schema_state().await {
            Ok(SchemaState::Ready) => return Ok(()),
            Ok(SchemaState::Ahead) => {
                anyhow::bail!("the database's schema belongs to a newer release that does not serve this one")
            }
            Ok(SchemaState::Behind) if told => {}
            Ok(SchemaState::Behind) => {
                told = true;
                tracing::info!(
                    "waiting for the schema: run `taskplane-api migrate`, or start a process with --migrate"
                );
            }
            Err(error) => tracing::warn!(%error, "the schema cannot be looked at, trying again"),
        }
        tokio::select! {
            () = lifecycle.soft().cancelled() => anyhow::bail!("asked to stop before the database had its schema"),
            () = tokio::time::sleep(jittered(PAUSE)) => {}
        }
    }
}

/// The database's own, but in tests of what time does to a whole process.
pub fn database_clock() -> DatabaseClock {
    match failpoint::clock_ahead() {
        0 => DatabaseClock::Database,
        micros => DatabaseClock::Ahead(micros),
    }
}
