//! Tables and fact sheets about security groups.

use jiff::Timestamp;
use taskplane_proto::v1::{SecurityGroup, SecurityGroupRule};

use super::table::{columns, facts};
use crate::{clock, names};

pub fn groups(groups: &[SecurityGroup], now: Timestamp) -> String {
    columns(
        ["Name", "Rules", "Space-wide", "Apps", "Revision", "Age"],
        groups.iter().map(|group| {
            [
                names::last(&group.name).to_owned(),
                group.rules.len().to_string(),
                if group.space_wide { "True" } else { "False" }.to_owned(),
                group.bound_app_count.to_string(),
                group.revision.to_string(),
                clock::between(group.create_time, None, now).unwrap_or_default(),
            ]
        }),
    )
}

pub fn group(group: &SecurityGroup, now: Timestamp) -> String {
    let mut sheet = facts([
        ("Name", names::last(&group.name).to_owned()),
        ("Resource", group.name.clone()),
        ("Revision", group.revision.to_string()),
        ("Bound to", bound(group)),
        ("Age", clock::between(group.create_time, None, now).unwrap_or_default()),
    ]);
    sheet.push('\n');
    sheet.push_str(&columns(
        ["Protocol", "Destination", "Ports", "Description"],
        group.rules.iter().map(|rule| {
            let SecurityGroupRule { protocol, destination, ports, r#type: _, code: _, log: _, description } = rule;
            [protocol.clone(), destination.clone(), ports.clone(), description.clone()]
        }),
    ));
    sheet
}

fn bound(group: &SecurityGroup) -> String {
    let mut to = Vec::new();
    if group.space_wide {
        to.push("the whole Space".to_owned());
    }
    to.extend(group.bound_apps.iter().map(|app| names::last(app).to_owned()));
    let more = usize::try_from(group.bound_app_count).unwrap_or_default().saturating_sub(group.bound_apps.len());
    if more > 0 {
        to.push(format!("{more} more"));
    }
    to.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_group() -> SecurityGroup {
        SecurityGroup {
            name: "spaces/s/securityGroups/db".to_owned(),
            revision: 2,
            rules: vec![SecurityGroupRule {
                protocol: "tcp".to_owned(),
                destination: "10.0.0.0/8".to_owned(),
                ports: "5432".to_owned(),
                description: "the \u{1b}[31mdatabases".to_owned(),
                ..SecurityGroupRule::default()
            }],
            ..SecurityGroup::default()
        }
    }

    #[test]
    fn a_sheet_says_what_a_group_is_bound_to() {
        let sheet = |space_wide, count, apps: &[&str]| {
            let apps = apps.iter().map(|app| format!("spaces/s/apps/{app}")).collect();
            let group = SecurityGroup { space_wide, bound_app_count: count, bound_apps: apps, ..a_group() };
            let sheet = super::group(&group, Timestamp::UNIX_EPOCH);
            sheet.lines().find_map(|line| line.strip_prefix("Bound to:")).unwrap().trim().to_owned()
        };
        assert_eq!(sheet(false, 0, &[]), "<none>");
        assert_eq!(sheet(true, 0, &[]), "the whole Space");
        assert_eq!(sheet(true, 2, &["a", "b"]), "the whole Space, a, b");
        assert_eq!(sheet(false, 102, &["a"]), "a, 101 more");
    }

    #[test]
    fn a_hostile_description_stays_in_its_cell() {
        let sheet = group(&a_group(), Timestamp::UNIX_EPOCH);
        assert!(!sheet.contains('\u{1b}') && sheet.contains("databases"), "{sheet:?}");
    }
}
