//! ServiceInstanceService.

use taskplane_domain::Name;
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{NameError, ServiceName, SpaceName};
use taskplane_domain::service::ServiceInstance;
use taskplane_domain::uid::ServiceUid;
use taskplane_proto::convert::{etag_matches, service_asked, service_masked, service_to_pb};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::service_instance_service_server::ServiceInstanceService;
use taskplane_store::StoreError;
use tonic::{Request, Response, Status};

use crate::Api;
use crate::error::ApiError;
use crate::tasks::TRIES;
use crate::tokens::{cut, page_size};

#[tonic::async_trait]
impl ServiceInstanceService for Api {
    async fn create_service_instance(
        &self,
        request: Request<pb::CreateServiceInstanceRequest>,
    ) -> Result<Response<pb::ServiceInstance>, Status> {
        let (name, spec) = service_asked(request.into_inner()).map_err(ApiError::from)?;
        let space = SpaceName(name.space.clone());
        let space = self.platform.store.space_get(&space).await.map_err(ApiError::from)?;
        let clock = &self.platform.clock;
        let change = ServiceInstance::create(ServiceUid(clock.new_uid()), space.uid, name, spec, clock.now());
        self.platform.store.service_create(&change).await.map_err(ApiError::from)?;
        self.platform.feed.ring();
        Ok(Response::new(service_to_pb(&change.service, &[])))
    }

    async fn get_service_instance(
        &self,
        request: Request<pb::GetServiceInstanceRequest>,
    ) -> Result<Response<pb::ServiceInstance>, Status> {
        let name = parse_name("name", &request.into_inner().name)?;
        let service = self.platform.store.service_get(&name).await.map_err(ApiError::from)?;
        Ok(Response::new(self.service_whole(&service).await?))
    }

    async fn list_service_instances(
        &self,
        request: Request<pb::ListServiceInstancesRequest>,
    ) -> Result<Response<pb::ListServiceInstancesResponse>, Status> {
        let pb::ListServiceInstancesRequest { parent, page_size: asked, page_token } = request.into_inner();
        let mut check = Check::new();
        let space = check.field("parent", parent.parse::<SpaceName>());
        let size = check.all(page_size(asked));
        let question = format!("{}/services/{parent}", self.principal());
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let (space, size) = check.finish_with(space.zip(size)).map_err(ApiError::from)?;
        let after = after.as_deref().and_then(|name| name.parse::<Name>().ok());
        let store = &self.platform.store;
        store.space_get(&space).await.map_err(ApiError::from)?;
        let services = store.service_list(&space, after.as_ref(), size + 1).await.map_err(ApiError::from)?;
        let (services, more) = cut(services, size);
        let last = services.last().filter(|_| more);
        let token = |last: &ServiceInstance| self.tokens.page(&question, last.name.service.as_str());
        let next_page_token = last.map(token).unwrap_or_default();
        let services = services.iter().map(|service| service_to_pb(service, &[])).collect();
        Ok(Response::new(pb::ListServiceInstancesResponse { services, next_page_token }))
    }

    async fn update_service_instance(
        &self,
        request: Request<pb::UpdateServiceInstanceRequest>,
    ) -> Result<Response<pb::ServiceInstance>, Status> {
        let pb::UpdateServiceInstanceRequest { service, update_mask } = request.into_inner();
        let asked = service.unwrap_or_default();
        let name = parse_name("service.name", &asked.name)?;
        let service = self.service_change(&name, &asked, update_mask.as_ref()).await?;
        Ok(Response::new(self.service_whole(&service).await?))
    }

    async fn delete_service_instance(
        &self,
        request: Request<pb::DeleteServiceInstanceRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteServiceInstanceRequest { name, etag } = request.into_inner();
        let name = parse_name("name", &name)?;
        let service = self.platform.store.service_get(&name).await.map_err(ApiError::from)?;
        if !etag_matches(&etag, service.revision.into()) {
            return Err(ApiError::EtagMismatch(name.to_string()).into());
        }
        let change = service.delete(self.platform.clock.now());
        self.platform.store.service_delete(&change).await.map_err(ApiError::from)?;
        self.platform.feed.ring();
        Ok(Response::new(()))
    }
}

impl Api {
    async fn service_whole(&self, service: &ServiceInstance) -> Result<pb::ServiceInstance, ApiError> {
        let bound = self.platform.store.service_bound(service).await?;
        Ok(service_to_pb(service, &bound))
    }

    /// The service as it is after the change, with every App that is bound to it.
    async fn service_change(
        &self,
        name: &ServiceName,
        asked: &pb::ServiceInstance,
        mask: Option<&prost_types::FieldMask>,
    ) -> Result<ServiceInstance, ApiError> {
        for _ in 0..TRIES {
            let service = self.platform.store.service_get(name).await?;
            if !etag_matches(&asked.etag, service.revision.into()) {
                return Err(ApiError::EtagMismatch(name.to_string()));
            }
            let spec = service_masked(&service.spec, asked.clone(), mask)?;
            let Some(change) = service.clone().update(spec, self.platform.clock.now()) else {
                return Ok(service);
            };
            match self.platform.store.service_update(&change).await {
                Err(StoreError::Conflict(_)) => {}
                result => {
                    result?;
                    self.platform.feed.ring();
                    return Ok(change.service);
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }
}

pub(crate) fn parse_name(field: &str, text: &str) -> Result<ServiceName, ApiError> {
    text.parse().map_err(|error: NameError| Invalid::one(field, error.to_string()).into())
}
