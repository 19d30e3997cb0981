//! `logs`: what the Tasks of an App wrote, or one of them.

use taskplane_proto::v1::{LogLine, StreamLogsRequest};

use crate::args::{Lines, LogsArgs, Output, value};
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::follow::Follow;
use crate::output::{Screen, Side};
use crate::{clock, names};

/// As many lines as kf shows.
const LINES: i32 = 10;

pub async fn logs(context: &Context, args: LogsArgs) -> Result<(), Failure> {
    let (app, id) = subject(&args)?;
    let since = match &args.since {
        Some(text) => {
            Some(value::since(text, clock::now()).map_err(|error| Failure::Usage(format!("--since: {error}")))?)
        }
        None => None,
    };
    let app = names::app(&context.session.space()?, app);
    let request = StreamLogsRequest {
        name: match id {
            Some(id) => format!("{app}/tasks/{id}"),
            None => app,
        },
        follow: !args.recent,
        tail: match (args.number, since) {
            (Some(Lines::Last(count)), _) => Some(count),
            (Some(Lines::All), _) | (None, Some(_)) => None,
            (None, None) => Some(LINES),
        },
        since: since.map(clock::to_wire),
        attempt: args.attempt.unwrap_or_default(),
        offset: 0,
    };
    let mut lines = Joined { tagged: id.is_none(), ..Joined::default() };
    let screen = context.screen();
    let result = Follow::new(&context.session, request)
        .run(|line| match context.printer.output {
            Output::Table => lines.print(screen, line),
            Output::Json | Output::Yaml | Output::Name => context.printer.next(line, |_| String::new()),
        })
        .await;
    lines.end(screen)?;
    result
}

/// The App and, if one is meant, the number of its Task.
fn subject(args: &LogsArgs) -> Result<(&str, Option<i64>), Failure> {
    let (app, id) = match (&args.app, &args.task) {
        (_, None) => {
            return Err(Failure::Usage("an App here has no log but that of its Tasks; add --task".to_owned()));
        }
        (Some(app), Some(None)) => (app.as_str(), None),
        (Some(app), Some(Some(id))) => (app.as_str(), Some(names::task_id(id)?)),
        // `logs --task APP`: with the App behind it, the flag has taken it for an ID.
        (None, Some(Some(app))) => (app.as_str(), None),
        (None, Some(None)) => return Err(Failure::Usage("which App? write logs APP --task".to_owned())),
    };
    if id.is_none() && args.attempt.is_some() {
        return Err(Failure::Usage("--attempt needs the ID of a Task: --task ID".to_owned()));
    }
    Ok((app, id))
}

/// Puts lines together from their parts and, where several Tasks write, says whose each one is.
#[derive(Debug, Default)]
struct Joined {
    tagged: bool,
    /// Whose line has begun and not ended.
    open: Option<(String, i32, i32)>,
}

impl Joined {
    fn print(&mut self, screen: &Screen, line: &LogLine) -> Result<(), Failure> {
        let bytes = self.bytes(line, screen.is_terminal(Side::Out));
        screen.raw(Side::Out, &bytes)
    }

    fn bytes(&mut self, line: &LogLine, terminal: bool) -> Vec<u8> {
        let whose = (line.task.clone(), line.attempt, line.stream);
        let continues = self.open.as_ref() == Some(&whose);
        let mut bytes = Vec::with_capacity(line.content.len() + 16);
        if self.open.take().is_some() && !continues {
            bytes.push(b'\n');
        }
        if self.tagged && !continues {
            bytes.extend_from_slice(format!("[{}] ", escape::line(&names::short_task(&line.task))).as_bytes());
        }
        if terminal {
            bytes.extend_from_slice(escape::log(&line.content).as_bytes());
        } else {
            bytes.extend_from_slice(&line.content);
        }
        if line.partial {
            self.open = Some(whose);
        } else {
            bytes.push(b'\n');
        }
        bytes
    }

    /// A last line without an end gets one where that is for reading only.
    fn end(&mut self, screen: &Screen) -> Result<(), Failure> {
        let needed = self.open.take().is_some() && (self.tagged || screen.is_terminal(Side::Out));
        if needed { screen.raw(Side::Out, b"\n") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> Result<LogsArgs, clap::Error> {
        Cli::try_parse_from(["taskplane", "logs"].iter().chain(words)).map(|cli| match cli.command {
            Command::Logs(args) => args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_flag_may_stand_before_or_behind_the_app() {
        for (words, expected) in [
            (vec!["shop", "--task"], ("shop", None)),
            (vec!["shop", "--task", "3"], ("shop", Some(3))),
            (vec!["--task", "3", "shop"], ("shop", Some(3))),
            (vec!["--task", "shop"], ("shop", None)),
            (vec!["--task", "--recent", "shop"], ("shop", None)),
        ] {
            let args = args(&words).unwrap();
            assert_eq!(subject(&args).unwrap(), expected, "{words:?}");
        }
    }

    #[test]
    fn logs_without_task_are_refused_with_the_flag_to_add() {
        assert!(subject(&args(&["shop"]).unwrap()).unwrap_err().line().ends_with("add --task"));
        assert!(subject(&args(&["shop", "--task", "--attempt", "2"]).unwrap()).is_err());
        assert!(subject(&args(&["shop", "--task", "x"]).unwrap()).is_err());
        assert!(args(&[]).is_err());
    }

    fn line(id: i64, content: &'static [u8], partial: bool) -> LogLine {
        let task = format!("spaces/s/apps/a/tasks/{id}");
        LogLine { task, content: Bytes::from_static(content), partial, ..LogLine::default() }
    }

    #[test]
    fn interleaved_lines_say_whose_they_are_and_never_mix() {
        let mut joined = Joined { tagged: true, ..Joined::default() };
        let mut out = Vec::new();
        for part in [line(1, b"one", false), line(1, b"be", true), line(1, b"gun", true), line(2, b"two", false)] {
            out.extend(joined.bytes(&part, false));
        }
        assert_eq!(String::from_utf8(out).unwrap(), "[a/1] one\n[a/1] begun\n[a/2] two\n");
    }

    #[test]
    fn bytes_are_kept_unless_a_terminal_would_obey_them() {
        let mut joined = Joined::default();
        assert_eq!(joined.bytes(&line(1, b"\xff\x1b[2J", false), false), b"\xff\x1b[2J\n");
        assert_eq!(joined.bytes(&line(1, b"\xff\x1b[2J", false), true), b"\\xff\\x1b[2J\n");
    }
}
