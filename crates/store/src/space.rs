//! Spaces, and the revisions of their environments.

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter};
use std::sync::Arc;
use taskplane_domain::env::Env;
use taskplane_domain::name::{Name, SpaceName};
use taskplane_domain::security_group::Groups;
use taskplane_domain::space::{Space, SpaceChange};
use taskplane_domain::standing::Standing;
use taskplane_domain::uid::SpaceUid;

use crate::binding::{self, Bound, Owner};
use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{big, space, space_env};
use crate::txn::Txn;
use crate::{event, sql};

/// What the Tasks of a Space inherit from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceEnv {
    pub env: Env,
    pub security_groups: Groups,
}

impl Store {
    pub async fn space_create(&self, change: &SpaceChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("space_create", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { create(txn, &change).await })
        })
        .await
    }

    pub async fn space_get(&self, name: &SpaceName) -> Result<Space, StoreError> {
        const TEXT: &str = "SELECT s.*, e.env, e.security_groups FROM spaces s \
             LEFT JOIN space_envs e ON e.space_uid = s.uid AND e.revision = s.env_revision WHERE s.name = $1";
        let row = self.read(sql::one::<space::WithEnv>(self.db(), TEXT, [name.0.as_str().into()])).await?;
        Ok(row.ok_or_else(|| StoreError::NotFound(name.to_string()))?.open(self.secrets())?)
    }

    /// By name.
    pub async fn space_list(&self, after: Option<&Name>, limit: u32) -> Result<Vec<Space>, StoreError> {
        const TEXT: &str = "SELECT s.*, e.env, e.security_groups FROM spaces s \
             LEFT JOIN space_envs e ON e.space_uid = s.uid AND e.revision = s.env_revision \
             WHERE s.name > $1 ORDER BY s.name LIMIT $2";
        let after = after.map(Name::as_str).unwrap_or_default();
        let rows =
            self.read(sql::all::<space::WithEnv>(self.db(), TEXT, [after.into(), i64::from(limit).into()])).await?;
        rows.into_iter().map(|row| Ok(row.open(self.secrets())?)).collect()
    }

    pub async fn space_update(&self, change: &SpaceChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("space_update", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { update(txn, &change).await })
        })
        .await
    }

    /// A revision of a Space's environment, as a Task froze it.
    pub async fn space_env(&self, space: SpaceUid, revision: u32) -> Result<SpaceEnv, StoreError> {
        let key = (space.0, i64::from(revision));
        let found = self.read(space_env::Entity::find_by_id(key).one(self.db())).await?;
        let named = || format!("revision {revision} of the environment of space {space}");
        let row = found.ok_or_else(|| StoreError::NotFound(named()))?;
        Ok(SpaceEnv {
            env: space_env::open(key, &row.env, self.secrets())?,
            security_groups: space_env::groups(key, row.security_groups.as_deref())?,
        })
    }
}

async fn create(txn: &Txn, change: &SpaceChange) -> Result<(), Fault> {
    let space = &change.space;
    let inserted = space::Entity::insert(active(space)).exec_without_returning(&txn.db).await;
    inserted.map_err(|error| Fault::exists(error, &space.name))?;
    keep_env(txn, space).await?;
    event::append(txn, &change.event).await
}

fn active(space: &Space) -> space::ActiveModel {
    space::Model::from(space).into()
}

#[derive(FromQueryResult)]
struct Stands {
    standing: String,
}

/// Keeps a Space there until this transaction is over. It must not be on its way out; one that is marked at this very moment
/// takes what is made here with it.
pub(crate) async fn lock(txn: &Txn, uid: SpaceUid, name: &Name) -> Result<(), Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT standing FROM spaces WHERE uid = $1",
        "SELECT standing FROM spaces WHERE uid = $1 FOR KEY SHARE",
    );
    let name = SpaceName(name.clone());
    match sql::one::<Stands>(&txn.db, text, [uid.0.into()]).await? {
        None => Err(StoreError::NotFound(name.to_string()).into()),
        Some(Stands { standing }) if standing == Standing::Active.as_str() => Ok(()),
        Some(_) => Err(StoreError::SpaceDeleting(name).into()),
    }
}

/// Settings may change without the environment; then its revision is there already.
async fn keep_env(txn: &Txn, space: &Space) -> Result<(), Fault> {
    const TEXT: &str = "INSERT INTO space_envs (space_uid, revision, env, security_groups, created_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let key = (space.uid.0, i64::from(space.env_revision));
    let env = space_env::sealed(key, &space.settings.env, &txn.secrets);
    let groups = space_env::groups_cell(&space.security_groups);
    let now = txn.now().await?.as_microsecond();
    let values = [key.0.into(), key.1.into(), env.into(), groups.into(), now.into()];
    if sql::execute(&txn.db, TEXT, values).await? == 0 {
        return Ok(());
    }
    let owner = Owner { uid: space.uid.0, revision: space.env_revision };
    let bound = space.security_groups.iter();
    binding::keep(txn, owner, bound.map(|group| Bound { uid: group.uid.0, revision: group.revision })).await
}

pub(crate) async fn update(txn: &Txn, change: &SpaceChange) -> Result<(), Fault> {
    let space = &change.space;
    let rules = space::RuleCells::from(&space.settings);
    let cells = space::ActiveModel {
        env_revision: Set(space.env_revision.into()),
        standing: Set(space.standing.as_str().to_owned()),
        task_retention_count: Set(rules.task_retention_count),
        log_cap: Set(rules.log_cap),
        rules: Set(Some(rules.rules)),
        live_quota: Set(rules.live_quota),
        running_quota: Set(rules.running_quota),
        waiting_quota: Set(rules.waiting_quota),
        version: Set(big(space.version)),
        updated_at: Set(space.updated_at.as_microsecond()),
        ..Default::default()
    };
    let done = space::Entity::update_many()
        .set(cells)
        .filter(space::Column::Uid.eq(space.uid.0))
        .filter(space::Column::Version.eq(big(space.version - 1)))
        .exec(&txn.db)
        .await?;
    if done.rows_affected != 1 {
        return Err(moved(txn, space).await?);
    }
    keep_env(txn, space).await?;
    event::append(txn, &change.event).await
}

/// Why a change to a Space met no row.
pub(crate) async fn moved(txn: &Txn, space: &Space) -> Result<Fault, Fault> {
    let there = space::Entity::find_by_id(space.uid.0).count(&txn.db).await? > 0;
    let name = space.name.to_string();
    Ok(Fault::Store(if there { StoreError::Conflict(name) } else { StoreError::NotFound(name) }))
}
