//! When a Job is due: unix cron, read in a time zone, exact on the days its clocks are changed.
//!
//! [`Cron`] is an expression, [`Zone`] a time zone of the built-in database, [`Recurrence`] the two with a rule each for
//! the hour that is missing in spring and the hour that comes twice in autumn. There is no clock here: every question
//! carries its instant, and every answer is an instant or "never".
//!
//! How an answer is found, from the inside out: `field` reads a field into a set of numbers; `civil` puts the sets to the
//! `cron` crate, which knows the calendar and no zone; `stretch` says which times count while a zone keeps one offset;
//! `walk` goes from stretch to stretch.

mod civil;
mod cron;
mod describe;
mod error;
mod field;
mod range;
mod recurrence;
mod stretch;
mod walk;
mod zone;

pub use cron::Cron;
pub use error::{CronError, EXPRESSION_MAX, Problem, Quoted};
pub use field::Field;
pub use range::{EARLIEST, LATEST};
pub use recurrence::{DstRemark, Due, GapRule, OverlapRule, Recurrence, Tick};
pub use zone::{Zone, ZoneError, tzdb_release};
