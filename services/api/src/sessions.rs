//! Executor sessions: opened, kept alive, closed. What an earlier incarnation held is settled when its successor opens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::Name;
use taskplane_domain::run::{Fate, Observed, RunKey};
use taskplane_domain::session::{LEASE, Session};
use taskplane_domain::task::{Task, Transition};
use taskplane_domain::uid::{RunUid, SessionUid};
use taskplane_proto::convert::recovered_from_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_store::NewSession;

use crate::Api;
use crate::error::ApiError;

impl Api {
    pub(crate) async fn session_open(&self, request: pb::OpenSessionRequest) -> Result<Session, ApiError> {
        let pb::OpenSessionRequest { executor, cluster, adoptable, runs_images, logs_address, recovered } = request;
        let mut check = Check::new();
        let executor = check.field("executor", executor.parse::<Name>());
        let cluster = check.field("cluster", cluster.parse::<Name>());
        let recovered: Result<HashMap<_, _>, _> = recovered
            .into_iter()
            .map(|run| recovered_from_pb(run).map(|(key, run, fate)| (key, (run, fate))))
            .collect();
        let recovered = check.field("recovered", recovered);
        let parts = executor.zip(cluster).zip(recovered);
        let ((executor, cluster), recovered) = check.finish_with(parts)?;
        let clock = &self.platform.clock;
        let now = clock.now();
        let session = NewSession {
            uid: SessionUid(clock.new_uid()),
            executor,
            cluster,
            adoptable,
            runs_images,
            logs_address: Some(logs_address).filter(|address| !address.is_empty()),
        };
        let found = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&found);
        // Runs that outlive their executor are followed from here on, unless their end is known.
        let settle = move |task: &Task, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            match recovered.get(&key(task)) {
                None if adoptable => None,
                known => settle(task, known, now),
            }
        };
        let session = self.platform.store.session_open(session, LEASE, settle).await?;
        self.meters.taken_over(found.load(Ordering::Relaxed));
        tracing::info!(session = %session.uid, executor = %session.executor, cluster = %session.cluster, "executor session opened");
        self.platform.feed.ring();
        self.handovers.notify_waiters();
        Ok(session)
    }

    pub(crate) async fn session_heartbeat(&self, session: &str) -> Result<(), ApiError> {
        Ok(self.platform.store.session_heartbeat(parse_session(session)?, LEASE).await?)
    }

    pub(crate) async fn session_close(&self, session: &str) -> Result<(), ApiError> {
        self.platform.store.session_close(parse_session(session)?).await?;
        self.handovers.notify_waiters();
        self.platform.feed.ring();
        Ok(())
    }
}

pub(crate) fn parse_session(text: &str) -> Result<SessionUid, ApiError> {
    text.parse()
        .map(SessionUid)
        .map_err(|_| Invalid::one("session", "must be the session that OpenSession returned").into())
}

fn key(task: &Task) -> RunKey {
    RunKey { task: task.uid, attempt: task.attempt }
}

/// What becomes of a Task whose executor came back without it running: as its run is known to have ended, else LOST.
fn settle(task: &Task, recovered: Option<&(RunUid, Fate)>, now: Timestamp) -> Option<Transition> {
    let run = task.state.run()?.clone();
    let fate = match recovered {
        Some((known, fate)) if *known == run => fate.clone(),
        _ => Fate::Lost { message: "the executor was restarted and knows nothing of the run".to_owned() },
    };
    // It has a run, so its end is always a legal change.
    task.clone().observe(Observed::Over { run, fate }, now).unwrap_or_default()
}
