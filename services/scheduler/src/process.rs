//! The scheduler as a process of its own.

use taskplane_domain::name::Name;
use taskplane_platform::{Control, ControlArgs, serve_measures};
use taskplane_runtime::{CommonArgs, Lifecycle};

use crate::run;

/// Where Tasks run until a Space can say otherwise.
const CLUSTER: &str = "local";

/// The scheduler of Taskplane: makes the Tasks that schedules call for. Any number may run.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "taskplane-scheduler", version = version(), about, long_about = None)]
pub struct SchedulerArgs {
    #[command(flatten)]
    pub control: ControlArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The release of the time zone database decides when schedules fire, so it is told with the version.
fn version() -> String {
    format!("{} (tzdb {})", env!("CARGO_PKG_VERSION"), taskplane_domain::schedule::tzdb_release())
}

/// Settings that can work.
pub struct Settings {
    args: SchedulerArgs,
    control: Control,
    cluster: Name,
}

impl SchedulerArgs {
    pub fn check(self) -> anyhow::Result<Settings> {
        Ok(Settings { control: self.control.check()?, cluster: CLUSTER.parse()?, args: self })
    }
}

impl Settings {
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let Self { args, control, cluster } = self;
        let platform = control.open(lifecycle).await?;
        serve_measures(&platform, args.common.metrics_listen, args.control.deadlines.deadlines()).await?;
        tracing::info!("the scheduler is ready");
        let ran = run(platform.clone(), cluster).await;
        ran.and(platform.close().await)
    }
}
