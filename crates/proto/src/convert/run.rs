//! What executors report.

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::run::{EndCause, Fate, Observed, Report, RunEnd, RunKey, StartToken};
use taskplane_domain::task::{Condition, Exit, Reason, Refusal, Ticket, Wait};
use taskplane_domain::uid::{Fence, RunUid, TaskUid};

use crate::convert::spec::{class_from_number, class_to_pb};
use crate::convert::time::{timestamp_from_pb, timestamp_to_pb};
use crate::convert::waiting::{wait_reason_from_number, wait_reason_number};
use crate::internal::v1 as pb;

/// A report that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of the report is missing or malformed")]
pub struct BadReport(pub &'static str);

/// The number of a reason on the wire is that of the public enum.
fn reason_to_pb(reason: Reason) -> u32 {
    (crate::v1::Reason::from(reason) as i32).cast_unsigned()
}

fn reason_from_pb(number: u32) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| reason_to_pb(*reason) == number)
}

fn end_to_pb(end: RunEnd) -> pb::RunEnded {
    let RunEnd { cause, exit: Exit { code, signal }, started_at, finished_at, message } = end;
    let answer = match cause {
        EndCause::Refused(refusal) => refusal_to_pb(refusal),
        _ => pb::StartAnswer::Unspecified,
    };
    let (reason, reason_class) = match cause {
        EndCause::Platform { reason, class } => (reason_to_pb(reason), (class_to_pb(class) as i32).cast_unsigned()),
        _ => (0, 0),
    };
    let cause = match cause {
        EndCause::Natural => pb::EndCause::Natural,
        EndCause::Cancel => pb::EndCause::Cancel,
        EndCause::Timeout => pb::EndCause::Timeout,
        EndCause::OutOfMemory => pb::EndCause::OutOfMemory,
        EndCause::DiskQuota => pb::EndCause::DiskQuota,
        EndCause::Refused(_) => pb::EndCause::Refused,
        EndCause::Unanswered => pb::EndCause::Unanswered,
        EndCause::Platform { .. } => pb::EndCause::Platform,
    };
    pb::RunEnded {
        cause: cause as i32,
        exit_code: code,
        signal,
        start_time: started_at.map(timestamp_to_pb),
        end_time: Some(timestamp_to_pb(finished_at)),
        message,
        answer: answer as i32,
        reason,
        reason_class,
    }
}

fn end_from_pb(end: pb::RunEnded) -> Result<RunEnd, BadReport> {
    let pb::RunEnded { cause, exit_code, signal, start_time, end_time, message, reason, reason_class, answer } = end;
    let cause = match pb::EndCause::try_from(cause) {
        Ok(pb::EndCause::Natural) => EndCause::Natural,
        Ok(pb::EndCause::Cancel) => EndCause::Cancel,
        Ok(pb::EndCause::Timeout) => EndCause::Timeout,
        Ok(pb::EndCause::OutOfMemory) => EndCause::OutOfMemory,
        Ok(pb::EndCause::DiskQuota) => EndCause::DiskQuota,
        Ok(pb::EndCause::Refused) => EndCause::Refused(refusal_from_pb(answer).ok_or(BadReport("answer"))?),
        Ok(pb::EndCause::Unanswered) => EndCause::Unanswered,
        Ok(pb::EndCause::Platform) => EndCause::Platform {
            reason: reason_from_pb(reason).ok_or(BadReport("reason"))?,
            class: class_from_number(reason_class).ok_or(BadReport("reason class"))?,
        },
        Ok(pb::EndCause::Unspecified) | Err(_) => return Err(BadReport("cause")),
    };
    Ok(RunEnd {
        cause,
        exit: Exit { code: exit_code, signal },
        started_at: start_time.as_ref().and_then(timestamp_from_pb),
        finished_at: end_time.as_ref().and_then(timestamp_from_pb).ok_or(BadReport("end_time"))?,
        message,
    })
}

pub fn refusal_to_pb(refusal: Refusal) -> pb::StartAnswer {
    match refusal {
        Refusal::OtherPod => pb::StartAnswer::OtherPod,
        Refusal::Cancelling => pb::StartAnswer::Cancelling,
        Refusal::Over => pb::StartAnswer::Over,
    }
}

fn refusal_from_pb(answer: i32) -> Option<Refusal> {
    [Refusal::OtherPod, Refusal::Cancelling, Refusal::Over]
        .into_iter()
        .find(|refusal| refusal_to_pb(*refusal) as i32 == answer)
}

/// Whose guard asks, and what it shows for it.
pub fn claim_from_pb(claim: pb::ClaimStartRequest) -> Result<(RunKey, Ticket, StartToken), Invalid> {
    let pb::ClaimStartRequest { task_uid, attempt, pod_uid, guard_nonce, token } = claim;
    let mut check = Check::new();
    let key = check.field("task_uid", key_from_pb(&task_uid, attempt));
    let ticket = check.all(Ticket::parse(pod_uid, guard_nonce));
    check.finish_with(key.zip(ticket).map(|(key, ticket)| (key, ticket, StartToken(token))))
}

pub fn report_to_pb(key: RunKey, fence: Fence, report: Report) -> pb::RunReport {
    let (run_uid, observed) = match report {
        Report::Seen(seen) => seen_to_pb(seen),
        Report::Removed { run } => (run.0, pb::run_report::Observed::Removed(pb::RunRemoved {})),
    };
    pb::RunReport {
        task_uid: key.task.to_string(),
        attempt: key.attempt,
        fence: fence.0,
        run_uid,
        observed: Some(observed),
    }
}

fn seen_to_pb(seen: Observed) -> (String, pb::run_report::Observed) {
    use pb::run_report::Observed as Pb;
    match seen {
        Observed::Made { run, conditions, guarded } => {
            (run.0, Pb::Made(pb::RunMade { conditions: conditions.iter().map(Into::into).collect(), guarded }))
        }
        Observed::Started { run, at } => (run.0, Pb::Started(pb::RunStarted { time: Some(timestamp_to_pb(at)) })),
        Observed::Over { run, fate: Fate::Ended(end) } => (run.0, Pb::Ended(end_to_pb(end))),
        Observed::Over { run, fate: Fate::Lost { message } } => (run.0, Pb::Lost(pb::RunLost { message })),
        Observed::Over { run, fate: Fate::NeverStarted } => (run.0, Pb::NeverStarted(pb::NeverStarted {})),
        Observed::Waits { run, wait: Wait { reason, message } } => {
            (run.0, Pb::Waits(pb::RunWaits { reason: wait_reason_number(reason), message }))
        }
        Observed::Noted { run, conditions } => {
            (run.0, Pb::Noted(pb::RunNoted { conditions: conditions.iter().map(Into::into).collect() }))
        }
        Observed::NotMade { reason, message } => {
            (String::new(), Pb::NotMade(pb::RunNotMade { reason: reason_to_pb(reason), message }))
        }
    }
}

pub fn report_from_pb(report: pb::RunReport) -> Result<(RunKey, Fence, Report), BadReport> {
    use pb::run_report::Observed as Pb;
    let pb::RunReport { task_uid, attempt, fence, run_uid, observed } = report;
    let key = key_from_pb(&task_uid, attempt)?;
    let observed = observed.ok_or(BadReport("observation"))?;
    if run_uid.is_empty() && !matches!(observed, Pb::NotMade(_)) {
        return Err(BadReport("run_uid"));
    }
    let run = RunUid(run_uid);
    let seen = match observed {
        Pb::Made(pb::RunMade { conditions, guarded }) => {
            Observed::Made { run, conditions: conditions_from_pb(conditions)?, guarded }
        }
        Pb::Waits(pb::RunWaits { reason, message }) => {
            let wait = Wait { reason: wait_reason_from_number(reason).ok_or(BadReport("wait reason"))?, message };
            wait.check().map_err(|_| BadReport("wait message"))?;
            Observed::Waits { run, wait }
        }
        Pb::Noted(pb::RunNoted { conditions }) => Observed::Noted { run, conditions: conditions_from_pb(conditions)? },
        Pb::Started(pb::RunStarted { time }) => {
            Observed::Started { run, at: time.as_ref().and_then(timestamp_from_pb).ok_or(BadReport("start time"))? }
        }
        Pb::Ended(end) => Observed::Over { run, fate: Fate::Ended(end_from_pb(end)?) },
        Pb::Lost(pb::RunLost { message }) => Observed::Over { run, fate: Fate::Lost { message } },
        Pb::NeverStarted(pb::NeverStarted {}) => Observed::Over { run, fate: Fate::NeverStarted },
        Pb::NotMade(pb::RunNotMade { reason, message }) => {
            Observed::NotMade { reason: reason_from_pb(reason).ok_or(BadReport("reason"))?, message }
        }
        Pb::Removed(pb::RunRemoved {}) => return Ok((key, Fence(fence), Report::Removed { run })),
    };
    Ok((key, Fence(fence), Report::Seen(seen)))
}

fn conditions_from_pb(conditions: Vec<pb::TaskCondition>) -> Result<Vec<Condition>, BadReport> {
    let conditions: Result<Vec<_>, _> = conditions.into_iter().map(Condition::try_from).collect();
    let conditions = conditions.map_err(|_| BadReport("conditions"))?;
    Condition::check(&conditions).map_err(|_| BadReport("conditions"))?;
    Ok(conditions)
}

fn key_from_pb(task_uid: &str, attempt: u32) -> Result<RunKey, BadReport> {
    let task = TaskUid(task_uid.parse().map_err(|_| BadReport("task_uid"))?);
    if attempt == 0 { Err(BadReport("attempt")) } else { Ok(RunKey { task, attempt }) }
}

pub fn recovered_to_pb(key: RunKey, run: RunUid, fate: Fate) -> pb::RecoveredRun {
    use pb::recovered_run::Fate as Pb;
    let fate = match fate {
        Fate::NeverStarted => Pb::NeverStarted(pb::NeverStarted {}),
        Fate::Ended(end) => Pb::Ended(end_to_pb(end)),
        Fate::Lost { message } => Pb::Lost(pb::RunLost { message }),
    };
    pb::RecoveredRun { task_uid: key.task.to_string(), attempt: key.attempt, run_uid: run.0, fate: Some(fate) }
}

pub fn recovered_from_pb(recovered: pb::RecoveredRun) -> Result<(RunKey, RunUid, Fate), BadReport> {
    use pb::recovered_run::Fate as Pb;
    let pb::RecoveredRun { task_uid, attempt, run_uid, fate } = recovered;
    let fate = match fate.ok_or(BadReport("fate"))? {
        Pb::NeverStarted(pb::NeverStarted {}) => Fate::NeverStarted,
        Pb::Ended(end) => Fate::Ended(end_from_pb(end)?),
        Pb::Lost(pb::RunLost { message }) => Fate::Lost { message },
    };
    Ok((key_from_pb(&task_uid, attempt)?, RunUid(run_uid), fate))
}

#[cfg(test)]
mod tests {
    use taskplane_domain::task::{Class, WaitReason};

    use super::*;

    #[test]
    fn every_report_survives_the_wire() {
        let time: jiff::Timestamp = "2030-01-01T00:00:00.000001Z".parse().unwrap();
        let run = RunUid("r".into());
        let end = |cause, exit| RunEnd { cause, exit, started_at: Some(time), finished_at: time, message: "m".into() };
        let key = RunKey { task: TaskUid(uuid::Uuid::from_u128(7)), attempt: 2 };
        let exit = Exit { code: Some(3), signal: None };
        for seen in [
            Observed::Made { run: run.clone(), conditions: Vec::new(), guarded: true },
            Observed::Made { run: run.clone(), conditions: vec![Condition::unmet("A", "B", "c")], guarded: false },
            Observed::Started { run: run.clone(), at: time },
            Observed::Over { run: run.clone(), fate: Fate::Ended(end(EndCause::Natural, exit)) },
            Observed::Over {
                run: run.clone(),
                fate: Fate::Ended(end(EndCause::Timeout, Exit { code: None, signal: Some(9) })),
            },
            Observed::Over {
                run: run.clone(),
                fate: Fate::Ended(end(EndCause::Refused(Refusal::OtherPod), Exit::default())),
            },
            Observed::Over { run: run.clone(), fate: Fate::Ended(end(EndCause::Unanswered, Exit::default())) },
            Observed::Over {
                run: run.clone(),
                fate: Fate::Ended(end(
                    EndCause::Platform { reason: Reason::ImagePull, class: Class::Configuration },
                    Exit::default(),
                )),
            },
            Observed::Waits { run: run.clone(), wait: Wait::new(WaitReason::QuotaExceeded, "q is full") },
            Observed::Noted { run: run.clone(), conditions: vec![Condition::unmet("A", "B", "c")] },
            Observed::Over { run: run.clone(), fate: Fate::Lost { message: "gone".into() } },
            Observed::Over { run: run.clone(), fate: Fate::NeverStarted },
            Observed::NotMade { reason: Reason::SourceInvalid, message: "no".into() },
        ] {
            let report = Report::Seen(seen);
            assert_eq!(report_from_pb(report_to_pb(key, Fence(4), report.clone())), Ok((key, Fence(4), report)));
        }
        let report = Report::Removed { run };
        assert_eq!(report_from_pb(report_to_pb(key, Fence(4), report.clone())), Ok((key, Fence(4), report)));
    }
}
