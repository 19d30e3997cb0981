//! What a process says of its health: over HTTP beside its measurements, and over gRPC where it has a server.
//!
//! Ready: all its parts are well and it was not asked to stop. Alive: it answers at all.

use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::StatusCode;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::lifecycle::Lifecycle;
use crate::vitals::Vitals;

/// How often a gRPC client that watches is told anew.
const PERIOD: Duration = Duration::from_secs(1);

/// `GET /livez` and `GET /readyz`.
pub(crate) fn routes(vitals: Vitals) -> Router {
    let ready = move || {
        let ailing = vitals.ailing();
        async move {
            match &ailing[..] {
                [] => "ready\n".into_response(),
                why => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.join("\n"))).into_response(),
            }
        }
    };
    Router::new().route("/readyz", get(ready)).route("/livez", get(|| async { "alive\n" }))
}

/// Tells gRPC's health service of this process and of `S` whether it is ready, until the `door` is closed. By then its watchers
/// have been told, and need not keep the server from going.
pub async fn report<S: NamedService>(mut health: HealthReporter, lifecycle: &Lifecycle, door: &Lifecycle) {
    while !door.soft().is_cancelled() {
        let stops = lifecycle.soft().is_cancelled();
        let well = !stops && lifecycle.vitals().ailing().is_empty();
        let status = if well { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", S::NAME] {
            health.set_service_status(service, status).await;
        }
        tokio::select! {
            () = door.soft().cancelled() => {}
            () = lifecycle.soft().cancelled(), if !stops => {}
            () = lifecycle.vitals().changed(), if !stops => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
    for service in [S::NAME, ""] {
        health.set_service_status(service, ServingStatus::NotServing).await;
        health.clear_service_status(service).await;
    }
}
