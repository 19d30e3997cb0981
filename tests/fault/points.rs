//! The named points at which processes of a test build kill themselves, by who passes them.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::system::Role;

/// Transactions: each has a point before its commit and one after it.
const OF_API: &[&str] = &[
    "task_accept",
    "task_commit",
    "task_report",
    "task_delete",
    "job_create",
    "job_commit",
    "work_claim",
    "runs_removed",
    "session_open",
    "app_update",
    "feed_assign",
    "outbox_mark",
];
const OF_SCHEDULER: &[&str] = &["ticks_pass", "feed_assign", "outbox_mark"];
const OF_REAPER: &[&str] = &[
    "tasks_end",
    "removals_asked",
    "removals_purge",
    "removals_done",
    "job_remove",
    "sessions_lapse",
    "runs_forsake",
    "task_commit",
    "feed_assign",
    "outbox_mark",
];
const OF_EXECUTOR: &[&str] = &[
    "backend::ensure::after_journal",
    "backend::release::after_go_marker",
    "backend::release::after_go",
    "executor::before_made",
    "executor::after_made",
    "executor::after_release",
    "executor::before_started",
    "executor::before_over",
    "executor::after_over",
    "executor::before_removed",
    "executor::after_removed",
];

/// One of them, at one of its first passes, as `TASKPLANE_FAILPOINTS` has it.
pub fn any(role: Role, rng: &mut StdRng) -> String {
    let transactions = match role {
        Role::Api => OF_API,
        Role::Scheduler => OF_SCHEDULER,
        Role::Reaper => OF_REAPER,
        Role::Executor(_) => return format!("{}@{}", OF_EXECUTOR.choose(rng).unwrap(), rng.random_range(1..6)),
    };
    let when = if rng.random_bool(0.5) { "before" } else { "after" };
    format!("store::{}::{when}_commit@{}", transactions.choose(rng).unwrap(), rng.random_range(1..6))
}
