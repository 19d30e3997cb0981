//! The guard: the first thing in the pod of a guarded run. It asks for the start ticket and ends with the answer as its exit
//! code; the command comes after it only when that is 0. A pod that its cluster starts again has a guard again, which is told no.
//!
//! It is told everything by environment ([`settings`]), and says one line. Neither that line nor anything else it writes holds
//! the token.

mod answer;
mod ask;
mod pinned;
mod settings;

use std::process::ExitCode;
use std::time::Instant;

use answer::Answer;
use settings::Settings;

fn main() -> ExitCode {
    let started = Instant::now();
    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(wrong) => return say(Answer::Misconfigured, &wrong.to_string()),
    };
    let (answer, detail) = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(ask::until_answered(&settings, started)),
        Err(error) => (Answer::Misconfigured, error.to_string()),
    };
    if let Some(file) = &settings.answer_file
        && let Err(error) = std::fs::write(file, answer.as_str())
    {
        // The exit code says it too.
        eprintln!("taskplane-guard: {}: {error}", file.display());
    }
    say(answer, &detail)
}

fn say(answer: Answer, detail: &str) -> ExitCode {
    let separator = if detail.is_empty() { "" } else { ": " };
    eprintln!("taskplane-guard: {}{separator}{detail}", answer.as_str());
    answer.into()
}
