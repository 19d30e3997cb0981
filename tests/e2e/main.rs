//! The product as its users meet it: a real standalone process, reached through gRPC and the command line alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod accept;
mod bad_input;
mod bad_settings;
mod bad_wire;
mod bounds;
mod canary;
mod cancel;
mod client;
mod collector;
mod command_line;
mod command_line_groups;
mod command_line_jobs;
mod command_line_tasks;
mod crash;
mod deletion;
mod feed;
mod health;
mod idle;
mod inherited;
mod jobs;
mod json_logs;
mod late;
mod limits;
mod listening;
mod logs;
mod metrics;
mod outcomes;
mod push;
mod quotas;
mod raw;
mod reflection;
mod retention;
mod schedules;
mod secrets;
mod security_groups;
mod server;
mod services;
mod sources;
mod terminal;
mod traces;
mod unharmed;
