//! Source archives: which there are, and which of them nothing needs any more. The bytes lie in the object store, under a name
//! that no other upload ever has.
//!
//! ```text
//!  reserved ──a push is committed──▶ kept ──no revision needs it, and untouched for long──▶ removing ──the object is gone──▶ (gone)
//!      └────────── untouched for long: its push never came to anything ──────────────────────────▲
//! ```
//!
//! The row is there before the object and goes after it. Whoever is about to use an archive touches its row, and whoever decides
//! that it goes judges the row again as it does so: a push is either seen, or sees the decision and keeps its bytes under
//! another name. A Task needs the archive of its App's revision, which stays as long as the Task.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::FromQueryResult;
use sea_orm::prelude::Uuid;
use taskplane_domain::app::{Source, SourceArchive};
use taskplane_domain::uid::UploadUid;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::app_revision;
use crate::sql;
use crate::txn::Txn;

/// Rows that one transaction changes.
const BATCH: usize = 100;

#[derive(FromQueryResult)]
struct Reserved {
    upload: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct Named {
    name: String,
}

#[derive(FromQueryResult)]
struct Unread {
    app_uid: Uuid,
    revision: i64,
    spec: Vec<u8>,
}

/// The cell `source` of a revision.
pub(crate) fn needed(source: &Source) -> String {
    match source {
        Source::Archive(archive) => archive.object(),
        Source::Image(_) => String::new(),
    }
}

/// The archive of a revision that is being written stays from now on, or has been given up already.
pub(crate) async fn hold(txn: &Txn, source: &Source) -> Result<(), Fault> {
    const TOUCH: &str = "UPDATE sources SET kept = true, touched_at = $2 WHERE name = $1 AND NOT removing";
    // What an earlier release kept may have no row yet.
    const NOTE: &str = "INSERT INTO sources (name, sha256, kept, removing, touched_at) VALUES ($1, $1, true, false, $2) \
         ON CONFLICT (name) DO UPDATE SET touched_at = excluded.touched_at WHERE NOT sources.removing";
    let Source::Archive(archive) = source else { return Ok(()) };
    let text = if archive.upload.is_some() { TOUCH } else { NOTE };
    let values = [archive.object().into(), txn.now().await?.as_microsecond().into()];
    match sql::execute(&txn.db, text, values).await? {
        0 => Err(StoreError::Conflict(format!("the source archive {}", archive.sha256)).into()),
        _ => Ok(()),
    }
}

impl Store {
    /// Which upload of these bytes a push is to use: one that is kept already, or its own, `upload`. Either stays for a while.
    /// None: it is kept under its digest alone.
    pub async fn source_reserve(&self, sha256: &str, upload: UploadUid) -> Result<Option<UploadUid>, StoreError> {
        let archive = SourceArchive { sha256: sha256.to_owned(), size_bytes: 0, entry_count: 0, upload: Some(upload) };
        let archive = Arc::new(archive);
        self.write("source_reserve", move |txn| {
            let archive = Arc::clone(&archive);
            Box::pin(async move { reserve(txn, &archive).await })
        })
        .await
    }

    /// Archives that an earlier release kept under their digests, as the object store has them.
    pub async fn sources_adopt(&self, digests: &[String]) -> Result<(), StoreError> {
        for some in digests.chunks(BATCH) {
            let some: Arc<[String]> = some.into();
            self.write("sources_adopt", move |txn| {
                let some = Arc::clone(&some);
                Box::pin(async move {
                    const TEXT: &str = "INSERT INTO sources (name, sha256, kept, removing, touched_at) \
                         VALUES ($1, $1, true, false, $2) ON CONFLICT (name) DO NOTHING";
                    let now = txn.now().await?.as_microsecond();
                    for digest in some.iter() {
                        sql::execute(&txn.db, TEXT, [digest.as_str().into(), now.into()]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Notes what revisions of an earlier release need. Until that is known of all of them, nothing goes that is kept under its
    /// digest alone.
    pub async fn sources_read(&self) -> Result<(), StoreError> {
        const TEXT: &str = "SELECT app_uid, revision, spec FROM app_revisions WHERE source IS NULL \
             AND (app_uid, revision) > ($1, $2) ORDER BY app_uid, revision LIMIT $3";
        let mut after = (Uuid::nil(), i64::MIN);
        loop {
            let values = [after.0.into(), after.1.into(), i64::try_from(BATCH).unwrap_or(i64::MAX).into()];
            let page: Vec<Unread> = self.read(sql::all(self.db(), TEXT, values)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.app_uid, last.revision);
            let read: Vec<_> = page.into_iter().filter_map(read).collect();
            self.write("sources_read", move |txn| {
                let read = read.clone();
                Box::pin(async move {
                    for (app, revision, source) in read {
                        const TEXT: &str = "UPDATE app_revisions SET source = $3 WHERE app_uid = $1 AND revision = $2";
                        sql::execute(&txn.db, TEXT, [app.into(), revision.into(), source.into()]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
    }

    /// Looks at up to `limit` archives behind `after`, and gives up those that no revision needs and that nobody touched since
    /// `before`. Says how far it came; none: there is nothing behind `after`.
    pub async fn sources_trim(
        &self,
        after: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<String>, StoreError> {
        const PAGE: &str = "SELECT name FROM sources WHERE name > $1 AND NOT removing ORDER BY name LIMIT $2";
        let after = after.unwrap_or_default().to_owned();
        let page: Vec<Named> =
            self.read(sql::all(self.db(), PAGE, [after.as_str().into(), i64::from(limit).into()])).await?;
        let Some(Named { name: last }) = page.into_iter().next_back() else { return Ok(None) };
        let range = Arc::new((after, last.clone()));
        self.write("sources_trim", move |txn| {
            let range = Arc::clone(&range);
            Box::pin(async move { trim(txn, (&range.0, &range.1), before).await })
        })
        .await?;
        Ok(Some(last))
    }

    /// Archives that were given up: the names of their objects, which nobody uses any more.
    pub async fn sources_removing(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        const TEXT: &str = "SELECT name FROM sources WHERE removing ORDER BY name LIMIT $1";
        let rows: Vec<Named> = self.read(sql::all(self.db(), TEXT, [i64::from(limit).into()])).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// Their objects are gone.
    pub async fn sources_removed(&self, names: &[String]) -> Result<(), StoreError> {
        for some in names.chunks(BATCH) {
            let some: Arc<[String]> = some.into();
            self.write("sources_removed", move |txn| {
                let some = Arc::clone(&some);
                Box::pin(async move {
                    for name in some.iter() {
                        const TEXT: &str = "DELETE FROM sources WHERE name = $1 AND removing";
                        sql::execute(&txn.db, TEXT, [name.as_str().into()]).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }
}

/// One that cannot be read keeps all that it might need.
fn read(Unread { app_uid, revision, spec }: Unread) -> Option<(Uuid, i64, String)> {
    match app_revision::source((app_uid, revision), &spec) {
        Ok(source) => Some((app_uid, revision, needed(&source))),
        Err(corrupt) => {
            tracing::error!(%corrupt, "what source a revision needs cannot be read");
            None
        }
    }
}

/// No revision needs it, and none can be about to that is not seen, as long as its row is locked.
macro_rules! unneeded {
    () => {
        "NOT removing AND touched_at < $1 AND NOT EXISTS (SELECT 1 FROM app_revisions r WHERE r.source = sources.name) \
         AND (upload IS NOT NULL OR NOT EXISTS (SELECT 1 FROM app_revisions r WHERE r.source IS NULL))"
    };
}

async fn trim(txn: &Txn, (after, last): (&str, &str), before: Timestamp) -> Result<(), Fault> {
    const PICK: (&str, &str) = (
        concat!("SELECT name FROM sources WHERE ", unneeded!(), " AND name > $2 AND name <= $3 ORDER BY name"),
        concat!(
            "SELECT name FROM sources WHERE ",
            unneeded!(),
            " AND name > $2 AND name <= $3 ORDER BY name FOR UPDATE"
        ),
    );
    // Each is judged again by a statement of its own, which sees what was committed before the row was locked.
    const GIVE_UP: &str = concat!("UPDATE sources SET removing = true WHERE ", unneeded!(), " AND name = $2");
    let before = before.as_microsecond();
    let picked = sql::choose(&txn.db, PICK.0, PICK.1);
    let picked: Vec<Named> = sql::all(&txn.db, picked, [before.into(), after.into(), last.into()]).await?;
    for Named { name } in picked {
        sql::execute(&txn.db, GIVE_UP, [before.into(), name.into()]).await?;
    }
    Ok(())
}

async fn reserve(txn: &Txn, archive: &SourceArchive) -> Result<Option<UploadUid>, Fault> {
    const KEPT: &str = "UPDATE sources SET touched_at = $2 WHERE NOT removing AND name = (SELECT s.name FROM sources s \
         WHERE s.sha256 = $1 AND s.kept AND NOT s.removing ORDER BY s.name LIMIT 1) RETURNING upload";
    const NEW: &str = "INSERT INTO sources (name, sha256, upload, kept, removing, touched_at) \
         VALUES ($1, $2, $3, false, false, $4)";
    let now = txn.now().await?.as_microsecond();
    let sha256 = archive.sha256.as_str();
    if let Some(Reserved { upload }) = sql::one(&txn.db, KEPT, [sha256.into(), now.into()]).await? {
        return Ok(upload.map(UploadUid));
    }
    let own = archive.upload;
    let values = [archive.object().into(), sha256.into(), own.map(|own| own.0).into(), now.into()];
    sql::execute(&txn.db, NEW, values).await?;
    Ok(own)
}
