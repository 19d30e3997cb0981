//! The Tekton backend on a real cluster, with the rights of an executor and no others. `make test-cluster` runs it, inside the
//! network of tests/rig.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the script that starts the cluster speaks to it by environment")]

mod admin;
mod ends;
mod faults;
mod kit;
mod orders;
mod seen;
mod tickets;
