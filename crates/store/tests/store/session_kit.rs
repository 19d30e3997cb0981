//! Sessions that hold something, and time that passes while the control plane is up.

use taskplane_domain::session::{BEAT_GAP, LEASE, Session};
use taskplane_domain::task::Task;
use taskplane_store::NewSession;

use crate::kit::Kit;

/// The control plane is up for `seconds` more.
pub async fn up(kit: &Kit, seconds: i64) {
    for _ in 0..seconds {
        kit.store.control_beat().await.unwrap();
        kit.advance(1);
    }
    kit.store.control_beat().await.unwrap();
}

pub fn whole_lease() -> i64 {
    i64::try_from((LEASE + BEAT_GAP).as_secs()).unwrap()
}

/// A session that holds a Task that runs and one that was only claimed.
pub async fn a_session_with_two(kit: &Kit, new: NewSession) -> (Session, Task, Task) {
    let (space, app, first) = kit.the_usual().await;
    kit.advance(1);
    let second = kit.a_task(&space, &app).await;
    let session = kit.store.session_open(new, LEASE, |_, _| None).await.unwrap();
    assert_eq!(kit.store.work_claim(session.uid, 2).await.unwrap(), 2);
    (session, kit.running(&first).await, second)
}
