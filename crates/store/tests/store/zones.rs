//! Which zone data schedules are computed with.

use taskplane_domain::job::{ConcurrencyPolicy, Job, Plan, TaskTemplate};
use taskplane_domain::uid::{JobUid, ScheduleUid};

use crate::kit::{Kit, name};

on_both_engines!(an_older_release_makes_no_ticks, a_newer_release_computes_what_is_to_come_anew);

async fn an_older_release_makes_no_ticks(kit: Kit) {
    assert!(kit.store.zones_claim("2026a").await.unwrap());
    assert!(kit.store.zones_claim("2026a").await.unwrap());
    assert!(kit.store.zones_claim("2026b").await.unwrap());
    assert!(!kit.store.zones_claim("2026a").await.unwrap());
    assert!(kit.store.zones_claim("2027a").await.unwrap());
}

async fn a_newer_release_computes_what_is_to_come_anew(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = "spaces/s/jobs/j".parse().unwrap();
    let now = kit.store.now().await.unwrap();
    let mut change =
        Job::create((JobUid(kit.uid()), job), &app, TaskTemplate::default(), ConcurrencyPolicy::Always, now);
    for id in ["right", "wrong", "due"] {
        let plan = Plan::parse("", "0 0 * * *", "", Default::default(), None).unwrap();
        change = change.scheduled(ScheduleUid(kit.uid()), name(id), plan, false);
    }
    kit.store.job_create(change).await.unwrap();
    kit.store.zones_claim("2026a").await.unwrap();
    // As the older data had it: off by an hour, and due already.
    kit.execute("UPDATE schedules SET next_at = next_at + 3600000000 WHERE id = 'wrong'").await;
    kit.execute("UPDATE schedules SET next_at = 1 WHERE id = 'due'").await;
    kit.store.zones_claim("2026b").await.unwrap();
    let view = kit.store.job_get(&"spaces/s/jobs/j".parse().unwrap()).await.unwrap();
    let [due, right, wrong] = view.schedules.as_slice() else { panic!("{view:?}") };
    assert_eq!(wrong.next, right.next);
    assert_eq!(due.next.unwrap().as_microsecond(), 1, "what is due is decided, not skipped");
}
