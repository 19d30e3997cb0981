//! When a schedule fires.

use std::time::Duration;

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::job::Plan;
use taskplane_domain::schedule::{Cron, DstRemark, GapRule, OverlapRule, Recurrence, Tick, Zone};

use crate::convert::spec::{BadSpec, millis};
use crate::convert::time::{duration_from_pb, duration_to_pb, timestamp_to_pb};
use crate::internal::v1 as internal;
use crate::v1 as pb;

pub(super) fn gap_to_pb(gap: GapRule) -> pb::GapRule {
    match gap {
        GapRule::RunAfter => pb::GapRule::RunAfter,
        GapRule::Skip => pb::GapRule::Skip,
    }
}

pub(super) fn overlap_to_pb(overlap: OverlapRule) -> pb::OverlapRule {
    match overlap {
        OverlapRule::First => pb::OverlapRule::First,
        OverlapRule::Second => pb::OverlapRule::Second,
        OverlapRule::Both => pb::OverlapRule::Both,
    }
}

fn gap_from_pb(number: i32) -> Option<GapRule> {
    match pb::GapRule::try_from(number).ok()? {
        pb::GapRule::Unspecified | pb::GapRule::RunAfter => Some(GapRule::RunAfter),
        pb::GapRule::Skip => Some(GapRule::Skip),
    }
}

fn overlap_from_pb(number: i32) -> Option<OverlapRule> {
    match pb::OverlapRule::try_from(number).ok()? {
        pb::OverlapRule::Unspecified | pb::OverlapRule::First => Some(OverlapRule::First),
        pb::OverlapRule::Second => Some(OverlapRule::Second),
        pb::OverlapRule::Both => Some(OverlapRule::Both),
    }
}

/// The fields of a schedule that say when; `prefix` is its path in the request, with its dot.
pub(super) fn plan_from_pb(prefix: &str, schedule: &pb::Schedule) -> Result<Plan, Invalid> {
    let mut check = Check::new();
    let gap = check.field(&format!("{prefix}gap"), gap_from_pb(schedule.gap).ok_or("must be RUN_AFTER or SKIP"));
    let overlap = overlap_from_pb(schedule.overlap).ok_or("must be FIRST, SECOND or BOTH");
    let overlap = check.field(&format!("{prefix}overlap"), overlap);
    let deadline = match schedule.starting_deadline.as_ref().map(duration_from_pb) {
        Some(None) => {
            check.refuse(format!("{prefix}starting_deadline"), "must be more than 0 and at most 366 days");
            None
        }
        known => known.flatten(),
    };
    let rules = (gap.unwrap_or_default(), overlap.unwrap_or_default());
    let plan = check.all(Plan::parse(prefix, &schedule.cron, &schedule.time_zone, rules, deadline));
    check.finish_with(plan)
}

/// The same fields in an answer.
pub(super) fn plan_to_pb(plan: &Plan) -> pb::Schedule {
    let Plan { recurrence: Recurrence { cron, zone, gap, overlap }, deadline } = plan;
    pb::Schedule {
        cron: cron.to_string(),
        time_zone: zone.name().to_owned(),
        gap: gap_to_pb(*gap) as i32,
        overlap: overlap_to_pb(*overlap) as i32,
        starting_deadline: deadline.map(duration_to_pb),
        description: plan.recurrence.describe(),
        ..pb::Schedule::default()
    }
}

impl From<&Plan> for internal::SchedulePlan {
    fn from(plan: &Plan) -> Self {
        let Plan { recurrence: Recurrence { cron, zone, gap, overlap }, deadline } = plan;
        Self {
            cron: cron.to_string(),
            time_zone: zone.name().to_owned(),
            gap: gap_to_pb(*gap) as u32,
            overlap: overlap_to_pb(*overlap) as u32,
            deadline_millis: deadline.map(millis),
        }
    }
}

impl TryFrom<internal::SchedulePlan> for Plan {
    type Error = BadSpec;

    fn try_from(plan: internal::SchedulePlan) -> Result<Self, BadSpec> {
        let internal::SchedulePlan { cron, time_zone, gap, overlap, deadline_millis } = plan;
        Ok(Self {
            recurrence: Recurrence {
                cron: Cron::parse(&cron).map_err(|_| BadSpec("cron"))?,
                zone: Zone::parse(&time_zone).map_err(|_| BadSpec("time_zone"))?,
                gap: gap_from_pb(gap.cast_signed()).ok_or(BadSpec("gap"))?,
                overlap: overlap_from_pb(overlap.cast_signed()).ok_or(BadSpec("overlap"))?,
            },
            deadline: deadline_millis.map(Duration::from_millis),
        })
    }
}

/// One line of a preview.
pub fn previewed_to_pb(tick: &Tick, zone: &Zone) -> pb::PreviewedTick {
    let Tick { at, local, offset, remark } = tick;
    let remark = match remark {
        None => String::new(),
        Some(DstRemark::OutOfGap { meant }) => format!("meant for {meant}, which the clock jumps over"),
        Some(DstRemark::FirstPass) => "the clock shows this time twice; this is the first".to_owned(),
        Some(DstRemark::SecondPass) => "the clock shows this time twice; this is the second".to_owned(),
    };
    pb::PreviewedTick {
        time: Some(timestamp_to_pb(*at)),
        local_time: format!("{local}{}[{}]", colon(&offset.to_string()), zone.name()),
        remark,
    }
}

/// `+02` as RFC 3339 wants it: `+02:00`.
fn colon(offset: &str) -> String {
    if offset.contains(':') { offset.to_owned() } else { format!("{offset}:00") }
}
