//! Security groups and their revisions. Rows are locked in one order: the Space's, the group's, then those of Apps by uid.

use std::sync::Arc;

use prost::Message as _;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::Uuid;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter};
use taskplane_domain::app::AppChange;
use taskplane_domain::name::{AppName, Name, SecurityGroupName, SpaceName};
use taskplane_domain::security_group::{BoundTo, GroupRef, Rule, SecurityGroup};
use taskplane_domain::space::{Space, SpaceChange};
use taskplane_domain::uid::SecurityGroupUid;
use taskplane_proto::internal::v1 as pb;

use crate::binding::{self, Bound};
use crate::connect::Store;
use crate::error::{Corrupt, Fault, StoreError};
use crate::row::{Row, security_group, security_group_revision, space};
use crate::txn::Txn;
use crate::{app as apps, space as spaces, sql};

/// Apps that are named as bound to a group.
const NAMED: i64 = 100;
/// Apps that are named where a group cannot go because of them.
const NAMED_IN_REFUSAL: i64 = 5;

/// Groups with their present rules, and how many Spaces and Apps refer to them now.
macro_rules! groups {
    ($condition:literal) => {
        concat!(
            "SELECT g.*, r.rules, \
             (SELECT count(*) FROM bindings b JOIN spaces s ON s.uid = b.owner_uid AND s.env_revision = b.owner_revision \
                 WHERE b.bound_uid = g.uid AND b.bound_revision = g.revision) AS of_space, \
             (SELECT count(*) FROM bindings b JOIN apps a ON a.uid = b.owner_uid AND a.revision = b.owner_revision \
                 WHERE b.bound_uid = g.uid AND b.bound_revision = g.revision) AS of_apps \
             FROM security_groups g \
             LEFT JOIN security_group_revisions r ON r.group_uid = g.uid AND r.revision = g.revision ",
            $condition
        )
    };
}

#[derive(FromQueryResult)]
struct AppRow {
    uid: Uuid,
    space: String,
    name: String,
}

impl Store {
    /// `NotFound` when the Space is gone.
    pub async fn security_group_create(&self, group: &SecurityGroup) -> Result<(), StoreError> {
        let group = Arc::new(group.clone());
        self.write("security_group_create", move |txn| {
            let group = Arc::clone(&group);
            Box::pin(async move { create(txn, &group).await })
        })
        .await
    }

    pub async fn security_group_get(&self, name: &SecurityGroupName) -> Result<(SecurityGroup, BoundTo), StoreError> {
        let text = groups!("WHERE g.space = $1 AND g.name = $2");
        let values = [name.space.as_str().into(), name.group.as_str().into()];
        let row = self.read(sql::one::<security_group::WithRules>(self.db(), text, values)).await?;
        let (group, mut bound) = view(row.ok_or_else(|| StoreError::NotFound(name.to_string()))?)?;
        if bound.app_count > 0 {
            let rows = self.read(bound_apps(self.db(), bound_of(&group), NAMED)).await?;
            bound.apps = rows.into_iter().map(app_name).collect::<Result<_, _>>()?;
        }
        Ok((group, bound))
    }

    /// By name; none of them names its Apps.
    pub async fn security_group_list(
        &self,
        space: &SpaceName,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<(SecurityGroup, BoundTo)>, StoreError> {
        let text = groups!("WHERE g.space = $1 AND g.name > $2 ORDER BY g.name LIMIT $3");
        let after = after.map(Name::as_str).unwrap_or_default();
        let values = [space.0.as_str().into(), after.into(), i64::from(limit).into()];
        let rows = self.read(sql::all::<security_group::WithRules>(self.db(), text, values)).await?;
        rows.into_iter().map(|row| Ok(view(row)?)).collect()
    }

    /// The next revision of a group, and of all that is bound to it, in one transaction.
    pub async fn security_group_update(&self, group: &SecurityGroup) -> Result<(), StoreError> {
        let group = Arc::new(group.clone());
        self.write("security_group_update", move |txn| {
            let group = Arc::clone(&group);
            Box::pin(async move { update(txn, &group).await })
        })
        .await
    }

    /// Refused while anything is bound to it. What its revisions said stays, for the Tasks that froze them.
    pub async fn security_group_delete(&self, group: &SecurityGroup) -> Result<(), StoreError> {
        let group = Arc::new(group.clone());
        self.write("security_group_delete", move |txn| {
            let group = Arc::clone(&group);
            Box::pin(async move { delete(txn, &group).await })
        })
        .await
    }

    /// A change of an App that binds it to `group`. `Conflict` when that is not the group's present revision.
    pub async fn app_bind_group(&self, change: &AppChange, group: &GroupRef) -> Result<(), StoreError> {
        let asked = Arc::new((change.clone(), group.clone()));
        self.write("app_bind_group", move |txn| {
            let asked = Arc::clone(&asked);
            Box::pin(async move {
                hold(txn, &asked.0.app.name.space, &asked.1).await?;
                apps::update(txn, &asked.0).await
            })
        })
        .await
    }

    /// The same for a Space.
    pub async fn space_bind_group(&self, change: &SpaceChange, group: &GroupRef) -> Result<(), StoreError> {
        let asked = Arc::new((change.clone(), group.clone()));
        self.write("space_bind_group", move |txn| {
            let asked = Arc::clone(&asked);
            Box::pin(async move {
                spaces::update(txn, &asked.0).await?;
                hold(txn, &asked.0.space.name.0, &asked.1).await
            })
        })
        .await
    }

    /// Forgets up to `limit` revisions that are not the present one and that no revision of an App or a Space refers to.
    pub async fn security_group_revisions_trim(&self, limit: u32) -> Result<u64, StoreError> {
        const TEXT: &str = "DELETE FROM security_group_revisions WHERE (group_uid, revision) IN \
             (SELECT r.group_uid, r.revision FROM security_group_revisions r WHERE NOT EXISTS \
                 (SELECT 1 FROM security_groups g WHERE g.uid = r.group_uid AND g.revision = r.revision) \
             AND NOT EXISTS \
                 (SELECT 1 FROM bindings b WHERE b.bound_uid = r.group_uid AND b.bound_revision = r.revision) LIMIT $1)";
        self.write("security_group_revisions_trim", move |txn| {
            Box::pin(async move { Ok(sql::execute(&txn.db, TEXT, [i64::from(limit).into()]).await?) })
        })
        .await
    }

    /// What a revision of a group says, as a Task froze it.
    pub async fn security_group_rules(&self, group: SecurityGroupUid, revision: u32) -> Result<Vec<Rule>, StoreError> {
        let key = (group.0, i64::from(revision));
        let found = self.read(security_group_revision::Entity::find_by_id(key).one(self.db())).await?;
        let named = format!("revision {revision} of security group {group}");
        let row = found.ok_or_else(|| StoreError::NotFound(named.clone()))?;
        Ok(Row::new("security_group_revisions", named).decoded::<pb::SecurityRules, _>("rules", &row.rules)?)
    }
}

fn view(row: security_group::WithRules) -> Result<(SecurityGroup, BoundTo), Corrupt> {
    let security_group::WithRules { group, rules, of_space, of_apps } = row;
    let bound = BoundTo { space_wide: of_space > 0, app_count: of_apps.unsigned_abs(), apps: Vec::new() };
    Ok((group.into_group(rules)?, bound))
}

fn bound_of(group: &SecurityGroup) -> Bound {
    Bound { uid: group.uid.0, revision: group.revision }
}

async fn bound_apps(db: &impl ConnectionTrait, bound: Bound, limit: i64) -> Result<Vec<AppRow>, DbErr> {
    const TEXT: &str = "SELECT a.uid, a.space, a.name FROM bindings b \
         JOIN apps a ON a.uid = b.owner_uid AND a.revision = b.owner_revision \
         WHERE b.bound_uid = $1 AND b.bound_revision = $2 ORDER BY a.name LIMIT $3";
    sql::all(db, TEXT, [bound.uid.into(), i64::from(bound.revision).into(), limit.into()]).await
}

fn app_name(AppRow { uid, space, name }: AppRow) -> Result<AppName, Corrupt> {
    let row = Row::new("apps", uid);
    Ok(AppName { space: row.parsed("space", &space)?, app: row.parsed("name", &name)? })
}

async fn create(txn: &Txn, group: &SecurityGroup) -> Result<(), Fault> {
    spaces::lock(txn, group.space_uid, &group.name.space).await?;
    let row = security_group::ActiveModel::from(security_group::Model::from(group));
    let inserted = security_group::Entity::insert(row).exec_without_returning(&txn.db).await;
    inserted.map_err(|error| Fault::exists(error, &group.name))?;
    keep_rules(txn, group).await
}

async fn keep_rules(txn: &Txn, group: &SecurityGroup) -> Result<(), Fault> {
    let revision = security_group_revision::ActiveModel {
        group_uid: Set(group.uid.0),
        revision: Set(group.revision.into()),
        space_uid: Set(group.space_uid.0),
        rules: Set(pb::SecurityRules::from(group.rules.as_slice()).encode_to_vec()),
    };
    security_group_revision::Entity::insert(revision).exec_without_returning(&txn.db).await?;
    Ok(())
}

async fn update(txn: &Txn, group: &SecurityGroup) -> Result<(), Fault> {
    let space = present_space(txn, group).await?;
    let moved = security_group::Entity::update_many()
        .set(security_group::ActiveModel {
            revision: Set(group.revision.into()),
            updated_at: Set(group.updated_at.as_microsecond()),
            ..Default::default()
        })
        .filter(security_group::Column::Uid.eq(group.uid.0))
        .filter(security_group::Column::Revision.eq(i64::from(group.revision) - 1))
        .exec(&txn.db)
        .await?;
    if moved.rows_affected != 1 {
        return Err(changed(txn, &group.name, group.uid).await?);
    }
    keep_rules(txn, group).await?;
    let (next, at) = (group.reference(), group.updated_at);
    let renewed = space.security_groups.renewed(&next);
    if let Some(change) = space.with_groups(renewed, at) {
        spaces::update(txn, &change).await?;
    }
    let before = Bound { uid: group.uid.0, revision: group.revision - 1 };
    binding::renew_apps(txn, before, at, |app| {
        let renewed = app.spec.security_groups.renewed(&next);
        Ok(app.with_groups(renewed, at))
    })
    .await
}

/// The group's Space, locked and as it is now.
async fn present_space(txn: &Txn, group: &SecurityGroup) -> Result<Space, Fault> {
    const TEXT: &str = "SELECT s.*, e.env, e.security_groups FROM spaces s \
         LEFT JOIN space_envs e ON e.space_uid = s.uid AND e.revision = s.env_revision WHERE s.uid = $1";
    let locked = sql::choose(
        &txn.db,
        "SELECT count(*) AS value FROM spaces WHERE uid = $1",
        "SELECT count(*) AS value FROM (SELECT uid FROM spaces WHERE uid = $1 FOR NO KEY UPDATE) locked",
    );
    sql::number(&txn.db, locked, [group.space_uid.0.into()]).await?;
    let row = sql::one::<space::WithEnv>(&txn.db, TEXT, [group.space_uid.0.into()]).await?;
    Ok(row.ok_or_else(|| StoreError::NotFound(group.name.to_string()))?.open(&txn.secrets)?)
}

async fn delete(txn: &Txn, group: &SecurityGroup) -> Result<(), Fault> {
    // The row first: whoever binds something to it holds it too, so nothing is bound while this looks.
    let gone = security_group::Entity::delete_many()
        .filter(security_group::Column::Uid.eq(group.uid.0))
        .filter(security_group::Column::Revision.eq(i64::from(group.revision)))
        .exec(&txn.db)
        .await?;
    if gone.rows_affected != 1 {
        return Err(changed(txn, &group.name, group.uid).await?);
    }
    match bindings(txn, bound_of(group)).await? {
        Some(what) => Err(StoreError::InUse { name: group.name.to_string(), what }.into()),
        None => Ok(()),
    }
}

/// What is bound to a group, for the one who has to unbind it.
async fn bindings(txn: &Txn, bound: Bound) -> Result<Option<String>, Fault> {
    const OF_SPACE: &str = "SELECT count(*) AS value FROM bindings b \
         JOIN spaces s ON s.uid = b.owner_uid AND s.env_revision = b.owner_revision \
         WHERE b.bound_uid = $1 AND b.bound_revision = $2";
    const OF_APPS: &str = "SELECT count(*) AS value FROM bindings b \
         JOIN apps a ON a.uid = b.owner_uid AND a.revision = b.owner_revision \
         WHERE b.bound_uid = $1 AND b.bound_revision = $2";
    let values = || [bound.uid.into(), i64::from(bound.revision).into()];
    let mut to = Vec::new();
    if sql::number(&txn.db, OF_SPACE, values()).await?.unwrap_or_default() > 0 {
        to.push("to the whole Space".to_owned());
    }
    let named = bound_apps(&txn.db, bound, NAMED_IN_REFUSAL).await?;
    to.extend(named.iter().map(|app| format!("to App {}", app.name)));
    let count = sql::number(&txn.db, OF_APPS, values()).await?.unwrap_or_default().unsigned_abs();
    match count.saturating_sub(named.len() as u64) {
        0 => {}
        1 => to.push("to 1 App more".to_owned()),
        more => to.push(format!("to {more} Apps more")),
    }
    Ok((!to.is_empty()).then(|| format!("bindings: {}", to.join(", "))))
}

/// Keeps a group at this revision until the transaction is over.
async fn hold(txn: &Txn, space: &Name, group: &GroupRef) -> Result<(), Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT count(*) AS value FROM security_groups WHERE uid = $1 AND revision = $2",
        "SELECT count(*) AS value FROM \
             (SELECT uid FROM security_groups WHERE uid = $1 AND revision = $2 FOR SHARE) locked",
    );
    match sql::number(&txn.db, text, [group.uid.0.into(), i64::from(group.revision).into()]).await? {
        Some(1) => Ok(()),
        _ => {
            let name = SecurityGroupName { space: space.clone(), group: group.name.clone() };
            Err(changed(txn, &name, group.uid).await?)
        }
    }
}

/// Why something was not done to a group.
async fn changed(txn: &Txn, name: &SecurityGroupName, uid: SecurityGroupUid) -> Result<Fault, Fault> {
    let there = security_group::Entity::find_by_id(uid.0).one(&txn.db).await?.is_some();
    let name = name.to_string();
    Ok(Fault::Store(if there { StoreError::Conflict(name) } else { StoreError::NotFound(name) }))
}

/// All that is there of the groups of a Space that goes.
pub(crate) async fn delete_all_of(txn: &Txn, space: Uuid) -> Result<(), Fault> {
    for text in [
        "DELETE FROM security_groups WHERE space_uid = $1",
        "DELETE FROM security_group_revisions WHERE space_uid = $1",
        "DELETE FROM bindings WHERE owner_uid = $1",
    ] {
        sql::execute(&txn.db, text, [space.into()]).await?;
    }
    Ok(())
}
