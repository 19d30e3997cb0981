//! `bindings`: what a revision of an App, or of a Space's environment, refers to; never changed.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "bindings")]
pub(crate) struct Model {
    /// The App, or the Space.
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_uid: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_revision: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub bound_uid: Uuid,
    pub bound_revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
