//! `space_envs`: one revision of a Space's environment, never changed.

use prost::Message as _;
use sea_orm::entity::prelude::*;
use taskplane_domain::env::Env;
use taskplane_domain::security_group::Groups;
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::Row;
use crate::secrets::{Place, Secrets};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "space_envs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub space_uid: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision: i64,
    pub env: Vec<u8>,
    /// None: written before there were any.
    pub security_groups: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The cell `env`.
pub(crate) fn sealed((space, revision): (Uuid, i64), env: &Env, secrets: &Secrets) -> Vec<u8> {
    secrets.seal_set(Place::SpaceEnv(space, revision), env).encode_to_vec()
}

/// The cell `security_groups`.
pub(crate) fn groups_cell(groups: &Groups) -> Vec<u8> {
    pb::SecurityGroupRefs::from(groups).encode_to_vec()
}

pub(crate) fn groups((space, revision): (Uuid, i64), cell: Option<&[u8]>) -> Result<Groups, Corrupt> {
    let row = Row::new("space_envs", format_args!("{space} at {revision}"));
    row.decoded::<pb::SecurityGroupRefs, _>("security_groups", cell.unwrap_or_default())
}

pub(crate) fn open((space, revision): (Uuid, i64), cell: &[u8], secrets: &Secrets) -> Result<Env, Corrupt> {
    let row = Row::new("space_envs", format_args!("{space} at {revision}"));
    let set = row.message("env", cell)?;
    let set = secrets.open_set((&row, "env"), Place::SpaceEnv(space, revision), Some(set))?;
    set.try_into().map_err(|_| row.corrupt("env"))
}
