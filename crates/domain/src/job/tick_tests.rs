use super::*;

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use crate::app::{Command, Push, Source};
use crate::env::Env;
use crate::event::Fact;
use crate::job::{JobState, Plan, TaskTemplate};
use crate::quantity::Resources;
use crate::schedule::{GapRule, OverlapRule};
use crate::space::SpaceSettings;
use crate::task::StateKind;
use crate::uid::{AppUid, JobUid, RunUid, ScheduleUid, SpaceUid};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn space_and_app(command: Option<&str>) -> (Space, App) {
    let at = Timestamp::UNIX_EPOCH;
    let settings = SpaceSettings::default();
    let space = Space::create(SpaceUid(Uuid::nil()), "spaces/s".parse().unwrap(), settings, at).space;
    let push = Push {
        name: "spaces/s/apps/a".parse().unwrap(),
        source: Some(Source::Image("img".into())),
        command: Some(command.map(|text| Command::stored(text.into()))),
        env: Env::default(),
        replace_env: false,
        unset_env: Vec::new(),
        resources: Resources::default(),
        services: Vec::new(),
        task_retention_count: None,
        placement: None,
    };
    let app = App::create(AppUid(Uuid::nil()), space.uid, push, at).unwrap().app;
    (space, app)
}

/// A Job with these schedules, made at `at`.
fn due(policy: ConcurrencyPolicy, crons: &[&str], at: &str) -> DueJob {
    let (space, app) = space_and_app(Some("true"));
    let name = "spaces/s/jobs/j".parse().unwrap();
    let at = time(at);
    let mut change = Job::create((JobUid(Uuid::from_u128(9)), name), &app, TaskTemplate::default(), policy, at);
    for (number, cron) in crons.iter().enumerate() {
        let rules = (GapRule::default(), OverlapRule::default());
        let plan = Plan::parse("", cron, "", rules, None).unwrap();
        let id = format!("s{number}").parse().unwrap();
        change = change.scheduled(ScheduleUid(Uuid::from_u128(100 + number as u128)), id, plan, false);
    }
    let write = change.numbered(1);
    let schedules = write.schedules.into_iter().map(|change| match change {
        ScheduleChange::Insert(schedule) => schedule,
        other => panic!("{other:?}"),
    });
    let schedules = schedules.collect();
    DueJob { job: write.job, app, space, cluster: "c".parse().unwrap(), schedules, live: Vec::new(), room: usize::MAX }
}

fn with_plan(mut due: DueJob, change: impl Fn(&mut Schedule)) -> DueJob {
    due.schedules.iter_mut().for_each(change);
    due
}

/// What became of each tick: its time and outcome, and how many it stands for beside itself.
fn outcomes(change: Option<JobChange>) -> Vec<(String, &'static str, u64)> {
    let runs = change.map(|change| change.numbered(1).runs).unwrap_or_default();
    runs.into_iter().map(|run| (run.tick.unwrap().at.to_string(), run.outcome.as_str(), run.missed)).collect()
}

fn live_task(due: &DueJob) -> Task {
    let change =
        run_now(due.clone(), TaskUid(Uuid::from_u128(55)), RunJob::default(), None, time("2026-01-01T00:00:00Z"));
    let born = change.unwrap().numbered(1).births.remove(0).into_task();
    let run = RunUid("r".into());
    let made = crate::run::Observed::Made { run, conditions: Vec::new(), guarded: false };
    born.observe(made, time("2026-01-01T00:00:01Z")).unwrap().unwrap().into_task()
}

#[test]
fn an_uneven_schedule_gets_no_invented_time() {
    // Kf multiplies the gap between two ticks, and fires for a Sunday 10:30 that is on no plan.
    let due = due(ConcurrencyPolicy::Always, &["30 6,10,14 * * 1-5"], "2026-01-08T14:30:00Z");
    let change = decide(due, time("2026-01-11T12:00:00Z"));
    assert_eq!(outcomes(change), [("2026-01-09T14:30:00Z".into(), "STARTED", 2)]);
}

#[test]
fn a_tick_whose_amounts_the_space_no_longer_takes_is_entered_as_refused() {
    let mut due = due(ConcurrencyPolicy::Always, &["0 9 * * 1-5"], "2026-01-08T09:00:00Z");
    due.job.template.resources.memory = "64Mi".parse().ok();
    let taken = decide(due.clone(), time("2026-01-09T09:00:00Z"));
    assert_eq!(outcomes(taken), [("2026-01-09T09:00:00Z".into(), "STARTED", 0)]);
    due.space.settings.resources.min.memory = "128Mi".parse().ok();
    let refused = decide(due, time("2026-01-09T09:00:00Z"));
    let runs = refused.clone().unwrap().numbered(1).runs;
    assert_eq!(outcomes(refused), [("2026-01-09T09:00:00Z".into(), "REFUSED", 0)]);
    let RunOutcome::Refused { why } = &runs[0].outcome else { panic!("not refused") };
    assert_eq!(why, "resources.memory: must be at least 128Mi, the Space's minimum, and is 64Mi");
}

#[test]
fn a_spaces_timeout_holds_where_nobody_else_says_one() {
    let mut due = due(ConcurrencyPolicy::Always, &["0 9 * * 1-5"], "2026-01-08T09:00:00Z");
    due.space.settings.default_timeout = Some(Duration::from_secs(60));
    assert_eq!(live_task(&due).spec.timeout, Some(Duration::from_secs(60)));
    due.job.template.timeout = Some(Duration::from_secs(5));
    assert_eq!(live_task(&due).spec.timeout, Some(Duration::from_secs(5)));
}

#[test]
fn a_job_recovered_on_a_sunday_runs_for_the_latest_friday() {
    let due = due(ConcurrencyPolicy::Always, &["0 9 * * 1-5"], "2026-01-02T09:00:00Z");
    let change = decide(due, time("2026-01-11T12:00:00Z"));
    assert_eq!(outcomes(change), [("2026-01-09T09:00:00Z".into(), "STARTED", 4)]);
}

#[test]
fn nothing_before_a_schedule_existed_fires() {
    let due = due(ConcurrencyPolicy::Always, &["0 9 * * *"], "2026-01-02T10:00:00Z");
    assert!(outcomes(decide(due, time("2026-01-02T20:00:00Z"))).is_empty());
}

#[test]
fn nothing_before_a_resume_or_an_edit_fires_and_a_no_op_moves_no_mark() {
    let first = due(ConcurrencyPolicy::Always, &["0 9 * * *"], "2026-01-01T00:00:00Z");
    let (job, schedule) = (first.job.clone(), first.schedules[0].clone());
    let paused = job.clone().pause(
        JobState::paused("why".into()).unwrap(),
        vec![schedule.clone()],
        time("2026-01-02T00:00:00Z"),
    );
    let paused = paused.unwrap().unwrap().numbered(1);
    let ScheduleChange::Update(held) = paused.schedules[0].clone() else { panic!() };
    assert_eq!(held.next, None);
    let resumed = paused.job.resume(vec![held], time("2026-01-09T10:00:00Z")).unwrap().unwrap().numbered(1);
    let ScheduleChange::Update(again) = resumed.schedules[0].clone() else { panic!() };
    assert_eq!((again.mark, again.next), (time("2026-01-09T10:00:00Z"), Some(time("2026-01-10T09:00:00Z"))));

    let same = schedule.plan.clone();
    assert!(job.clone().reschedule(schedule.clone(), same, false, time("2026-01-05T00:00:00Z")).unwrap().is_none());
    let other = Plan::parse("", "0 8 * * *", "", Default::default(), None).unwrap();
    let edited = job.reschedule(schedule, other, false, time("2026-01-05T10:00:00Z")).unwrap().unwrap().numbered(1);
    let ScheduleChange::Update(edited) = edited.schedules[0].clone() else { panic!() };
    assert_eq!(edited.next, Some(time("2026-01-06T08:00:00Z")));
}

#[test]
fn a_tick_without_room_is_neither_entered_nor_moved_on() {
    let mut due = due(ConcurrencyPolicy::Always, &["0 * * * *", "30 * * * *"], "2026-01-01T00:15:00Z");
    due.room = 1;
    let change = decide(due.clone(), time("2026-01-01T01:10:00Z")).unwrap();
    let ScheduleChange::Update(first) = &change.schedules()[0] else { panic!() };
    assert_eq!((change.schedules().len(), first.name.schedule.as_str()), (1, "s1"), "the one that fell due first");
    assert_eq!(outcomes(Some(change)), [("2026-01-01T00:30:00Z".into(), "STARTED", 0)]);
    due.room = 0;
    assert!(decide(due.clone(), time("2026-01-01T01:10:00Z")).is_none());
    // With room again, the latest tick of each.
    due.room = 2;
    let later = decide(due, time("2026-01-01T03:10:00Z"));
    assert_eq!(
        outcomes(later),
        [("2026-01-01T02:30:00Z".into(), "STARTED", 2), ("2026-01-01T03:00:00Z".into(), "STARTED", 2)]
    );
}

#[test]
fn what_makes_no_task_needs_no_room() {
    let mut due = due(ConcurrencyPolicy::Forbid, &["0 * * * *"], "2026-01-01T00:30:00Z");
    due.live = vec![live_task(&due)];
    due.room = 0;
    let change = decide(due, time("2026-01-01T01:00:01Z"));
    assert_eq!(outcomes(change), [("2026-01-01T01:00:00Z".into(), "SKIPPED_OVERLAP", 0)]);
}

#[test]
fn forbid_consumes_the_tick_it_skips() {
    let mut due = due(ConcurrencyPolicy::Forbid, &["0 * * * *"], "2026-01-01T00:30:00Z");
    due.live = vec![live_task(&due)];
    let change = decide(due.clone(), time("2026-01-01T01:00:01Z")).unwrap();
    let ScheduleChange::Update(schedule) = change.schedules()[0].clone() else { panic!() };
    assert_eq!(outcomes(Some(change)), [("2026-01-01T01:00:00Z".into(), "SKIPPED_OVERLAP", 0)]);
    due.schedules = vec![schedule];
    due.live.clear();
    assert!(outcomes(decide(due, time("2026-01-01T01:30:00Z"))).is_empty(), "it started late after all");
}

#[test]
fn a_live_task_that_vanished_blocks_nobody() {
    // What is live is read from the rows at each tick; there is no list to go stale.
    let due = due(ConcurrencyPolicy::Forbid, &["0 * * * *"], "2026-01-01T00:30:00Z");
    assert_eq!(outcomes(decide(due, time("2026-01-01T01:00:00Z")))[0].1, "STARTED");
}

#[test]
fn replace_cancels_what_is_live_and_waits_for_it_to_be_gone() {
    let mut due = due(ConcurrencyPolicy::Replace, &["0 * * * *"], "2026-01-01T00:30:00Z");
    due.live = vec![live_task(&due)];
    let write = decide(due, time("2026-01-01T01:00:00Z")).unwrap().numbered(7);
    assert_eq!(write.cancels[0].task().state.kind(), StateKind::Cancelling);
    let born = write.births[0].task();
    assert!(born.job.as_ref().unwrap().waits);
    assert_eq!((born.name.id, write.runs[0].outcome.as_str()), (7, "STARTED"));
}

#[test]
fn of_two_schedules_at_one_moment_replace_starts_the_last() {
    let due = due(ConcurrencyPolicy::Replace, &["0 * * * *", "0 1 * * *"], "2026-01-01T00:30:00Z");
    let outcomes = outcomes(decide(due, time("2026-01-01T01:00:00Z")));
    assert_eq!(outcomes.iter().map(|(_, outcome, _)| *outcome).collect::<Vec<_>>(), ["SUPERSEDED", "STARTED"]);
}

#[test]
fn forbid_counts_the_task_that_another_schedule_just_made() {
    let due = due(ConcurrencyPolicy::Forbid, &["0 * * * *", "0 1 * * *"], "2026-01-01T00:30:00Z");
    let outcomes = outcomes(decide(due, time("2026-01-01T01:00:00Z")));
    assert_eq!(outcomes.iter().map(|(_, outcome, _)| *outcome).collect::<Vec<_>>(), ["STARTED", "SKIPPED_OVERLAP"]);
}

#[test]
fn a_starting_deadline_rules_a_late_tick_out() {
    let due = with_plan(due(ConcurrencyPolicy::Always, &["0 * * * *"], "2026-01-01T00:30:00Z"), |schedule| {
        schedule.plan.deadline = Some(Duration::from_secs(60));
    });
    assert_eq!(outcomes(decide(due.clone(), time("2026-01-01T01:01:00Z")))[0].1, "STARTED");
    assert_eq!(outcomes(decide(due, time("2026-01-01T01:01:01Z")))[0].1, "MISSED");
}

#[test]
fn a_tick_that_can_make_no_task_says_why_and_is_consumed() {
    let mut due = due(ConcurrencyPolicy::Always, &["0 * * * *"], "2026-01-01T00:30:00Z");
    (_, due.app) = space_and_app(None);
    let write = decide(due, time("2026-01-01T01:00:00Z")).unwrap().numbered(1);
    assert!(write.births.is_empty());
    assert_eq!(write.runs[0].outcome.as_str(), "REFUSED");
    assert!(write.runs[0].outcome.message().contains("--command"));
}

#[test]
fn a_paused_or_deleted_job_fires_nothing() {
    let due = due(ConcurrencyPolicy::Always, &["* * * * *"], "2026-01-01T00:00:00Z");
    for state in [JobState::paused(String::new()).unwrap(), JobState::Deleting { grace: Duration::ZERO }] {
        let mut due = due.clone();
        due.job.state = state;
        assert!(outcomes(decide(due, time("2026-01-02T00:00:00Z"))).is_empty());
    }
}

#[test]
fn deleting_twice_is_no_error_and_ends_live_tasks_by_force() {
    let mut due = due(ConcurrencyPolicy::Always, &["* * * * *"], "2026-01-01T00:00:00Z");
    due.live = vec![live_task(&due)];
    let write =
        due.job.delete(&due.schedules, due.live, Duration::ZERO, time("2026-01-02T00:00:00Z")).unwrap().numbered(1);
    assert_eq!(write.events.iter().map(|event| event.fact).collect::<Vec<_>>(), [Fact::JobDeleteRequested]);
    assert!(matches!(
        write.cancels[0].task().state,
        crate::task::TaskState::Cancelling { grace: Some(Duration::ZERO), .. }
    ));
    assert!(write.job.delete(&[], Vec::new(), Duration::ZERO, time("2026-01-03T00:00:00Z")).is_none());
}

proptest! {
    /// However the passes fall, a tick is decided at most once, in order, and never before the schedule existed.
    #[test]
    fn no_tick_is_decided_twice(
        steps in prop::collection::vec(1_i64..7200, 1..30),
        cron in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "5,50 1-4 * * *", "0 0 30 2 *", "30 6,10,14 * * 1-5"]),
        policy in prop::sample::select(ConcurrencyPolicy::ALL.to_vec()),
    ) {
        let start = "2026-01-01T00:00:00Z";
        let mut due = due(policy, &[cron], start);
        let mut now = time(start);
        let (mut last, mut sequence) = (now, due.job.sequence);
        for step in steps {
            now += jiff::SignedDuration::from_secs(step);
            let Some(change) = decide(due.clone(), now) else { continue };
            let write = change.numbered(1);
            for run in &write.runs {
                let tick = run.tick.as_ref().unwrap();
                prop_assert!(tick.at > last && tick.at <= now);
                prop_assert_eq!(due.schedules[0].plan.recurrence.prev(tick.at), Some(tick.at));
                last = tick.at;
            }
            for event in &write.events {
                sequence += 1;
                prop_assert_eq!(event.sequence, sequence);
            }
            prop_assert!(write.runs.len() <= 1);
            if let Some(ScheduleChange::Update(schedule)) = write.schedules.first() {
                prop_assert!(schedule.next.is_none_or(|next| next > now));
                due.schedules = vec![schedule.clone()];
            }
            due.job = write.job;
        }
    }
}
