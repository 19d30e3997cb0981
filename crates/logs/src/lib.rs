//! Task output and source archives in an object store: the only door to it.
//!
//! Output is kept as append-only **chunks**, `logs/<space>/<task>/<attempt>/<offset>`, each named by the offset of its first
//! byte and holding at most about 1 MiB or 2 s of records. A `sealed` object beside them says that no more will come, and
//! where the output ends. Chunks are only ever created, never overwritten, so whoever ships the same output again, after a
//! crash or from another process, goes on behind what is there and repeats nothing.
//!
//! - [`Objects`] is the store; today a directory, `file:///absolute/path`.
//! - [`LogWriter`] archives the records of one attempt. [`LogWriter::ship`] does all of it.
//! - [`LogReader`] reads back what is archived now, chunk by chunk.
//!
//! With a cap, the first and the last half of it are kept and a line written by the platform stands for the rest.
//!
//! **Durability**: when a write returns, the object is on disk with its name: written aside, synced, linked into place, and
//! the directory synced. [`LogWriter::archived_to`] may therefore be trusted to drop a spool.

mod chunk;
mod error;
mod key;
mod objects;
mod reader;
mod sources;
mod writer;

pub use error::LogsError;
pub use key::LogKey;
pub use objects::Objects;
pub use reader::LogReader;
pub use writer::LogWriter;
