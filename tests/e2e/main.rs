//! The product as its users meet it: a real standalone process, reached through gRPC and the command line alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod accept;
mod cancel;
mod client;
mod crash;
mod feed;
mod logs;
mod outcomes;
mod push;
mod server;
