//! Task output and sources on a real directory.

#![expect(clippy::unwrap_used, reason = "all of it is test code")]

mod cap;
mod kit;
mod read;
mod ship;
mod sources;
