//! Which Apps to look at next. Only hints: what is lost here is found by the next sweep.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use taskplane_domain::name::{AppName, Name};
use tokio::time::Instant;

/// Apps that are remembered; when there are more, all are looked at.
const MOST: usize = 10_000;

/// Where a sweep stands: over all Apps, or those of one Space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub space: Option<Name>,
    pub after: Option<AppName>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Something of it has just ended.
    Fresh(AppName),
    /// It has more than one batch to go, or a sweep came by.
    Backlog(AppName),
    Sweep(Sweep),
}

/// Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hints(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    fresh: Line,
    backlog: Line,
    sweeps: VecDeque<Sweep>,
    ages: Ages,
    turn: bool,
}

/// Apps that will have something too old, each with the next such moment; the soonest when there are too many.
#[derive(Debug, Default)]
struct Ages {
    order: BTreeMap<(Instant, u64), AppName>,
    places: HashMap<AppName, (Instant, u64)>,
    count: u64,
}

impl Ages {
    fn set(&mut self, app: AppName, at: Instant) {
        if let Some(before) = self.places.remove(&app) {
            self.order.remove(&before);
        }
        self.count += 1;
        let place = (at, self.count);
        self.places.insert(app.clone(), place);
        self.order.insert(place, app);
        if self.order.len() > MOST
            && let Some((_, last)) = self.order.pop_last()
        {
            self.places.remove(&last);
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<AppName> {
        let first = self.order.first_entry().filter(|first| first.key().0 <= now)?;
        let app = first.remove();
        self.places.remove(&app);
        Some(app)
    }

    fn next(&self) -> Option<Instant> {
        self.order.first_key_value().map(|((at, _), _)| *at)
    }
}

/// Each App stands in it once.
#[derive(Debug, Default)]
struct Line {
    order: VecDeque<AppName>,
    there: HashSet<AppName>,
}

impl Line {
    fn add(&mut self, app: AppName) {
        if self.there.insert(app.clone()) {
            self.order.push_back(app);
        }
    }

    fn take(&mut self) -> Option<AppName> {
        let app = self.order.pop_front()?;
        self.there.remove(&app);
        Some(app)
    }
}

impl Hints {
    pub fn ended(&self, app: AppName) {
        let mut known = self.lock();
        if known.fresh.order.len() < MOST {
            known.fresh.add(app);
        } else {
            known.sweep(None);
        }
    }

    pub fn more(&self, app: AppName) {
        self.lock().backlog.add(app);
    }

    /// The App will have something too old at that moment, and nothing before it.
    pub fn ages(&self, app: AppName, at: Instant) {
        self.lock().ages.set(app, at);
    }

    /// What has grown too old by now joins what has just ended. When something else will have?
    pub fn fall_due(&self, now: Instant) -> Option<Instant> {
        let mut known = self.lock();
        while let Some(app) = known.ages.take_due(now) {
            known.fresh.add(app);
        }
        known.ages.next()
    }

    /// All Apps, or those of a Space, are to be looked at.
    pub fn sweep(&self, space: Option<Name>) {
        self.lock().sweep(space);
    }

    pub fn go_on(&self, sweep: Sweep) {
        self.lock().sweeps.push_front(sweep);
    }

    /// Fresh ones and the backlog take turns, so that neither waits for the other; a sweep goes on when both are done.
    /// `held_up`: the backlog must wait.
    pub fn next(&self, held_up: bool) -> Option<Next> {
        let mut known = self.lock();
        known.turn = !known.turn;
        let waiting = held_up || known.turn;
        if !waiting && let Some(app) = known.backlog.take() {
            return Some(Next::Backlog(app));
        }
        if let Some(app) = known.fresh.take() {
            return Some(Next::Fresh(app));
        }
        if held_up {
            return None;
        }
        match known.backlog.take() {
            Some(app) => Some(Next::Backlog(app)),
            None => known.sweeps.pop_front().map(Next::Sweep),
        }
    }

    pub fn has_backlog(&self) -> bool {
        let known = self.lock();
        !known.backlog.order.is_empty() || !known.sweeps.is_empty()
    }

    /// No code runs while the lock is held that could leave it half-changed.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A sweep that is under way may be past what changed, so the new one begins at the beginning.
    fn sweep(&mut self, space: Option<Name>) {
        let asked = Sweep { space, after: None };
        if !self.sweeps.contains(&asked) {
            self.sweeps.push_back(asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppName {
        format!("spaces/s/apps/{name}").parse().unwrap()
    }

    #[test]
    fn what_has_just_ended_and_what_is_behind_take_turns() {
        let hints = Hints::default();
        hints.more(app("full"));
        for name in ["a", "b", "a"] {
            hints.ended(app(name));
        }
        hints.sweep(None);
        let taken: Vec<_> = std::iter::from_fn(|| hints.next(false)).collect();
        let sweep = Next::Sweep(Sweep { space: None, after: None });
        assert_eq!(taken, [Next::Fresh(app("a")), Next::Backlog(app("full")), Next::Fresh(app("b")), sweep]);
        assert!(!hints.has_backlog());
    }

    #[test]
    fn only_the_backlog_waits_when_removal_is_behind() {
        let hints = Hints::default();
        hints.more(app("full"));
        hints.ended(app("a"));
        assert_eq!(hints.next(true), Some(Next::Fresh(app("a"))));
        assert_eq!(hints.next(true), None);
        assert_eq!(hints.next(true), None);
        assert!(hints.has_backlog());
        assert_eq!(hints.next(false), Some(Next::Backlog(app("full"))));
    }

    #[test]
    fn what_grows_too_old_is_looked_at_when_it_does() {
        let (hints, begin) = (Hints::default(), Instant::now());
        let at = |seconds| begin + std::time::Duration::from_secs(seconds);
        for (name, seconds) in [("b", 20), ("a", 10), ("c", 30), ("c", 15), ("d", 15)] {
            hints.ages(app(name), at(seconds));
        }
        assert_eq!(hints.fall_due(at(9)), Some(at(10)));
        assert_eq!(hints.next(false), None);
        assert_eq!(hints.fall_due(at(15)), Some(at(20)));
        let taken: Vec<_> = std::iter::from_fn(|| hints.next(false)).collect();
        assert_eq!(taken, ["a", "c", "d"].map(|name| Next::Fresh(app(name))));
        assert_eq!(hints.fall_due(at(60)), None);
        assert_eq!(hints.next(false), Some(Next::Fresh(app("b"))));
    }

    #[test]
    fn of_too_many_ages_the_soonest_are_remembered() {
        let (hints, begin) = (Hints::default(), Instant::now());
        for number in (0..=MOST as u64).rev() {
            hints.ages(app(&format!("a{number}")), begin + std::time::Duration::from_secs(number));
        }
        hints.fall_due(begin + std::time::Duration::from_secs(1_000_000));
        assert_eq!(std::iter::from_fn(|| hints.next(false)).count(), MOST);
    }

    #[test]
    fn too_many_hints_become_a_sweep() {
        let hints = Hints::default();
        for number in 0..=MOST {
            hints.ended(app(&format!("a{number}")));
        }
        let taken: Vec<_> = std::iter::from_fn(|| hints.next(false)).collect();
        assert_eq!(taken.len(), MOST + 1);
        assert_eq!(taken.last(), Some(&Next::Sweep(Sweep { space: None, after: None })));
    }
}
