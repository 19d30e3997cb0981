//! Revisions that nothing needs any more: not the present one, and frozen by no Task that there is.
//!
//! Which ones Tasks have is read outside of any transaction: the set only shrinks. No Task is accepted on a revision of an
//! App but the present one. For a Space's environment, which may change between a Task's birth and its acceptance, there is
//! an hour in between, and what is accepted later must find its revision.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, FromQueryResult};
use taskplane_domain::uid::{AppUid, SpaceUid};

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::{app_revision, space_env};
use crate::{binding, sql};

/// Revisions of one owner looked at in one pass.
const REVISIONS: i64 = 500;
/// Tasks asked at a time for what they froze.
const PAGE: i64 = 2000;

#[derive(FromQueryResult)]
struct Owner {
    uid: Uuid,
    revision: i64,
    space: String,
}

#[derive(FromQueryResult)]
struct Frozen {
    uid: Uuid,
    created_at: i64,
    id: i64,
    revision: i64,
}

#[derive(FromQueryResult)]
struct Revision {
    revision: i64,
}

/// Below every uid there is, for the first one.
fn nil_or(uid: Option<Uuid>) -> sea_orm::Value {
    uid.unwrap_or_default().into()
}

impl Store {
    /// Looks at up to `limit` Apps behind `after`. Says how far it came; none: there is nothing behind `after`.
    pub async fn app_revisions_trim(&self, after: Option<AppUid>, limit: u32) -> Result<Option<AppUid>, StoreError> {
        // The present revision is read first: what Tasks are asked for after that can only be older.
        const TEXT: &str = "SELECT a.uid, a.revision, a.space FROM apps a WHERE a.uid > $1 \
             AND EXISTS (SELECT 1 FROM app_revisions r WHERE r.app_uid = a.uid AND r.revision < a.revision) \
             ORDER BY a.uid LIMIT $2";
        let owners: Vec<Owner> =
            self.read(sql::all(self.db(), TEXT, [nil_or(after.map(|uid| uid.0)), i64::from(limit).into()])).await?;
        for Owner { uid, revision, space: _ } in &owners {
            const OLD: &str = "SELECT revision FROM app_revisions WHERE app_uid = $1 AND revision < $2 \
                 ORDER BY revision LIMIT $3";
            const TASKS: &str = "SELECT uid, created_at, id, app_revision AS revision FROM tasks \
                 WHERE app_uid = $1 AND id > $2 ORDER BY id LIMIT $3";
            let old = [(*uid).into(), (*revision).into(), REVISIONS.into()];
            let mut unused = self.revisions(OLD, old).await?;
            let mut last = 0;
            while !unused.is_empty() {
                let page = [(*uid).into(), last.into(), PAGE.into()];
                let frozen: Vec<Frozen> = self.read(sql::all(self.db(), TASKS, page)).await?;
                let Some(newest) = frozen.last() else { break };
                last = newest.id;
                unused = &unused - &frozen.iter().map(|task| task.revision).collect();
            }
            self.app_revisions_remove(*uid, unused).await?;
        }
        Ok(owners.last().map(|owner| AppUid(owner.uid)))
    }

    /// The same for the environments of Spaces: of what was replaced before `before`.
    pub async fn space_envs_trim(
        &self,
        after: Option<SpaceUid>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<SpaceUid>, StoreError> {
        const TEXT: &str = "SELECT s.uid, s.env_revision AS revision, s.name AS space FROM spaces s WHERE s.uid > $1 \
             AND EXISTS (SELECT 1 FROM space_envs e WHERE e.space_uid = s.uid AND e.revision < s.env_revision) \
             ORDER BY s.uid LIMIT $2";
        let owners: Vec<Owner> =
            self.read(sql::all(self.db(), TEXT, [nil_or(after.map(|uid| uid.0)), i64::from(limit).into()])).await?;
        for Owner { uid, revision, space } in &owners {
            // One that came before this release has no time of its own; then the Space's last change stands for it.
            const OLD: &str = "SELECT e.revision FROM space_envs e JOIN spaces s ON s.uid = e.space_uid \
                 WHERE e.space_uid = $1 AND e.revision < $2 AND EXISTS (SELECT 1 FROM space_envs later \
                 WHERE later.space_uid = e.space_uid AND later.revision > e.revision \
                 AND coalesce(later.created_at, s.updated_at) < $3) ORDER BY e.revision LIMIT $4";
            const TASKS: &str = "SELECT uid, created_at, id, space_env_revision AS revision FROM tasks \
                 WHERE space = $1 AND (created_at, uid) > ($2, $3) ORDER BY created_at, uid LIMIT $4";
            let old = [(*uid).into(), (*revision).into(), before.as_microsecond().into(), REVISIONS.into()];
            let mut unused = self.revisions(OLD, old).await?;
            let mut last = (i64::MIN, Uuid::nil());
            while !unused.is_empty() {
                let page = [space.as_str().into(), last.0.into(), last.1.into(), PAGE.into()];
                let frozen: Vec<Frozen> = self.read(sql::all(self.db(), TASKS, page)).await?;
                let Some(newest) = frozen.last() else { break };
                last = (newest.created_at, newest.uid);
                unused = &unused - &frozen.iter().map(|task| task.revision).collect();
            }
            self.space_envs_remove(*uid, unused).await?;
        }
        Ok(owners.last().map(|owner| SpaceUid(owner.uid)))
    }

    async fn revisions<const N: usize>(
        &self,
        text: &'static str,
        values: [sea_orm::Value; N],
    ) -> Result<BTreeSet<i64>, StoreError> {
        let rows: Vec<Revision> = self.read(sql::all(self.db(), text, values)).await?;
        Ok(rows.into_iter().map(|row| row.revision).collect())
    }

    async fn app_revisions_remove(&self, app: Uuid, unused: BTreeSet<i64>) -> Result<(), StoreError> {
        use app_revision::Column;
        if unused.is_empty() {
            return Ok(());
        }
        self.write("app_revisions_trim", move |txn| {
            let which =
                Condition::all().add(Column::AppUid.eq(app)).add(Column::Revision.is_in(unused.iter().copied()));
            let revisions = unused.clone();
            Box::pin(async move {
                app_revision::Entity::delete_many().filter(which).exec(&txn.db).await?;
                binding::forget(txn, app, revisions).await
            })
        })
        .await
    }

    async fn space_envs_remove(&self, space: Uuid, unused: BTreeSet<i64>) -> Result<(), StoreError> {
        use space_env::Column;
        if unused.is_empty() {
            return Ok(());
        }
        self.write("space_envs_trim", move |txn| {
            let which =
                Condition::all().add(Column::SpaceUid.eq(space)).add(Column::Revision.is_in(unused.iter().copied()));
            let revisions = unused.clone();
            Box::pin(async move {
                space_env::Entity::delete_many().filter(which).exec(&txn.db).await?;
                binding::forget(txn, space, revisions).await
            })
        })
        .await
    }
}
