//! Holds what was seen against what is promised. It knows nothing of how the system works: only the history, the ledger, and
//! the feed and stream as they were read in the end.
//!
//! Each rule is a function from the [`Story`] to sentences about what is broken, which begin with the invariant's number.

mod accepted;
mod effects;
mod feed;
mod jobs;
mod reads;
mod story;
#[cfg(test)]
mod tests;
mod watches;

use std::fmt;

pub use story::{Story, is_final};

/// What is broken, one sentence each.
#[derive(Default)]
pub struct Broken(Vec<String>);

impl Broken {
    fn add(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    fn unless(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.0.push(sentence());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    fn sentences(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A flood has one spring: the first ones are enough to find it.
        const SHOWN: usize = 40;
        for sentence in self.0.iter().take(SHOWN) {
            writeln!(f, "  {sentence}")?;
        }
        match self.0.len().checked_sub(SHOWN + 1) {
            Some(more) => writeln!(f, "  … and {} more", more + 1),
            None => Ok(()),
        }
    }
}

pub fn check(story: &Story) -> Broken {
    let mut broken = Broken::default();
    for rule in [
        accepted::ends_once,
        accepted::is_made_once,
        accepted::numbers_have_no_gap,
        effects::starts_once,
        effects::is_silent_after_its_end,
        effects::matches_its_end,
        feed::is_whole_and_in_order,
        feed::is_what_the_bus_has,
        jobs::ticks_make_one_task,
        jobs::updates_are_not_lost,
        jobs::deleted_ones_leave_nothing,
        reads::never_go_back,
        reads::show_what_was_told,
        reads::show_what_was_written,
        watches::show_each_change_once,
    ] {
        rule(story, &mut broken);
    }
    broken
}
