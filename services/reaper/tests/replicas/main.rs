//! Reapers as they live in the world: whole ones, several at once on one database, with everything they do going on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod retention;
mod scene;
mod sources;
