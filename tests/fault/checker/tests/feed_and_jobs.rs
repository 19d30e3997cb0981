//! What is wrong with events, reads, Jobs and watches.

use crate::checker::tests::{
    JOB, Tale, change, ended, event, fed, feed, finds, get, job, of_job, run, seen, sound, tasks, ticked, told, update,
    whole,
};
use crate::history::{Answer, Ask, EventSeen, History, Line, RunSeen, TaskSeen, What};

#[test]
fn a_tick_that_made_two_tasks_or_has_two_entries() {
    finds("I2", &fed(|feed| feed.push(of_job(3, "run-started", ticked(60, "")))));
    finds("I2", &fed(|feed| feed.push(of_job(3, "run-started", ticked(120, "uid-3")))));
    finds("I2", &fed(|feed| feed.push(of_job(3, "run-started", ticked(120, "uid-none")))));
    let mut tale = told();
    tale.gets(get(2), Answer::Task(TaskSeen { job: JOB.into(), tick: Some(60), ..seen(2, 2, "CANCELLED") }));
    finds("I2", &ended(tale, feed()));
    let mut tale = told();
    let entry = |run: &str| RunSeen { run: run.into(), tick: Some(60), ..RunSeen::default() };
    tale.gets(Ask::ListRuns { job: JOB.into() }, Answer::Runs(vec![entry("1"), entry("2")]));
    finds("I2", &ended(tale, feed()));
}

#[test]
fn an_event_that_is_missing_doubled_or_out_of_order() {
    finds("I4", &fed(|feed| drop(feed.remove(2))));
    finds("I4", &fed(|feed| feed.insert(2, feed[2].clone())));
    finds("I4", &fed(|feed| feed.swap(1, 2)));
    finds("I4", &fed(|feed| drop(feed.pop())));
}

#[test]
fn a_bus_that_lacks_reorders_or_invents() {
    let on_the_bus = |change: &dyn Fn(&mut Vec<EventSeen>)| {
        let mut tale = sound();
        let Some(Line { what: What::Told(Answer::Events(events)), .. }) = tale.lines.last_mut() else { panic!() };
        change(events);
        finds("I4", &tale);
    };
    on_the_bus(&|events| events.retain(|event| event.uid != "uid-2"));
    on_the_bus(&|events| events.retain(|event| event.sequence != 2));
    on_the_bus(&|events| events.swap(1, 2));
    on_the_bus(&|events| events.push(EventSeen { uid: "uid-9".into(), ..event(9, 1, "requested", "PENDING") }));
    on_the_bus(&|events| events.push(event(1, 5, "removed", "")));
}

#[test]
fn a_version_that_goes_back() {
    let mut tale = told();
    tale.gets(get(1), Answer::Task(seen(1, 3, "RUNNING")));
    finds("I10", &ended(tale, feed()));
    let mut tale = told();
    tale.gets(Ask::GetJob { job: JOB.into() }, Answer::Job(job(1, "")));
    finds("I10", &ended(tale, feed()));
}

#[test]
fn two_reads_at_once_may_come_back_either_way() {
    let mut tale = told();
    let (first, second) = (tale.asks(get(1)), tale.asks(get(1)));
    tale.told(second, Answer::Task(seen(1, 4, "SUCCEEDED")));
    tale.told(first, Answer::Task(seen(1, 4, "SUCCEEDED")));
    assert_eq!(ended(tale, feed()).broken(), [""; 0]);
    let mut tale = Tale::default();
    tale.gets(run("wish-1"), Answer::Task(seen(1, 1, "PENDING")));
    let (first, second) = (tale.asks(get(1)), tale.asks(get(1)));
    tale.told(second, Answer::Task(seen(1, 2, "STARTING")));
    tale.told(first, Answer::Task(seen(1, 1, "PENDING")));
    assert!(!ended(tale, feed()).broken().iter().any(|sentence| sentence.starts_with("I10: client")));
}

#[test]
fn a_read_of_what_never_was() {
    let mut tale = told();
    tale.gets(get(1), Answer::Task(seen(1, 4, "FAILED")));
    finds("I4: uid-1 was seen FAILED", &ended(tale, feed()));
}

#[test]
fn a_list_or_a_read_that_lacks_what_was_accepted() {
    let mut tale = told();
    tale.gets(Ask::ListTasks, Answer::Tasks(vec![seen(2, 2, "CANCELLED")]));
    finds("I10: a list", &ended(tale, feed()));
    let mut tale = told();
    tale.refused(get(1), "NotFound");
    finds("I10: spaces/s/apps/a/tasks/1", &ended(tale, feed()));
    let mut tale = told();
    tale.gets(Ask::ListTasks, Answer::Tasks([tasks(), tasks()].concat()));
    finds("I10: one list shows", &ended(tale, feed()));
}

#[test]
fn an_update_that_is_lost_or_was_refused_and_made() {
    let commanded = |command: &str| {
        let command = command.to_owned();
        sound().with(move |what| {
            if let What::Told(Answer::Jobs(jobs)) = what {
                jobs[0].command.clone_from(&command);
            }
        })
    };
    assert_eq!(commanded("w1").broken(), [""; 0]);
    finds("I8: w1", &commanded("w3"));
    finds("I8: w2", &commanded("w1 w2"));
    let mut tale = told();
    tale.gets(update("1", "w3"), Answer::Job(job(3, "w1 w3")));
    finds("I8: spaces/s/jobs/j took both", &ended(tale, feed()));
}

#[test]
fn a_revision_of_two_pushes() {
    let mut tale = told();
    for command in ["one", "two"] {
        tale.gets(Ask::PushApp { app: "a".into(), command: command.into() }, Answer::App { revision: 2 });
    }
    finds("I8: revision 2", &ended(tale, feed()));
}

#[test]
fn a_deleted_job_that_leaves_something() {
    let delete = |tale: &mut Tale| {
        tale.gets(Ask::DeleteJob { job: JOB.into(), etag: "3".into() }, Answer::Job(job(3, "w1 w3")));
        tale.refused(Ask::GetJob { job: JOB.into() }, "NotFound");
    };
    let gone = |feed: &mut Vec<EventSeen>| {
        feed.push(of_job(3, "delete-requested", None));
        feed.push(event(3, 5, "removed", "SUCCEEDED"));
        feed.push(of_job(4, "deleted", None));
    };
    let finished = |tale: Tale, feed: Vec<EventSeen>| {
        ended(tale, feed).with(|what| match what {
            What::Told(Answer::Jobs(jobs)) => jobs.clear(),
            What::Told(Answer::Tasks(tasks)) => drop(tasks.pop()),
            _ => {}
        })
    };
    let mut tale = told();
    delete(&mut tale);
    let mut clean = feed();
    gone(&mut clean);
    assert_eq!(finished(tale.clone(), clean.clone()).broken(), [""; 0]);
    // The Job and its Task are still listed; it is not told, or twice; a Task comes too late; one still runs.
    finds("I7: spaces/s/jobs/j was deleted, and is", &ended(tale.clone(), clean.clone()));
    finds("I7: spaces/s/jobs/j was deleted, and Some", &ended(tale.clone(), clean.clone()));
    finds("I7: spaces/s/jobs/j was deleted, and the feed", &finished(tale.clone(), feed()));
    let mut late = feed();
    late.retain(|event| event.uid != "uid-3");
    late.push(of_job(3, "delete-requested", None));
    late.extend(whole(3, "succeeded"));
    late.push(of_job(4, "deleted", None));
    finds("I7: uid-3 was made", &finished(tale.clone(), late));
    tale.ran("beat", "uid-3", 1);
    finds("I7: uid-3 still ran", &finished(tale, clean));
}

#[test]
fn a_watch_that_leaves_out_or_repeats() {
    for (sequence, fact) in [(4, "failed"), (2, "starting"), (5, "removed")] {
        let mut tale = told();
        let again = tale.asks(Ask::WatchTasks { chain: 1, resumed: true });
        tale.line(again, change(1, sequence, fact, ""));
        let found = ended(tale, feed()).broken().iter().any(|sentence| sentence.starts_with("I18"));
        assert_eq!(found, sequence != 4, "{sequence} {fact} behind 3");
    }
    let mut tale = told();
    let other = tale.asks(Ask::WatchTasks { chain: 2, resumed: false });
    tale.line(other, change(1, 4, "existing", "SUCCEEDED"));
    tale.line(other, change(1, 3, "started", "RUNNING"));
    assert_eq!(ended(tale.clone(), feed()).broken(), [""; 0], "what was shown may come again");
    tale.line(other, change(3, 2, "starting", "STARTING"));
    finds("I18", &ended(tale, feed()));
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger");
    std::fs::write(&ledger, "start uid-1 1\n").unwrap();
    let history = History::begin(directory.path(), ledger);
    let call = history.asks(7, run("wish-1"));
    history.tells(7, call, What::Told(Answer::Task(seen(1, 1, "PENDING"))));
    history.fault("nothing".into());
    let lines = history.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0].client, lines[0].call, lines[0].ledger), (7, call, 14));
    assert_eq!(lines[0].what, What::Asked(run("wish-1")));
    assert_eq!(lines[1].what, What::Told(Answer::Task(seen(1, 1, "PENDING"))));
}
