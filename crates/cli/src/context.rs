//! What every command is given.

use std::path::PathBuf;

use crate::connect::Session;
use crate::output::Screen;
use crate::render::Printer;
use crate::target::Stored;

#[derive(Debug)]
pub struct Context {
    pub printer: Printer,
    pub session: Session,
    pub config: Config,
}

/// The configuration file and what was typed that could go there.
#[derive(Debug)]
pub struct Config {
    pub path: Option<PathBuf>,
    pub stored: Stored,
    /// From the command line itself, not from the environment.
    pub typed: Stored,
}

impl Context {
    pub fn screen(&self) -> &Screen {
        &self.printer.screen
    }

    /// A command to type next, with the flags that led here.
    pub fn hint(&self, command: &str) -> String {
        let mut line = format!("{} {command}", self.screen().program);
        for (flag, value) in [("--api", &self.config.typed.api), ("-s", &self.config.typed.space)] {
            if let Some(value) = value {
                line.push_str(&format!(" {flag} {value}"));
            }
        }
        line
    }
}
