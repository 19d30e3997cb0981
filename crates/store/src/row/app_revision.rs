//! `app_revisions`: what one push made of an App, never changed.

use prost::Message as _;
use sea_orm::entity::prelude::*;
use taskplane_domain::app::{AppSpec, Source};
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::Row;
use crate::secrets::{Place, Secrets};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "app_revisions")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub app_uid: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub revision: i64,
    pub spec: Vec<u8>,
    /// The archive it needs, empty for none; null until somebody looks, in a row of an earlier release.
    pub source: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The cell `spec`: all but the environment's values lies open.
pub(crate) fn sealed((app, revision): (Uuid, i64), spec: &AppSpec, secrets: &Secrets) -> Vec<u8> {
    let env = secrets.seal_set(Place::AppRevision(app, revision), &spec.env);
    pb::AppSpec { env: Some(env), ..spec.into() }.encode_to_vec()
}

pub(crate) fn open((app, revision): (Uuid, i64), cell: &[u8], secrets: &Secrets) -> Result<AppSpec, Corrupt> {
    let row = Row::new("app_revisions", format_args!("{app} at {revision}"));
    let mut spec: pb::AppSpec = row.message("spec", cell)?;
    spec.env = Some(secrets.open_set((&row, "spec"), Place::AppRevision(app, revision), spec.env)?);
    spec.try_into().map_err(|_| row.corrupt("spec"))
}

/// The same without what is sealed.
pub(crate) fn source((app, revision): (Uuid, i64), cell: &[u8]) -> Result<Source, Corrupt> {
    let row = Row::new("app_revisions", format_args!("{app} at {revision}"));
    let spec: pb::AppSpec = row.message("spec", cell)?;
    let source = spec.source.ok_or_else(|| row.corrupt("spec"))?;
    source.try_into().map_err(|_| row.corrupt("spec"))
}
