//! `preview-schedule`: when a schedule would fire, before there is one.

use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::{PreviewScheduleRequest, Schedule};

use super::schedule::Times;
use crate::args::{Output, PreviewArgs};
use crate::clock;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::job as table;

/// The most ticks that the api tells at once.
const MOST: i32 = 1000;

pub async fn preview(context: &Context, args: PreviewArgs) -> Result<(), Failure> {
    let request = request(args);
    let preview = context
        .session
        .call(&request, async |channel, request| JobServiceClient::new(channel).preview_schedule(request).await)
        .await?;
    if context.printer.output == Output::Name {
        // What is nowhere stored has no name; its times are the nearest to one.
        let times = preview.ticks.iter().filter_map(|tick| clock::shown(tick.time));
        return times.into_iter().try_for_each(|time| context.screen().print(&time));
    }
    context.printer.one(&preview, table::preview)?;
    if request.end_time.is_some() && preview.ticks.len() == MOST as usize {
        context.screen().note(&format!("these are the first {MOST}; --from shows what follows"));
    }
    Ok(())
}

fn request(args: PreviewArgs) -> PreviewScheduleRequest {
    let PreviewArgs { cron, when, count, from, to } = args;
    PreviewScheduleRequest {
        schedule: Some(Schedule::from(Times { cron, when, deadline: None })),
        // Whoever names an end wants to see all until then.
        count: count.unwrap_or(if to.is_some() { MOST } else { 0 }),
        start_time: from.map(clock::to_wire),
        end_time: to.map(clock::to_wire),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn requested(words: &[&str]) -> PreviewScheduleRequest {
        let words = ["taskplane", "preview-schedule", "30 2 * * *"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::PreviewSchedule(args) => request(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_range_shows_all_its_ticks_and_anything_else_what_the_api_thinks_enough() {
        assert_eq!(requested(&[]).count, 0);
        assert_eq!(requested(&["--from", "2026-03-28"]).count, 0);
        assert_eq!(requested(&["--to", "2026-03-30"]).count, MOST);
        assert_eq!(requested(&["--to", "2026-03-30", "-n", "3"]).count, 3);
    }

    #[test]
    fn flags_become_the_request() {
        let request =
            requested(&["--time-zone", "Europe/Berlin", "--gap", "skip", "--overlap", "both", "--from", "2026-03-28"]);
        let schedule = request.schedule.unwrap();
        assert_eq!((schedule.cron.as_str(), schedule.time_zone.as_str()), ("30 2 * * *", "Europe/Berlin"));
        assert_eq!(
            (schedule.gap().as_str_name(), schedule.overlap().as_str_name()),
            ("GAP_RULE_SKIP", "OVERLAP_RULE_BOTH")
        );
        assert_eq!(clock::shown(request.start_time).unwrap(), "2026-03-28T00:00:00Z");
    }
}
