//! `security_groups`, read together with the rules of the present revision.

use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::name::SecurityGroupName;
use taskplane_domain::security_group::SecurityGroup;
use taskplane_domain::uid::{SecurityGroupUid, SpaceUid};
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::Row;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "security_groups")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub space_uid: Uuid,
    pub space: String,
    pub name: String,
    pub revision: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A group, its present rules, and how often it is bound, as one query brings them.
#[derive(FromQueryResult)]
pub(crate) struct WithRules {
    #[sea_orm(nested)]
    pub group: Model,
    pub rules: Option<Vec<u8>>,
    pub of_space: i64,
    pub of_apps: i64,
}

impl From<&SecurityGroup> for Model {
    fn from(group: &SecurityGroup) -> Self {
        let SecurityGroup { uid, space_uid, name, revision, rules: _, created_at, updated_at } = group;
        Self {
            uid: uid.0,
            space_uid: space_uid.0,
            space: name.space.to_string(),
            name: name.group.to_string(),
            revision: (*revision).into(),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }
}

impl Model {
    pub(crate) fn into_group(self, rules: Option<Vec<u8>>) -> Result<SecurityGroup, Corrupt> {
        let row = Row::new("security_groups", self.uid);
        let rules = row.needed("revision", rules)?;
        let Self { uid, space_uid, space, name, revision, created_at, updated_at } = self;
        Ok(SecurityGroup {
            uid: SecurityGroupUid(uid),
            space_uid: SpaceUid(space_uid),
            name: SecurityGroupName { space: row.parsed("space", &space)?, group: row.parsed("name", &name)? },
            revision: row.count("revision", revision)?,
            rules: Row::new("security_group_revisions", uid).decoded::<pb::SecurityRules, _>("rules", &rules)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}
