//! The ground floor of a process: arguments that all share, clock, lifecycle, telemetry, gRPC server, worker loop.
//!
//! Nothing here knows a store or a bus: an executor stands on this floor alone. What a control-plane service stands on
//! besides is in `taskplane-platform`.

mod calls;
pub mod clock;
pub mod dial;
pub mod failpoint;
pub mod files;
pub mod health;
pub mod inproc;
pub mod internal;
mod json;
pub mod lifecycle;
pub mod metrics;
pub mod net;
pub mod server;
pub mod start;
pub mod telemetry;
pub mod tls;
pub mod vitals;
pub mod worker;

pub use clock::Clock;
pub use lifecycle::Lifecycle;
pub use start::{CommonArgs, start};
