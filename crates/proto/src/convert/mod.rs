//! Between wire and domain. Each conversion takes a message apart field by field, so that a new field does not compile
//! until somebody has decided what becomes of it.

mod app;
mod condition;
mod ending;
mod event;
mod explain;
mod job;
mod launch;
mod log;
mod placement;
mod plan;
mod retention;
mod run;
mod security_group;
mod service;
mod space;
mod spec;
mod task;
mod time;
mod waiting;

pub use app::{PushAsked, SourceAsked};
pub use ending::{cancel_task_from_pb, grace_from_pb};
pub use event::BadEvent;
pub use job::{
    held_tick_to_pb, job_asked, job_run_to_pb, job_template_masked, job_to_pb, run_job_from_pb, schedule_asked,
    schedule_masked, schedule_to_pb,
};
pub use launch::launch_from_pb;
pub use log::{log_record_from_pb, log_record_to_pb};
pub use plan::previewed_to_pb;
pub use retention::{removable_to_pb, retention_to_pb};
pub use run::{
    BadReport, claim_from_pb, recovered_from_pb, recovered_to_pb, refusal_to_pb, report_from_pb, report_to_pb,
};
pub use security_group::{BindTarget, binding_asked, rules_asked, rules_masked, security_group_to_pb};
pub use service::{service_asked, service_masked, service_to_pb};
pub use space::{etag, etag_matches, settings_masked};
pub use spec::{BadSpec, SpaceRules};
pub use task::{frozen_to_pb, run_task_from_pb, task_to_pb, watched_to_pb};
pub use time::{duration_to_pb, micros, timestamp_from_pb, timestamp_to_pb};
