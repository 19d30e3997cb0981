//! Waits until something is gone, across broken connections, and shows what is left of it.

use std::time::Duration;

use taskplane_proto::v1::Remains;
use tonic::{Code, Status};

use crate::connect::Patience;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;

/// How often to look: first and, with growing distance, at last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What was found under the name of what is to go.
pub struct Found {
    pub uid: String,
    pub remains: Option<Remains>,
}

/// Returns when `look` finds nothing any more, or another one of that name.
pub async fn until_gone(
    context: &Context,
    short: &str,
    uid: &str,
    look: impl AsyncFn() -> Result<Found, Failure>,
) -> Result<(), Failure> {
    let progress = Progress::spinner(context.screen(), format!("deleting {short}"));
    let mut patience = Patience::for_streams();
    let (mut wait, longest) = LOOKS;
    loop {
        match look().await {
            Ok(found) if found.uid != uid => return Ok(()),
            Ok(Found { remains, .. }) => {
                patience.refresh();
                progress.bar().set_message(said(short, remains.as_ref()));
            }
            Err(failure) if failure.code() == Some(Code::NotFound) => return Ok(()),
            Err(failure) if failure.code() == Some(Code::Unavailable) => {
                if patience.next(&Status::unavailable("")).is_none() {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(longest);
    }
}

fn said(short: &str, remains: Option<&Remains>) -> String {
    let Some(Remains { apps, jobs, live_tasks, tasks }) = remains else { return format!("deleting {short}") };
    let several = |count: i64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let parts: Vec<String> = [
        several(*apps, "App", "Apps"),
        several(*jobs, "Job", "Jobs"),
        several(*live_tasks, "Task still ending", "Tasks still ending"),
        several(*tasks - *live_tasks, "to remove", "to remove"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { format!("deleting {short}") } else { format!("deleting {short}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_one_line() {
        let remains = |apps, jobs, live_tasks, tasks| Some(Remains { apps, jobs, live_tasks, tasks });
        assert_eq!(said("a", None), "deleting a");
        assert_eq!(said("a", remains(0, 0, 0, 0).as_ref()), "deleting a");
        assert_eq!(said("a", remains(0, 0, 3, 123).as_ref()), "deleting a: 3 Tasks still ending, 120 to remove");
        assert_eq!(said("s", remains(1, 2, 1, 1).as_ref()), "deleting s: 1 App, 2 Jobs, 1 Task still ending");
    }
}
