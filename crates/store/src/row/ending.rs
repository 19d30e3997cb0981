//! How something ended, as the five cells that Tasks and attempts have for it.

use taskplane_domain::task::{Class, Exit, Failure, Outcome, Reason, StateKind};

use crate::error::Corrupt;
use crate::row::Row;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub reason: Option<String>,
    /// None: the reason's own.
    pub reason_class: Option<String>,
    pub message: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

impl From<&Outcome> for Ending {
    fn from(outcome: &Outcome) -> Self {
        let Exit { code, signal } = outcome.exit();
        let succeeded = matches!(outcome, Outcome::Succeeded);
        Self {
            reason: outcome.reason().map(|reason| reason.as_str().to_owned()),
            reason_class: outcome
                .class()
                .filter(|class| Some(*class) != outcome.reason().map(Reason::class))
                .map(|class| class.as_str().to_owned()),
            message: (!succeeded).then(|| outcome.message().to_owned()),
            exit_code: code,
            signal,
        }
    }
}

/// The final state that an outcome is.
pub(crate) fn kind_of(outcome: &Outcome) -> StateKind {
    match outcome {
        Outcome::Succeeded => StateKind::Succeeded,
        Outcome::Failed(_) => StateKind::Failed,
        Outcome::Cancelled { .. } => StateKind::Cancelled,
    }
}

impl Ending {
    /// None: `kind` is no end.
    pub(crate) fn outcome(self, row: &Row, kind: StateKind) -> Result<Option<Outcome>, Corrupt> {
        let Self { reason, reason_class, message, exit_code, signal } = self;
        let reason = match reason {
            Some(text) => Some(Reason::parse(&text).ok_or_else(|| row.corrupt("reason"))?),
            None => None,
        };
        let class = match reason_class {
            Some(text) => Some(Class::parse(&text).ok_or_else(|| row.corrupt("reason_class"))?),
            None => reason.map(Reason::class),
        };
        let exit = Exit { code: exit_code, signal };
        match kind {
            StateKind::Pending | StateKind::Starting | StateKind::Running | StateKind::Cancelling => Ok(None),
            StateKind::Succeeded if reason.is_some() => Err(row.corrupt("reason")),
            StateKind::Succeeded if exit != Outcome::Succeeded.exit() => Err(row.corrupt("exit_code")),
            StateKind::Succeeded => Ok(Some(Outcome::Succeeded)),
            StateKind::Failed => Ok(Some(Outcome::Failed(Failure {
                reason: row.needed("reason", reason)?,
                class: row.needed("reason_class", class)?,
                message: row.needed("message", message)?,
                exit,
            }))),
            StateKind::Cancelled if reason != Some(Reason::Cancelled) => Err(row.corrupt("reason")),
            StateKind::Cancelled => Ok(Some(Outcome::Cancelled { message: row.needed("message", message)?, exit })),
        }
    }
}
