use std::process::ExitCode;

use clap::Parser as _;
use taskplane_standalone::StandaloneArgs;

fn main() -> ExitCode {
    let args = StandaloneArgs::parse();
    let common = args.common.clone();
    taskplane_runtime::start(
        "taskplane-standalone",
        &common,
        || args.check(),
        |lifecycle, checked| checked.run(lifecycle),
    )
}
