//! Each bus keeps the promises of a bus, and its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod credentials;
mod events_page;
mod guarded;
mod in_process;
mod nats;
