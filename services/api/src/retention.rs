//! RetentionService: what would go, before it does.

use taskplane_domain::invalid::Check;
use taskplane_domain::name::AppName;
use taskplane_proto::convert::{removable_to_pb, retention_to_pb};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::retention_service_server::RetentionService;
use taskplane_store::{AppRule, RetentionView};
use tonic::{Request, Response, Status};

use crate::Api;
use crate::error::ApiError;
use crate::tokens::{cut, page_size};

#[tonic::async_trait]
impl RetentionService for Api {
    async fn list_removable(
        &self,
        request: Request<pb::ListRemovableRequest>,
    ) -> Result<Response<pb::ListRemovableResponse>, Status> {
        Ok(Response::new(self.removable(request.into_inner()).await?))
    }
}

impl Api {
    async fn removable(&self, request: pb::ListRemovableRequest) -> Result<pb::ListRemovableResponse, ApiError> {
        let pb::ListRemovableRequest { parent, page_size: asked, page_token } = request;
        let question = format!("{}/removable/{parent}", self.principal());
        let mut check = Check::new();
        let app = check.field("parent", parent.parse::<AppName>());
        let size = check.all(page_size(asked));
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let (app, size) = check.finish_with(app.zip(size))?;
        let after = after.and_then(|id| id.parse().ok()).unwrap_or(0);
        let RetentionView { rule, live, finished } = self.platform.store.retention_view(&app).await?;
        let AppRule { app: _, name, rule, own, accepted: _ } = rule;
        let (tasks, more) = cut(self.platform.store.removable_list(&app, after, size + 1).await?, size);
        let last = tasks.last().filter(|_| more);
        Ok(pb::ListRemovableResponse {
            next_page_token: last
                .map(|of| self.tokens.page(&question, &of.task.name.id.to_string()))
                .unwrap_or_default(),
            tasks: tasks.iter().map(|of| removable_to_pb(&of.task, of.cause)).collect(),
            retention: Some(retention_to_pb(&name, rule, own, (live, finished))),
        })
    }
}
