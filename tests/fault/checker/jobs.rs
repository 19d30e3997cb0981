//! Jobs: their ticks, the changes that were made to them, and what is left when they are deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::Broken;
use crate::checker::story::{Call, End, Story};
use crate::history::{Answer, Ask, JobSeen};

/// I2: a (schedule, tick) has one entry, and makes at most one Task.
pub fn ticks_make_one_task(story: &Story, broken: &mut Broken) {
    let mut entries = BTreeSet::new();
    let mut tasks = BTreeSet::new();
    for event in story.feed.values().flatten() {
        let Some(run) = &event.run else { continue };
        if let Some(tick) = run.tick {
            let new = entries.insert((&run.schedule_uid, tick));
            broken.unless(new, || format!("I2: {} has two entries for {tick} of {}", event.subject, run.schedule_uid));
        }
        if !run.task_uid.is_empty() {
            let new = tasks.insert(&run.task_uid);
            broken.unless(new, || format!("I2: {} is of two entries", run.task_uid));
            let made = story.feed.contains_key(&run.task_uid);
            broken.unless(made, || format!("I2: {} is of {}, and is not there", run.task_uid, event.subject));
        }
    }
    let mut made: BTreeMap<(&str, &str, i64), &str> = BTreeMap::new();
    for sight in story.sights() {
        let Some(tick) = sight.task.tick else { continue };
        let first = made.entry((&sight.task.job, &sight.task.schedule, tick)).or_insert(&sight.task.uid);
        broken.unless(*first == sight.task.uid, || {
            format!("I2: {tick} of {} of {} made {first} and {}", sight.task.schedule, sight.task.job, sight.task.uid)
        });
    }
    for call in &story.calls {
        let (Ask::ListRuns { job }, End::Told(_, _, Answer::Runs(runs))) = (&call.ask, &call.end) else { continue };
        let mut ticks = BTreeSet::new();
        for run in runs.iter().filter(|run| run.tick.is_some()) {
            let new = ticks.insert((&run.schedule, run.tick));
            broken.unless(new, || format!("I2: {job} has two entries for {:?} of {}", run.tick, run.schedule));
        }
    }
}

/// I8: of two changes that were decided on the same version one is refused; all that were acknowledged are there.
pub fn updates_are_not_lost(story: &Story, broken: &mut Broken) {
    let mut decided: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let last = jobs(story);
    for call in &story.calls {
        let Ask::UpdateJob { job, etag, adds, .. } = &call.ask else { continue };
        let written = last.get(&**job).map(|job| job.command.split_whitespace().any(|word| word == adds));
        match &call.end {
            End::Told(..) => {
                if let Some(other) = decided.insert((job, etag), adds) {
                    broken.add(format!("I8: {job} took both {other} and {adds} at {etag}"));
                }
                broken.unless(written != Some(false), || format!("I8: {adds} was written to {job}, and is gone"));
            }
            End::Refused(..) => {
                broken.unless(written != Some(true), || format!("I8: {adds} was refused, and stands in {job}"));
            }
            End::Unsure => {}
        }
    }
    let mut revisions = BTreeMap::new();
    for call in &story.calls {
        let (Ask::PushApp { app, command }, End::Told(_, _, Answer::App { revision })) = (&call.ask, &call.end) else {
            continue;
        };
        if let Some(other) = revisions.insert((app, revision), command) {
            broken.unless(other == command, || format!("I8: revision {revision} of {app} is of two pushes"));
        }
    }
}

/// I7: a deleted Job ends with no tick, no Task, and no process.
pub fn deleted_ones_leave_nothing(story: &Story, broken: &mut Broken) {
    let deleted = |call: &Call| match (&call.ask, &call.end) {
        (Ask::DeleteJob { job, .. }, End::Told(..)) => Some(job.clone()),
        _ => None,
    };
    let left = jobs(story);
    for job in BTreeSet::from_iter(story.calls.iter().filter_map(deleted)) {
        broken.unless(!left.contains_key(&*job), || format!("I7: {job} was deleted, and is still there"));
        let listed = story.tasks.values().find(|task| task.job == job);
        broken.unless(listed.is_none(), || format!("I7: {job} was deleted, and {listed:?} is still there"));
        let own = story.feed.values().find(|events| events[0].subject == job);
        let own = own.map(Vec::as_slice).unwrap_or_default();
        let told = own.iter().filter(|event| event.fact == "deleted").count();
        broken.unless(told == 1, || format!("I7: {job} was deleted, and the feed says so {told} times"));
        let Some(asked) = own.iter().find(|event| event.fact == "delete-requested") else { continue };
        let asked = story.places.get(&(asked.uid.clone(), asked.sequence));
        for (uid, events) in story.task_events() {
            let of = events[0].task.as_ref().is_some_and(|task| task.job == job);
            let made = story.places.get(&(uid.clone(), 1));
            broken.unless(!of || made < asked, || format!("I7: {uid} was made of {job} after it was to be deleted"));
        }
    }
    runs_nothing(story, broken);
}

/// Once a Job cannot be found any more, nothing of its Tasks does anything.
fn runs_nothing(story: &Story, broken: &mut Broken) {
    let mut gone: BTreeMap<&str, u64> = BTreeMap::new();
    for call in &story.calls {
        if let (Ask::GetJob { job }, End::Refused(ledger, code)) = (&call.ask, &call.end)
            && code == "NotFound"
        {
            let earliest = gone.entry(job).or_insert(*ledger);
            *earliest = (*earliest).min(*ledger);
        }
    }
    for entry in &story.ledger {
        let fact = story.feed.get(&entry.uid).and_then(|events| events[0].task.as_ref());
        let since = fact.and_then(|task| gone.get(&*task.job));
        broken.unless(since.is_none_or(|since| entry.offset < *since), || {
            format!("I7: {} still ran at {} when its Job was gone at {since:?}", entry.uid, entry.offset)
        });
    }
}

/// Jobs as they were listed in the end, by name.
fn jobs(story: &Story) -> BTreeMap<&str, &JobSeen> {
    let listed = story.calls.iter().rev().find_map(|call| match (&call.ask, &call.end) {
        (Ask::ListJobs, End::Told(_, _, Answer::Jobs(jobs))) => Some(jobs),
        _ => None,
    });
    listed.into_iter().flatten().map(|job| (&*job.job, job)).collect()
}
