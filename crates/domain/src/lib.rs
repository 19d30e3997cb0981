//! The rules of Taskplane as values: what an App and a Task are, how a Task may change, what an event says.
//!
//! Nothing here waits, reads a clock, or knows a wire or a database. Every change of state is a function from a value and a
//! time to a [`task::Transition`], which carries its event: who stores the one cannot forget the other.

pub mod app;
pub mod bind;
pub mod env;
pub mod event;
pub mod frozen;
pub mod invalid;
pub mod job;
pub mod json;
pub mod label;
pub mod log;
pub mod name;
pub mod placement;
pub mod quantity;
pub mod retention;
pub mod run;
pub mod schedule;
pub mod security_group;
pub mod service;
pub mod session;
pub mod space;
pub mod standing;
pub mod task;
pub mod uid;

pub use invalid::{Invalid, Violation};
pub use name::{AppName, Name, SpaceName, TaskName};
