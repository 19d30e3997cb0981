//! Commands about the schedules of Jobs.

use std::cell::Cell;
use std::time::Duration;

use prost_types::FieldMask;
use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::{
    CreateScheduleRequest, DeleteScheduleRequest, GapRule, GetScheduleRequest, Job, JobState, OverlapRule, Schedule,
    UpdateScheduleRequest,
};
use tonic::Code;

use super::{duration, job};
use crate::args::{DeleteJobScheduleArgs, JobSchedulesArgs, ScheduleJobArgs, WhenArgs};
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::render::job as table;
use crate::render::state::is_suspended;
use crate::{clock, names};

/// When a schedule is to fire, as typed.
pub struct Times {
    pub cron: String,
    pub when: WhenArgs,
    pub deadline: Option<Duration>,
}

impl From<Times> for Schedule {
    fn from(times: Times) -> Self {
        let Times { cron, when: WhenArgs { time_zone, gap, overlap }, deadline } = times;
        Self {
            cron,
            time_zone: time_zone.unwrap_or_default(),
            gap: gap.map_or(GapRule::Unspecified, GapRule::from).into(),
            overlap: overlap.map_or(OverlapRule::Unspecified, OverlapRule::from).into(),
            starting_deadline: deadline.map(duration),
            ..Self::default()
        }
    }
}

/// What a schedule consists of: one that is replaced keeps none of it.
const FIELDS: [&str; 6] = ["cron", "time_zone", "gap", "overlap", "starting_deadline", "suspended"];

/// The id of a Job's first schedule, which `create-job -s` gives as well. That it is always the same makes a repeat safe.
const FIRST: &str = "default";

/// `schedule-job`.
pub async fn set(context: &Context, args: ScheduleJobArgs) -> Result<(), Failure> {
    let ScheduleJobArgs { job: typed, cron, add, schedule: id, when, deadline } = args;
    let job = job::get(context, &typed).await?;
    let short = names::last(&job.name);
    let wanted = Schedule::from(Times { cron, when, deadline });
    let schedule = match choose(&job, add, id.as_deref(), made_up)? {
        Choice::Make(id) => create(context, &job, id, wanted).await?,
        Choice::Replace(old) => {
            let new = replace(context, old, wanted).await?;
            if new.etag != old.etag {
                let (id, old) = (names::last(&old.name), table::cron(old));
                context.screen().note(&format!("warning: schedule {id} of Job {short} was `{old}` and is replaced"));
            }
            new
        }
    };
    if job.state() == JobState::Paused {
        let hint = context.hint(&format!("resume-job {short}"));
        context.screen().note(&format!("Job {short} is paused; `{hint}` lets it fire"));
    }
    context.printer.one(&schedule, |schedule| {
        let said = format!("Job {short} scheduled.");
        format!("{}\n\n{}", escape::line(&said), table::meaning(schedule, clock::now()))
    })
}

#[derive(Debug, PartialEq)]
enum Choice<'a> {
    Make(String),
    Replace(&'a Schedule),
}

fn choose<'a>(job: &'a Job, add: bool, id: Option<&str>, made_up: impl Fn() -> String) -> Result<Choice<'a>, Failure> {
    if add {
        return Ok(Choice::Make(id.map_or_else(made_up, str::to_owned)));
    }
    match (job.schedules.as_slice(), id) {
        ([], id) => Ok(Choice::Make(id.unwrap_or(FIRST).to_owned())),
        ([one], None) => Ok(Choice::Replace(one)),
        (_, Some(id)) => Ok(Choice::Replace(find(job, id)?)),
        (_, None) => Err(Failure::wrong_with(
            several(job),
            "replace one with --schedule ID, or make another with --add".to_owned(),
        )),
    }
}

fn made_up() -> String {
    format!("s-{}", hex::encode(rand::random::<[u8; 4]>()))
}

/// By id, by uid, or by the whole name.
fn find<'a>(job: &'a Job, typed: &str) -> Result<&'a Schedule, Failure> {
    let is_meant =
        |schedule: &&Schedule| names::last(&schedule.name) == typed || schedule.uid == typed || schedule.name == typed;
    job.schedules.iter().find(is_meant).ok_or_else(|| Failure::Wrong {
        what: format!("Job {} has no schedule `{typed}`", names::last(&job.name)),
        fix: (!job.schedules.is_empty()).then(|| several(job)),
    })
}

/// What there is to choose from.
fn several(job: &Job) -> String {
    let known = |schedule: &Schedule| format!("{} (`{}`)", names::last(&schedule.name), table::cron(schedule));
    let known: Vec<String> = job.schedules.iter().map(known).collect();
    let noun = if known.len() == 1 { "schedule" } else { "schedules" };
    format!("Job {} has {} {noun}: {}", names::last(&job.name), known.len(), known.join(", "))
}

/// Under an id that this side chose, a repeat that finds it there knows that the first try made it.
async fn create(context: &Context, job: &Job, id: String, schedule: Schedule) -> Result<Schedule, Failure> {
    let name = format!("{}/schedules/{id}", job.name);
    let request = CreateScheduleRequest { parent: job.name.clone(), schedule_id: id, schedule: Some(schedule) };
    let tried = Cell::new(false);
    context
        .session
        .call(&request, async |channel, request| {
            let mut client = JobServiceClient::new(channel);
            match client.create_schedule(request).await {
                Err(status) if status.code() == Code::AlreadyExists && tried.get() => {
                    client.get_schedule(GetScheduleRequest { name: name.clone() }).await
                }
                answer => {
                    tried.set(true);
                    answer
                }
            }
        })
        .await
}

async fn replace(context: &Context, old: &Schedule, wanted: Schedule) -> Result<Schedule, Failure> {
    let request = UpdateScheduleRequest {
        schedule: Some(Schedule { name: old.name.clone(), etag: old.etag.clone(), ..wanted }),
        update_mask: Some(FieldMask { paths: FIELDS.map(str::to_owned).to_vec() }),
    };
    context
        .session
        .call(&request, async |channel, request| JobServiceClient::new(channel).update_schedule(request).await)
        .await
}

/// `job-schedules`.
pub async fn list(context: &Context, args: JobSchedulesArgs) -> Result<(), Failure> {
    let JobSchedulesArgs { job: typed, all } = args;
    let jobs = match typed {
        Some(typed) => vec![job::get(context, &typed).await?],
        None => job::all(context).await?,
    };
    let rows: Vec<(&Job, &Schedule)> = jobs
        .iter()
        .flat_map(|job| job.schedules.iter().map(move |schedule| (job, schedule)))
        .filter(|(job, schedule)| all || !is_suspended(job, schedule))
        .collect();
    let schedules: Vec<Schedule> = rows.iter().map(|(_, schedule)| (*schedule).clone()).collect();
    context.printer.list("schedules", &schedules, |_| table::job_schedules(&rows, clock::now()))
}

/// `delete-job-schedule`.
pub async fn delete(context: &Context, args: DeleteJobScheduleArgs) -> Result<(), Failure> {
    let DeleteJobScheduleArgs { job: typed, schedule } = args;
    let job = job::get(context, &typed).await?;
    let short = names::last(&job.name);
    let schedule = one(&job, schedule.as_deref())?;
    let request = DeleteScheduleRequest { name: schedule.name.clone(), etag: schedule.etag.clone() };
    context
        .session
        .delete(&request, async |channel, request| {
            JobServiceClient::new(channel).delete_schedule(request).await.map(|answer| answer.map(|_| ()))
        })
        .await?;
    context.printer.said(&format!("Schedule {} of Job {short} deleted.", names::last(&schedule.name)))
}

fn one<'a>(job: &'a Job, typed: Option<&str>) -> Result<&'a Schedule, Failure> {
    match (job.schedules.as_slice(), typed) {
        (_, Some(typed)) => find(job, typed),
        ([one], None) => Ok(one),
        ([], None) => Err(Failure::wrong(format!("Job {} has no schedule", names::last(&job.name)))),
        (_, None) => Err(Failure::wrong_with(several(job), "say which one by its ID".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_job(ids: &[&str]) -> Job {
        let schedule = |id: &&str| Schedule {
            name: format!("spaces/s/jobs/nightly/schedules/{id}"),
            uid: format!("uid-{id}"),
            cron: "0 9 * * *".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            ..Schedule::default()
        };
        let schedules = ids.iter().map(schedule).collect();
        Job { name: "spaces/s/jobs/nightly".to_owned(), schedules, ..Job::default() }
    }

    fn chosen(job: &Job, add: bool, id: Option<&str>) -> Result<String, String> {
        match choose(job, add, id, || "made-up".to_owned()) {
            Ok(Choice::Make(id)) => Ok(format!("make {id}")),
            Ok(Choice::Replace(schedule)) => Ok(format!("replace {}", names::last(&schedule.name))),
            Err(failure) => Err(failure.line()),
        }
    }

    #[test]
    fn the_one_schedule_is_replaced_and_more_are_made_on_request_alone() {
        let (none, one, two) = (a_job(&[]), a_job(&["a"]), a_job(&["a", "b"]));
        for (job, add, id, expected) in [
            (&none, false, None, "make default"),
            (&none, false, Some("x"), "make x"),
            (&one, false, None, "replace a"),
            (&one, true, None, "make made-up"),
            (&two, true, Some("c"), "make c"),
            (&two, false, Some("b"), "replace b"),
            (&two, false, Some("uid-a"), "replace a"),
        ] {
            assert_eq!(chosen(job, add, id).unwrap(), expected);
        }
    }

    #[test]
    fn where_there_are_several_they_are_listed_with_the_ways_out() {
        let two = a_job(&["a", "b"]);
        assert_eq!(
            chosen(&two, false, None).unwrap_err(),
            "Job nightly has 2 schedules: a (`0 9 * * * (Europe/Berlin)`), b (`0 9 * * * (Europe/Berlin)`); replace one with \
             --schedule ID, or make another with --add"
        );
        assert!(
            chosen(&two, false, Some("c"))
                .unwrap_err()
                .starts_with("Job nightly has no schedule `c`; Job nightly has 2")
        );
        assert!(one(&two, None).unwrap_err().line().ends_with("say which one by its ID"));
    }

    #[test]
    fn a_deletion_needs_an_id_only_among_several() {
        let job = a_job(&["a"]);
        assert_eq!(one(&job, None).unwrap(), &job.schedules[0]);
        assert_eq!(one(&job, Some("uid-a")).unwrap(), &job.schedules[0]);
        assert_eq!(one(&a_job(&[]), None).unwrap_err().line(), "Job nightly has no schedule");
        assert_eq!(one(&a_job(&[]), Some("a")).unwrap_err().line(), "Job nightly has no schedule `a`");
    }

    #[test]
    fn a_made_up_id_is_a_name() {
        let id = made_up();
        assert!(id.len() == 10 && id.starts_with("s-"), "{id}");
        assert_ne!(id, made_up());
    }
}
