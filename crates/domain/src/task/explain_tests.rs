use super::*;

use crate::task::transition::tests::{at, pending, running, starting};

fn seen() -> Circumstances {
    Circumstances {
        now: at(100),
        executors: 1,
        able: 1,
        holder: None,
        older: None,
        full_quota: None,
        ahead: 0,
        unpublished_since: None,
        run_left: false,
        keeps: None,
    }
}

fn held(seen: Circumstances) -> Circumstances {
    let holder = Holder { executor: "e".parse().unwrap(), lease_until: at(110), closed_at: None };
    Circumstances { holder: Some(holder), ..seen }
}

fn causes(task: &Task, seen: &Circumstances) -> Vec<Cause> {
    task.explain(seen, &Deadlines::default()).into_iter().map(|told| told.cause).collect()
}

#[test]
fn a_waiting_task_names_the_first_thing_that_stands_in_its_way() {
    let mut retry = pending();
    retry.state = TaskState::Pending { not_before: Some(at(130)) };
    let older: TaskName = "spaces/s/apps/a/tasks/3".parse().unwrap();
    for (task, seen, cause) in [
        (&retry, Circumstances { executors: 0, ..seen() }, Cause::NotBefore),
        (&pending(), held(seen()), Cause::Held),
        (&pending(), Circumstances { older: Some(older.clone()), executors: 0, ..seen() }, Cause::OlderTasks),
        (&pending(), Circumstances { executors: 0, able: 0, ..seen() }, Cause::NoExecutor),
        (&pending(), Circumstances { able: 0, ..seen() }, Cause::ImagesNotRun),
        (&pending(), Circumstances { ahead: 7, ..seen() }, Cause::Turn),
        (&pending(), Circumstances { full_quota: Some(2), ahead: 7, ..seen() }, Cause::HeldByRunningQuota),
    ] {
        let told = task.explain(&seen, &Deadlines::default());
        assert_eq!(told.iter().map(|told| told.cause).collect::<Vec<_>>(), [cause]);
        assert_eq!(told[0].waits_for, Some(older.clone()).filter(|_| cause == Cause::OlderTasks));
        assert_eq!(told[0].until, Some(at(130)).filter(|_| cause == Cause::NotBefore));
    }
}

#[test]
fn a_run_whose_executor_is_silent_says_so_first() {
    assert_eq!(causes(&starting(), &held(seen())), [Cause::Starting]);
    assert_eq!(causes(&running(), &held(seen())), [Cause::Running]);
    let mut silent = held(seen());
    silent.now = at(110);
    assert_eq!(causes(&running(), &silent), [Cause::ExecutorSilent, Cause::Running]);
    let mut closed = held(seen());
    closed.holder.as_mut().unwrap().closed_at = Some(at(50));
    assert_eq!(running().explain(&closed, &Deadlines::default())[0].since, Some(at(50)));
    assert_eq!(causes(&pending(), &silent), [Cause::Held], "it has no run that anybody could have");
}

#[test]
fn an_end_that_does_not_come_tells_of_its_next_step_and_at_last_that_it_is_stuck() {
    let cancelling = running().cancel(at(90)).unwrap().into_task();
    let told = cancelling.explain(&held(seen()), &Deadlines::default());
    assert_eq!((told[0].cause, told[0].since, told[0].until), (Cause::Ending, Some(at(90)), Some(at(90 + 45))));
    let forced = cancelling.force(at(135)).unwrap().into_task();
    let mut later = held(seen());
    later.holder.as_mut().unwrap().lease_until = at(1000);
    later.now = at(140);
    let told = forced.explain(&later, &Deadlines::default());
    assert_eq!((told[0].cause, told[0].since, told[0].until), (Cause::Ending, Some(at(135)), Some(at(195))));
    later.now = at(195);
    assert_eq!(causes(&forced, &later), [Cause::Stuck, Cause::Ending]);
}

#[test]
fn what_is_over_is_kept_at_least_until_everybody_could_hear_of_it() {
    let over = pending().cancel(at(9)).unwrap().into_task();
    assert_eq!(causes(&over, &seen()), [Cause::Kept]);
    let aged = Circumstances { keeps: Some(Duration::from_secs(60)), ..seen() };
    assert_eq!(over.explain(&aged, &Deadlines::default())[0].until, Some(at(69)));
    let mut marked = over.clone();
    marked.remove_since = Some(at(50));
    for run_left in [true, false] {
        let told = marked.explain(&Circumstances { run_left, ..seen() }, &Deadlines::default());
        assert_eq!(
            (told[0].cause, told[0].since, told[0].remedy.is_empty()),
            (Cause::Removing, Some(at(50)), !run_left)
        );
    }
    assert_eq!(causes(&over, &Circumstances { unpublished_since: Some(at(9)), ..seen() }), [Cause::EventsUnpublished]);
}
