//! Retention: marks the finished Tasks that an App need not keep, within about a second of the end that made them too many.
//!
//! The bus names the Apps to look at; a sweep over all of them, now and then, finds what it did not name. Each look says when the
//! App will have something too old, and it is looked at again then. An App with much to go gets a batch at a time and goes to
//! the end of the line, and what is behind waits while removal has enough to do: an App that is over by a million holds nobody
//! else up.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::{Fact, Subject};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass, jittered};
use taskplane_store::Marked;
use tokio::time::Instant;

use crate::hints::{Hints, Next, Sweep};

/// Tasks marked in one go, of one App.
const BATCH: u32 = 200;
/// Apps that one step of a sweep reads.
const PAGE: u32 = 500;
/// Marked Tasks that removal may be behind before the backlog waits for it.
const BEHIND: u32 = 1000;
const CATCH_UP: Duration = Duration::from_millis(25);
/// The database judges to the microsecond: a little late is better than in vain.
const NOT_TOO_SOON: Duration = Duration::from_millis(5);
/// Between two sweeps over all Apps.
const SWEEP: Duration = Duration::from_secs(300);

/// `purge` is rung when something was marked.
pub(crate) async fn mark(platform: &Platform, purge: &Doorbell) {
    let hints = Hints::default();
    let heard = hints.clone();
    let topics = [Topic::tasks(), Topic::apps(), Topic::spaces()];
    let doorbell = platform.bell("retention-bell", topics, move |ring| heed(ring, &heard));
    let next_sweep = tokio::sync::Mutex::new(Instant::now());
    let pass = || async {
        let mut due = next_sweep.lock().await;
        if Instant::now() >= *due {
            hints.sweep(None);
            *due = Instant::now() + jittered(SWEEP);
        }
        let too_old = hints.fall_due(Instant::now());
        match step(platform, &hints, purge).await? {
            true => Ok(Pass::More),
            false if hints.has_backlog() => Ok(Pass::IdleFor(CATCH_UP)),
            false => {
                let next = too_old.map_or(*due, |too_old| too_old.min(*due));
                Ok(Pass::IdleFor(next.saturating_duration_since(Instant::now())))
            }
        }
    };
    worker::run("retention", &platform.lifecycle, &doorbell, SWEEP, pass).await;
}

/// Takes the hint. Whether it is worth looking at once.
fn heed(ring: &Ring, hints: &Hints) -> bool {
    let event = match ring {
        Ring::Missed => {
            hints.sweep(None);
            return true;
        }
        Ring::Removals => return false,
        Ring::Event(event) => event,
    };
    match (&event.subject, event.fact) {
        (Subject::Task(task), Fact::TaskSucceeded | Fact::TaskFailed | Fact::TaskCancelled | Fact::TaskRequested) => {
            hints.ended(task.app_name());
        }
        (Subject::App(app), Fact::AppPushed) => hints.ended(app.clone()),
        (Subject::Space(space), Fact::SpaceUpdated) => hints.sweep(Some(space.0.clone())),
        _ => return false,
    }
    true
}

/// One App, or one page of a sweep. False: there is nothing to do now.
async fn step(platform: &Platform, hints: &Hints, purge: &Doorbell) -> anyhow::Result<bool> {
    let held_up = hints.has_backlog() && platform.store.removals_ready(BEHIND).await? >= BEHIND;
    match hints.next(held_up) {
        None => return Ok(false),
        Some(Next::Fresh(app) | Next::Backlog(app)) => {
            let marked = platform.store.retention_mark(&app, BATCH).await.inspect_err(|_| hints.more(app.clone()))?;
            let Marked { tasks, next } = marked;
            if tasks > 0 {
                purge.ring();
                platform.feed.removals();
            }
            if tasks >= BATCH {
                hints.more(app);
            } else if let Some(at) = next.and_then(|next| Instant::now().checked_add(next + NOT_TOO_SOON)) {
                hints.ages(app, at);
            }
        }
        Some(Next::Sweep(sweep)) => sweep_on(platform, hints, sweep).await?,
    }
    Ok(true)
}

async fn sweep_on(platform: &Platform, hints: &Hints, sweep: Sweep) -> anyhow::Result<()> {
    let Sweep { space, after } = sweep;
    let rules = platform.store.retention_rules(space.as_ref(), after.as_ref(), PAGE).await?;
    if let Some(last) = rules.last() {
        hints.go_on(Sweep { space, after: Some(last.name.clone()) });
    }
    rules.into_iter().filter(|rule| rule.may_be_exceeded()).for_each(|rule| hints.more(rule.name));
    Ok(())
}
