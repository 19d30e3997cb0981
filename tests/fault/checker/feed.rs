//! The feed: everything, once, in order; and the bus has the same.

use std::collections::BTreeMap;

use crate::checker::Broken;
use crate::checker::story::{Named, Story};
use crate::history::EventSeen;

/// I4: of each thing the events count from one without gap, in the order of the feed, up to what it is in the end.
pub fn is_whole_and_in_order(story: &Story, broken: &mut Broken) {
    for (uid, events) in &story.feed {
        let in_order = (1..).zip(events).all(|(wanted, event)| event.sequence == wanted);
        broken.unless(in_order, || format!("I4: the events of {} have a gap or are out of order", Named(uid, events)));
    }
    for (uid, task) in &story.tasks {
        let last = story.feed.get(uid).and_then(|events| events.last()).map(|event| event.sequence);
        broken.unless(last == Some(task.version), || {
            format!("I4: {} {uid} is at version {}, and its last event is {last:?}", task.task, task.version)
        });
    }
}

/// I4: whoever drops what it knows already gets from the bus what the feed has, in order and without gap.
pub fn is_what_the_bus_has(story: &Story, broken: &mut Broken) {
    let Some(stream) = &story.stream else { return };
    let mut heard: BTreeMap<&str, Vec<&EventSeen>> = BTreeMap::new();
    for event in stream {
        let known = heard.entry(&event.uid).or_default();
        let last = known.last().map_or(0, |last| last.sequence);
        if event.sequence > last + 1 {
            broken.add(format!("I4: on the bus, {} of {} comes behind {last}", event.sequence, event.subject));
        }
        if event.sequence > last {
            known.push(event);
        }
    }
    for (uid, events) in &story.feed {
        let heard = heard.remove(&**uid).unwrap_or_default();
        let same = heard.iter().copied().eq(events);
        broken.unless(same, || format!("I4: the bus has {} of the events of {}", heard.len(), Named(uid, events)));
    }
    for (uid, events) in heard {
        broken.add(format!("I4: the bus tells of {uid} ({}), the feed does not", events[0].subject));
    }
}
