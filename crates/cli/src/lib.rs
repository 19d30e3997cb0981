//! `taskplane`: the kf-compatible command line, a pure gRPC client.
//!
//! [`run`] parses, connects and hands over to one of [`commands`]; whatever goes wrong below ends as one line on stderr
//! and an exit code ([`failure`]). Only [`output`] writes to the terminal, only [`clock`] reads the time, and nothing
//! that a server, a Task or a name says reaches a terminal without [`escape`].

pub mod args;
pub mod clock;
mod commands;
mod connect;
mod context;
pub mod escape;
pub mod failure;
mod follow;
mod leaving;
pub mod manifest;
mod names;
mod output;
pub mod pack;
mod progress;
mod render;
pub mod rules;
mod target;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use args::{Cli, Command};
use connect::Session;
use context::{Config, Context};
use failure::Failure;
use output::Screen;
use render::Printer;
use target::{Stored, Target};

/// Runs one command line, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let screen = Screen::open(program(&args));
    let result = match parse(screen.program, args) {
        Ok((cli, typed)) => execute(screen, cli, typed),
        Err(error) => refuse(&screen, &error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !(failure.is_broken_pipe() || matches!(failure, Failure::Exit(_))) {
                screen.error(&failure.line());
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The name to answer by: linked as `kf`, it is kf.
fn program(args: &[OsString]) -> &'static str {
    match args.first().and_then(|first| Path::new(first).file_stem()) {
        Some(name) if name == "kf" => "kf",
        _ => "taskplane",
    }
}

/// The command line, and which of its targets were typed rather than found in the environment.
pub(crate) fn parse(program: &'static str, args: Vec<OsString>) -> Result<(Cli, Stored), clap::Error> {
    let matches = Cli::command().name(program).bin_name(program).try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let typed = Stored {
        api: cli.everywhere.api.clone().filter(|_| is_typed(&matches, "api")),
        ca_file: cli.everywhere.ca_file.clone().filter(|_| is_typed(&matches, "ca_file")),
        space: cli.everywhere.space.clone().filter(|_| is_typed(&matches, "space")),
    };
    Ok((cli, typed))
}

fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

fn execute(screen: Screen, cli: Cli, typed: Stored) -> Result<(), Failure> {
    let Cli { everywhere, command } = cli;
    let printer = Printer::new(screen, everywhere.output);
    // These two need no server and no configuration, be it broken or not.
    match command {
        Command::Completion { shell } => return commands::about::completion(&screen, shell),
        Command::Version => return commands::about::version(&printer),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::wrong(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let path = target::config_path(&everywhere);
        let stored = target::load(path.as_deref())?;
        let target = Target::choose(&everywhere, &stored);
        let session = Session::new(target, everywhere.request_timeout, screen.program)?;
        let context = Context { printer, session, config: Config { path, stored, typed } };
        commands::dispatch(&context, command).await
    });
    // A file that is still being read must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Prints help where it was asked for, and otherwise what is wrong in one line.
fn refuse(screen: &Screen, error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => screen.print(&error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Err(Failure::Usage(format!("which command? `{} --help` lists them", screen.program)))
        }
        _ => Err(Failure::Usage(usage_line(&error.render().to_string(), screen.program))),
    }
}

/// What clap says in a paragraph, without its headings.
fn usage_line(text: &str, program: &str) -> String {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let said = text.split("\nUsage: ").next().unwrap_or(text);
    let said = said.split("\nFor more information").next().unwrap_or(said);
    let mut parts: Vec<String> = Vec::new();
    for paragraph in said.trim().split("\n\n") {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        let words = words.join(" ");
        parts.push(words.strip_prefix("error: ").map(str::to_owned).unwrap_or(words));
    }
    let words: Vec<&str> = usage.unwrap_or(program).split_whitespace().collect();
    let command: Vec<&str> = words.into_iter().take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    parts.push(format!("try `{} --help`", command.join(" ")));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> String {
        let error = parse("taskplane", args.iter().map(OsString::from).collect()).unwrap_err();
        usage_line(&error.render().to_string(), "taskplane")
    }

    #[test]
    fn a_wrong_command_line_is_explained_in_one_line() {
        for (args, expected) in [
            (
                &["taskplane", "run-task"][..],
                "the following required arguments were not provided: <APP>; try `taskplane run-task --help`",
            ),
            (
                &["taskplane", "run-task", "a", "--timeout", "90"],
                "invalid value '90' for '--timeout <DURATION>': `90` is not a duration; write for example 90s, 2m or \
                 1h30m; try `taskplane --help`",
            ),
            (
                &["taskplane", "apps", "--outptu", "json"],
                "unexpected argument '--outptu' found; tip: a similar argument exists: '--output'; try `taskplane apps \
                 --help`",
            ),
        ] {
            assert_eq!(line(args), expected);
        }
    }

    #[test]
    fn linked_as_kf_it_answers_as_kf() {
        assert_eq!(program(&[OsString::from("/usr/local/bin/kf")]), "kf");
        assert_eq!(program(&[OsString::from("taskplane")]), "taskplane");
        assert_eq!(program(&[]), "taskplane");
        let help = parse("kf", vec!["kf".into(), "tasks".into(), "--help".into()]).unwrap_err().render().to_string();
        assert!(help.contains("Usage: kf tasks"), "{help}");
    }

    #[test]
    fn the_short_flag_of_create_job_is_its_schedule_and_the_space_can_still_be_named() {
        let parsed = |words: &[&str]| {
            let (cli, typed) = parse("taskplane", words.iter().map(OsString::from).collect()).unwrap();
            let Command::CreateJob(args) = cli.command else { panic!("another command") };
            (args.schedule, cli.everywhere.space, typed.space)
        };
        let some = |text: &str| Some(text.to_owned());
        let both = (some("@daily"), some("blue"), some("blue"));
        assert_eq!(parsed(&["taskplane", "create-job", "a", "j", "-s", "@daily", "--space", "blue"]), both);
        assert_eq!(parsed(&["taskplane", "-s", "blue", "create-job", "a", "j", "-s", "@daily"]), both);
    }

    #[test]
    fn only_what_was_typed_is_stored_as_target() {
        let args = ["taskplane", "target", "-s", "blue"].map(OsString::from).to_vec();
        assert_eq!(parse("taskplane", args).unwrap().1, Stored { space: Some("blue".to_owned()), ..Stored::default() });
    }
}
