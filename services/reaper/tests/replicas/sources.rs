//! Source archives under whole reapers: what something needs is there, whenever a push comes, and nothing else stays.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use taskplane_domain::app::{App, Source, SourceArchive};
use taskplane_domain::space::{Retention, Space};
use taskplane_domain::uid::UploadUid;
use uuid::Uuid;

use crate::scene::{Scene, until};

const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

/// The digest of a source, which is all there is to it here.
fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(bytes))
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// As the api takes a push in: a name, the bytes under it, and only then the App.
async fn uploaded(scene: &Scene, bytes: &[u8]) -> SourceArchive {
    let sha256 = digest(bytes);
    let upload = scene.store.source_reserve(&sha256, UploadUid(Uuid::now_v7())).await.unwrap();
    let archive = SourceArchive { sha256, size_bytes: bytes.len() as u64, entry_count: 1, upload };
    scene.objects.source_put(&archive.object(), file(bytes)).await.unwrap();
    archive
}

async fn pushed(scene: &Scene, space: &Space, app: &str, bytes: &[u8]) -> (App, String) {
    let archive = uploaded(scene, bytes).await;
    let app = scene.an_app_of(space, app, Source::Archive(archive.clone())).await;
    (app, archive.object())
}

async fn deleted(scene: &Scene, app: App) {
    let change = app.delete(scene.now()).unwrap();
    scene.store.app_delete(&change, true).await.unwrap();
}

async fn what_nothing_needs_goes(scene: Scene) {
    let space = scene.a_space("s", Retention::default()).await;
    let mut needed = Vec::new();
    for number in 0..5_u8 {
        needed.push(pushed(&scene, &space, &format!("kept-{number}"), &[b'k', number]).await.1);
        let (gone, _) = pushed(&scene, &space, &format!("gone-{number}"), &[b'g', number]).await;
        deleted(&scene, gone).await;
        uploaded(&scene, &[b'l', number]).await;
    }
    // Of an earlier release: one that nobody knows any more, and one that an App has.
    let (lost, kept) = (digest(b"lost"), digest(b"of old"));
    scene.objects.source_put(&lost, file(b"lost")).await.unwrap();
    scene.objects.source_put(&kept, file(b"of old")).await.unwrap();
    let old = SourceArchive { sha256: kept.clone(), size_bytes: 6, entry_count: 1, upload: None };
    scene.an_app_of(&space, "old", Source::Archive(old)).await;
    needed.push(kept);
    needed.sort();
    scene.store.sources_adopt(&scene.objects.sources_by_digest().await.unwrap()).await.unwrap();
    scene.advance(TWO_DAYS);
    let reapers = [scene.reaper().await, scene.reaper().await];
    until("only what is needed is left", async || scene.archives() == needed).await;
    for reaper in reapers {
        reaper.stop().await;
    }
    assert_eq!(scene.archives(), needed, "and that stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_needs_goes_under_two_reapers_on_sqlite() {
    what_nothing_needs_goes(Scene::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_needs_goes_under_two_reapers_on_postgres() {
    what_nothing_needs_goes(Scene::on_postgres().await).await;
}

/// The bytes are those of an App that was deleted long ago: they are about to be cleared away as they are pushed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_meets_the_trimming_finds_its_archive_afterwards() {
    let scene = Scene::on_postgres().await;
    let space = scene.a_space("s", Retention::default()).await;
    for round in 0..16_u8 {
        let bytes = [b'r', round];
        let (app, _) = pushed(&scene, &space, "before", &bytes).await;
        deleted(&scene, app).await;
        let lost = uploaded(&scene, &[b'x', round]).await.object();
        scene.advance(TWO_DAYS);
        let trimmed = async {
            let reapers = [scene.reaper().await, scene.reaper().await];
            until("the trimming came by", async || !scene.archives().contains(&lost)).await;
            for reaper in reapers {
                reaper.stop().await;
            }
        };
        let name = format!("after-{round}");
        let push = async {
            tokio::time::sleep(Duration::from_millis(4 * u64::from(round))).await;
            pushed(&scene, &space, &name, &bytes).await
        };
        let ((), (_, object)) = tokio::join!(trimmed, push);
        let mut read = Vec::new();
        scene.objects.source_open(&object).await.unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes, "round {round}");
    }
}
