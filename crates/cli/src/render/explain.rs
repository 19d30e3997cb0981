//! Why a Task is not running, or not gone yet, in sentences.

use jiff::Timestamp;
use taskplane_proto::v1::{ExplainTaskResponse, Explanation};

use super::state::{cause_name, state_name};
use crate::{clock, escape, names};

pub fn explained(answer: &ExplainTaskResponse, now: Timestamp) -> String {
    let head = format!("Task {} is {}.", names::short_task(&answer.name), state_name(answer.state()));
    let told = answer.explanations.iter().map(|explanation| sentence(explanation, now));
    std::iter::once(escape::line(&head).into_owned()).chain(told).collect::<Vec<_>>().join("\n")
}

/// `Turn: 3 waiting Tasks are before it (for 12s); its turn comes`.
fn sentence(explanation: &Explanation, now: Timestamp) -> String {
    let mut times = Vec::new();
    times.extend(clock::between(explanation.since, None, now).map(|ago| format!("for {ago}")));
    times.extend(
        clock::until(explanation.until, now).map(|then| format!("until {then}").replace("until in", "changes in")),
    );
    let times = if times.is_empty() { String::new() } else { format!(" ({})", times.join(", ")) };
    let remedy = if explanation.remedy.is_empty() { String::new() } else { format!("; {}", explanation.remedy) };
    let text = format!("{}: {}{times}{remedy}", cause_name(explanation.cause()), explanation.message);
    escape::line(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use taskplane_proto::v1::{Cause, TaskState};

    use super::*;

    #[test]
    fn an_explanation_says_since_when_and_what_to_do() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let explanation = |cause: Cause, message: &str| Explanation {
            cause: cause.into(),
            message: message.to_owned(),
            ..Explanation::default()
        };
        let answer = ExplainTaskResponse {
            name: "spaces/s/apps/shop/tasks/3".to_owned(),
            state: TaskState::Cancelling.into(),
            explanations: vec![
                Explanation { since: at(40), remedy: "look".to_owned(), ..explanation(Cause::Stuck, "it hangs") },
                Explanation { since: at(10), until: at(130), ..explanation(Cause::Ending, "an\x1b[2J end") },
                explanation(Cause::Turn, "its turn comes"),
            ],
        };
        assert_eq!(
            explained(&answer, Timestamp::from_second(100).unwrap()),
            "\
Task shop/3 is Cancelling.
Stuck: it hangs (for 60s); look
Ending: an\\x1b[2J end (for 90s, changes in 30s)
Turn: its turn comes"
        );
    }
}
