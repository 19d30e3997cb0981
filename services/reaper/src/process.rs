//! The reaper as a process of its own.

use anyhow::Context as _;
use taskplane_logs::Objects;
use taskplane_platform::{Control, ControlArgs, serve_measures};
use taskplane_runtime::{CommonArgs, Lifecycle};

use crate::{ReaperArgs, run};

/// The reaper of Taskplane: brings to an end what is late, and clears away what is over. Any number may run.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "taskplane-reaper", version, about, long_about = None)]
pub struct ReaperProcessArgs {
    /// The object store that api, executors and reaper share: file:///absolute/path, on one host
    #[arg(long, env = "TASKPLANE_OBJECTS_URL", value_name = "URL")]
    pub objects_url: String,
    #[command(flatten)]
    pub control: ControlArgs,
    #[command(flatten)]
    pub reaper: ReaperArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Settings that can work.
pub struct Settings {
    args: ReaperProcessArgs,
    control: Control,
    objects: Objects,
}

impl ReaperProcessArgs {
    pub fn check(self) -> anyhow::Result<Settings> {
        let objects = Objects::open(&self.objects_url).context("--objects-url")?;
        Ok(Settings { control: self.control.check()?, objects, args: self })
    }
}

impl Settings {
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let Self { args, control, objects } = self;
        let deadlines = args.control.deadlines.deadlines();
        let platform = control.open(lifecycle).await?;
        serve_measures(&platform, args.common.metrics_listen, deadlines).await?;
        tracing::info!("the reaper is ready");
        let ran = run(platform.clone(), objects, ReaperArgs { deadlines, ..args.reaper }).await;
        ran.and(platform.close().await)
    }
}
