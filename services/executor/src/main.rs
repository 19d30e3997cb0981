use std::process::ExitCode;

use clap::Parser as _;
use taskplane_executor::process::ExecutorProcessArgs;

fn main() -> ExitCode {
    let args = ExecutorProcessArgs::parse();
    let common = args.common.clone();
    taskplane_runtime::start(
        "taskplane-executor",
        &common,
        || args.check(),
        |lifecycle, checked| checked.run(lifecycle),
    )
}
