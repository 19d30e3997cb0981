use std::process::ExitCode;

use taskplane_api::process::Command;

fn main() -> ExitCode {
    let command = Command::parse();
    let common = command.common().clone();
    taskplane_runtime::start("taskplane-api", &common, || command.check(), |lifecycle, checked| checked.run(lifecycle))
}
