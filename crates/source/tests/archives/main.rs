//! An archive's whole life: built by hand, judged, unpacked.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod build;
mod fuzz;
mod limits;
mod names;
mod refused;
mod unpacked;
