//! The `taskplane` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskplane_cli::run(std::env::args_os())
}
