//! The only door to the database: SQLite for one process, PostgreSQL for many, one code for both.
//!
//! ```text
//!  space   app   task   session   work   feed   outbox   removal     one module per thing that is kept, `noun_verb`
//!                           │
//!                          txn        a transaction of its own task: whole or not at all, whatever becomes of the caller
//!                           │
//!                          row        flat private rows; a row that makes no sense is named, never guessed at
//! ```
//!
//! Every write is a compare-and-set: it names the version (and for executors the session and fence) it was decided on, and
//! changes one row or none. A change and its event are one transaction. Whether something is due, and whether a lease still
//! holds, is asked of the database's clock in the transaction that acts on it.

mod accept_room;
mod adopt;
mod app;
mod app_delete;
mod binding;
mod clock;
mod connect;
mod deadline;
mod deletion;
mod error;
mod event;
mod explain;
mod feed;
mod history;
mod job;
mod job_clear;
mod job_write;
mod lapse;
mod ledger;
mod left;
mod mark;
mod measure;
mod migration;
mod outbox;
mod purge;
mod quota;
mod remains;
mod removal;
mod request;
mod retention;
mod revisions;
mod row;
mod secrets;
mod security_group;
mod service;
mod session;
mod settle;
mod source;
mod space;
mod space_delete;
mod sql;
mod task;
mod task_accept;
mod task_delete;
mod task_list;
mod tick;
mod tick_room;
mod txn;
mod work;
mod zones;

pub use clock::DatabaseClock;
pub use connect::{Store, StoreOptions};
pub use deadline::Late;
pub use deletion::Steps;
pub use error::{BoxError, Corrupt, StoreError};
pub use feed::{FeedMark, FeedQuery};
pub use job::{Committed, JobView};
pub use lapse::Orphan;
pub use left::LeftRun;
pub use mark::RemovalOf;
pub use measure::Measures;
pub use migration::SchemaState;
pub use outbox::Heads;
pub use quota::Usage;
pub use remains::Remains;
pub use removal::Removal;
pub use request::RequestKey;
pub use retention::{AppRule, Marked, Removable, RetentionView};
pub use session::NewSession;
pub use space::SpaceEnv;
pub use task_accept::Accepted;
pub use task_list::{TaskMark, TaskQuery};
pub use taskplane_proto::keyring::Keyring;
pub use tick::{Decide, Ticked};
pub use work::Held;
