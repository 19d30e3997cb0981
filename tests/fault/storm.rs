//! Everything at once: clients ask, the nemesis rages, and in the end all of it must add up.

use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use crate::bus;
use crate::crowd::gather;
use crate::nemesis::Nemesis;
use crate::stage::Stage;
use crate::system::{chance, duration};

/// As much as `make test` gives it; `make chaos DURATION=…` gives more.
const BRIEFLY: Duration = Duration::from_secs(45);
const CLIENTS: u32 = 6;
const WATCHERS: u32 = 2;
const LIVE: i32 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_made_up_whatever_is_done_to_the_system() {
    let mut stage = Stage::set(LIVE).await;
    let mut nemesis = Nemesis::new(chance(stage.caller.rng.random()));
    let stop = CancellationToken::new();
    let crowd = gather(&stage.caller, CLIENTS, WATCHERS, &stop);
    // Whoever hears it must take it as a hint and no more.
    let echo = tokio::spawn(bus::echoes(stage.system.nats.url(), chance(stage.caller.rng.random()), stop.clone()));
    let until = Instant::now() + duration().unwrap_or(BRIEFLY);
    nemesis.rages(&mut stage.system, &stage.history, until).await;
    stop.cancel();
    crowd.join_all().await;
    echo.await.unwrap();
    stage.judge().await;
}
