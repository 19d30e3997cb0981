//! The relay between a real database and a real nats-server: whatever happens to the server, a plain consumer of the stream
//! reads a gapless and ordered history of each thing, which is the one that the database tells.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on stops, and waits for what it spawns"
)]

mod consumers;
mod histories;
mod hostile;
mod losses;
mod world;
