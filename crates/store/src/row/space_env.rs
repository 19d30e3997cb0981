//! `space_envs`: one revision of a Space's environment, never changed.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "space_envs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub space_uid: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision: i64,
    pub env: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
