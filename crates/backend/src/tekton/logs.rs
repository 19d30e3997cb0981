//! The output of a run's container.
//!
//! `output(&Arc<Cluster>, &Arc<Board>, RunKey, offset, follow) -> BoxStream<'static, Result<LogRecord, BackendError>>`
