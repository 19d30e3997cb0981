//! The program itself, from the outside: what it prints and how it exits, without a server and against a scripted one
//! that fails where a real one cannot be made to.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test should end it")]

mod alone;
mod jobs;
mod scripted;
mod scripted_jobs;
mod terminal;
mod wire;

use std::path::Path;
use std::process::{Command, Output};

/// The program with a configuration and an environment of its own.
fn taskplane(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_taskplane"));
    command.env_clear().env("HOME", home).env("XDG_CONFIG_HOME", home).current_dir(home);
    command.stdin(std::process::Stdio::null());
    command
}

fn run(home: &Path, api: &str, words: &[&str]) -> Output {
    taskplane(home).env("TASKPLANE_API", api).env("TASKPLANE_SPACE", "s").args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Nothing on stdout, one line on stderr.
fn refusal(output: &Output) -> (i32, String) {
    assert_eq!(text(&output.stdout), "");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    (output.status.code().unwrap(), line.trim_end().to_owned())
}
