//! The process above one run of the local backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    taskplane_backend::shim::main()
}
