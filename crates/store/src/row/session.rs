//! `sessions`: incarnations of executors, the ended ones too.

use sea_orm::entity::prelude::*;
use taskplane_domain::session::Session;
use taskplane_domain::uid::SessionUid;

use crate::error::Corrupt;
use crate::row::Row;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub executor: String,
    pub cluster: String,
    pub adoptable: bool,
    pub runs_images: bool,
    pub logs_address: Option<String>,
    pub opened_at: i64,
    pub lease_until: i64,
    pub closed_at: Option<i64>,
    pub lapsed: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Session> for Model {
    fn from(session: &Session) -> Self {
        let Session { uid, executor, cluster, adoptable, runs_images, logs_address, opened_at, lease_until } = session;
        Self {
            uid: uid.0,
            executor: executor.to_string(),
            cluster: cluster.to_string(),
            adoptable: *adoptable,
            runs_images: *runs_images,
            logs_address: logs_address.clone(),
            opened_at: opened_at.as_microsecond(),
            lease_until: lease_until.as_microsecond(),
            closed_at: None,
            lapsed: false,
        }
    }
}

impl TryFrom<Model> for Session {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("sessions", model.uid);
        let Model {
            uid,
            executor,
            cluster,
            adoptable,
            runs_images,
            logs_address,
            opened_at,
            lease_until,
            closed_at: _,
            lapsed: _,
        } = model;
        Ok(Self {
            uid: SessionUid(uid),
            executor: row.parsed("executor", &executor)?,
            cluster: row.parsed("cluster", &cluster)?,
            adoptable,
            runs_images,
            logs_address,
            opened_at: row.time("opened_at", opened_at)?,
            lease_until: row.time("lease_until", lease_until)?,
        })
    }
}
