//! Services, their revisions, and who is bound to them.

use std::sync::Arc;

use taskplane_domain::Invalid;
use taskplane_domain::app::App;
use taskplane_domain::bind::Unbindable;
use taskplane_domain::name::{AppName, Name, ServiceName, SpaceName};
use taskplane_domain::service::{BOUND_MAX, Binding, ServiceChange, ServiceInstance, ServiceSpec};
use taskplane_domain::uid::{ServiceUid, SpaceUid};

use crate::binding::{self, Bound};
use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{app, service};
use crate::txn::Txn;
use crate::{event, space as spaces, sql};

impl Store {
    /// `AlreadyExists` when the name is taken, `NotFound` when the Space is gone.
    pub async fn service_create(&self, change: &ServiceChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("service_create", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { create(txn, &change).await })
        })
        .await
    }

    pub async fn service_get(&self, name: &ServiceName) -> Result<ServiceInstance, StoreError> {
        const TEXT: &str = "SELECT s.*, r.spec FROM services s \
             LEFT JOIN service_revisions r ON r.service_uid = s.uid AND r.revision = s.revision \
             WHERE s.space = $1 AND s.name = $2";
        let values = [name.space.as_str().into(), name.service.as_str().into()];
        let row = self.read(sql::one::<service::WithSpec>(self.db(), TEXT, values)).await?;
        Ok(row.ok_or_else(|| StoreError::NotFound(name.to_string()))?.open(self.secrets())?)
    }

    /// By name.
    pub async fn service_list(
        &self,
        space: &SpaceName,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<ServiceInstance>, StoreError> {
        const TEXT: &str = "SELECT s.*, r.spec FROM services s \
             LEFT JOIN service_revisions r ON r.service_uid = s.uid AND r.revision = s.revision \
             WHERE s.space = $1 AND s.name > $2 ORDER BY s.name LIMIT $3";
        let after = after.map(Name::as_str).unwrap_or_default();
        let values = [space.0.as_str().into(), after.into(), i64::from(limit).into()];
        let rows = self.read(sql::all::<service::WithSpec>(self.db(), TEXT, values)).await?;
        rows.into_iter().map(|row| Ok(row.open(self.secrets())?)).collect()
    }

    /// The Apps that are bound to it now, by name, with the names of their bindings.
    pub async fn service_bound(&self, service: &ServiceInstance) -> Result<Vec<(AppName, Name)>, StoreError> {
        let rows = self.read(sql::all::<app::WithSpec>(self.db(), BOUND, bound_values(service))).await?;
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            let app = row.open(self.secrets())?;
            let binding = app.spec.services.into_iter().find(|binding| binding.service == service.uid);
            bound.extend(binding.map(|binding| (app.name, binding.name)));
        }
        Ok(bound)
    }

    /// A revision of a service, as an App's revision refers to it.
    pub async fn service_spec(&self, service: ServiceUid, revision: u32) -> Result<ServiceSpec, StoreError> {
        const TEXT: &str = "SELECT spec FROM service_revisions WHERE service_uid = $1 AND revision = $2";
        let key = (service.0, i64::from(revision));
        let row = self.read(sql::one::<service::SpecRow>(self.db(), TEXT, [key.0.into(), key.1.into()])).await?;
        let row = row.ok_or_else(|| StoreError::NotFound(format!("revision {revision} of service {service}")))?;
        Ok(service::open(key, &row.spec, self.secrets())?)
    }

    /// Forgets up to `limit` revisions that are not the present one and that no revision of an App refers to: no Task can
    /// need them any more. Credentials are kept no longer than that.
    pub async fn service_revisions_trim(&self, limit: u32) -> Result<u64, StoreError> {
        const TEXT: &str = "DELETE FROM service_revisions WHERE (service_uid, revision) IN \
             (SELECT r.service_uid, r.revision FROM service_revisions r WHERE NOT EXISTS \
                 (SELECT 1 FROM services s WHERE s.uid = r.service_uid AND s.revision = r.revision) \
             AND NOT EXISTS \
                 (SELECT 1 FROM bindings b WHERE b.bound_uid = r.service_uid AND b.bound_revision = r.revision) LIMIT $1)";
        self.write("service_revisions_trim", move |txn| {
            Box::pin(async move { Ok(sql::execute(&txn.db, TEXT, [i64::from(limit).into()]).await?) })
        })
        .await
    }

    /// Makes a new revision of the service, and of each App that is bound to it.
    pub async fn service_update(&self, change: &ServiceChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("service_update", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { update(txn, &change).await })
        })
        .await
    }

    /// Refused while Apps are bound to it. Its revisions stay for the Tasks that froze them.
    pub async fn service_delete(&self, change: &ServiceChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("service_delete", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { delete(txn, &change).await })
        })
        .await
    }
}

const BOUND: &str = "SELECT a.*, r.spec FROM bindings b \
     JOIN apps a ON a.uid = b.owner_uid AND a.revision = b.owner_revision \
     LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
     WHERE b.bound_uid = $1 AND b.bound_revision = $2 ORDER BY a.name LIMIT $3";

fn bound_values(service: &ServiceInstance) -> [sea_orm::Value; 3] {
    // One more than there may be.
    let limit = i64::try_from(BOUND_MAX + 1).unwrap_or(i64::MAX);
    [service.uid.0.into(), i64::from(service.revision).into(), limit.into()]
}

async fn create(txn: &Txn, change: &ServiceChange) -> Result<(), Fault> {
    const TEXT: &str = "INSERT INTO services (uid, space_uid, space, name, revision, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let ServiceInstance { uid, space_uid, name, spec: _, revision, created_at, updated_at } = &change.service;
    spaces::lock(txn, *space_uid, &name.space).await?;
    let values: [sea_orm::Value; 7] = [
        uid.0.into(),
        space_uid.0.into(),
        name.space.as_str().into(),
        name.service.as_str().into(),
        i64::from(*revision).into(),
        created_at.as_microsecond().into(),
        updated_at.as_microsecond().into(),
    ];
    sql::execute(&txn.db, TEXT, values).await.map_err(|error| Fault::exists(error, name))?;
    keep_spec(txn, &change.service).await?;
    event::append(txn, &change.event).await
}

async fn keep_spec(txn: &Txn, service: &ServiceInstance) -> Result<(), Fault> {
    const TEXT: &str = "INSERT INTO service_revisions (service_uid, revision, spec) VALUES ($1, $2, $3)";
    let key = (service.uid.0, i64::from(service.revision));
    let spec = service::sealed(key, &service.spec, &txn.secrets);
    sql::execute(&txn.db, TEXT, [key.0.into(), key.1.into(), spec.into()]).await?;
    Ok(())
}

async fn update(txn: &Txn, change: &ServiceChange) -> Result<(), Fault> {
    const TEXT: &str = "UPDATE services SET revision = $2, updated_at = $3 WHERE uid = $1 AND revision = $2 - 1";
    let service = &change.service;
    let at = service.updated_at;
    let values = [service.uid.0.into(), i64::from(service.revision).into(), at.as_microsecond().into()];
    if sql::execute(&txn.db, TEXT, values).await? != 1 {
        return Err(moved(txn, service).await?);
    }
    keep_spec(txn, service).await?;
    event::append(txn, &change.event).await?;
    // Its row is locked by now: nobody can be bound to it meanwhile.
    let before = Bound { uid: service.uid.0, revision: service.revision - 1 };
    binding::renew_apps(txn, before, at, |app| {
        let refused = |error: Unbindable| StoreError::Invalid(Invalid::one("service.credentials", error.to_string()));
        Ok(app.refreshed(service, at).map_err(refused)?)
    })
    .await
}

async fn delete(txn: &Txn, change: &ServiceChange) -> Result<(), Fault> {
    const TEXT: &str = "DELETE FROM services WHERE uid = $1 AND revision = $2 - 1";
    let service = &change.service;
    // The row first: whoever binds an App to it locks it too, so none can slip in while they are looked for.
    if sql::execute(&txn.db, TEXT, [service.uid.0.into(), i64::from(service.revision).into()]).await? != 1 {
        return Err(moved(txn, service).await?);
    }
    let present = ServiceInstance { revision: service.revision - 1, ..service.clone() };
    let bound = sql::all::<app::Model>(&txn.db, BOUND, bound_values(&present)).await?;
    if !bound.is_empty() {
        let apps: Vec<&str> = bound.iter().map(|app| app.name.as_str()).collect();
        let what = format!("bindings to {}: unbind it there first", apps.join(", "));
        return Err(StoreError::InUse { name: service.name.to_string(), what }.into());
    }
    event::append(txn, &change.event).await
}

/// Why a change to a service met no row.
async fn moved(txn: &Txn, service: &ServiceInstance) -> Result<Fault, Fault> {
    let text = "SELECT count(*) AS value FROM services WHERE uid = $1";
    let there = sql::number(&txn.db, text, [service.uid.0.into()]).await? == Some(1);
    let name = service.name.to_string();
    Ok(Fault::Store(if there { StoreError::Conflict(name) } else { StoreError::NotFound(name) }))
}

/// How many a Space has.
pub(crate) async fn count_of_space(txn: &Txn, space: SpaceUid) -> Result<i64, Fault> {
    let text = "SELECT count(*) AS value FROM services WHERE space_uid = $1";
    Ok(sql::number(&txn.db, text, [space.0.into()]).await?.unwrap_or(0))
}

/// Keeps the services that an App is to be bound to as they are until this transaction is over, each under the revision that
/// the App refers to.
pub(crate) async fn lock(txn: &Txn, app: &App) -> Result<(), Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT count(*) AS value FROM services WHERE uid = $1 AND revision = $2 AND space_uid = $3",
        "SELECT count(*) AS value FROM (SELECT uid FROM services \
             WHERE uid = $1 AND revision = $2 AND space_uid = $3 FOR SHARE) locked",
    );
    let mut services: Vec<&Binding> = app.spec.services.iter().collect();
    services.sort_by_key(|binding| binding.service);
    for Binding { service, revision, .. } in services {
        let values = [service.0.into(), i64::from(*revision).into(), app.space_uid.0.into()];
        if sql::number(&txn.db, text, values).await? != Some(1) {
            // It changed, or went, since it was read.
            return Err(StoreError::Conflict(app.name.to_string()).into());
        }
    }
    Ok(())
}

/// No more Apps may be bound to a service than a change of it can revise at once.
pub(crate) async fn refuse_too_many(txn: &Txn, app: &App) -> Result<(), Fault> {
    const COUNT: &str = "SELECT count(*) AS value FROM bindings b \
         JOIN apps a ON a.uid = b.owner_uid AND a.revision = b.owner_revision \
         WHERE b.bound_uid = $1 AND b.bound_revision = $2";
    for Binding { service, instance, revision, .. } in &app.spec.services {
        let values = [service.0.into(), i64::from(*revision).into()];
        let bound = sql::number(&txn.db, COUNT, values).await?.unwrap_or(0);
        if usize::try_from(bound).unwrap_or(usize::MAX) > BOUND_MAX {
            let refused = format!("{instance} is bound to {BOUND_MAX} Apps already, and may be to no more");
            return Err(StoreError::Invalid(Invalid::one("service", refused)).into());
        }
    }
    Ok(())
}
