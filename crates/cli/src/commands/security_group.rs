//! Commands about security groups, with the names of Cloud Foundry.

use taskplane_proto::v1::security_group_service_client::SecurityGroupServiceClient;
use taskplane_proto::v1::{
    BindSecurityGroupRequest, CreateSecurityGroupRequest, DeleteSecurityGroupRequest, GetSecurityGroupRequest,
    ListSecurityGroupsRequest, SecurityGroup, UnbindSecurityGroupRequest, UpdateSecurityGroupRequest,
};

use super::PAGE;
use crate::args::{BindGroupArgs, DeleteGroupArgs, RulesArgs, SecurityGroupArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::render::security_group as render;
use crate::{clock, escape, names, rules};

pub async fn list(context: &Context) -> Result<(), Failure> {
    let parent = context.session.space()?;
    let mut request = ListSecurityGroupsRequest { parent, page_size: PAGE, page_token: String::new() };
    let mut groups = Vec::new();
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| {
                SecurityGroupServiceClient::new(channel).list_security_groups(request).await
            })
            .await?;
        groups.extend(page.security_groups);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    context.printer.list("securityGroups", &groups, |groups| render::groups(groups, clock::now()))
}

pub async fn show(context: &Context, args: SecurityGroupArgs) -> Result<(), Failure> {
    let request = GetSecurityGroupRequest { name: named(context, &args.group)? };
    let group = context
        .session
        .call(&request, async |channel, request| {
            SecurityGroupServiceClient::new(channel).get_security_group(request).await
        })
        .await?;
    context.printer.one(&group, |group| render::group(group, clock::now()))
}

pub async fn create(context: &Context, args: RulesArgs) -> Result<(), Failure> {
    let RulesArgs { group, path } = args;
    let parent = context.session.space()?;
    let rules = rules::read(&path).map_err(|error| Failure::wrong(error.to_string()))?;
    let request = CreateSecurityGroupRequest {
        parent,
        security_group_id: group,
        security_group: Some(SecurityGroup { rules, ..SecurityGroup::default() }),
    };
    let made = context
        .session
        .call(&request, async |channel, request| {
            SecurityGroupServiceClient::new(channel).create_security_group(request).await
        })
        .await?;
    context.printer.one(&made, |made| {
        let short = names::last(&made.name);
        let hint = context.hint(&format!("bind-security-group {short} APP"));
        format!("Security group {} created.\n\nBind it:   {}", escape::line(short), escape::line(&hint))
    })
}

pub async fn update(context: &Context, args: RulesArgs) -> Result<(), Failure> {
    let RulesArgs { group, path } = args;
    let name = named(context, &group)?;
    let rules = rules::read(&path).map_err(|error| Failure::wrong(error.to_string()))?;
    let request = UpdateSecurityGroupRequest {
        security_group: Some(SecurityGroup { name, rules, ..SecurityGroup::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["rules".to_owned()] }),
    };
    let changed = context
        .session
        .call(&request, async |channel, request| {
            SecurityGroupServiceClient::new(channel).update_security_group(request).await
        })
        .await?;
    done(
        context,
        &changed,
        &format!("is at revision {}. Tasks that were accepted before keep theirs.", changed.revision),
    )
}

pub async fn bind(context: &Context, args: BindGroupArgs) -> Result<(), Failure> {
    let (target, short) = target(context, &args)?;
    let request = BindSecurityGroupRequest { name: named(context, &args.group)?, target };
    let group = context
        .session
        .call(&request, async |channel, request| {
            SecurityGroupServiceClient::new(channel).bind_security_group(request).await
        })
        .await?;
    done(context, &group, &format!("is bound to {short}. Tasks that are accepted from now on have it."))
}

pub async fn unbind(context: &Context, args: BindGroupArgs) -> Result<(), Failure> {
    let (target, short) = target(context, &args)?;
    let request = UnbindSecurityGroupRequest { name: named(context, &args.group)?, target };
    let group = context
        .session
        .call(&request, async |channel, request| {
            SecurityGroupServiceClient::new(channel).unbind_security_group(request).await
        })
        .await?;
    done(context, &group, &format!("is not bound to {short}. Tasks that were accepted before keep it."))
}

pub async fn delete(context: &Context, args: DeleteGroupArgs) -> Result<(), Failure> {
    let name = named(context, &args.group)?;
    if !args.force && !context.screen().confirm(&format!("Really delete security group {}?", args.group))? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let request = DeleteSecurityGroupRequest { name, etag: String::new() };
    context
        .session
        .delete(&request, async |channel, request| {
            SecurityGroupServiceClient::new(channel).delete_security_group(request).await
        })
        .await?;
    context.printer.said(&format!("Security group {} deleted.", args.group))
}

fn named(context: &Context, group: &str) -> Result<String, Failure> {
    Ok(format!("{}/securityGroups/{group}", context.session.space()?))
}

/// What is to be bound, in full and for people.
fn target(context: &Context, args: &BindGroupArgs) -> Result<(String, String), Failure> {
    let space = context.session.space()?;
    Ok(match &args.app {
        Some(app) => (names::app(&space, app), format!("App {app}")),
        None => {
            let short = format!("the whole Space {}", names::last(&space));
            (space, short)
        }
    })
}

/// A sentence for people, the group for programs.
fn done(context: &Context, group: &SecurityGroup, what: &str) -> Result<(), Failure> {
    context
        .printer
        .one(group, |group| escape::line(&format!("Security group {} {what}", names::last(&group.name))).into_owned())
}
