//! The checker finds what it is there to find: a sound history, then the same with one thing wrong.

mod feed_and_jobs;

use crate::checker::{Story, check};
use crate::history::{Answer, Ask, Change, EventSeen, JobSeen, Line, Policy, RunFact, TaskFact, TaskSeen, What};
use crate::ledger::{Script, parse};

const JOB: &str = "spaces/s/jobs/j";

/// A history in the making.
#[derive(Default, Clone)]
struct Tale {
    lines: Vec<Line>,
    calls: u64,
    ledger: String,
}

impl Tale {
    fn line(&mut self, call: u64, what: What) {
        let ledger = self.ledger.len() as u64;
        self.lines.push(Line { at: 0, client: 1, call, ledger, what });
    }

    fn asks(&mut self, ask: Ask) -> u64 {
        self.calls += 1;
        self.line(self.calls, What::Asked(ask));
        self.calls
    }

    fn told(&mut self, call: u64, answer: Answer) {
        self.line(call, What::Told(answer));
    }

    fn gets(&mut self, ask: Ask, answer: Answer) {
        let call = self.asks(ask);
        self.told(call, answer);
    }

    fn refused(&mut self, ask: Ask, code: &str) {
        let call = self.asks(ask);
        self.line(call, What::Refused { code: code.into(), message: String::new() });
    }

    fn ran(&mut self, mark: &str, uid: &str, attempt: u32) {
        self.ledger += &format!("{mark} {uid} {attempt}\n");
    }

    fn broken(&self) -> Vec<String> {
        check(&Story::new(self.lines.clone(), parse(&self.ledger))).sentences().to_vec()
    }

    /// Every line that says this says that instead.
    fn with(&self, change: impl Fn(&mut What)) -> Self {
        let mut other = self.clone();
        other.lines.iter_mut().for_each(|line| change(&mut line.what));
        other
    }
}

fn run(display_name: &str) -> Ask {
    Ask::RunTask {
        app: "a".into(),
        display_name: display_name.into(),
        request_id: display_name.into(),
        script: Script::BRIEF,
    }
}

fn get(id: u64) -> Ask {
    Ask::GetTask { task: name(id) }
}

fn name(id: u64) -> String {
    format!("spaces/s/apps/a/tasks/{id}")
}

fn uid(id: u64) -> String {
    format!("uid-{id}")
}

fn seen(id: u64, version: u64, state: &str) -> TaskSeen {
    TaskSeen {
        uid: uid(id),
        task: name(id),
        version,
        state: state.into(),
        attempt: 1,
        job: if id == 3 { JOB.into() } else { String::new() },
        tick: (id == 3).then_some(60),
        ..TaskSeen::default()
    }
}

fn event(id: u64, sequence: u64, fact: &str, state: &str) -> EventSeen {
    let task = TaskFact {
        id,
        display_name: format!("wish-{id}"),
        state: state.into(),
        attempt: 1,
        job: if id == 3 { JOB.into() } else { String::new() },
        ..TaskFact::default()
    };
    EventSeen { uid: uid(id), sequence, subject: name(id), fact: fact.into(), task: Some(task), run: None }
}

fn of_job(sequence: u64, fact: &str, run: Option<RunFact>) -> EventSeen {
    EventSeen { uid: "job".into(), sequence, subject: JOB.into(), fact: fact.into(), task: None, run }
}

fn ticked(tick: i64, task_uid: &str) -> Option<RunFact> {
    Some(RunFact { schedule_uid: "at".into(), tick: Some(tick), outcome: "STARTED".into(), task_uid: task_uid.into() })
}

fn whole(id: u64, end: &str) -> Vec<EventSeen> {
    let state = end.to_uppercase();
    vec![
        event(id, 1, "requested", "PENDING"),
        event(id, 2, "starting", "STARTING"),
        event(id, 3, "started", "RUNNING"),
        event(id, 4, end, &state),
    ]
}

fn update(etag: &str, adds: &str) -> Ask {
    Ask::UpdateJob { job: JOB.into(), etag: etag.into(), command: String::new(), adds: adds.into() }
}

fn job(version: u64, command: &str) -> JobSeen {
    JobSeen { uid: "job".into(), job: JOB.into(), version, command: command.into(), ..JobSeen::default() }
}

fn change(id: u64, sequence: u64, fact: &str, state: &str) -> What {
    What::Saw(Change { uid: uid(id), sequence, fact: fact.into(), state: state.into(), reason: String::new() })
}

/// One Task that succeeds, one that is cancelled before it starts, one that a tick made; a watch, a Job and its changes. The end
/// is read by [`ended`].
fn told() -> Tale {
    let mut tale = Tale::default();
    tale.gets(run("wish-1"), Answer::Task(seen(1, 1, "PENDING")));
    let watch = tale.asks(Ask::WatchTasks { chain: 1, resumed: false });
    tale.line(watch, change(1, 1, "existing", "PENDING"));
    tale.gets(run("wish-2"), Answer::Task(seen(2, 1, "PENDING")));
    tale.gets(run("wish-1"), Answer::Task(seen(1, 1, "PENDING")));
    tale.line(watch, change(2, 1, "requested", "PENDING"));
    tale.gets(Ask::CancelTask { task: name(2) }, Answer::Task(seen(2, 2, "CANCELLED")));
    tale.ran("start", "uid-1", 1);
    tale.gets(get(1), Answer::Task(seen(1, 3, "RUNNING")));
    tale.ran("beat", "uid-1", 1);
    tale.ran("end", "uid-1", 1);
    tale.gets(get(1), Answer::Task(seen(1, 4, "SUCCEEDED")));
    let resumed = tale.asks(Ask::WatchTasks { chain: 1, resumed: true });
    tale.line(resumed, change(1, 2, "starting", "STARTING"));
    tale.line(resumed, change(2, 2, "cancelled", "CANCELLED"));
    tale.line(resumed, change(1, 3, "started", "RUNNING"));
    tale.refused(run("wish-refused"), "ResourceExhausted");
    tale.asks(run("wish-nobody-knows"));
    tale.ran("start", "uid-3", 1);
    tale.ran("end", "uid-3", 1);
    let create = Ask::CreateJob {
        job: JOB.into(),
        app: "a".into(),
        cron: String::new(),
        policy: Policy::Always,
        script: Script::BRIEF,
    };
    tale.gets(create, Answer::Job(job(1, "")));
    tale.gets(update("1", "w1"), Answer::Job(job(2, "w1")));
    tale.refused(update("1", "w2"), "Aborted");
    tale.asks(update("2", "w3"));
    tale
}

fn feed() -> Vec<EventSeen> {
    let mut feed = whole(1, "succeeded");
    feed.push(event(2, 1, "requested", "PENDING"));
    feed.push(event(2, 2, "cancelled", "CANCELLED"));
    feed.push(of_job(1, "created", None));
    feed.push(of_job(2, "run-started", ticked(60, "uid-3")));
    feed.extend(whole(3, "succeeded"));
    feed
}

fn tasks() -> Vec<TaskSeen> {
    vec![seen(1, 4, "SUCCEEDED"), seen(2, 2, "CANCELLED"), seen(3, 4, "SUCCEEDED")]
}

/// The same, read to its end.
fn ended(mut tale: Tale, feed: Vec<EventSeen>) -> Tale {
    let stream = [&feed[..], &feed[1..3]].concat();
    tale.gets(Ask::ListTasks, Answer::Tasks(tasks()));
    tale.gets(Ask::ListJobs, Answer::Jobs(vec![job(3, "w1 w3")]));
    tale.gets(Ask::ListEvents, Answer::Events(feed));
    tale.gets(Ask::ReadStream, Answer::Events(stream));
    tale
}

fn sound() -> Tale {
    ended(told(), feed())
}

/// With another feed; the bus has the same.
fn fed(change: impl Fn(&mut Vec<EventSeen>)) -> Tale {
    let mut other = feed();
    change(&mut other);
    ended(told(), other)
}

/// All that is found begins with this, and something is.
fn finds(invariant: &str, tale: &Tale) {
    let broken = tale.broken();
    assert!(broken.iter().any(|sentence| sentence.starts_with(invariant)), "{invariant} is not among {broken:#?}");
}

#[test]
fn a_sound_history_is_found_sound() {
    assert_eq!(sound().broken(), [""; 0]);
}

#[test]
fn an_accepted_task_that_is_lost() {
    finds("I1: uid-2", &fed(|feed| feed.retain(|event| event.uid != "uid-2")));
}

#[test]
fn a_task_that_never_ends_unless_it_is_called_stuck() {
    let endless = fed(|feed| {
        feed.remove(3);
    });
    finds("I1: uid-1", &endless);
    let stuck = endless.with(|what| {
        if let What::Told(Answer::Tasks(tasks)) = what {
            tasks[0].stuck = true;
        }
    });
    assert!(!stuck.broken().iter().any(|sentence| sentence.contains("neither over nor stuck")));
}

#[test]
fn a_task_that_ends_twice_or_lives_on() {
    finds("I1: uid-1", &fed(|feed| feed.insert(4, event(1, 5, "failed", "FAILED"))));
    finds("I1: uid-1", &fed(|feed| feed.insert(4, event(1, 5, "started", "RUNNING"))));
}

#[test]
fn a_wish_that_was_granted_twice() {
    let mut tale = told();
    tale.gets(run("wish-1"), Answer::Task(seen(2, 2, "CANCELLED")));
    finds("I9: wish-1", &ended(tale, feed()));
    finds("I9: wish-1", &fed(|feed| feed[4].task.as_mut().unwrap().display_name = "wish-1".into()));
}

#[test]
fn a_task_that_was_refused_or_that_nobody_wanted() {
    finds("I9: wish-refused", &fed(|feed| feed[0].task.as_mut().unwrap().display_name = "wish-refused".into()));
    finds("I4: uid-1", &fed(|feed| feed[0].task.as_mut().unwrap().display_name = "nobody's".into()));
}

#[test]
fn a_number_that_is_left_out() {
    finds("I1: of spaces/s/apps/a", &fed(|feed| feed.retain(|event| event.uid != "uid-2")));
}

#[test]
fn a_command_that_starts_twice_in_one_attempt() {
    let mut tale = told();
    tale.ran("start", "uid-1", 1);
    finds("I12: attempt 1 of uid-1", &ended(tale, feed()));
}

#[test]
fn attempts_that_overlap() {
    let mut tale = told();
    tale.ran("start", "uid-1", 2);
    tale.ran("beat", "uid-1", 1);
    finds("I12: attempt 1 of uid-1", &ended(tale, feed()));
}

#[test]
fn a_command_that_starts_or_goes_on_when_its_end_could_be_read() {
    let mut tale = told();
    tale.ran("beat", "uid-1", 1);
    finds("I5: uid-1", &ended(tale, feed()));
    let mut tale = told();
    tale.ran("start", "uid-2", 1);
    finds("I5: uid-2", &ended(tale, feed()));
}

#[test]
fn only_of_what_is_lost_nobody_knows() {
    let mut tale = told();
    tale.ran("beat", "uid-1", 1);
    let lost = ended(tale, feed()).with(|what| match what {
        What::Told(Answer::Task(task)) if task.state == "SUCCEEDED" => task.reason = "LOST".into(),
        What::Told(Answer::Tasks(tasks)) => tasks[0].reason = "LOST".into(),
        _ => {}
    });
    assert!(!lost.broken().iter().any(|sentence| sentence.starts_with("I5")));
}

#[test]
fn a_task_that_succeeded_without_having_run() {
    let mut tale = sound();
    tale.ledger = tale.ledger.replace("start uid-3 1\nend uid-3 1\n", "");
    finds("I1: uid-3", &tale);
}

#[test]
fn a_command_that_ran_and_was_never_started() {
    let mut tale = told();
    let call = tale.calls;
    tale.lines.retain(|line| line.call != call + 1);
    tale.ledger = format!("start uid-2 1\n{}", tale.ledger);
    finds("I1: uid-2", &ended(tale, feed()));
}
