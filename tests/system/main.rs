//! The services as processes of their own, on a real PostgreSQL: how they start, speak to each other, and go on when some die.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod bus;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "the words of all tests; each suite speaks some of them")]
mod client;
#[path = "../e2e/collector.rs"]
mod collector;
mod deploy;
mod drain;
mod dropped;
mod identity;
mod kit;
mod pki;
mod rung;
mod server;
mod settings;
mod start;
mod traces;
mod whole;
