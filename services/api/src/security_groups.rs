//! SecurityGroupService.

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{AppName, Name, NameError, SecurityGroupName, SpaceName};
use taskplane_domain::security_group::{BoundTo, SecurityGroup};
use taskplane_domain::uid::SecurityGroupUid;
use taskplane_proto::convert::{
    BindTarget, binding_asked, etag_matches, rules_asked, rules_masked, security_group_to_pb,
};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::security_group_service_server::SecurityGroupService;
use taskplane_store::StoreError;
use tonic::{Request, Response, Status};

use crate::Api;
use crate::error::ApiError;
use crate::tasks::TRIES;
use crate::tokens::{cut, page_size};

/// Most Apps that one group is bound to by themselves: an update makes a new revision of each, all in one transaction.
const BOUND_APPS_MAX: u64 = 500;

/// What becomes of a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Bind,
    Unbind,
}

#[tonic::async_trait]
impl SecurityGroupService for Api {
    async fn create_security_group(
        &self,
        request: Request<pb::CreateSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        let pb::CreateSecurityGroupRequest { parent, security_group_id, security_group } = request.into_inner();
        let mut check = Check::new();
        let space = check.field("parent", parent.parse::<SpaceName>());
        let group = check.field("security_group_id", security_group_id.parse::<Name>());
        let rules = check.all(rules_asked(security_group.unwrap_or_default()));
        let asked = check.finish_with(space.zip(group).zip(rules)).map_err(ApiError::from)?;
        let ((space, group), rules) = asked;
        let space = self.platform.store.space_get(&space).await.map_err(ApiError::from)?;
        let (name, clock) = (SecurityGroupName { space: space.name.0, group }, &self.platform.clock);
        let group = SecurityGroup::create(SecurityGroupUid(clock.new_uid()), space.uid, name, rules, clock.now());
        self.platform.store.security_group_create(&group).await.map_err(ApiError::from)?;
        Ok(Response::new(security_group_to_pb(&group, &BoundTo::default())))
    }

    async fn get_security_group(
        &self,
        request: Request<pb::GetSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        let name = parse_name("name", &request.into_inner().name)?;
        Ok(Response::new(self.group_now(&name).await?))
    }

    async fn list_security_groups(
        &self,
        request: Request<pb::ListSecurityGroupsRequest>,
    ) -> Result<Response<pb::ListSecurityGroupsResponse>, Status> {
        let pb::ListSecurityGroupsRequest { parent, page_size: asked, page_token } = request.into_inner();
        let mut check = Check::new();
        let space = check.field("parent", parent.parse::<SpaceName>());
        let size = check.all(page_size(asked));
        let question = format!("{}/securityGroups/{parent}", self.principal());
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let (space, size) = check.finish_with(space.zip(size)).map_err(ApiError::from)?;
        let after = after.as_deref().and_then(|name| name.parse::<Name>().ok());
        let store = &self.platform.store;
        store.space_get(&space).await.map_err(ApiError::from)?;
        let rows = store.security_group_list(&space, after.as_ref(), size + 1).await.map_err(ApiError::from)?;
        let (rows, more) = cut(rows, size);
        let last = rows.last().filter(|_| more);
        let next_page_token =
            last.map(|(group, _)| self.tokens.page(&question, group.name.group.as_str())).unwrap_or_default();
        let security_groups = rows.iter().map(|(group, bound)| security_group_to_pb(group, bound)).collect();
        Ok(Response::new(pb::ListSecurityGroupsResponse { security_groups, next_page_token }))
    }

    async fn update_security_group(
        &self,
        request: Request<pb::UpdateSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        let pb::UpdateSecurityGroupRequest { security_group, update_mask } = request.into_inner();
        let asked = security_group.unwrap_or_default();
        let (name, etag) = (parse_name("security_group.name", &asked.name)?, asked.etag.clone());
        rules_masked(update_mask.as_ref()).map_err(ApiError::from)?;
        let rules = rules_asked(asked).map_err(ApiError::from)?;
        for _ in 0..TRIES {
            let group = self.group_as_known(&name, &etag).await?;
            let changed = match group.update(rules.clone(), self.platform.clock.now()) {
                None => Ok(()),
                Some(next) => self.platform.store.security_group_update(&next).await,
            };
            match changed {
                Err(StoreError::Conflict(_)) => {}
                changed => {
                    changed.map_err(ApiError::from)?;
                    self.platform.feed.ring();
                    return Ok(Response::new(self.group_now(&name).await?));
                }
            }
        }
        Err(ApiError::from(StoreError::Conflict(name.to_string())).into())
    }

    async fn delete_security_group(
        &self,
        request: Request<pb::DeleteSecurityGroupRequest>,
    ) -> Result<Response<()>, Status> {
        let pb::DeleteSecurityGroupRequest { name, etag } = request.into_inner();
        let name = parse_name("name", &name)?;
        let group = self.group_as_known(&name, &etag).await?;
        self.platform.store.security_group_delete(&group).await.map_err(ApiError::from)?;
        Ok(Response::new(()))
    }

    async fn bind_security_group(
        &self,
        request: Request<pb::BindSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        let pb::BindSecurityGroupRequest { name, target } = request.into_inner();
        let (name, target) = binding_asked(&name, &target).map_err(ApiError::from)?;
        Ok(Response::new(self.rebind(&name, &target, Change::Bind).await?))
    }

    async fn unbind_security_group(
        &self,
        request: Request<pb::UnbindSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        let pb::UnbindSecurityGroupRequest { name, target } = request.into_inner();
        let (name, target) = binding_asked(&name, &target).map_err(ApiError::from)?;
        Ok(Response::new(self.rebind(&name, &target, Change::Unbind).await?))
    }
}

impl Api {
    async fn group_now(&self, name: &SecurityGroupName) -> Result<pb::SecurityGroup, ApiError> {
        let (group, bound) = self.platform.store.security_group_get(name).await?;
        Ok(security_group_to_pb(&group, &bound))
    }

    async fn group_as_known(&self, name: &SecurityGroupName, etag: &str) -> Result<SecurityGroup, ApiError> {
        let (group, _) = self.platform.store.security_group_get(name).await?;
        match etag_matches(etag, group.revision.into()) {
            true => Ok(group),
            false => Err(ApiError::EtagMismatch(name.to_string())),
        }
    }

    /// Binds or unbinds on top of what group and target are at that moment.
    async fn rebind(
        &self,
        name: &SecurityGroupName,
        target: &BindTarget,
        change: Change,
    ) -> Result<pb::SecurityGroup, ApiError> {
        for _ in 0..TRIES {
            let (group, bound) = self.platform.store.security_group_get(name).await?;
            let done = match target {
                BindTarget::App(_) if change == Change::Bind && bound.app_count >= BOUND_APPS_MAX => {
                    return Err(ApiError::TooManyBindings(name.to_string(), BOUND_APPS_MAX));
                }
                BindTarget::App(app) => self.rebind_app(&group, app, change).await,
                BindTarget::Space => self.rebind_space(&group, change).await,
            };
            match done {
                Err(ApiError::Store(StoreError::Conflict(_))) => {}
                Err(error) => return Err(error),
                Ok(changed) => {
                    if changed {
                        self.platform.feed.ring();
                    }
                    return self.group_now(name).await;
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    /// False: it is as it should be already.
    async fn rebind_app(&self, group: &SecurityGroup, app: &AppName, change: Change) -> Result<bool, ApiError> {
        let (store, now) = (&self.platform.store, self.platform.clock.now());
        let app = store.app_get(app).await?;
        let before = &app.spec.security_groups;
        let after = match change {
            Change::Bind => before.with(group.reference())?,
            Change::Unbind => before.without(group.uid),
        };
        let Some(step) = app.with_groups(after, now) else { return Ok(false) };
        match change {
            Change::Bind => store.app_bind_group(&step, &group.reference()).await?,
            Change::Unbind => store.app_update(&step).await?,
        }
        Ok(true)
    }

    /// The same for the Space.
    async fn rebind_space(&self, group: &SecurityGroup, change: Change) -> Result<bool, ApiError> {
        let (store, now) = (&self.platform.store, self.platform.clock.now());
        let space = store.space_get(&SpaceName(group.name.space.clone())).await?;
        let after = match change {
            Change::Bind => space.security_groups.with(group.reference())?,
            Change::Unbind => space.security_groups.without(group.uid),
        };
        let Some(step) = space.with_groups(after, now) else { return Ok(false) };
        match change {
            Change::Bind => store.space_bind_group(&step, &group.reference()).await?,
            Change::Unbind => store.space_update(&step).await?,
        }
        Ok(true)
    }
}

fn parse_name(field: &str, text: &str) -> Result<SecurityGroupName, ApiError> {
    text.parse().map_err(|error: NameError| Invalid::one(field, error.to_string()).into())
}
