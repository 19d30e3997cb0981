//! Rows as they lie in the tables: flat, private, and not to be trusted. One conversion each makes the domain's value of it, or
//! says which cell makes no sense.

pub(crate) mod app;
pub(crate) mod app_revision;
pub(crate) mod attempt;
pub(crate) mod binding;
pub(crate) mod ending;
pub(crate) mod event;
pub(crate) mod job;
pub(crate) mod job_run;
pub(crate) mod key;
pub(crate) mod removal;
pub(crate) mod rule;
pub(crate) mod schedule;
pub(crate) mod security_group;
pub(crate) mod security_group_revision;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod space;
pub(crate) mod space_env;
pub(crate) mod state;
pub(crate) mod task;

use std::str::FromStr;

use jiff::Timestamp;

use crate::error::{Corrupt, Why};

/// The row that is being read, for the one who has to look for it.
pub(crate) struct Row {
    table: &'static str,
    key: String,
}

impl Row {
    pub(crate) fn new(table: &'static str, key: impl ToString) -> Self {
        Self { table, key: key.to_string() }
    }

    pub(crate) fn corrupt(&self, column: &'static str) -> Corrupt {
        Corrupt { why: Why::Senseless, table: self.table, column, row: self.key.clone() }
    }

    /// A cell that is sealed under a key that is not at hand.
    pub(crate) fn locked(&self, column: &'static str) -> Corrupt {
        Corrupt { why: Why::Locked, ..self.corrupt(column) }
    }

    pub(crate) fn message<M: prost::Message + Default>(&self, column: &'static str, cell: &[u8]) -> Result<M, Corrupt> {
        M::decode(cell).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn needed<T>(&self, column: &'static str, cell: Option<T>) -> Result<T, Corrupt> {
        cell.ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn time(&self, column: &'static str, cell: i64) -> Result<Timestamp, Corrupt> {
        Timestamp::from_microsecond(cell).map_err(|_| self.corrupt(column))
    }

    pub(crate) fn maybe_time(&self, column: &'static str, cell: Option<i64>) -> Result<Option<Timestamp>, Corrupt> {
        cell.map(|cell| self.time(column, cell)).transpose()
    }

    pub(crate) fn parsed<T: FromStr>(&self, column: &'static str, cell: &str) -> Result<T, Corrupt> {
        cell.parse().map_err(|_| self.corrupt(column))
    }

    pub(crate) fn count<T: TryFrom<i64>>(&self, column: &'static str, cell: i64) -> Result<T, Corrupt> {
        T::try_from(cell).map_err(|_| self.corrupt(column))
    }

    /// A prost message that was encoded into `cell`, as the domain's value.
    pub(crate) fn decoded<M, T>(&self, column: &'static str, cell: &[u8]) -> Result<T, Corrupt>
    where
        M: prost::Message + Default,
        T: TryFrom<M>,
    {
        T::try_from(self.message(column, cell)?).map_err(|_| self.corrupt(column))
    }
}

/// Versions, ids and sequences: they count from 1 and never come near the end.
pub(crate) fn big(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
