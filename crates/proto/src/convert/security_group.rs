//! Security groups: on the public wire, in rows, and on their way to an executor.

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{AppName, Name, NameError, SecurityGroupName, SpaceName};
use taskplane_domain::security_group::{
    BoundTo, Destination, GroupRef, GroupRules, Groups, Ports, Rule, RuleText, SecurityGroup, Traffic, listed,
    parse_rules,
};
use taskplane_domain::uid::SecurityGroupUid;

use crate::convert::space::etag;
use crate::convert::spec::BadSpec;
use crate::convert::time::timestamp_to_pb;
use crate::internal::v1 as internal;
use crate::v1 as pb;

/// What a group is bound to, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindTarget {
    App(AppName),
    Space,
}

fn protocol(traffic: &Traffic) -> &'static str {
    match traffic {
        Traffic::Tcp(_) => "tcp",
        Traffic::Udp(_) => "udp",
        Traffic::All => "all",
    }
}

fn ports(traffic: &Traffic) -> &[Ports] {
    match traffic {
        Traffic::Tcp(ports) | Traffic::Udp(ports) => ports,
        Traffic::All => &[],
    }
}

impl From<&Rule> for pb::SecurityGroupRule {
    fn from(rule: &Rule) -> Self {
        let Rule { traffic, destinations, description } = rule;
        Self {
            protocol: protocol(traffic).to_owned(),
            destination: listed(destinations),
            ports: listed(ports(traffic)),
            r#type: None,
            code: None,
            log: false,
            description: description.clone(),
        }
    }
}

pub fn security_group_to_pb(group: &SecurityGroup, bound: &BoundTo) -> pb::SecurityGroup {
    let SecurityGroup { uid, space_uid: _, name, revision, rules, created_at, updated_at } = group;
    let BoundTo { space_wide, app_count, apps } = bound;
    pb::SecurityGroup {
        name: name.to_string(),
        uid: uid.to_string(),
        revision: revision.cast_signed(),
        rules: rules.iter().map(Into::into).collect(),
        space_wide: *space_wide,
        bound_app_count: i32::try_from(*app_count).unwrap_or(i32::MAX),
        bound_apps: apps.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp_to_pb(*created_at)),
        update_time: Some(timestamp_to_pb(*updated_at)),
        etag: etag((*revision).into()),
    }
}

/// The names of the groups that an App or a Space of that name is bound to.
pub(super) fn group_names(space: &Name, groups: &Groups) -> Vec<String> {
    let name = |group: &GroupRef| SecurityGroupName { space: space.clone(), group: group.name.clone() };
    groups.iter().map(|group| name(group).to_string()).collect()
}

/// The rules that a request brings; what only the server says is passed over, as AIP-203 has it.
pub fn rules_asked(group: pb::SecurityGroup) -> Result<Vec<Rule>, Invalid> {
    let pb::SecurityGroup {
        name: _,
        uid: _,
        revision: _,
        rules,
        space_wide: _,
        bound_app_count: _,
        bound_apps: _,
        create_time: _,
        update_time: _,
        etag: _,
    } = group;
    let texts = rules.into_iter().map(|rule| {
        let pb::SecurityGroupRule { protocol, destination, ports, r#type, code, log, description } = rule;
        RuleText { protocol, destination, ports, icmp_type: r#type, icmp_code: code, log, description }
    });
    parse_rules("security_group.rules", texts.collect())
}

/// Whether an update names the one thing that can be changed.
pub fn rules_masked(mask: Option<&prost_types::FieldMask>) -> Result<(), Invalid> {
    match mask.map(|mask| mask.paths.as_slice()).unwrap_or_default() {
        [] => Err(Invalid::one("update_mask", "must name what to change: rules")),
        paths if paths.iter().all(|path| path == "rules") => Ok(()),
        _ => Err(Invalid::one("update_mask", "can only name rules")),
    }
}

/// A group, and what to bind it to: something of the same Space.
pub fn binding_asked(name: &str, target: &str) -> Result<(SecurityGroupName, BindTarget), Invalid> {
    let mut check = Check::new();
    let name = check.field("name", name.parse::<SecurityGroupName>());
    let space_and_target = match (target.parse::<AppName>(), target.parse::<SpaceName>()) {
        (Ok(app), _) => Some((app.space.clone(), BindTarget::App(app))),
        (_, Ok(space)) => Some((space.0, BindTarget::Space)),
        (Err(_), Err(_)) => {
            check.field(
                "target",
                Err::<(), _>(NameError::Form("spaces/{space}/apps/{app}, or spaces/{space} for all its Apps")),
            );
            None
        }
    };
    if let (Some(name), Some((space, _))) = (&name, &space_and_target)
        && name.space != *space
    {
        check.refuse("target", format!("must be of the Space of the group, spaces/{}", name.space));
    }
    check.finish_with(name.zip(space_and_target.map(|(_, target)| target)))
}

impl From<&GroupRef> for internal::SecurityGroupRef {
    fn from(group: &GroupRef) -> Self {
        let GroupRef { uid, name, revision } = group;
        Self { uid: uid.to_string(), name: name.to_string(), revision: *revision }
    }
}

impl TryFrom<internal::SecurityGroupRef> for GroupRef {
    type Error = BadSpec;

    fn try_from(group: internal::SecurityGroupRef) -> Result<Self, BadSpec> {
        let internal::SecurityGroupRef { uid, name, revision } = group;
        Ok(Self {
            uid: SecurityGroupUid(uid.parse().map_err(|_| BadSpec("uid"))?),
            name: name.parse().map_err(|_| BadSpec("name"))?,
            revision,
        })
    }
}

impl From<&Groups> for internal::SecurityGroupRefs {
    fn from(groups: &Groups) -> Self {
        Self { groups: groups.iter().map(Into::into).collect() }
    }
}

impl TryFrom<internal::SecurityGroupRefs> for Groups {
    type Error = BadSpec;

    fn try_from(groups: internal::SecurityGroupRefs) -> Result<Self, BadSpec> {
        let internal::SecurityGroupRefs { groups } = groups;
        Ok(Self::stored(groups.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, _>>()?))
    }
}

impl From<&Rule> for internal::SecurityRule {
    fn from(rule: &Rule) -> Self {
        let Rule { traffic, destinations, description } = rule;
        let span = |ports: &Ports| internal::PortSpan { first: ports.first().into(), last: ports.last().into() };
        Self {
            protocol: protocol(traffic).to_owned(),
            destinations: destinations.iter().map(ToString::to_string).collect(),
            ports: ports(traffic).iter().map(span).collect(),
            description: description.clone(),
        }
    }
}

impl TryFrom<internal::SecurityRule> for Rule {
    type Error = BadSpec;

    fn try_from(rule: internal::SecurityRule) -> Result<Self, BadSpec> {
        let internal::SecurityRule { protocol, destinations, ports, description } = rule;
        let span = |internal::PortSpan { first, last }| {
            let ports = u16::try_from(first).ok().zip(u16::try_from(last).ok());
            ports.and_then(|(first, last)| Ports::new(first, last)).ok_or(BadSpec("ports"))
        };
        let ports: Vec<Ports> = ports.into_iter().map(span).collect::<Result<_, _>>()?;
        let destinations: Result<Vec<Destination>, _> = destinations.iter().map(|text| text.parse()).collect();
        Ok(Self {
            traffic: match protocol.as_str() {
                "tcp" => Traffic::Tcp(ports),
                "udp" => Traffic::Udp(ports),
                "all" => Traffic::All,
                _ => return Err(BadSpec("protocol")),
            },
            destinations: destinations.map_err(|_| BadSpec("destinations"))?,
            description,
        })
    }
}

impl From<&[Rule]> for internal::SecurityRules {
    fn from(rules: &[Rule]) -> Self {
        Self { rules: rules.iter().map(Into::into).collect() }
    }
}

impl TryFrom<internal::SecurityRules> for Vec<Rule> {
    type Error = BadSpec;

    fn try_from(rules: internal::SecurityRules) -> Result<Self, BadSpec> {
        let internal::SecurityRules { rules } = rules;
        rules.into_iter().map(TryInto::try_into).collect()
    }
}

impl From<&GroupRules> for internal::SecurityGroupRules {
    fn from(frozen: &GroupRules) -> Self {
        let GroupRules { group, rules } = frozen;
        Self { group: Some(group.into()), rules: Some(rules.as_slice().into()) }
    }
}

impl TryFrom<internal::SecurityGroupRules> for GroupRules {
    type Error = BadSpec;

    fn try_from(frozen: internal::SecurityGroupRules) -> Result<Self, BadSpec> {
        let internal::SecurityGroupRules { group, rules } = frozen;
        Ok(Self {
            group: group.ok_or(BadSpec("security group"))?.try_into()?,
            rules: rules.unwrap_or_default().try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_the_wire_and_the_row() {
        let rule = |protocol: &str, destination: &str, ports: &str| pb::SecurityGroupRule {
            protocol: protocol.into(),
            destination: destination.into(),
            ports: ports.into(),
            description: "why".into(),
            ..pb::SecurityGroupRule::default()
        };
        let asked = pb::SecurityGroup {
            rules: vec![
                rule("tcp", "10.0.0.1,10.0.0.0-10.0.0.9,2001:db8::/32", "443,8080-8090"),
                rule("udp", "::1", "53"),
                rule("all", "0.0.0.0/0", ""),
            ],
            ..pb::SecurityGroup::default()
        };
        let rules = rules_asked(asked.clone()).unwrap();
        assert_eq!(rules.iter().map(pb::SecurityGroupRule::from).collect::<Vec<_>>(), asked.rules);
        let frozen = GroupRules {
            group: GroupRef {
                uid: SecurityGroupUid(uuid::Uuid::from_u128(7)),
                name: "g".parse().unwrap(),
                revision: 4,
            },
            rules,
        };
        assert_eq!(GroupRules::try_from(internal::SecurityGroupRules::from(&frozen)), Ok(frozen));
    }

    #[test]
    fn a_group_is_bound_to_something_of_its_own_space() {
        let asked = |name: &str, target: &str| {
            binding_asked(name, target).map(|(_, target)| target).map_err(|invalid| invalid.to_string())
        };
        let group = "spaces/s/securityGroups/g";
        assert_eq!(asked(group, "spaces/s/apps/a"), Ok(BindTarget::App("spaces/s/apps/a".parse().unwrap())));
        assert_eq!(asked(group, "spaces/s"), Ok(BindTarget::Space));
        for other in ["spaces/t", "spaces/t/apps/a"] {
            assert_eq!(asked(group, other), Err("target: must be of the Space of the group, spaces/s".into()));
        }
        assert_eq!(
            asked("g", "a"),
            Err("name: must have the form spaces/{space}/securityGroups/{group}; target: must have the form \
                 spaces/{space}/apps/{app}, or spaces/{space} for all its Apps"
                .into())
        );
    }

    #[test]
    fn only_the_rules_can_be_changed() {
        let mask = |paths: &[&str]| {
            let mask = prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() };
            rules_masked(Some(&mask)).map_err(|invalid| invalid.to_string())
        };
        assert_eq!(mask(&["rules"]), Ok(()));
        assert_eq!(mask(&[]), Err("update_mask: must name what to change: rules".into()));
        assert_eq!(mask(&["rules", "name"]), Err("update_mask: can only name rules".into()));
    }
}
