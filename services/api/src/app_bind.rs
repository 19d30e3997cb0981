//! Binding Apps to services, one by one or with a push.

use taskplane_domain::app::{App, AppChange};
use taskplane_domain::bind::Unbindable;
use taskplane_domain::invalid::Invalid;
use taskplane_domain::name::{AppName, Name, NameError, ServiceName};
use taskplane_domain::service::Binding;
use taskplane_proto::convert::etag_matches;
use taskplane_proto::v1 as pb;
use taskplane_store::StoreError;

use crate::Api;
use crate::apps::parse_name;
use crate::error::ApiError;
use crate::services;
use crate::tasks::TRIES;

/// By the service's name, or the binding's.
enum Asked {
    Bind { service: ServiceName, binding: Name },
    Unbind(Name),
}

impl Api {
    pub(crate) async fn bind(&self, request: pb::BindServiceRequest) -> Result<App, ApiError> {
        let pb::BindServiceRequest { name, service, binding_name, etag } = request;
        let (app, service) = (parse_name(&name)?, services::parse_name("service", &service)?);
        if app.space != service.space {
            return Err(Invalid::one("service", "must be a service of the App's Space").into());
        }
        let binding = if binding_name.is_empty() { service.service.to_string() } else { binding_name };
        let binding: Name =
            binding.parse().map_err(|error: NameError| Invalid::one("binding_name", error.to_string()))?;
        self.app_change(&app, &etag, &Asked::Bind { service, binding }).await
    }

    pub(crate) async fn unbind(&self, request: pb::UnbindServiceRequest) -> Result<App, ApiError> {
        let pb::UnbindServiceRequest { name, service, etag } = request;
        let app = parse_name(&name)?;
        let service: Name = service.parse().map_err(|error: NameError| Invalid::one("service", error.to_string()))?;
        self.app_change(&app, &etag, &Asked::Unbind(service)).await
    }

    async fn decide(&self, app: App, asked: &Asked) -> Result<Option<AppChange>, ApiError> {
        let now = self.platform.clock.now();
        match asked {
            Asked::Bind { service, binding } => {
                let bound = self.platform.store.service_get(service).await?.bound_as(binding.clone());
                Ok(app.bind(bound, now)?)
            }
            Asked::Unbind(service) => {
                let missing = StoreError::NotFound(format!("binding of {} to {service}", app.name));
                Ok(Some(app.unbind(service, now).ok_or(missing)?))
            }
        }
    }

    /// Stores what is asked for on top of the App as it is at that moment.
    async fn app_change(&self, name: &AppName, etag: &str, asked: &Asked) -> Result<App, ApiError> {
        for _ in 0..TRIES {
            let app = self.platform.store.app_get(name).await?;
            if !etag_matches(etag, app.version) {
                return Err(ApiError::EtagMismatch(name.to_string()));
            }
            let Some(change) = self.decide(app.clone(), asked).await? else { return Ok(app) };
            match self.platform.store.app_update(&change).await {
                Err(StoreError::Conflict(_)) => {}
                result => {
                    result?;
                    self.platform.feed.ring();
                    return Ok(change.app);
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    /// The services that a push names, as they are now.
    pub(crate) async fn services_named(&self, names: &[(ServiceName, Name)]) -> Result<Vec<Binding>, ApiError> {
        let mut bound = Vec::with_capacity(names.len());
        for (name, binding) in names {
            bound.push(self.platform.store.service_get(name).await?.bound_as(binding.clone()));
        }
        Ok(bound)
    }
}

impl From<Unbindable> for ApiError {
    fn from(error: Unbindable) -> Self {
        Self::Unbindable(error)
    }
}
