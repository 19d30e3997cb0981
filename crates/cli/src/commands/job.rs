//! Commands about Jobs, but for their schedules and runs.

use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::{
    ConcurrencyPolicy, CreateJobRequest, DeleteJobRequest, Job, JobState, ListJobsRequest, PauseJobRequest,
    ResumeJobRequest, Schedule, TaskTemplate,
};

use super::schedule::Times;
use super::{PAGE, duration, map, resources, retry_policy};
use crate::args::{CreateJobArgs, DeleteJobArgs, JobArgs, PauseJobArgs, WhenArgs};
use crate::connect::Tries;
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::leaving::{Found, until_gone};
use crate::render::job as table;
use crate::{clock, names, watch};

pub async fn list(context: &Context) -> Result<(), Failure> {
    let jobs = all(context).await?;
    context.printer.list("jobs", &jobs, |jobs| table::jobs(jobs, clock::now()))
}

/// Every Job of the Space, with its schedules.
pub async fn all(context: &Context) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    let mut request = ListJobsRequest { parent: context.session.space()?, page_size: PAGE, page_token: String::new() };
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| JobServiceClient::new(channel).list_jobs(request).await)
            .await?;
        jobs.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(jobs);
        }
        request.page_token = page.next_page_token;
    }
}

/// The Job that was typed.
pub async fn get(context: &Context, typed: &str) -> Result<Job, Failure> {
    watch::job(&context.session, &names::job(typed, || context.session.space())?).await
}

pub async fn show(context: &Context, args: JobArgs) -> Result<(), Failure> {
    let job = get(context, &args.job).await?;
    print(context, &job)
}

pub async fn create(context: &Context, args: CreateJobArgs) -> Result<(), Failure> {
    let request = request(context.session.space()?, args)?;
    let job = context
        .session
        .call(&request, async |channel, request| JobServiceClient::new(channel).create_job(request).await)
        .await?;
    context.printer.one(&job, |job| created(context, job))
}

fn created(context: &Context, job: &Job) -> String {
    let name = names::last(&job.name);
    let run = context.hint(&format!("run-job {name}"));
    let next = match job.schedules.first() {
        Some(schedule) => {
            format!("{}{}", table::meaning(schedule, clock::now()), escape::line(&format!("Run it:     {run}")))
        }
        None => {
            let schedule = context.hint(&format!("schedule-job {name} CRON"));
            let lines = [format!("Run it:        {run}"), format!("Schedule it:   {schedule}")];
            lines.map(|line| escape::line(&line).into_owned()).join("\n")
        }
    };
    format!("{}\n\n{next}", escape::line(&format!("Job {name} created.")))
}

fn request(space: String, args: CreateJobArgs) -> Result<CreateJobRequest, Failure> {
    let CreateJobArgs {
        app,
        job,
        command,
        schedule: cron,
        when,
        deadline,
        concurrency_policy,
        env,
        timeout,
        labels,
        retry,
        resources: typed,
        r#async: _,
        space: _,
    } = args;
    if cron.is_none() && (when != WhenArgs::default() || deadline.is_some()) {
        let what = "--time-zone, --gap, --overlap and --deadline say more about a schedule; add -s/--schedule CRON";
        return Err(Failure::Usage(what.to_owned()));
    }
    let template = TaskTemplate {
        command: command.unwrap_or_default(),
        resources: resources(typed),
        env: map(env),
        timeout: timeout.map(duration),
        retry_policy: retry_policy(retry),
        labels: map(labels),
        ..TaskTemplate::default()
    };
    Ok(CreateJobRequest {
        job_id: job,
        job: Some(Job {
            app: names::app(&space, &app),
            template: Some(template),
            concurrency_policy: ConcurrencyPolicy::from(concurrency_policy).into(),
            ..Job::default()
        }),
        schedule: cron.map(|cron| Schedule::from(Times { cron, when, deadline })),
        parent: space,
    })
}

pub async fn pause(context: &Context, args: PauseJobArgs) -> Result<(), Failure> {
    let PauseJobArgs { job, note } = args;
    let name = names::job(&job, || context.session.space())?;
    let request = PauseJobRequest { name, note, etag: String::new() };
    let job = context
        .session
        .call(&request, async |channel, request| JobServiceClient::new(channel).pause_job(request).await)
        .await?;
    context.printer.said(&format!("Job {} paused.", names::last(&job.name)))?;
    data(context, &job)
}

pub async fn resume(context: &Context, args: JobArgs) -> Result<(), Failure> {
    let request = ResumeJobRequest { name: names::job(&args.job, || context.session.space())?, etag: String::new() };
    let job = context
        .session
        .call(&request, async |channel, request| JobServiceClient::new(channel).resume_job(request).await)
        .await?;
    let next = match clock::until(job.next_tick_time, clock::now()) {
        Some(left) => format!("; its next tick is {left}"),
        None => String::new(),
    };
    context.printer.said(&format!("Job {} resumed{next}.", names::last(&job.name)))?;
    data(context, &job)
}

pub async fn delete(context: &Context, args: DeleteJobArgs) -> Result<(), Failure> {
    let DeleteJobArgs { job, force, grace, r#async, retries, retry_delay } = args;
    let job = get(context, &job).await?;
    let short = names::last(&job.name).to_owned();
    let grace = grace.map(duration);
    let how = grace.and_then(clock::exact).map_or_else(|| "by force".to_owned(), |grace| format!("within {grace}"));
    let asked_before = job.state() == JobState::Deleting;
    let question = format!(
        "Really delete Job {short} with all its Tasks and their logs? {}",
        live(job.live_task_count, "ends", "end", &how)
    );
    if !force && !asked_before && context.screen().can_ask() && !context.screen().confirm(question.trim())? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }

    let request = DeleteJobRequest { name: job.name.clone(), etag: job.etag.clone(), grace };
    let tries = Tries { again: retries, delay: retry_delay, grows: false };
    let asked = context
        .session
        .call_with(tries, &request, async |channel, request| JobServiceClient::new(channel).delete_job(request).await)
        .await;
    let asked = match asked {
        // Gone between two looks at it, which is what was wanted.
        Err(failure) if failure.code() == Some(tonic::Code::NotFound) => {
            return context.printer.said(&format!("Job {short} deleted."));
        }
        asked => asked?,
    };
    let ends = live(asked.live_task_count, "is ended", "are ended", &how);
    let begun = if asked_before { "is being deleted already." } else { "is submitted for deletion." };
    context.printer.said(format!("Job {short} {begun} {ends}").trim())?;
    if r#async {
        return data(context, &asked);
    }
    let look = async || {
        let Job { uid, remains, .. } = watch::job(&context.session, &job.name).await?;
        Ok(Found { uid, remains })
    };
    until_gone(context, &short, &job.uid, look).await?;
    context.printer.said(&format!("Job {short} deleted."))
}

/// A sentence on what becomes of the Tasks that are not over; none for none.
fn live(count: i32, one: &str, several: &str, how: &str) -> String {
    match count {
        ..=0 => String::new(),
        1 => format!("1 live Task of it {one} {how}."),
        count => format!("{count} live Tasks of it {several} {how}."),
    }
}

/// For programs alone: people have read their sentence.
fn data(context: &Context, job: &Job) -> Result<(), Failure> {
    if context.printer.for_people() { Ok(()) } else { print(context, job) }
}

fn print(context: &Context, job: &Job) -> Result<(), Failure> {
    context.printer.one(job, |job| table::job(job, clock::now()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn requested(words: &[&str]) -> Result<CreateJobRequest, Failure> {
        let words = ["taskplane", "create-job", "shop", "nightly"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::CreateJob(args) => request("spaces/s".to_owned(), *args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_is_made_with_the_flags_of_kf() {
        let request =
            requested(&["bin/report --all", "-s", "0 9 * * *", "-c", "Forbid", "-m", "1G", "--async"]).unwrap();
        assert_eq!((request.parent.as_str(), request.job_id.as_str()), ("spaces/s", "nightly"));
        let job = request.job.unwrap();
        assert_eq!((job.app.as_str(), job.concurrency_policy()), ("spaces/s/apps/shop", ConcurrencyPolicy::Forbid));
        let template = job.template.unwrap();
        assert_eq!(
            (template.command.as_str(), template.resources.unwrap().memory.as_str()),
            ("bin/report --all", "1G")
        );
        assert_eq!(request.schedule.unwrap().cron, "0 9 * * *");
    }

    #[test]
    fn a_schedule_says_by_whose_clock_and_how_late() {
        let flags = ["--schedule", "@daily", "--time-zone", "Europe/Berlin", "--overlap", "second", "--deadline", "5m"];
        let schedule = requested(&flags).unwrap().schedule.unwrap();
        assert_eq!(
            (schedule.time_zone.as_str(), schedule.overlap().as_str_name()),
            ("Europe/Berlin", "OVERLAP_RULE_SECOND")
        );
        assert_eq!(schedule.starting_deadline.unwrap().seconds, 300);
        let line = requested(&["--time-zone", "Europe/Berlin"]).unwrap_err().line();
        assert!(line.ends_with("add -s/--schedule CRON"), "{line}");
    }

    #[test]
    fn without_flags_a_job_runs_when_asked_and_tasks_may_overlap() {
        let request = requested(&[]).unwrap();
        assert_eq!((request.schedule, request.job.unwrap().concurrency_policy()), (None, ConcurrencyPolicy::Always));
    }

    #[test]
    fn the_end_of_live_tasks_is_announced() {
        assert_eq!(live(0, "ends", "end", "by force"), "");
        assert_eq!(live(1, "is ended", "are ended", "by force"), "1 live Task of it is ended by force.");
        assert_eq!(live(3, "is ended", "are ended", "within 30s"), "3 live Tasks of it are ended within 30s.");
    }
}
