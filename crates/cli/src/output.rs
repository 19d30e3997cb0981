//! The only place that writes: answers to stdout, notes and questions to stderr.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::escape;
use crate::failure::Failure;

/// Where output goes, and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// The name the program was called by.
    pub program: &'static str,
    out_terminal: bool,
    err_terminal: bool,
    in_terminal: bool,
}

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Out,
    Err,
}

impl Screen {
    pub fn open(program: &'static str) -> Self {
        Self {
            program,
            out_terminal: io::stdout().is_terminal(),
            err_terminal: io::stderr().is_terminal(),
            in_terminal: io::stdin().is_terminal(),
        }
    }

    pub fn is_terminal(&self, side: Side) -> bool {
        match side {
            Side::Out => self.out_terminal,
            Side::Err => self.err_terminal,
        }
    }

    /// Writes bytes as they are.
    pub fn raw(&self, side: Side, bytes: &[u8]) -> Result<(), Failure> {
        match side {
            Side::Out => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Side::Err => io::stderr().lock().write_all(bytes),
        }
        .map_err(Failure::Output)
    }

    /// Prints a part of the answer; `text` is already harmless.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.raw(Side::Out, format!("{text}{end}").as_bytes())
    }

    /// One line for a person, beside the answer. That stderr is gone is no reason to fail.
    pub fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", escape::line(text));
    }

    /// The one line that says what went wrong.
    pub fn error(&self, text: &str) {
        self.note(&format!("{}: {text}", self.program));
    }

    /// Whether somebody is there to be asked.
    pub fn can_ask(&self) -> bool {
        self.in_terminal && self.err_terminal
    }

    /// Asks before something that cannot be undone.
    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        if !self.can_ask() {
            return Err(Failure::wrong_with(
                "nobody is there to confirm the deletion".to_owned(),
                "add -f to delete without asking".to_owned(),
            ));
        }
        let mut err = io::stderr().lock();
        write!(err, "{} [y/N] ", escape::line(question)).and_then(|()| err.flush()).map_err(Failure::Output)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(Failure::Output)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}
