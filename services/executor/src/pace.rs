//! What a run waits for, told as it changes and no oftener than anybody needs: a cluster can change its mind all the time.

use std::time::{Duration, Instant};

use taskplane_domain::task::Wait;

/// A step on the way is told when it takes longer than this.
const MOMENTS: Duration = Duration::from_secs(2);
/// However often it changes, it is told this often.
const RARELY: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Pace {
    told: Option<(Wait, Instant)>,
    count: u32,
    /// What is so now, and since when.
    seen: Option<(Wait, Instant)>,
}

impl Pace {
    /// Takes in what is so now; gives it back when it is to be told now.
    pub fn tell(&mut self, wait: Wait, now: Instant) -> Option<Wait> {
        if self.told.as_ref().is_some_and(|(told, _)| *told == wait) {
            self.seen = None;
            return None;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen.reason == wait.reason => *since,
            _ => now,
        };
        self.seen = Some((wait.clone(), since));
        if now < self.due(&wait, since) {
            return None;
        }
        self.count = self.count.saturating_add(1);
        self.told = Some((wait.clone(), now));
        self.seen = None;
        Some(wait)
    }

    /// When to look again, if what is so now is still to be told.
    pub fn next(&self) -> Option<Instant> {
        self.seen.as_ref().map(|(wait, since)| self.due(wait, *since))
    }

    fn due(&self, wait: &Wait, since: Instant) -> Instant {
        let stands = if wait.reason.is_hindrance() { since } else { since + MOMENTS };
        // The first few come as they are; then the pause doubles.
        let pause = match self.count.checked_sub(4) {
            None => Duration::ZERO,
            Some(many) => MOMENTS.saturating_mul(1 << many.min(8)).min(RARELY),
        };
        let quiet = self.told.as_ref().map_or(since, |(_, told)| *told + pause);
        stands.max(quiet)
    }
}

#[cfg(test)]
mod tests {
    use taskplane_domain::task::WaitReason;

    use super::*;

    fn wait(reason: WaitReason) -> Wait {
        Wait::new(reason, "")
    }

    #[test]
    fn steps_that_take_moments_are_not_told_and_hindrances_are_at_once() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pace.tell(wait(WaitReason::Submitted), at(0)), None);
        assert_eq!(pace.tell(wait(WaitReason::Scheduling), at(900)), None);
        assert_eq!(pace.tell(wait(WaitReason::Pulling), at(1500)), None);
        assert_eq!(pace.next(), Some(at(3500)));
        assert_eq!(pace.tell(wait(WaitReason::Pulling), at(3500)), Some(wait(WaitReason::Pulling)));
        assert_eq!(pace.tell(wait(WaitReason::Pulling), at(9000)), None);
        assert_eq!(pace.next(), None);
        let quota = wait(WaitReason::QuotaExceeded);
        assert_eq!(Pace::default().tell(quota.clone(), at(0)), Some(quota));
    }

    #[test]
    fn a_cluster_that_keeps_changing_its_mind_for_an_hour_is_told_of_a_bounded_number_of_times() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let told = (0..3600).filter(|second| {
            let reason = if second % 2 == 0 { WaitReason::QuotaExceeded } else { WaitReason::Unschedulable };
            pace.tell(wait(reason), start + Duration::from_secs(*second)).is_some()
        });
        let told = told.count();
        assert!((100..=130).contains(&told), "{told}");
    }
}
