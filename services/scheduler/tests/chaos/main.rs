//! Schedulers as they live in the world: killed, held up, started again, several at once, each with a clock of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the rules of a service: nothing here is one")]

mod history;
mod oracle;
mod replica;
mod scene;
mod storm;
