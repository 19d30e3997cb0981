//! The command line as a person or a script calls it: one server, one home directory, one configuration file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::server::{Server, binary};

pub struct Terminal {
    pub server: Server,
    pub home: TempDir,
}

impl Terminal {
    pub async fn start() -> Self {
        Self { server: Server::start().await, home: tempfile::tempdir().unwrap() }
    }

    /// With Space `s` targeted, and App `a` of one file in it.
    pub async fn with_app() -> Self {
        let terminal = Self::start().await;
        terminal.server.client().app(&[("file", "content\n")]).await;
        terminal.ok(&["target", "-s", "s", "--api", &terminal.server.address]);
        terminal
    }

    /// A file below the home directory, with its directories.
    pub fn file(&self, path: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program by any name, in an environment that holds nothing else.
    pub fn program(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("TASKPLANE_CONFIG", self.home.path().join("config.yaml"))
            .current_dir(self.home.path())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn command(&self, words: &[&str]) -> Command {
        self.program(&binary("taskplane"), words)
    }

    pub fn run(&self, words: &[&str]) -> Said {
        said(self.command(words).output().unwrap())
    }

    /// What it answers when all is well.
    pub fn ok(&self, words: &[&str]) -> String {
        let Said { code, out, err } = self.run(words);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?}: {out}");
        out
    }

    /// What it says when it will not: nothing but one readable line. With the exit code.
    pub fn refusal(&self, words: &[&str]) -> (i32, String) {
        self.run(words).refusal()
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct Said {
    /// None: ended by a signal.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn refusal(self) -> (i32, String) {
        let Self { code, out, err } = self;
        assert_eq!(out, "", "{err}");
        assert!(err.ends_with('\n') && err.lines().count() == 1, "not one line: {err:?}");
        let line = err.trim_end().to_owned();
        assert!(!line.contains(char::is_control), "{line:?}");
        for debug in ["Status {", "Error(", "Some(", "panicked", "source:", "\\\""] {
            assert!(!line.contains(debug), "meant for no person: {line}");
        }
        (code.unwrap(), line)
    }
}

pub fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The cells of a table, which stand apart by more than one space.
pub fn cells(table: &str) -> Vec<Vec<&str>> {
    let row = |line| str::split(line, "   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    table.lines().map(row).collect()
}
