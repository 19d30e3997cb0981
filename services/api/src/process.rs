//! The api as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args as _, CommandFactory as _, FromArgMatches as _};
use taskplane_logs::Objects;
use taskplane_platform::process::{check_database, connect, keys};
use taskplane_platform::{Control, ControlArgs, serve_measures};
use taskplane_proto::token::Keyring;
use taskplane_runtime::internal::{Internal, InternalArgs};
use taskplane_runtime::start::{DRAIN, seconds};
use taskplane_runtime::tls::{Identity, Role, ServerTls};
use taskplane_runtime::{CommonArgs, Lifecycle, files, net};
use taskplane_store::StoreOptions;

use crate::{ApiArgs, Listeners, LogRoutes, run};

/// The api of Taskplane: records what is asked for, answers what is so, and hands work to executors.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "taskplane-api", version, about, long_about = None)]
pub struct ServeArgs {
    /// Where the public gRPC API listens; port 0 takes a free one
    #[arg(long, env = "TASKPLANE_LISTEN", default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Certificate of the public API, and what is between it and its authority, in PEM: TLS instead of the clear
    #[arg(long, env = "TASKPLANE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, env = "TASKPLANE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen on an address that other machines reach, although nobody is asked who they are
    #[arg(long, env = "TASKPLANE_INSECURE_LISTEN")]
    pub insecure_listen: bool,
    /// A file to write the public address into once the API answers
    #[arg(long, env = "TASKPLANE_ADDRESS_FILE", value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// Where executors reach the api; port 0 takes a free one
    #[arg(long, env = "TASKPLANE_INTERNAL_LISTEN", default_value = "127.0.0.1:7071", value_name = "ADDRESS:PORT")]
    pub internal_listen: SocketAddr,
    /// A file to write that address into once the API answers
    #[arg(long, env = "TASKPLANE_INTERNAL_ADDRESS_FILE", value_name = "FILE")]
    pub internal_address_file: Option<PathBuf>,
    /// The object store that api, executors and reaper share: file:///absolute/path, on one host
    #[arg(long, env = "TASKPLANE_OBJECTS_URL", value_name = "URL")]
    pub objects_url: String,
    /// When asked to stop: seconds between health that says so and a public port that takes no more calls, for whatever
    /// balances the load to notice
    #[arg(long, env = "TASKPLANE_DRAIN_NOTICE", default_value = "2", value_name = "SECONDS", value_parser = notice)]
    pub drain_notice: Duration,
    /// Keys that seal page and resume tokens: one or two lines of 64 hexadecimal digits, the same for all replicas
    #[arg(long, env = "TASKPLANE_TOKEN_KEY_FILE", value_name = "FILE")]
    pub token_key_file: PathBuf,
    #[command(flatten)]
    pub internal: InternalArgs,
    #[command(flatten)]
    pub control: ControlArgs,
    #[command(flatten)]
    pub api: ApiArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Bring the database to this release's schema, and end. Of several that do at once, one does it and the others wait
#[derive(Debug, Clone, clap::Args)]
pub struct MigrateArgs {
    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, env = "TASKPLANE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// There must be time left for the calls at hand.
fn notice(text: &str) -> Result<Duration, String> {
    let longest = DRAIN / 2;
    match seconds(text)? {
        notice if notice <= longest => Ok(notice),
        _ => Err(format!("must be at most {} seconds", longest.as_secs())),
    }
}

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum Command {
    Serve(Box<ServeArgs>),
    Migrate(MigrateArgs),
}

impl Command {
    /// Ends the process with one line when the command line is none.
    pub fn parse() -> Self {
        let migrate = MigrateArgs::augment_args(clap::Command::new("migrate"));
        // What serving needs, migrating does not.
        let command = ServeArgs::command().subcommand_negates_reqs(true).subcommand(migrate);
        let matches = command.get_matches();
        let parsed = match matches.subcommand() {
            Some((_, matches)) => MigrateArgs::from_arg_matches(matches).map(Self::Migrate),
            None => ServeArgs::from_arg_matches(&matches).map(|args| Self::Serve(Box::new(args))),
        };
        parsed.unwrap_or_else(|error| error.exit())
    }

    pub fn common(&self) -> &CommonArgs {
        match self {
            Self::Serve(args) => &args.common,
            Self::Migrate(args) => &args.common,
        }
    }

    /// Everything that can be found wrong without asking anybody else.
    pub fn check(self) -> anyhow::Result<Checked> {
        match self {
            Self::Serve(args) => Ok(Checked::Serve(Box::new(Settings::check(*args)?))),
            Self::Migrate(args) => {
                check_database(&args.database_url)?;
                Ok(Checked::Migrate { database_url: args.database_url })
            }
        }
    }
}

/// The same, with settings that can work.
pub enum Checked {
    Serve(Box<Settings>),
    Migrate { database_url: String },
}

pub struct Settings {
    args: ServeArgs,
    control: Control,
    tls: Option<ServerTls>,
    internal: Internal,
    objects: Objects,
    tokens: Keyring,
}

impl Settings {
    fn check(args: ServeArgs) -> anyhow::Result<Self> {
        ensure!(
            args.listen.ip().is_loopback() || args.insecure_listen,
            "--listen {} is reached by other machines, and nobody is asked who they are: listen on 127.0.0.1, or add --insecure-listen",
            args.listen
        );
        let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(certificate, key)| {
            ServerTls::public(Identity { certificate, key }).context("--tls-cert and --tls-key cannot be used")
        });
        let internal = args.internal.check(Role::Api)?;
        internal.may_listen(args.internal_listen, "--internal-listen")?;
        let tokens = keys("--token-key-file", &args.token_key_file)?;
        let objects = Objects::open(&args.objects_url).context("--objects-url")?;
        Ok(Self { control: args.control.check()?, tls: tls.transpose()?, internal, objects, tokens, args })
    }
}

impl Checked {
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        match self {
            Self::Serve(settings) => serve(lifecycle, *settings).await,
            Self::Migrate { database_url } => migrate(&database_url).await,
        }
    }
}

async fn migrate(url: &str) -> anyhow::Result<()> {
    // Nothing is sealed or opened by a migration.
    let store = connect(url, &StoreOptions::new(Keyring::new(&[]))).await?;
    store.migrate().await.context("the database cannot be brought to this release's schema")?;
    tracing::info!("the database has this release's schema");
    Ok(store.close().await?)
}

async fn serve(lifecycle: Lifecycle, settings: Settings) -> anyhow::Result<()> {
    let Settings { args, control, tls, internal, objects, tokens } = settings;
    let public = net::bind(args.listen, "--listen").await?;
    let address = public.local_addr()?;
    let (internal_address, incoming) = internal.listen(args.internal_listen, "--internal-listen").await?;
    let platform = control.open(lifecycle).await?;
    let deadlines = args.control.deadlines.deadlines();
    serve_measures(&platform, args.common.metrics_listen, deadlines).await?;
    let public = match tls {
        None => net::plain(public),
        Some(tls) => net::secured(public, tls),
    };
    let listeners = Listeners { public, internal: incoming };
    let api_args = ApiArgs { deadlines, notice: args.drain_notice, ..args.api };
    for (file, address) in [(&args.address_file, address), (&args.internal_address_file, internal_address)] {
        if let Some(file) = file {
            files::write_whole(file, &format!("{address}\n")).with_context(|| file.display().to_string())?;
        }
    }
    tracing::info!(%address, internal = %internal_address, "the api is ready");
    let routes = LogRoutes::dialled(internal);
    let served = run(platform.clone(), objects, tokens, routes, listeners, api_args).await;
    served.and(platform.close().await)
}
