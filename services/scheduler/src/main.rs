use std::process::ExitCode;

use clap::Parser as _;
use taskplane_scheduler::process::SchedulerArgs;

fn main() -> ExitCode {
    let args = SchedulerArgs::parse();
    let common = args.common.clone();
    taskplane_runtime::start(
        "taskplane-scheduler",
        &common,
        || args.check(),
        |lifecycle, checked| checked.run(lifecycle),
    )
}
