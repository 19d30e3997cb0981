//! What the program can say about itself without a server.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::{Cli, Output};
use crate::failure::Failure;
use crate::output::{Screen, Side};
use crate::render::Printer;

pub fn completion(screen: &Screen, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command().name(screen.program), screen.program, &mut script);
    screen.raw(Side::Out, &script)
}

pub fn version(printer: &Printer) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match printer.output {
        Output::Table | Output::Name => printer.screen.print(&format!("{} {version}", printer.screen.program)),
        Output::Json | Output::Yaml => printer.value(&serde_json::json!({ "version": version })),
    }
}
