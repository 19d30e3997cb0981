//! A recording played to a Task, by the mapping and the domain, as an executor would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use taskplane_domain::app::{App, Command, Push, Source};
use taskplane_domain::env::Env;
use taskplane_domain::label::Labels;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{Fate, Observed};
use taskplane_domain::space::{Space, SpaceSettings};
use taskplane_domain::task::{Claim, Override, RetryPolicy, RunTask, StateKind, Task, Ticket, WaitReason};
use taskplane_domain::uid::{AppUid, RunUid, SpaceUid, TaskUid};
use uuid::Uuid;

use super::super::evidence::all_ended;
use super::super::{Case, INERT, Nodes, Sighted, Verdict, judge, remarks};
use super::expected::Expected;
use crate::tekton::names::GUARD_CONTAINER;
use crate::tekton::types::{ContainerStatus, PipelineRun, Pod, TaskRun};

#[derive(Clone)]
enum Object {
    Run(PipelineRun),
    TaskRun(TaskRun),
    Pod(Pod),
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

struct Step {
    deleted: bool,
    uid: String,
    object: Object,
}

pub(super) struct Recording(Vec<Step>);

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

impl Recording {
    pub fn names() -> Vec<String> {
        let files = std::fs::read_dir(directory()).unwrap().map(|file| file.unwrap().path());
        let streams = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        let mut names: Vec<_> = streams.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    }

    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(directory().join(format!("{name}.jsonl"))).unwrap();
        let steps = text.lines().filter_map(|line| {
            let Line { kind, object } = serde_json::from_str(line).unwrap();
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let object = match object["kind"].as_str().unwrap() {
                "PipelineRun" => Object::Run(serde_json::from_value(object).unwrap()),
                "TaskRun" => Object::TaskRun(serde_json::from_value(object).unwrap()),
                "Pod" => Object::Pod(serde_json::from_value(object).unwrap()),
                _ => return None,
            };
            Some(Step { deleted: kind == "DELETED", uid, object })
        });
        Self(steps.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn is_guarded(&self) -> bool {
        self.0.iter().any(|step| matches!(&step.object, Object::Pod(pod) if guard_of(pod).is_some()))
    }

    pub fn is_deletion(&self, index: usize) -> bool {
        self.0[index].deleted
    }

    /// Whether what event `index` is about is there no more after event `now`.
    pub fn is_gone(&self, index: usize, now: usize) -> bool {
        self.0[..=now].iter().any(|step| step.deleted && step.uid == self.0[index].uid)
    }

    /// What a list would have shown before event `at`.
    fn there(&self, at: usize) -> BTreeMap<&str, &Object> {
        let mut there = BTreeMap::new();
        for Step { deleted, uid, object } in &self.0[..at] {
            if *deleted {
                there.remove(uid.as_str());
            } else {
                there.insert(uid.as_str(), object);
            }
        }
        there
    }
}

fn guard_of(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.container_statuses.iter().find(|one| one.name == GUARD_CONTAINER)
}

pub(super) struct Replay<'r> {
    recording: &'r Recording,
    expected: &'r Expected,
    seen: Sighted,
    nodes: Nodes,
    now: Timestamp,
    /// Events that have happened, seen or not.
    happened: usize,
    cancelled: bool,
    task: Option<Task>,
    pub waits: Vec<WaitReason>,
}

fn the_run() -> RunUid {
    RunUid("run".to_owned())
}

fn a_task(now: Timestamp) -> Task {
    let space = Space::create(SpaceUid(Uuid::nil()), "spaces/s".parse().unwrap(), SpaceSettings::default(), now).space;
    let push = Push {
        name: "spaces/s/apps/a".parse().unwrap(),
        source: Some(Source::Image("image".into())),
        command: Some(Some(Command::stored("true".into()))),
        env: Env::default(),
        replace_env: false,
        unset_env: Vec::new(),
        resources: Resources::default(),
        services: Vec::new(),
        placement: None,
        task_retention_count: None,
    };
    let app = App::create(AppUid(Uuid::nil()), space.uid, push, now).unwrap().app;
    let asked = RunTask {
        app: "spaces/s/apps/a".parse().unwrap(),
        display_name: None,
        overrides: Override { command: None, env: Env::default(), resources: Resources::default() },
        timeout: None,
        retry: RetryPolicy::default(),
        labels: Labels::new(),
        request_id: None,
    };
    let uid = TaskUid(Uuid::from_u128(1));
    let birth = Task::create(uid, &space, &app, asked, "here".parse().unwrap(), None, now).unwrap();
    birth.numbered(1).into_task()
}

impl<'r> Replay<'r> {
    pub fn new(recording: &'r Recording, expected: &'r Expected) -> Self {
        let now: Timestamp = "2026-11-24T20:42:00Z".parse().unwrap();
        let mut nodes = Nodes::default();
        nodes.set("rig", Some(now - SignedDuration::from_hours(1)));
        let task = Some(a_task(now));
        let mut replay = Self {
            recording,
            expected,
            seen: Sighted::default(),
            nodes,
            now,
            happened: 0,
            cancelled: false,
            task,
            waits: Vec::new(),
        };
        replay.tells(Observed::Made { run: the_run(), conditions: Vec::new(), guarded: recording.is_guarded() });
        replay
    }

    pub fn task(&self) -> &Task {
        self.task.as_ref().unwrap()
    }

    pub fn restarted(&self) -> bool {
        remarks(&self.seen).iter().any(|condition| condition.kind == "StartedOnce" && condition.reason == "PodReplaced")
    }

    /// Event `index` happens, whether anybody sees it or not. Our own order to cancel is known to us.
    pub fn reaches(&mut self, index: usize) {
        self.happened = index + 1;
        self.now += SignedDuration::from_secs(1);
        let order = matches!(&self.recording.0[index].object, Object::Run(run) if run.spec.status.as_deref() == Some("Cancelled"));
        if order && self.expected.ours && !self.cancelled {
            self.cancelled = true;
            self.is_to_end();
        }
        if let Object::Pod(pod) = &self.recording.0[index].object {
            self.answers(pod);
        }
    }

    fn is_to_end(&mut self) {
        let task = self.task.take().unwrap();
        self.task = Some(task.clone().cancel(self.now).map_or(task, |step| step.into_task()));
    }

    /// What its guard was told stands in the row before anybody sees the guard end.
    fn answers(&mut self, pod: &Pod) {
        match guard_of(pod).and_then(|guard| guard.state.terminated.as_ref()).map(|end| end.exit_code) {
            Some(0) => {
                let task = self.task.take().unwrap();
                let ticket = Ticket::parse(pod.metadata.uid.clone().unwrap(), "nonce".into()).unwrap();
                self.task = Some(match task.clone().claim_start(1, ticket, self.now) {
                    Claim::Grant(step) => step.into_task(),
                    Claim::Granted | Claim::Refused(_) => task,
                });
            }
            Some(_) if self.expected.ours => self.is_to_end(),
            _ => {}
        }
    }

    pub fn sees(&mut self, index: usize) {
        let Step { deleted, uid: _, object } = &self.recording.0[index];
        let now = self.now;
        match (object.clone(), *deleted) {
            (Object::Run(run), false) => drop(self.seen.see_run(run, now)),
            (Object::Run(run), true) => self.seen.run_deleted(run, now),
            (Object::TaskRun(run), false) => self.seen.see_task_run(run, now),
            (Object::TaskRun(run), true) => self.seen.task_run_deleted(run, now),
            (Object::Pod(pod), false) => self.seen.see_pod(pod, now),
            (Object::Pod(pod), true) => self.seen.pod_deleted(pod, now),
        }
        self.looks();
    }

    /// A list of everything that is there before event `at`; what is not in it is gone.
    pub fn lists(&mut self, at: usize) {
        let (now, there) = (self.now, self.recording.there(at));
        // An executor that takes a run over reads its uid from its row, so it knows that there was one.
        if self.seen.run().is_none() {
            let Object::Run(first) = &self.recording.0[0].object else { panic!("the run comes first") };
            self.seen.see_run(first.clone(), now);
        }
        let (mut run, mut task_run, mut pods) = (false, false, Vec::new());
        for (uid, object) in there {
            match object.clone() {
                Object::Run(one) => {
                    self.seen.see_run(one, now);
                    run = true;
                }
                Object::TaskRun(one) => {
                    self.seen.see_task_run(one, now);
                    task_run = true;
                }
                Object::Pod(one) => {
                    self.seen.see_pod(one, now);
                    pods.push(uid.to_owned());
                }
            }
        }
        if !run {
            self.seen.run_missing(now);
        }
        if !task_run {
            self.seen.task_run_missing(now);
        }
        self.seen.pods_are(&pods, now, now);
        self.looks();
    }

    /// Nothing more happens, for a while.
    pub fn ends(&mut self) {
        for _ in 0..60 {
            self.now += SignedDuration::try_from(Duration::from_secs(10)).unwrap();
            self.looks();
        }
    }

    fn looks(&mut self) {
        if self.task().state.kind().is_final() || self.task().state.kind() == StateKind::Pending {
            return;
        }
        let case = Case { seen: &self.seen, nodes: &self.nodes, cancelled: self.cancelled, now: self.now };
        let run = the_run();
        match judge(case) {
            Verdict::Absent | Verdict::Inert => {}
            Verdict::Waiting(wait) => {
                if self.waits.last() != Some(&wait.reason) {
                    self.waits.push(wait.reason);
                }
                self.tells(Observed::Waits { run, wait });
            }
            Verdict::Running { started_at: at } | Verdict::Ending { started_at: Some(at), .. } => {
                self.tells(Observed::Started { run, at });
            }
            Verdict::Ending { started_at: None, .. } => {}
            Verdict::Over(fate) => {
                if !matches!(fate, Fate::Lost { .. }) {
                    self.nothing_is_left();
                }
                self.tells(Observed::Over { run, fate });
            }
        }
    }

    /// What was really so at this moment.
    fn nothing_is_left(&self) {
        for object in self.recording.there(self.happened).values() {
            match object {
                Object::Pod(pod) => assert!(all_ended(pod), "{}: its pod is there", self.expected.name),
                Object::Run(run) => assert_ne!(run.spec.status.as_deref(), Some(INERT), "{}", self.expected.name),
                Object::TaskRun(_) => {}
            }
        }
    }

    /// Every report is a legal change, or known already.
    fn tells(&mut self, seen: Observed) {
        let task = self.task.take().unwrap();
        let step = task.clone().observe(seen, self.now).unwrap();
        self.task = Some(step.map_or(task, |step| step.into_task()));
    }
}
