//! What was accepted is there once, and comes to one end.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::Broken;
use crate::checker::story::{End, Named, Story, is_end};
use crate::history::{Answer, Ask, TaskSeen};

/// I1: every accepted Task ends exactly once, or is called stuck; and nothing happens to it after its end but that it is removed.
pub fn ends_once(story: &Story, broken: &mut Broken) {
    for task in accepted(story) {
        let begun = story.feed.get(&task.uid).and_then(|events| events.first());
        broken.unless(begun.is_some_and(|event| event.fact == "requested"), || {
            format!("I1: {} {} was accepted, and the feed does not know of it", task.uid, task.task)
        });
    }
    for (uid, events) in story.task_events() {
        let named = Named(uid, events);
        let ends = events.iter().filter(|event| is_end(&event.fact)).count();
        let stuck = story.tasks.get(uid).is_some_and(|task| task.stuck);
        broken.unless(ends > 0 || stuck, || format!("I1: {named} is neither over nor stuck"));
        broken.unless(ends <= 1, || format!("I1: {named} ended {ends} times"));
        let after = events.iter().skip_while(|event| !is_end(&event.fact)).skip(1);
        for event in after.filter(|event| !matches!(&*event.fact, "removed" | "log-delete-requested")) {
            broken.add(format!("I1: {named} has {} behind its end", event.fact));
        }
    }
}

/// I9: one wish makes at most one Task, however often it was tried; one that was always refused makes none; and there is no Task
/// that nobody wished for.
pub fn is_made_once(story: &Story, broken: &mut Broken) {
    let mut wishes: BTreeMap<&str, Wish> = BTreeMap::new();
    for call in &story.calls {
        let (Ask::RunTask { display_name, .. } | Ask::RunJob { display_name, .. }) = &call.ask else { continue };
        let wish = wishes.entry(display_name).or_default();
        match &call.end {
            End::Told(_, _, Answer::Task(task)) => {
                wish.made.insert(&task.uid);
                wish.refused = false;
            }
            End::Told(..) | End::Unsure => wish.refused = false,
            End::Refused(..) => {}
        }
    }
    for (uid, events) in story.task_events() {
        let Some(fact) = events.first().and_then(|event| event.task.as_ref()) else { continue };
        match wishes.get_mut(&*fact.display_name) {
            Some(wish) => {
                wish.made.insert(uid);
            }
            None => broken.unless(!fact.job.is_empty(), || {
                format!("I4: {} was asked for by nobody, and no tick made it", Named(uid, events))
            }),
        }
    }
    for (name, Wish { made, refused }) in wishes {
        broken.unless(made.len() <= 1, || format!("I9: {name} was made more than once: {made:?}"));
        broken.unless(made.is_empty() || !refused, || format!("I9: {name} was refused, and is there: {made:?}"));
    }
}

struct Wish<'s> {
    made: BTreeSet<&'s str>,
    refused: bool,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self { made: BTreeSet::new(), refused: true }
    }
}

/// The Tasks of an App are 1, 2, 3…
pub fn numbers_have_no_gap(story: &Story, broken: &mut Broken) {
    let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (uid, events) in story.task_events() {
        let Some(fact) = events.first().and_then(|event| event.task.as_ref()) else { continue };
        let Some((app, id)) = events[0].subject.split_once("/tasks/") else { continue };
        broken.unless(id == fact.id.to_string(), || format!("I4: {} is number {}", Named(uid, events), fact.id));
        numbers.entry(app).or_default().push(fact.id);
    }
    for (app, mut numbers) in numbers {
        numbers.sort_unstable();
        let gap = (1..).zip(&numbers).find(|(wanted, number)| wanted != *number);
        broken.unless(gap.is_none(), || format!("I1: of {app}, the numbers have a gap or a double at {gap:?}"));
    }
}

/// What callers were told they had got.
fn accepted(story: &Story) -> impl Iterator<Item = &TaskSeen> {
    story.calls.iter().filter_map(|call| match (&call.ask, &call.end) {
        (Ask::RunTask { .. } | Ask::RunJob { .. }, End::Told(_, _, Answer::Task(task))) => Some(task),
        _ => None,
    })
}
