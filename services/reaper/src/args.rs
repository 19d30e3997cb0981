//! Settings of a reaper.

use std::time::Duration;

use jiff::SignedDuration;
use taskplane_domain::task::Deadlines;

/// Settings of a reaper.
#[derive(Debug, Clone, clap::Args)]
pub struct ReaperArgs {
    /// Days that the events of something are kept after it is gone
    #[arg(long, env = "TASKPLANE_EVENT_KEEP_DAYS", default_value = "7", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub event_keep_days: u32,
    /// How long a Task may be STARTING before its attempt is given up, in seconds
    #[arg(long, env = "TASKPLANE_START_DEADLINE", default_value = "3600", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub start_deadline: u32,
    /// What executors give between the gentle and the forced end.
    #[arg(skip = Deadlines::default().grace)]
    pub grace: Duration,
}

impl ReaperArgs {
    /// The api calls Tasks stuck by the same ones.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines { grace: self.grace, start: Duration::from_secs(self.start_deadline.into()) }
    }

    pub(crate) fn events_kept(&self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.event_keep_days))
    }
}
