//! What is read: never older than what was read before, and nothing but what was committed.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::Broken;
use crate::checker::story::{End, Story};
use crate::history::{Answer, Ask};

/// I10: whoever asks after an answer came sees no older version than that one, whoever got it.
pub fn never_go_back(story: &Story, broken: &mut Broken) {
    let mut looks: BTreeMap<&str, Vec<Look>> = BTreeMap::new();
    for sight in story.sights() {
        let look = Look { asked: sight.asked, told: sight.told, version: sight.task.version, client: sight.client };
        looks.entry(&sight.task.uid).or_default().push(look);
    }
    for call in &story.calls {
        let End::Told(told, _, answer) = &call.end else { continue };
        let jobs = match answer {
            Answer::Job(job) => std::slice::from_ref(job),
            Answer::Jobs(jobs) => jobs,
            _ => continue,
        };
        for job in jobs {
            let look = Look { asked: call.asked, told: *told, version: job.version, client: call.client };
            looks.entry(&job.uid).or_default().push(look);
        }
    }
    for (uid, mut looks) in looks {
        looks.sort_by_key(|look| look.told);
        let mut newest = 0;
        let known: Vec<(usize, u64)> = looks
            .iter()
            .map(|look| {
                newest = newest.max(look.version);
                (look.told, newest)
            })
            .collect();
        for look in &looks {
            let before = known.partition_point(|(told, _)| *told < look.asked);
            let floor = before.checked_sub(1).map_or(0, |last| known[last].1);
            broken.unless(look.version >= floor, || {
                let Look { asked, version, client, .. } = look;
                format!(
                    "I10: client {client}, asking at line {asked}, saw {uid} at {version} when {floor} had been seen"
                )
            });
        }
    }
}

struct Look {
    asked: usize,
    told: usize,
    version: u64,
    client: u32,
}

/// I4: what was seen at a version is what the feed says of it.
pub fn show_what_was_told(story: &Story, broken: &mut Broken) {
    for sight in story.sights() {
        let task = sight.task;
        let events = story.feed.get(&task.uid);
        let event = events.and_then(|events| events.iter().find(|event| event.sequence == task.version));
        let told = event.and_then(|event| event.task.as_ref()).map(|fact| &*fact.state);
        broken.unless(told == Some(&task.state), || {
            format!("I4: {} was seen {} at version {}, and the feed says {told:?}", task.uid, task.state, task.version)
        });
    }
}

/// I10: an accepted Task is found by whoever asks after that, as long as nobody removes it.
pub fn show_what_was_written(story: &Story, broken: &mut Broken) {
    let removed =
        |uid: &str| story.feed.get(uid).is_some_and(|events| events.iter().any(|event| event.fact == "removed"));
    let mut made: Vec<(usize, &str, &str)> = Vec::new();
    for call in &story.calls {
        if let (Ask::RunTask { .. } | Ask::RunJob { .. }, End::Told(told, _, Answer::Task(task))) =
            (&call.ask, &call.end)
            && !removed(&task.uid)
        {
            made.push((*told, &task.uid, &task.task));
        }
    }
    for call in &story.calls {
        match (&call.ask, &call.end) {
            (Ask::ListTasks, End::Told(_, _, Answer::Tasks(tasks))) => {
                let mut seen = BTreeSet::new();
                for task in tasks {
                    let new = seen.insert(&*task.uid);
                    broken.unless(new, || format!("I10: one list shows {} twice", task.uid));
                }
                for (_, uid, name) in made.iter().filter(|(told, ..)| *told < call.asked) {
                    broken.unless(seen.contains(uid), || {
                        format!("I10: a list asked for at line {} does not show {name}, accepted before", call.asked)
                    });
                }
            }
            (Ask::GetTask { task }, End::Refused(_, code)) if code == "NotFound" => {
                let known = made.iter().find(|(told, _, name)| name == task && *told < call.asked);
                broken.unless(known.is_none(), || format!("I10: {task} was accepted, and is not found"));
            }
            _ => {}
        }
    }
}
