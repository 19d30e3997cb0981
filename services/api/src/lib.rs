//! The api service: records what is asked for, answers what is so, hands work to executors and takes their reports.
//!
//! Handlers decode, ask the domain, commit and encode. No rule about states is written here, and no SQL.

mod accepts;
mod app_bind;
mod app_logs;
mod apps;
mod args;
mod beat;
mod claims;
mod control;
mod driven;
mod ends;
mod error;
mod events;
mod held;
mod job_changes;
mod jobs;
mod launch;
mod leaving;
mod limits;
mod live;
mod logs;
mod meters;
mod names;
pub mod process;
mod retention;
mod security_groups;
mod serve;
mod services;
mod sessions;
mod spaces;
mod tasks;
mod tokens;
mod upload;
mod watch;
mod work;

use std::sync::Arc;

use taskplane_logs::Objects;
use taskplane_platform::Platform;
use taskplane_proto::token::Keyring;
use tokio::sync::Notify;

pub use args::ApiArgs;
pub use live::LogRoutes;
pub use serve::{Listeners, run};

/// What every handler needs.
#[derive(Clone)]
pub(crate) struct Api {
    platform: Platform,
    objects: Objects,
    tokens: tokens::Tokens,
    routes: LogRoutes,
    limits: Arc<limits::Limits>,
    specs: Arc<launch::Specs>,
    meters: meters::Meters,
    /// Rings when a session opens or closes: what it held may be another's to take over.
    handovers: Arc<Notify>,
    accepts: accepts::Accepts,
    args: Arc<ApiArgs>,
}

impl Api {
    fn new(platform: Platform, objects: Objects, keys: Keyring, routes: LogRoutes, args: ApiArgs) -> Self {
        let limits = Arc::new(limits::Limits::new(&args));
        let tokens = tokens::Tokens::new(keys, platform.clock.clone());
        let meters = meters::Meters::new(platform.lifecycle.metrics());
        Self {
            platform,
            objects,
            tokens,
            routes,
            limits,
            specs: Arc::default(),
            meters,
            handovers: Arc::default(),
            accepts: accepts::Accepts::default(),
            args: Arc::new(args),
        }
    }

    /// Who is asking. One and the same until there is authentication: listeners are local until then.
    fn principal(&self) -> &'static str {
        "local"
    }
}
