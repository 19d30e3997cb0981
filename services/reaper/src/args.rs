//! Settings of a reaper.

use jiff::SignedDuration;
use taskplane_domain::task::Deadlines;

/// Settings of a reaper.
#[derive(Debug, Clone, clap::Args)]
pub struct ReaperArgs {
    /// Days that the events of something are kept after it is gone
    #[arg(long, env = "TASKPLANE_EVENT_KEEP_DAYS", default_value = "7", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub event_keep_days: u32,
    /// When Tasks are late; the api calls them stuck by the same.
    #[arg(skip)]
    pub deadlines: Deadlines,
}

impl ReaperArgs {
    pub(crate) fn events_kept(&self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.event_keep_days))
    }
}
