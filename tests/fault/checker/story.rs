//! The history in the shapes in which the rules ask for it.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Answer, Ask, Change, EventSeen, Line, TaskSeen, What};
use crate::ledger::Entry;

pub struct Story {
    pub calls: Vec<Call>,
    pub watches: Vec<Watch>,
    /// The feed as it was read in the end, by what it speaks of.
    pub feed: BTreeMap<String, Vec<EventSeen>>,
    /// The place of each event in the feed, by what it speaks of and its sequence.
    pub places: BTreeMap<(String, u64), usize>,
    /// The same from the bus, in its own order, repeats included; `None` where nobody read it.
    pub stream: Option<Vec<EventSeen>>,
    /// Tasks as they were listed in the end.
    pub tasks: BTreeMap<String, TaskSeen>,
    pub ledger: Vec<Entry>,
}

/// A call and what came of it.
pub struct Call {
    pub client: u32,
    pub ask: Ask,
    /// Its place in the history.
    pub asked: usize,
    pub end: End,
}

pub enum End {
    /// The place of the answer in the history, and the size of the ledger then.
    Told(usize, u64, Answer),
    Refused(u64, String),
    /// Also what nobody waited for.
    Unsure,
}

pub struct Watch {
    pub chain: u64,
    pub resumed: bool,
    /// With the size of the ledger then.
    pub saw: Vec<(u64, Change)>,
}

/// One look at a Task.
pub struct Sight<'s> {
    pub asked: usize,
    pub told: usize,
    pub ledger: u64,
    pub task: &'s TaskSeen,
    pub client: u32,
}

impl Story {
    pub fn new(lines: Vec<Line>, ledger: Vec<Entry>) -> Self {
        let mut calls = BTreeMap::new();
        let mut watches = BTreeMap::new();
        for (place, line) in lines.into_iter().enumerate() {
            match line.what {
                What::Asked(Ask::WatchTasks { chain, resumed }) => {
                    watches.insert(line.call, Watch { chain, resumed, saw: Vec::new() });
                }
                What::Asked(ask) => {
                    calls.insert(line.call, Call { client: line.client, ask, asked: place, end: End::Unsure });
                }
                What::Saw(change) => watches.get_mut(&line.call).unwrap().saw.push((line.ledger, change)),
                What::Told(answer) => {
                    if let Some(call) = calls.get_mut(&line.call) {
                        call.end = End::Told(place, line.ledger, answer);
                    }
                }
                What::Refused { code, .. } => {
                    if let Some(call) = calls.get_mut(&line.call) {
                        call.end = End::Refused(line.ledger, code);
                    }
                }
                What::Unsure { .. } | What::Fault(_) => {}
            }
        }
        let calls: Vec<Call> = calls.into_values().collect();
        let mut feed: BTreeMap<String, Vec<EventSeen>> = BTreeMap::new();
        let mut places = BTreeMap::new();
        let listed = last(&calls, |ask| matches!(ask, Ask::ListEvents)).map(events).unwrap_or_default();
        for (place, event) in listed.into_iter().enumerate() {
            places.insert((event.uid.clone(), event.sequence), place);
            feed.entry(event.uid.clone()).or_default().push(event);
        }
        let stream = last(&calls, |ask| matches!(ask, Ask::ReadStream)).map(events);
        let tasks = match last(&calls, |ask| matches!(ask, Ask::ListTasks)) {
            Some(Answer::Tasks(tasks)) => tasks.iter().map(|task| (task.uid.clone(), task.clone())).collect(),
            _ => BTreeMap::new(),
        };
        Self { calls, watches: watches.into_values().collect(), feed, places, stream, tasks, ledger }
    }

    /// What is told of each Task.
    pub fn task_events(&self) -> impl Iterator<Item = (&String, &Vec<EventSeen>)> {
        self.feed.iter().filter(|(_, events)| events.iter().any(|event| event.task.is_some()))
    }

    /// Every look at a Task, in the order in which the answers came.
    pub fn sights(&self) -> Vec<Sight<'_>> {
        let mut sights = Vec::new();
        for call in &self.calls {
            let End::Told(told, ledger, answer) = &call.end else { continue };
            let tasks = match answer {
                Answer::Task(task) => std::slice::from_ref(task),
                Answer::Tasks(tasks) => tasks,
                _ => continue,
            };
            let sight = |task| Sight { asked: call.asked, told: *told, ledger: *ledger, task, client: call.client };
            sights.extend(tasks.iter().map(sight));
        }
        sights.sort_by_key(|sight| sight.told);
        sights
    }
}

fn last(calls: &[Call], which: impl Fn(&Ask) -> bool) -> Option<&Answer> {
    calls.iter().rev().filter(|call| which(&call.ask)).find_map(|call| match &call.end {
        End::Told(_, _, answer) => Some(answer),
        End::Refused(..) | End::Unsure => None,
    })
}

fn events(answer: &Answer) -> Vec<EventSeen> {
    match answer {
        Answer::Events(events) => events.clone(),
        _ => Vec::new(),
    }
}

/// For a person to see that something happened at all.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.calls.iter().filter(|call| matches!(call.end, End::Told(..))).count();
        let refused = self.calls.iter().filter(|call| matches!(call.end, End::Refused(..))).count();
        let ends = |fact: &str| self.feed.values().flatten().filter(|event| event.fact == fact).count();
        let lost = self.feed.values().flatten().filter_map(|event| event.task.as_ref());
        let lost = lost.filter(|task| task.reason == "LOST" && task.state == "FAILED").count();
        write!(
            f,
            "{} calls, {told} of them answered and {refused} refused; {} Tasks, of which {} succeeded, {} failed \
             ({lost} lost) and {} were cancelled; {} ticks; {} lines in the ledger, {} answers of watches",
            self.calls.len(),
            self.task_events().count(),
            ends("succeeded"),
            ends("failed"),
            ends("cancelled"),
            self.feed
                .values()
                .flatten()
                .filter(|event| event.run.as_ref().is_some_and(|run| run.tick.is_some()))
                .count(),
            self.ledger.len(),
            self.watches.iter().map(|watch| watch.saw.len()).sum::<usize>(),
        )
    }
}

/// The facts with which a Task is over.
pub fn is_end(fact: &str) -> bool {
    matches!(fact, "succeeded" | "failed" | "cancelled")
}

/// The states in which a Task is over.
pub fn is_final(state: &str) -> bool {
    matches!(state, "SUCCEEDED" | "FAILED" | "CANCELLED")
}

/// A Task in a sentence.
pub struct Named<'s>(pub &'s str, pub &'s [EventSeen]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(uid, events) = self;
        let subject = events.first().map_or("?", |event| &event.subject);
        let facts: Vec<_> = events.iter().map(|event| format!("{} {}", event.sequence, event.fact)).collect();
        write!(f, "{uid} ({subject}: {})", facts.join(", "))
    }
}
