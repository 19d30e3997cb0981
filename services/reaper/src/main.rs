use std::process::ExitCode;

use clap::Parser as _;
use taskplane_reaper::process::ReaperProcessArgs;

fn main() -> ExitCode {
    let args = ReaperProcessArgs::parse();
    let common = args.common.clone();
    taskplane_runtime::start("taskplane-reaper", &common, || args.check(), |lifecycle, checked| checked.run(lifecycle))
}
