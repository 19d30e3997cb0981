//! What became of the question, as an exit code. Whoever reads the codes relies on them: they never change.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The command may start.
    Granted,
    /// It was started already, in another pod or process.
    OtherPod,
    /// The Task is to end.
    Cancelling,
    /// The attempt is over.
    Over,
    /// Nobody answered in time.
    Unanswered,
    /// The question was refused: it is not for this attempt, or makes no sense.
    Denied,
    /// What the guard was told makes no sense.
    Misconfigured,
}

impl Answer {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "GRANTED",
            Self::OtherPod => "OTHER_POD",
            Self::Cancelling => "CANCELLING",
            Self::Over => "OVER",
            Self::Unanswered => "UNANSWERED",
            Self::Denied => "DENIED",
            Self::Misconfigured => "MISCONFIGURED",
        }
    }
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> Self {
        Self::from(match answer {
            Answer::Granted => 0,
            Answer::OtherPod => 71,
            Answer::Cancelling => 72,
            Answer::Over => 73,
            Answer::Unanswered => 74,
            Answer::Denied => 75,
            Answer::Misconfigured => 78,
        })
    }
}
