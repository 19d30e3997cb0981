//! One suite for both engines: each behaviour is a function, and runs as `…::sqlite::name` and `…::postgres::name`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say so at once")]

mod kit;

/// Makes a test on each engine of every function named, each with a new database.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::kit::within_reason(super::$name(crate::kit::Kit::on_sqlite().await)).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::kit::within_reason(super::$name(crate::kit::Kit::on_postgres().await)).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

mod accept;
mod accept_together;
mod adoption;
mod app;
mod corrupt;
mod crowded;
mod deletion;
mod durability;
mod feed;
mod job_kit;
mod job_races;
mod jobs;
mod late;
mod list;
mod outbox;
mod quotas;
mod removal;
mod retention;
mod secrets;
mod security_group_races;
mod security_groups;
mod services;
mod session;
mod session_kit;
mod sources;
mod space;
mod task;
mod tickets;
mod ticks;
mod trimming;
mod turns;
mod work;
mod zones;
