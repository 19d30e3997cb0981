//! What the commands did, held against what was said of them.

use std::collections::BTreeMap;

use crate::checker::Broken;
use crate::checker::story::{Named, Story, is_end, is_final};
use crate::ledger::{Entry, Mark};

const LOST: &str = "LOST";

/// I12: of each attempt the command starts at most once, and attempts follow one another.
pub fn starts_once(story: &Story, broken: &mut Broken) {
    for (uid, entries) in by_task(story) {
        broken.unless(story.feed.contains_key(uid), || format!("I4: {uid} ran, and the feed does not know of it"));
        let mut attempt = 0;
        let mut over = true;
        for entry in entries {
            match entry.mark {
                Mark::Start if entry.attempt > attempt => (attempt, over) = (entry.attempt, false),
                Mark::Start => broken.add(format!("I12: attempt {} of {uid} started twice, or late", entry.attempt)),
                Mark::Beat | Mark::End if entry.attempt != attempt => {
                    broken.add(format!("I12: attempt {} of {uid} goes on beside attempt {attempt}", entry.attempt));
                }
                Mark::Beat | Mark::End if over => {
                    broken.add(format!("I12: attempt {attempt} of {uid} goes on behind its end"));
                }
                Mark::Beat => {}
                Mark::End => over = true,
            }
        }
    }
}

/// I5: once a final state can be read, the command neither starts nor goes on. Only of what is lost nobody claims to know.
pub fn is_silent_after_its_end(story: &Story, broken: &mut Broken) {
    let mut over: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    let mut seen = |uid, ledger: u64, state, reason| {
        if is_final(state) && reason != LOST {
            let earliest = over.entry(uid).or_insert((ledger, state));
            if ledger < earliest.0 {
                *earliest = (ledger, state);
            }
        }
    };
    for sight in story.sights() {
        seen(&*sight.task.uid, sight.ledger, &*sight.task.state, &*sight.task.reason);
    }
    for (ledger, change) in story.watches.iter().flat_map(|watch| &watch.saw) {
        seen(&*change.uid, *ledger, &*change.state, &*change.reason);
    }
    for entry in &story.ledger {
        if let Some((ledger, state)) = over.get(&*entry.uid)
            && entry.offset >= *ledger
        {
            let Entry { offset, mark, uid, attempt } = entry;
            broken.add(format!(
                "I5: {uid} was seen {state} when the ledger had {ledger} bytes, and at {offset} attempt {attempt} says {mark:?}"
            ));
        }
    }
}

/// A Task that succeeded, or whose command said how it ended, ran to its end; one that never started did nothing.
pub fn matches_its_end(story: &Story, broken: &mut Broken) {
    let ledger = by_task(story);
    for (uid, events) in story.task_events() {
        let Some(end) = events.iter().find(|event| is_end(&event.fact)) else { continue };
        let Some(fact) = &end.task else { continue };
        let count = |mark| {
            let entries = ledger.get(&**uid).into_iter().flatten();
            entries.filter(|entry| entry.mark == mark && entry.attempt == fact.attempt).count()
        };
        let told = (&*fact.state, &*fact.reason);
        let ran = (count(Mark::Start), count(Mark::End));
        let holds = match told {
            ("SUCCEEDED", _) | (_, "EXIT_CODE") => ran == (1, 1),
            _ if !events.iter().any(|event| event.fact == "starting") => ran == (0, 0),
            _ => true,
        };
        let named = Named(uid, events);
        broken.unless(holds, || format!("I1: {named} ended {told:?} with {} starts and {} ends", ran.0, ran.1));
    }
}

fn by_task(story: &Story) -> BTreeMap<&str, Vec<&Entry>> {
    let mut tasks: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &story.ledger {
        tasks.entry(&entry.uid).or_default().push(entry);
    }
    tasks
}
