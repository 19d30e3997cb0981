//! SpaceService.

use taskplane_domain::invalid::Check;
use taskplane_domain::space::{Space, SpaceSettings};
use taskplane_domain::uid::SpaceUid;
use taskplane_domain::{Name, SpaceName};
use taskplane_proto::convert::{etag_matches, settings_masked};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::space_service_server::SpaceService;
use taskplane_store::{StoreError, Usage};
use tonic::{Request, Response, Status};

use crate::Api;
use crate::error::ApiError;
use crate::leaving::takes_in;
use crate::tokens::{cut, page_size};

#[tonic::async_trait]
impl SpaceService for Api {
    async fn create_space(&self, request: Request<pb::CreateSpaceRequest>) -> Result<Response<pb::Space>, Status> {
        let pb::CreateSpaceRequest { space_id, space } = request.into_inner();
        let mut check = Check::new();
        let name = check.field("space_id", space_id.parse::<Name>()).map(SpaceName);
        let settings = check.all(SpaceSettings::try_from(space.unwrap_or_default()));
        if let Some(settings) = &settings {
            check.all(settings.resources.check());
        }
        let (name, settings) = check.finish_with(name.zip(settings)).map_err(ApiError::from)?;
        let clock = &self.platform.clock;
        let change = Space::create(SpaceUid(clock.new_uid()), name, settings, clock.now());
        self.platform.store.space_create(&change).await.map_err(ApiError::from)?;
        self.platform.feed.ring();
        Ok(Response::new((&change.space).into()))
    }

    async fn get_space(&self, request: Request<pb::GetSpaceRequest>) -> Result<Response<pb::Space>, Status> {
        let name = parse_name(&request.into_inner().name)?;
        let store = &self.platform.store;
        let space = store.space_get(&name).await.map_err(ApiError::from)?;
        let Usage { live, running, waiting } = store.space_usage(space.uid).await.map_err(ApiError::from)?;
        let usage = pb::SpaceUsage {
            live_tasks: live.cast_signed(),
            running_tasks: running.cast_signed(),
            waiting_tasks: waiting.cast_signed(),
        };
        Ok(Response::new(pb::Space { usage: Some(usage), ..self.with_space_remains(&space).await? }))
    }

    async fn list_spaces(
        &self,
        request: Request<pb::ListSpacesRequest>,
    ) -> Result<Response<pb::ListSpacesResponse>, Status> {
        let pb::ListSpacesRequest { page_size: asked, page_token } = request.into_inner();
        let question = format!("{}/spaces", self.principal());
        let size = page_size(asked).map_err(ApiError::from)?;
        let after = self.tokens.open_page(&question, &page_token).map_err(ApiError::from)?;
        let after = after.as_deref().and_then(|name| name.parse::<Name>().ok());
        let spaces = self.platform.store.space_list(after.as_ref(), size + 1).await.map_err(ApiError::from)?;
        let (spaces, more) = cut(spaces, size);
        let last = spaces.last().filter(|_| more);
        let next_page_token = last.map(|space| self.tokens.page(&question, space.name.0.as_str())).unwrap_or_default();
        Ok(Response::new(pb::ListSpacesResponse { spaces: spaces.iter().map(Into::into).collect(), next_page_token }))
    }

    async fn update_space(&self, request: Request<pb::UpdateSpaceRequest>) -> Result<Response<pb::Space>, Status> {
        let pb::UpdateSpaceRequest { space, update_mask } = request.into_inner();
        let asked = space.unwrap_or_default();
        let (name, etag) = (parse_name(&asked.name)?, asked.etag.clone());
        let asked = SpaceSettings::try_from(asked).map_err(ApiError::from)?;
        for _ in 0..crate::tasks::TRIES {
            let space = self.platform.store.space_get(&name).await.map_err(ApiError::from)?;
            if !etag_matches(&etag, space.version) {
                return Err(ApiError::EtagMismatch(name.to_string()).into());
            }
            takes_in(&space, None)?;
            let settings = settings_masked(&space.settings, &asked, update_mask.as_ref()).map_err(ApiError::from)?;
            let Some(change) = space.clone().update(settings, self.platform.clock.now()) else {
                return Ok(Response::new((&space).into()));
            };
            match self.platform.store.space_update(&change).await {
                Err(StoreError::Conflict(_)) => {}
                result => {
                    result.map_err(ApiError::from)?;
                    self.platform.feed.ring();
                    return Ok(Response::new((&change.space).into()));
                }
            }
        }
        Err(ApiError::from(StoreError::Conflict(name.to_string())).into())
    }

    async fn delete_space(&self, request: Request<pb::DeleteSpaceRequest>) -> Result<Response<()>, Status> {
        let pb::DeleteSpaceRequest { name, etag, force } = request.into_inner();
        let name = parse_name(&name)?;
        let space = self.platform.store.space_get(&name).await.map_err(ApiError::from)?;
        let now = self.platform.clock.now();
        let Some(mark) = space.clone().delete(now) else { return Ok(Response::new(())) };
        if !etag_matches(&etag, space.version) {
            return Err(ApiError::EtagMismatch(name.to_string()).into());
        }
        let store = &self.platform.store;
        match store.space_delete(&space.deleted(now)).await {
            // What is in it goes first.
            Err(StoreError::InUse { .. }) if force => store.space_update(&mark).await.map_err(ApiError::from)?,
            gone => gone.map_err(ApiError::from)?,
        }
        self.platform.feed.ring();
        Ok(Response::new(()))
    }
}

fn parse_name(text: &str) -> Result<SpaceName, ApiError> {
    text.parse().map_err(|error: taskplane_domain::name::NameError| {
        taskplane_domain::Invalid::one("name", error.to_string()).into()
    })
}
