//! Security groups: where the Tasks of an App, or of a whole Space, may open connections to.
//!
//! A group's rules never change: an update makes a new revision of the group, and of each App and Space bound to it. What is
//! bound refers to one revision, and so does a Task, by the revisions of App and Space that it froze.

mod address;
mod rule;

use jiff::Timestamp;

pub use address::{Cidr, Destination, DestinationError};
pub use rule::{DESCRIPTION_MAX, PARTS_MAX, Ports, PortsError, Rule, RuleText, Traffic, listed};

use crate::invalid::{Check, Invalid};
use crate::name::{AppName, Name, SecurityGroupName};
use crate::task::{Condition, ConditionStatus};
use crate::uid::{SecurityGroupUid, SpaceUid};

/// Most rules of one group.
pub const RULES_MAX: usize = 100;
/// Most blocks of addresses that the destinations of one group may come to.
pub const BLOCKS_MAX: usize = 4096;
/// Most groups bound to one App, and to one Space.
pub const BOUND_MAX: usize = 16;
/// The condition that says whether a Task's groups are enforced.
pub const ENFORCED: &str = "SecurityGroupsEnforced";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    pub uid: SecurityGroupUid,
    pub space_uid: SpaceUid,
    pub name: SecurityGroupName,
    /// Grows by one with each change of the rules.
    pub revision: u32,
    pub rules: Vec<Rule>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One revision of a group, as an App or a Space refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRef {
    pub uid: SecurityGroupUid,
    /// A group's name never changes.
    pub name: Name,
    pub revision: u32,
}

/// The rules of one revision, as a Task froze them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRules {
    pub group: GroupRef,
    pub rules: Vec<Rule>,
}

/// The groups bound to one App or one Space, by name; none of them twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups(Vec<GroupRef>);

/// What is bound to a group, beside what it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoundTo {
    pub space_wide: bool,
    /// Apps that are bound to it by themselves.
    pub app_count: u64,
    /// The first of them by name, where they were asked for.
    pub apps: Vec<AppName>,
}

/// Reads the rules that stand at `path`.
pub fn parse_rules(path: &str, texts: Vec<RuleText>) -> Result<Vec<Rule>, Invalid> {
    let mut check = Check::new();
    if texts.len() > RULES_MAX {
        check.refuse(path, format!("must be at most {RULES_MAX}: make several groups of them"));
    }
    let rules: Vec<Rule> = texts
        .into_iter()
        .take(RULES_MAX)
        .enumerate()
        .filter_map(|(index, text)| check.all(Rule::parse(&format!("{path}[{index}]"), text)))
        .collect();
    let blocks: usize = rules.iter().flat_map(|rule| &rule.destinations).map(|part| part.blocks().len()).sum();
    if blocks > BLOCKS_MAX {
        check.refuse(
            path,
            format!("their destinations come to {blocks} blocks of addresses, at most {BLOCKS_MAX} may be: let ranges begin and end at round numbers"),
        );
    }
    check.finish_with(Some(rules))
}

impl SecurityGroup {
    pub fn create(
        uid: SecurityGroupUid,
        space_uid: SpaceUid,
        name: SecurityGroupName,
        rules: Vec<Rule>,
        at: Timestamp,
    ) -> Self {
        Self { uid, space_uid, name, revision: 1, rules, created_at: at, updated_at: at }
    }

    /// The next revision, or none when the rules are what they are.
    pub fn update(self, rules: Vec<Rule>, at: Timestamp) -> Option<Self> {
        let revision = self.revision + 1;
        (rules != self.rules).then_some(Self { rules, revision, updated_at: at, ..self })
    }

    pub fn reference(&self) -> GroupRef {
        GroupRef { uid: self.uid, name: self.name.group.clone(), revision: self.revision }
    }
}

impl Groups {
    /// What was checked before and comes back from where it was kept.
    pub fn stored(groups: impl IntoIterator<Item = GroupRef>) -> Self {
        Self(groups.into_iter().collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &GroupRef> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With this revision of a group in place of any other one of it.
    pub fn with(&self, group: GroupRef) -> Result<Self, Invalid> {
        let mut groups = self.without(group.uid).0;
        if groups.len() >= BOUND_MAX {
            return Err(Invalid::one("name", format!("{BOUND_MAX} groups are bound already: unbind one first")));
        }
        groups.push(group);
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self(groups))
    }

    pub fn without(&self, uid: SecurityGroupUid) -> Self {
        Self(self.0.iter().filter(|bound| bound.uid != uid).cloned().collect())
    }

    /// The same groups, with this revision of one of them if it is there.
    pub fn renewed(&self, group: &GroupRef) -> Self {
        let renew = |bound: &GroupRef| if bound.uid == group.uid { group.clone() } else { bound.clone() };
        Self(self.0.iter().map(renew).collect())
    }

    /// These, and those of `other` that are not among them; of two revisions of one group the later.
    pub fn joined(&self, other: &Self) -> Self {
        let mut groups: Vec<GroupRef> = self.0.iter().chain(&other.0).cloned().collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name).then(a.uid.cmp(&b.uid)).then(b.revision.cmp(&a.revision)));
        groups.dedup_by_key(|group| group.uid);
        Self(groups)
    }
}

/// What is said of a Task with these groups before anybody made a run of it; nothing when there are none.
pub fn not_known_yet(groups: &Groups) -> Option<Condition> {
    let message = format!("nobody knows before a run is made whether it enforces {}", named(groups.iter()));
    let condition = Condition::unmet(ENFORCED, "NotMadeYet", message);
    (!groups.is_empty()).then_some(Condition { status: ConditionStatus::Unknown, ..condition })
}

/// What a backend says that makes processes of its own machine; nothing when there are no groups.
pub fn not_enforced_locally(groups: &[GroupRules]) -> Option<Condition> {
    let named = named(groups.iter().map(|rules| &rules.group));
    let message = format!("a local process reaches whatever its machine reaches: nothing enforces {named}");
    (!groups.is_empty()).then(|| Condition::unmet(ENFORCED, "LocalProcess", message))
}

fn named<'g>(groups: impl Iterator<Item = &'g GroupRef>) -> String {
    let names: Vec<String> = groups.map(|group| format!("{} (revision {})", group.name, group.revision)).collect();
    let what = if names.len() == 1 { "security group" } else { "security groups" };
    format!("{what} {}", names.join(", "))
}

/// Enough of what somebody typed to find it again, and nothing that a terminal would obey.
fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let visible = |c: char| if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() { c } else { '\u{fffd}' };
    let mut shown: String = text.chars().take(LONGEST).map(visible).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn group(uid: u128, name: &str, revision: u32) -> GroupRef {
        GroupRef { uid: SecurityGroupUid(Uuid::from_u128(uid)), name: name.parse().unwrap(), revision }
    }

    fn all_to(destination: &str) -> RuleText {
        RuleText { protocol: "all".into(), destination: destination.into(), ..RuleText::default() }
    }

    fn said(groups: &Groups) -> Vec<String> {
        groups.iter().map(|group| format!("{}:{}", group.name, group.revision)).collect()
    }

    #[test]
    fn a_group_has_bounds() {
        let refused = |texts: Vec<RuleText>| parse_rules("rules", texts).unwrap_err().to_string();
        assert_eq!(parse_rules("rules", vec![all_to("::1"); 100]).unwrap().len(), 100);
        assert_eq!(refused(vec![all_to("::1"); 101]), "rules: must be at most 100: make several groups of them");
        // 254 blocks each: 16 of them are few enough.
        let ragged = all_to("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe");
        assert_eq!(parse_rules("rules", vec![ragged.clone(); 16]).unwrap().len(), 16);
        assert_eq!(
            refused(vec![ragged; 17]),
            "rules: their destinations come to 4318 blocks of addresses, at most 4096 may be: let ranges begin and end at \
             round numbers"
        );
        let two = refused(vec![all_to("10.0.0.1/8"), all_to("::1"), all_to("x")]);
        assert!(two.starts_with("rules[0].destination: ") && two.contains("; rules[2].destination: "), "{two}");
    }

    #[test]
    fn an_equal_update_makes_no_revision() {
        let rules = parse_rules("rules", vec![all_to("10.0.0.1,10.0.0.2")]).unwrap();
        let uid = SecurityGroupUid(Uuid::nil());
        let name = "spaces/s/securityGroups/g".parse().unwrap();
        let group = SecurityGroup::create(uid, SpaceUid(Uuid::nil()), name, rules, Timestamp::UNIX_EPOCH);
        let same = parse_rules("rules", vec![all_to("10.0.0.1, 10.0.0.2")]).unwrap();
        assert_eq!(group.clone().update(same, Timestamp::UNIX_EPOCH), None);
        assert_eq!(group.update(Vec::new(), Timestamp::UNIX_EPOCH).unwrap().revision, 2);
    }

    #[test]
    fn of_each_group_one_revision_is_bound() {
        let groups = Groups::default().with(group(1, "web", 1)).unwrap().with(group(2, "db", 4)).unwrap();
        assert_eq!(said(&groups), ["db:4", "web:1"]);
        assert_eq!(said(&groups.with(group(1, "web", 2)).unwrap()), ["db:4", "web:2"]);
        assert_eq!(said(&groups.renewed(&group(1, "web", 3))), ["db:4", "web:3"]);
        assert_eq!(groups.renewed(&group(3, "other", 3)), groups);
        assert_eq!(said(&groups.without(SecurityGroupUid(Uuid::from_u128(2)))), ["web:1"]);
        let space = Groups::default().with(group(1, "web", 2)).unwrap().with(group(3, "dns", 1)).unwrap();
        assert_eq!(said(&groups.joined(&space)), ["db:4", "dns:1", "web:2"]);
        assert_eq!(groups.joined(&space), space.joined(&groups));
    }

    #[test]
    fn so_many_groups_are_bound_and_no_more() {
        let mut groups = Groups::default();
        for number in 0..16 {
            groups = groups.with(group(number, &format!("g{number}"), 1)).unwrap();
        }
        assert!(groups.with(group(3, "g3", 2)).is_ok(), "another revision of the same");
        let refused = groups.with(group(99, "g99", 1)).unwrap_err();
        assert_eq!(refused.to_string(), "name: 16 groups are bound already: unbind one first");
    }

    #[test]
    fn conditions_name_the_groups_and_fit() {
        assert_eq!((not_known_yet(&Groups::default()), not_enforced_locally(&[])), (None, None));
        let frozen = [GroupRules { group: group(1, "db", 3), rules: Vec::new() }];
        assert_eq!(
            not_enforced_locally(&frozen).unwrap().message,
            "a local process reaches whatever its machine reaches: nothing enforces security group db (revision 3)"
        );
        let name = |number: u128| format!("{}{number}", "x".repeat(48));
        let many: Vec<_> =
            (10..42).map(|number| GroupRules { group: group(number, &name(number), 1), rules: Vec::new() }).collect();
        let groups = Groups::stored(many.iter().map(|rules| rules.group.clone()));
        let conditions = [not_known_yet(&groups), not_enforced_locally(&many)].map(Option::unwrap);
        for condition in conditions {
            assert_eq!(Condition::check(&[condition]), Ok(()));
        }
    }
}
