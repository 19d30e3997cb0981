//! Source archives: none goes that a push may still use, and none stays that nothing needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use taskplane_domain::app::{App, Push, Source, SourceArchive};
use taskplane_domain::space::Space;
use taskplane_domain::uid::{AppUid, UploadUid};
use taskplane_store::{Store, StoreError};
use tokio::task::JoinSet;

use crate::kit::{Kit, both};

crate::on_both_engines![
    an_archive_stays_while_a_revision_or_a_task_needs_it,
    an_upload_whose_push_came_to_nothing_goes_after_its_time,
    the_same_bytes_are_kept_once_and_stay_when_they_are_asked_for,
    what_was_given_up_is_never_used_again,
    what_earlier_releases_kept_under_a_digest_is_found,
    a_revision_that_cannot_be_read_keeps_what_it_may_need,
    two_reapers_give_up_each_lost_upload_once,
    a_push_that_meets_the_trimming_keeps_its_archive,
];

const DAY: i64 = 24 * 3600;

fn digest(letter: char) -> String {
    letter.to_string().repeat(64)
}

fn archive(sha256: &str, upload: Option<UploadUid>) -> SourceArchive {
    SourceArchive { sha256: sha256.to_owned(), size_bytes: 7, entry_count: 1, upload }
}

fn a_day_ago(kit: &Kit) -> Timestamp {
    kit.now() - SignedDuration::from_secs(DAY)
}

/// As the api takes an archive in.
async fn uploaded(kit: &Kit, sha256: &str) -> SourceArchive {
    let upload = kit.store.source_reserve(sha256, UploadUid(kit.uid())).await.unwrap();
    archive(sha256, upload)
}

fn push_of(kit: &Kit, space: &Space, app: &str, archive: &SourceArchive) -> Push {
    Push { source: Some(Source::Archive(archive.clone())), ..kit.a_push(space, app) }
}

async fn created(kit: &Kit, space: &Space, app: &str, archive: &SourceArchive) -> App {
    let change = App::create(AppUid(kit.uid()), space.uid, push_of(kit, space, app, archive), kit.now()).unwrap();
    kit.store.app_create(&change).await.unwrap();
    change.app
}

async fn pushed(kit: &Kit, space: &Space, app: &App, archive: &SourceArchive) -> Result<App, StoreError> {
    let push = push_of(kit, space, app.name.app.as_str(), archive);
    let change = app.clone().push(push, kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await?;
    Ok(change.app)
}

/// One walk over all archives, and over all revisions before it.
async fn trimmed(kit: &Kit, before: Timestamp) -> Vec<String> {
    let mut apps = None;
    loop {
        apps = kit.store.app_revisions_trim(apps, 10).await.unwrap();
        if apps.is_none() {
            break;
        }
    }
    walked(&kit.store, before).await;
    kit.store.sources_removing(1000).await.unwrap()
}

async fn walked(store: &Store, before: Timestamp) {
    let mut after = None;
    loop {
        after = store.sources_trim(after.as_deref(), before, 3).await.unwrap();
        if after.is_none() {
            return;
        }
    }
}

async fn an_archive_stays_while_a_revision_or_a_task_needs_it(kit: Kit) {
    let space = kit.a_space("s").await;
    let (old, new) = (uploaded(&kit, &digest('a')).await, uploaded(&kit, &digest('b')).await);
    let app = created(&kit, &space, "a", &old).await;
    let task = kit.a_task(&space, &app).await;
    let app = pushed(&kit, &space, &app, &new).await.unwrap();
    kit.advance(2 * DAY);
    assert!(trimmed(&kit, a_day_ago(&kit)).await.is_empty(), "a live task needs the first");
    let task = kit.cancelled(&task).await;
    assert!(trimmed(&kit, a_day_ago(&kit)).await.is_empty(), "the row of a task needs it, too");
    kit.store.task_delete(task.uid, None).await.unwrap();
    kit.reaped().await;
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [old.object()]);
    kit.store.sources_removed(&[old.object()]).await.unwrap();
    kit.delete_app(&app, true).await.unwrap();
    kit.reaped().await;
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [new.object()]);
    kit.store.sources_removed(&[new.object()]).await.unwrap();
    assert!(trimmed(&kit, kit.now()).await.is_empty());
}

async fn an_upload_whose_push_came_to_nothing_goes_after_its_time(kit: Kit) {
    let lost = uploaded(&kit, &digest('a')).await;
    kit.advance(DAY);
    assert!(trimmed(&kit, a_day_ago(&kit)).await.is_empty(), "its push may be under way");
    kit.advance(1);
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [lost.object()]);
    let again = uploaded(&kit, &digest('a')).await;
    assert_ne!(again.object(), lost.object(), "it is not known whether all of it had arrived");
}

async fn the_same_bytes_are_kept_once_and_stay_when_they_are_asked_for(kit: Kit) {
    let space = kit.a_space("s").await;
    let first = uploaded(&kit, &digest('a')).await;
    let app = created(&kit, &space, "a", &first).await;
    assert_eq!(uploaded(&kit, &digest('a')).await, first);
    created(&kit, &space, "b", &first).await;
    for app in ["a", "b"] {
        kit.advance(2 * DAY);
        assert!(trimmed(&kit, a_day_ago(&kit)).await.is_empty());
        kit.delete_app(&kit.store.app_get(&format!("spaces/s/apps/{app}").parse().unwrap()).await.unwrap(), true)
            .await
            .unwrap();
    }
    // No revision needs it any more, but a push that has just begun does.
    assert_eq!(uploaded(&kit, &digest('a')).await, first);
    assert!(trimmed(&kit, a_day_ago(&kit)).await.is_empty());
    kit.advance(DAY + 1);
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [app_archive(&app).object()]);
}

fn app_archive(app: &App) -> &SourceArchive {
    let Source::Archive(archive) = &app.spec.source else { panic!("it has an image") };
    archive
}

async fn what_was_given_up_is_never_used_again(kit: Kit) {
    let space = kit.a_space("s").await;
    let gone = uploaded(&kit, &digest('a')).await;
    let app = created(&kit, &space, "a", &uploaded(&kit, &digest('b')).await).await;
    kit.advance(2 * DAY);
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [gone.object()]);
    for _ in 0..2 {
        let refused = pushed(&kit, &space, &app, &gone).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
        let new = uploaded(&kit, &digest('a')).await;
        assert_ne!(new.object(), gone.object());
        kit.store.sources_removed(&[gone.object()]).await.unwrap();
    }
    let app = pushed(&kit, &space, &app, &uploaded(&kit, &digest('a')).await).await.unwrap();
    assert_eq!(kit.store.app_get(&app.name).await.unwrap(), app);
}

/// A revision as an earlier release wrote it.
async fn of_an_earlier_release(kit: &Kit, space: &Space, app: &str, sha256: &str) -> App {
    let app = created(kit, space, app, &archive(sha256, None)).await;
    kit.execute("UPDATE app_revisions SET source = NULL").await;
    kit.execute("DELETE FROM sources").await;
    app
}

async fn what_earlier_releases_kept_under_a_digest_is_found(kit: Kit) {
    let space = kit.a_space("s").await;
    let (used, lost) = (digest('a'), digest('b'));
    let app = of_an_earlier_release(&kit, &space, "a", &used).await;
    kit.store.sources_adopt(&[used.clone(), lost.clone()]).await.unwrap();
    kit.advance(2 * DAY);
    assert!(trimmed(&kit, a_day_ago(&kit)).await.is_empty(), "who needs it is not known yet");
    kit.store.sources_read().await.unwrap();
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, std::slice::from_ref(&lost));
    kit.store.sources_removed(&[lost]).await.unwrap();
    // The same bytes, pushed today, are those.
    assert_eq!(uploaded(&kit, &used).await.upload, None);
    let change = app.clone().push(crate::kit::touch(kit.a_push(&space, "a"), "2"), kit.now()).unwrap().unwrap();
    assert_ne!(change.app.spec.source, app.spec.source, "it has an image now");
    kit.store.app_update(&change).await.unwrap();
    kit.advance(2 * DAY);
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [used]);
}

async fn a_revision_that_cannot_be_read_keeps_what_it_may_need(kit: Kit) {
    let space = kit.a_space("s").await;
    of_an_earlier_release(&kit, &space, "a", &digest('a')).await;
    kit.store.sources_adopt(&[digest('a'), digest('b')]).await.unwrap();
    let new = uploaded(&kit, &digest('c')).await;
    let bytes = if kit.url.starts_with("sqlite") { "x'ffff'" } else { "'\\xffff'" };
    kit.execute(&format!("UPDATE app_revisions SET spec = {bytes}")).await;
    kit.store.sources_read().await.unwrap();
    kit.advance(2 * DAY);
    assert_eq!(trimmed(&kit, a_day_ago(&kit)).await, [new.object()], "that one it cannot need");
}

async fn two_reapers_give_up_each_lost_upload_once(kit: Kit) {
    let space = kit.a_space("s").await;
    let mut lost = BTreeSet::new();
    for number in 0..200 {
        let archive = uploaded(&kit, &format!("{number:064x}")).await;
        if number % 10 == 0 {
            created(&kit, &space, &format!("a{number}"), &archive).await;
        } else {
            lost.insert(archive.object());
        }
    }
    kit.advance(2 * DAY);
    let before = a_day_ago(&kit);
    tokio::join!(walked(&kit.store, before), walked(&kit.store, before));
    let given_up = kit.store.sources_removing(1000).await.unwrap();
    assert_eq!(given_up.iter().cloned().collect::<BTreeSet<_>>(), lost);
    let (one, other) = given_up.split_at(90);
    let gone = [one, other, &given_up].map(|some| kit.store.sources_removed(some));
    futures_all(gone).await;
    assert!(kit.store.sources_removing(1000).await.unwrap().is_empty());
    assert_eq!(kit.store.sources_trim(None, before, 1000).await.unwrap().map(|last| last.len()), Some(64 + 37));
}

async fn futures_all(all: [impl Future<Output = Result<(), StoreError>>; 3]) {
    let [one, two, three] = all;
    let (one, two, three) = tokio::join!(one, two, three);
    one.and(two).and(three).unwrap();
}

async fn a_push_that_meets_the_trimming_keeps_its_archive(kit: Kit) {
    let kit = Arc::new(kit);
    let space = kit.a_space("s").await;
    let mut refused = 0;
    for round in 0..60 {
        let sha256 = format!("{round:064x}");
        // Kept once, and needed by nobody for long.
        let app = created(&kit, &space, &format!("a{round}"), &uploaded(&kit, &sha256).await).await;
        kit.delete_app(&app, true).await.unwrap();
        let app = created(&kit, &space, &format!("b{round}"), &uploaded(&kit, &digest('f')).await).await;
        kit.advance(2 * DAY);
        // What is to be trimmed is not even a second old, so that the trimming may come between the two steps of the push.
        let before = kit.now() + SignedDuration::from_secs(1);
        let push = async {
            let mut again = 0;
            loop {
                let archive = uploaded(&kit, &sha256).await;
                match pushed(&kit, &space, &app, &archive).await {
                    Ok(app) => return (app, again),
                    Err(StoreError::Conflict(_)) => again += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let trim = async {
            let mut reapers = JoinSet::new();
            for _ in 0..2 {
                let store = kit.store.clone();
                reapers.spawn(async move {
                    walked(&store, before).await;
                    let given_up = store.sources_removing(1000).await.unwrap();
                    store.sources_removed(&given_up).await.unwrap();
                    given_up
                });
            }
            reapers.join_all().await.concat()
        };
        let ((app, again), given_up) = both(round % 2 == 0, push, trim).await;
        refused += again;
        let kept = app_archive(&app);
        assert!(!given_up.contains(&kept.object()), "round {round}: what a push uses was cleared away");
        assert_eq!(uploaded(&kit, &sha256).await, *kept, "round {round}: the row is there");
    }
    assert!(refused < 60 * 5, "a push comes to its end");
}
