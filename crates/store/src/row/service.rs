//! `services`, read together with the spec of the present revision, and `service_revisions`.

use prost::Message as _;
use sea_orm::FromQueryResult;
use taskplane_domain::name::ServiceName;
use taskplane_domain::service::{ServiceInstance, ServiceSpec};
use taskplane_domain::uid::{ServiceUid, SpaceUid};
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::service_spec::Credentials;
use uuid::Uuid;

use crate::error::Corrupt;
use crate::row::Row;
use crate::secrets::{Place, Secrets};

#[derive(FromQueryResult)]
pub(crate) struct WithSpec {
    pub uid: Uuid,
    pub space_uid: Uuid,
    pub space: String,
    pub name: String,
    pub revision: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub spec: Option<Vec<u8>>,
}

#[derive(FromQueryResult)]
pub(crate) struct SpecRow {
    pub spec: Vec<u8>,
}

impl WithSpec {
    pub(crate) fn open(self, secrets: &Secrets) -> Result<ServiceInstance, Corrupt> {
        let Self { uid, space_uid, space, name, revision, created_at, updated_at, spec } = self;
        let row = Row::new("services", uid);
        let spec = row.needed("revision", spec)?;
        Ok(ServiceInstance {
            uid: ServiceUid(uid),
            space_uid: SpaceUid(space_uid),
            name: ServiceName { space: row.parsed("space", &space)?, service: row.parsed("name", &name)? },
            spec: open((uid, revision), &spec, secrets)?,
            revision: row.count("revision", revision)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}

/// The cell `spec`: all but the credentials' values lies open.
pub(crate) fn sealed((service, revision): (Uuid, i64), spec: &ServiceSpec, secrets: &Secrets) -> Vec<u8> {
    let mut spec = pb::ServiceSpec::from(spec);
    if let Some(Credentials::Given(text)) = &spec.credentials {
        let sealed = secrets.seal(Place::ServiceRevision(service, revision), text.as_bytes());
        spec.credentials = Some(Credentials::Sealed(sealed.into()));
    }
    spec.encode_to_vec()
}

pub(crate) fn open((service, revision): (Uuid, i64), cell: &[u8], secrets: &Secrets) -> Result<ServiceSpec, Corrupt> {
    let row = Row::new("service_revisions", format_args!("{service} at {revision}"));
    let mut spec: pb::ServiceSpec = row.message("spec", cell)?;
    if let Some(Credentials::Sealed(sealed)) = &spec.credentials {
        let text = secrets.open((&row, "spec"), Place::ServiceRevision(service, revision), sealed)?;
        let text = String::from_utf8(text).map_err(|_| row.corrupt("spec"))?;
        spec.credentials = Some(Credentials::Given(text));
    }
    spec.try_into().map_err(|_| row.corrupt("spec"))
}
