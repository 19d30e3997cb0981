//! Watches: each change once, in order, wherever they were cut and resumed.

use std::collections::BTreeMap;

use crate::checker::Broken;
use crate::checker::story::{Story, Watch};

const EXISTING: &str = "existing";

/// I18: along a chain of watches, each begun with the token of the one before, no change is missing and none comes twice.
pub fn show_each_change_once(story: &Story, broken: &mut Broken) {
    let mut chains: BTreeMap<u64, Vec<&Watch>> = BTreeMap::new();
    for watch in &story.watches {
        chains.entry(watch.chain).or_default().push(watch);
    }
    for (chain, watches) in chains {
        let mut seen = Seen::default();
        for watch in watches {
            seen.resumed |= watch.resumed;
            for (_, change) in &watch.saw {
                if change.fact == EXISTING {
                    seen.shows(&change.uid, change.sequence);
                } else if let Err(last) = seen.changes(story, &change.uid, change.sequence) {
                    let (sequence, fact, uid) = (change.sequence, &change.fact, &change.uid);
                    broken.add(format!("I18: chain {chain} shows {sequence} {fact} of {uid} behind {last:?}"));
                }
            }
        }
    }
}

#[derive(Default)]
struct Seen<'s> {
    /// What was there when the chain began: changes up to it may be shown again.
    shown: BTreeMap<&'s str, u64>,
    last: BTreeMap<&'s str, u64>,
    /// Something came that was no longer about what was there: all of that has been shown.
    all_shown: bool,
    resumed: bool,
}

impl<'s> Seen<'s> {
    fn shows(&mut self, uid: &'s str, sequence: u64) {
        self.shown.insert(uid, sequence);
        self.last.insert(uid, sequence);
    }

    fn changes(&mut self, story: &Story, uid: &'s str, sequence: u64) -> Result<(), Option<u64>> {
        // A chain that was cut while it showed what was there does not know all of it.
        self.all_shown |= !self.resumed;
        if self.shown.get(uid).is_some_and(|shown| sequence <= *shown) {
            return Ok(());
        }
        let last = self.last.insert(uid, sequence);
        let begins = match last {
            Some(last) => sequence == last + 1,
            // It may have gone between the position of the watch and the list of what was there.
            None => sequence == 1 || !self.all_shown || is_removed(story, uid),
        };
        if begins { Ok(()) } else { Err(last) }
    }
}

fn is_removed(story: &Story, uid: &str) -> bool {
    story.feed.get(uid).is_some_and(|events| events.iter().any(|event| event.fact == "removed"))
}
