//! AppService.

use taskplane_domain::app::{App, Push, Source};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{AppName, Name, NameError, ServiceName, SpaceName};
use taskplane_domain::standing::Standing;
use taskplane_domain::uid::AppUid;
use taskplane_proto::convert::{PushAsked, SourceAsked, etag_matches};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::app_service_server::AppService;
use taskplane_store::StoreError;
use tonic::{Request, Response, Status, Streaming};

use crate::Api;
use crate::error::ApiError;
use crate::leaving::takes_in;
use crate::tasks::TRIES;
use crate::tokens::{cut, page_size};

#[tonic::async_trait]
impl AppService for Api {
    async fn push_app(&self, request: Request<Streaming<pb::PushAppRequest>>) -> Result<Response<pb::App>, Status> {
        let mut stream = request.into_inner();
        let PushAsked { mut push, source, services, etag } = first(stream.message().await?)?;
        // Before the archive travels: a push to nowhere is refused at once.
        let space = SpaceName(push.name.space.clone());
        let space = self.platform.store.space_get(&space).await.map_err(ApiError::from)?;
        takes_in(&space, None)?;
        space.settings.resources.check_said("app.resources", &push.resources).map_err(ApiError::from)?;
        match source {
            SourceAsked::Archive { sha256 } => push.source = Some(Source::Archive(self.receive(stream, sha256).await?)),
            SourceAsked::Image | SourceAsked::Unchanged => {
                if stream.message().await?.is_some() {
                    return Err(ApiError::from(Invalid::one(
                        "part",
                        "must not follow `app` unless its source is an archive",
                    ))
                    .into());
                }
            }
        }
        let app = self.push_commit(push, &services, &etag).await?;
        Ok(Response::new((&app).into()))
    }

    async fn bind_service(&self, request: Request<pb::BindServiceRequest>) -> Result<Response<pb::App>, Status> {
        let app = self.bind(request.into_inner()).await?;
        Ok(Response::new((&app).into()))
    }

    async fn unbind_service(&self, request: Request<pb::UnbindServiceRequest>) -> Result<Response<pb::App>, Status> {
        let app = self.unbind(request.into_inner()).await?;
        Ok(Response::new((&app).into()))
    }

    async fn get_app(&self, request: Request<pb::GetAppRequest>) -> Result<Response<pb::App>, Status> {
        let name = parse_name(&request.into_inner().name)?;
        let app = self.platform.store.app_get(&name).await.map_err(ApiError::from)?;
        Ok(Response::new(self.with_app_remains(&app).await?))
    }

    async fn list_apps(&self, request: Request<pb::ListAppsRequest>) -> Result<Response<pb::ListAppsResponse>, Status> {
        let pb::ListAppsRequest { parent, page_size: asked, page_token } = request.into_inner();
        let mut check = Check::new();
        let space = check.field("parent", parent.parse::<SpaceName>());
        let size = check.all(page_size(asked));
        let question = format!("{}/apps/{parent}", self.principal());
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let (space, size) = check.finish_with(space.zip(size)).map_err(ApiError::from)?;
        let after = after.as_deref().and_then(|name| name.parse::<Name>().ok());
        self.platform.store.space_get(&space).await.map_err(ApiError::from)?;
        let apps = self.platform.store.app_list(&space, after.as_ref(), size + 1).await.map_err(ApiError::from)?;
        let (apps, more) = cut(apps, size);
        let last = apps.last().filter(|_| more);
        let next_page_token = last.map(|app| self.tokens.page(&question, app.name.app.as_str())).unwrap_or_default();
        Ok(Response::new(pb::ListAppsResponse { apps: apps.iter().map(Into::into).collect(), next_page_token }))
    }

    async fn delete_app(&self, request: Request<pb::DeleteAppRequest>) -> Result<Response<()>, Status> {
        let pb::DeleteAppRequest { name, etag, force } = request.into_inner();
        let name = parse_name(&name)?;
        let app = self.platform.store.app_get(&name).await.map_err(ApiError::from)?;
        let version = app.version;
        let Some(change) = app.delete(self.platform.clock.now()) else { return Ok(Response::new(())) };
        if etag.is_empty() {
            return Err(ApiError::from(Invalid::one("etag", "is required: read the App, and send its etag")).into());
        }
        if !etag_matches(&etag, version) {
            return Err(ApiError::EtagMismatch(name.to_string()).into());
        }
        self.platform.store.app_delete(&change, force).await.map_err(ApiError::from)?;
        self.platform.feed.ring();
        Ok(Response::new(()))
    }
}

impl Api {
    /// Stores the push on top of the App as it is at that moment; two pushes at once both count, one after the other.
    async fn push_commit(&self, mut push: Push, services: &[(ServiceName, Name)], etag: &str) -> Result<App, ApiError> {
        let store = &self.platform.store;
        let name = push.name.clone();
        for _ in 0..TRIES {
            let now = self.platform.clock.now();
            push.services = self.services_named(services).await?;
            let before = match store.app_get(&name).await {
                Ok(app) => Some(app),
                Err(StoreError::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            };
            if !etag.is_empty() && !before.as_ref().is_some_and(|app| etag_matches(etag, app.version)) {
                return Err(ApiError::EtagMismatch(name.to_string()));
            }
            if before.as_ref().is_some_and(|app| app.standing == Standing::Deleting) {
                return Err(StoreError::AppDeleting(name).into());
            }
            let stored = match before {
                None => {
                    let space = store.space_get(&SpaceName(name.space.clone())).await?;
                    let change = App::create(AppUid(self.platform.clock.new_uid()), space.uid, push.clone(), now)?;
                    store.app_create(&change).await.map(|()| change.app)
                }
                Some(app) => match app.clone().push(push.clone(), now)? {
                    None => return Ok(app),
                    Some(change) => store.app_update(&change).await.map(|()| change.app),
                },
            };
            match stored {
                // Somebody else pushed at the same moment: look again.
                Err(StoreError::Conflict(_) | StoreError::AlreadyExists(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(app) => {
                    self.platform.feed.ring();
                    return Ok(app);
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }
}

fn first(message: Option<pb::PushAppRequest>) -> Result<PushAsked, ApiError> {
    match message.and_then(|message| message.part) {
        Some(pb::push_app_request::Part::App(app)) => Ok(PushAsked::try_from(app)?),
        Some(pb::push_app_request::Part::Chunk(_)) | None => {
            Err(Invalid::one("app", "must be the first message of the stream").into())
        }
    }
}

pub(crate) fn parse_name(text: &str) -> Result<AppName, ApiError> {
    text.parse().map_err(|error: NameError| Invalid::one("name", error.to_string()).into())
}
