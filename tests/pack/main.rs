//! One pack of scenarios, told to a whole system through its api and seen through it: on the local backend, and with
//! `--features cluster` on the cluster of tests/rig, where they must come to the same state, class and reason.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![cfg_attr(
    feature = "cluster",
    expect(clippy::disallowed_methods, reason = "the script that starts the cluster speaks to it by environment")
)]

#[cfg(feature = "cluster")]
#[path = "../../crates/backend/tests/cluster/admin.rs"]
mod admin;
mod cancels;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "the words of all tests; each suite speaks some of them")]
mod client;
mod ends;
#[cfg(feature = "cluster")]
mod faults;
mod inherits;
#[cfg(feature = "cluster")]
mod kept;
#[cfg(feature = "cluster")]
mod killed;
#[path = "../system/kit.rs"]
#[expect(dead_code, reason = "all that a system can be told; it is told a little here")]
mod kit;
mod many;
#[path = "../system/server.rs"]
#[expect(dead_code, reason = "all that can be done to processes; they are only started here")]
mod server;
mod stage;

/// Each of them once in each place.
macro_rules! everywhere {
    ($($module:ident::{$($name:ident),* $(,)?};)*) => {
        mod local {
            $(mod $module {
                $(#[tokio::test]
                async fn $name() {
                    crate::$module::$name(crate::stage::Stage::local(stringify!($name)).await).await;
                })*
            })*
        }

        #[cfg(feature = "cluster")]
        mod cluster {
            $(mod $module {
                $(#[tokio::test]
                async fn $name() {
                    crate::$module::$name(crate::stage::Stage::cluster(stringify!($name)).await).await;
                })*
            })*
        }
    };
}

everywhere! {
    ends::{
        success_and_failure_have_the_commands_own_exit_code,
        a_signal_is_the_commands_own_end_and_no_exit_code,
        too_much_memory_ends_a_command,
        a_timeout_ends_a_command_and_without_one_it_runs_on,
        a_failure_is_tried_again_as_asked_and_each_attempt_is_remembered,
    };
    cancels::{
        what_was_not_handed_out_is_cancelled_at_once,
        what_is_about_to_start_never_starts_or_is_ended,
        what_runs_is_ended_and_its_log_stays,
        what_does_not_heed_the_signal_is_ended_by_force,
        an_end_that_came_first_stays_what_it_was,
    };
    inherits::{
        commands_and_values_arrive_byte_for_byte,
        what_an_app_is_given_later_does_not_reach_what_was_accepted_before,
        output_is_followed_while_it_is_written,
    };
    many::{
        two_hundred_tasks_at_once_each_run_once,
    };
}
