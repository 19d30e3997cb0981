//! One rule: which traffic may go where.

use std::fmt;
use std::str::FromStr;

use crate::invalid::{Check, Invalid};
use crate::security_group::{Destination, shown};

/// Most parts of one rule's destination, and most of its ports.
pub const PARTS_MAX: usize = 64;
/// Longest description, in bytes.
pub const DESCRIPTION_MAX: usize = 256;

/// What a rule lets through, to all of its destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub traffic: Traffic,
    /// At least one.
    pub destinations: Vec<Destination>,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traffic {
    Tcp(Vec<Ports>),
    Udp(Vec<Ports>),
    /// Every protocol, every port.
    All,
}

/// A port, or several in a row; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    #[error("{0} is no port (443) or range (8080-8090)")]
    NotPorts(String),
    #[error("{0} is out of range: ports go from 1 to 65535")]
    OutOfRange(String),
    #[error("{text} ends before it begins: write {last}-{first}")]
    Reversed { text: String, first: u16, last: u16 },
}

/// A rule as Cloud Foundry writes it, before anything is checked.
#[derive(Debug, Clone, Default)]
pub struct RuleText {
    pub protocol: String,
    pub destination: String,
    pub ports: String,
    pub icmp_type: Option<i32>,
    pub icmp_code: Option<i32>,
    pub log: bool,
    pub description: String,
}

impl Ports {
    /// None when they are not in order, or 0.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first > 0 && first <= last).then_some(Self { first, last })
    }

    pub fn first(&self) -> u16 {
        self.first
    }

    pub fn last(&self) -> u16 {
        self.last
    }
}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let one = |digits: &str| -> Result<u16, PortsError> {
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(PortsError::NotPorts(shown(text)));
            }
            let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
            port.ok_or_else(|| PortsError::OutOfRange(shown(text)))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (one(first)?, one(last)?);
        Self::new(first, last).ok_or_else(|| PortsError::Reversed { text: shown(text), first, last })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// What stands between commas, each read by itself; all that is wrong is noted under `field`.
fn parts<T: FromStr<Err: fmt::Display>>(check: &mut Check, field: &str, text: &str) -> Vec<T> {
    if text.split(',').nth(PARTS_MAX).is_some() {
        check.refuse(field, format!("must have at most {PARTS_MAX} parts: make several rules of it"));
        return Vec::new();
    }
    let mut parts = Vec::new();
    for part in text.split(',').map(|part| part.trim_matches([' ', '\t'])) {
        if part.is_empty() {
            check.refuse(field, "must have something before and after each comma");
        } else {
            parts.extend(check.field(field, part.parse()));
        }
    }
    parts
}

impl Rule {
    /// Reads a rule that stands at `path`: `rules[3]`.
    pub fn parse(path: &str, text: RuleText) -> Result<Self, Invalid> {
        let RuleText { protocol, destination, ports, icmp_type, icmp_code, log, description } = text;
        let mut check = Check::new();
        let field = |name: &str| format!("{path}.{name}");
        let traffic = traffic(&mut check, &field, &protocol, &ports);
        if !is_icmp(&protocol) {
            for (name, value) in [("type", icmp_type), ("code", icmp_code)] {
                if value.is_some() {
                    check.refuse(field(name), "is for icmp alone: leave it out");
                }
            }
        }
        let destinations = if destination.is_empty() {
            check.refuse(field("destination"), "must not be empty: 0.0.0.0/0 means everywhere");
            Vec::new()
        } else {
            parts(&mut check, &field("destination"), &destination)
        };
        if log {
            check.refuse(
                field("log"),
                "cannot be true: a Kubernetes NetworkPolicy logs no connections; leave it out or set it to false",
            );
        }
        if description.len() > DESCRIPTION_MAX {
            check.refuse(field("description"), format!("must be at most {DESCRIPTION_MAX} bytes long"));
        } else if description.chars().any(char::is_control) {
            check.refuse(field("description"), "must not contain control characters");
        }
        check.finish_with(traffic.map(|traffic| Self { traffic, destinations, description }))
    }
}

fn is_icmp(protocol: &str) -> bool {
    matches!(protocol, "icmp" | "icmpv6")
}

fn traffic(check: &mut Check, field: &impl Fn(&str) -> String, protocol: &str, ports: &str) -> Option<Traffic> {
    let kind: fn(Vec<Ports>) -> Traffic = match protocol {
        "tcp" => Traffic::Tcp,
        "udp" => Traffic::Udp,
        "all" => {
            if !ports.is_empty() {
                check.refuse(field("ports"), "must be left out with protocol all, which means every port");
            }
            return Some(Traffic::All);
        }
        icmp if is_icmp(icmp) => {
            check.refuse(
                field("protocol"),
                format!("cannot be {icmp}: a Kubernetes NetworkPolicy knows no ICMP; leave the rule out"),
            );
            return None;
        }
        "" => {
            check.refuse(field("protocol"), "must not be empty: tcp, udp or all");
            return None;
        }
        other => {
            check.refuse(field("protocol"), format!("must be tcp, udp or all, not {}", shown(other)));
            return None;
        }
    };
    if ports.is_empty() {
        check.refuse(
            field("ports"),
            format!("must not be empty with protocol {protocol}: 443, 80,443 or 1-65535 for every port"),
        );
        return None;
    }
    Some(kind(parts(check, &field("ports"), ports)))
}

/// Parts as they are typed again.
pub fn listed<T: fmt::Display>(parts: &[T]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, destination: &str, ports: &str) -> RuleText {
        RuleText {
            protocol: protocol.into(),
            destination: destination.into(),
            ports: ports.into(),
            ..RuleText::default()
        }
    }

    fn refused(text: RuleText) -> String {
        Rule::parse("rules[3]", text).unwrap_err().to_string()
    }

    #[test]
    fn every_form_of_cloud_foundry_is_read() {
        for (destination, ports, read) in [
            ("10.0.11.0/24", "80,443", "10.0.11.0/24 80,443"),
            ("10.0.0.1-10.0.0.9", "8080-8090", "10.0.0.1-10.0.0.9 8080-8090"),
            (
                "10.0.0.1, 10.1.0.0/16,2001:DB8::/32",
                "80, 443, 8000-8010",
                "10.0.0.1,10.1.0.0/16,2001:db8::/32 80,443,8000-8010",
            ),
            ("0.0.0.0/0", "1-65535", "0.0.0.0/0 1-65535"),
            ("::1", "0053", "::1 53"),
        ] {
            let Rule { traffic, destinations, description: _ } =
                Rule::parse("rules[0]", rule("tcp", destination, ports)).unwrap();
            let Traffic::Tcp(ports) = traffic else { panic!("{traffic:?}") };
            assert_eq!(format!("{} {}", listed(&destinations), listed(&ports)), read);
        }
        assert!(matches!(Rule::parse("r", rule("udp", "8.8.8.8", "53")).unwrap().traffic, Traffic::Udp(_)));
        assert_eq!(Rule::parse("r", rule("all", "8.8.8.8", "")).unwrap().traffic, Traffic::All);
    }

    #[test]
    fn each_bad_field_is_named_with_what_would_be_right() {
        for (text, said) in [
            (rule("", "10.0.0.1", "1"), "rules[3].protocol: must not be empty: tcp, udp or all"),
            (rule("TCP", "10.0.0.1", "1"), "rules[3].protocol: must be tcp, udp or all, not TCP"),
            (rule("sctp", "10.0.0.1", "1"), "rules[3].protocol: must be tcp, udp or all, not sctp"),
            (
                rule("icmp", "10.0.0.1", ""),
                "rules[3].protocol: cannot be icmp: a Kubernetes NetworkPolicy knows no ICMP; leave the rule out",
            ),
            (
                rule("icmpv6", "::1", ""),
                "rules[3].protocol: cannot be icmpv6: a Kubernetes NetworkPolicy knows no ICMP; leave the rule out",
            ),
            (
                RuleText { icmp_type: Some(0), icmp_code: Some(-1), ..rule("icmp", "::1", "") },
                "rules[3].protocol: cannot be icmp: a Kubernetes NetworkPolicy knows no ICMP; leave the rule out",
            ),
            (
                RuleText { icmp_type: Some(0), ..rule("all", "::1", "") },
                "rules[3].type: is for icmp alone: leave it out",
            ),
            (
                RuleText { icmp_code: Some(0), ..rule("all", "::1", "") },
                "rules[3].code: is for icmp alone: leave it out",
            ),
            (
                RuleText { log: true, ..rule("all", "::1", "") },
                "rules[3].log: cannot be true: a Kubernetes NetworkPolicy logs no connections; leave it out or set it to \
                 false",
            ),
            (rule("all", "", ""), "rules[3].destination: must not be empty: 0.0.0.0/0 means everywhere"),
            (rule("all", "10.0.0.1/8", ""), "rules[3].destination: 10.0.0.1/8 has host bits set: write 10.0.0.0/8"),
            (
                rule("all", "10.0.0.1,,10.0.0.2", ""),
                "rules[3].destination: must have something before and after each comma",
            ),
            (rule("all", " ", ""), "rules[3].destination: must have something before and after each comma"),
            (
                rule("all", &"::1,".repeat(65), ""),
                "rules[3].destination: must have at most 64 parts: make several rules of it",
            ),
            (
                rule("tcp", "::1", ""),
                "rules[3].ports: must not be empty with protocol tcp: 443, 80,443 or 1-65535 for every port",
            ),
            (
                rule("udp", "::1", ""),
                "rules[3].ports: must not be empty with protocol udp: 443, 80,443 or 1-65535 for every port",
            ),
            (rule("all", "::1", "80"), "rules[3].ports: must be left out with protocol all, which means every port"),
            (rule("tcp", "::1", "0"), "rules[3].ports: 0 is out of range: ports go from 1 to 65535"),
            (rule("tcp", "::1", "65536"), "rules[3].ports: 65536 is out of range: ports go from 1 to 65535"),
            (rule("tcp", "::1", "1-65536"), "rules[3].ports: 1-65536 is out of range: ports go from 1 to 65535"),
            (rule("tcp", "::1", "90-80"), "rules[3].ports: 90-80 ends before it begins: write 80-90"),
            (rule("tcp", "::1", "80,443,"), "rules[3].ports: must have something before and after each comma"),
            (rule("tcp", "::1", "80:90"), "rules[3].ports: 80:90 is no port (443) or range (8080-8090)"),
            (rule("tcp", "::1", "-80"), "rules[3].ports: -80 is no port (443) or range (8080-8090)"),
            (rule("tcp", "::1", "+80"), "rules[3].ports: +80 is no port (443) or range (8080-8090)"),
            (rule("tcp", "::1", "80 - 90"), "rules[3].ports: 80 - 90 is no port (443) or range (8080-8090)"),
            (rule("tcp", "::1", "http"), "rules[3].ports: http is no port (443) or range (8080-8090)"),
            (
                rule("tcp", "::1", &"1,".repeat(65)),
                "rules[3].ports: must have at most 64 parts: make several rules of it",
            ),
            (
                RuleText { description: "x".repeat(257), ..rule("all", "::1", "") },
                "rules[3].description: must be at most 256 bytes long",
            ),
            (
                RuleText { description: "a\nb".into(), ..rule("all", "::1", "") },
                "rules[3].description: must not contain control characters",
            ),
        ] {
            assert_eq!(refused(text), said);
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = RuleText { log: true, ..rule("tcp", "10.0.0.1/8,10.0.0.300", "0,90-80") };
        let fields: Vec<_> =
            Rule::parse("r", text).unwrap_err().violations.into_iter().map(|violation| violation.field).collect();
        assert_eq!(fields, ["r.ports", "r.ports", "r.destination", "r.destination", "r.log"]);
    }

    #[test]
    fn what_is_too_long_or_unprintable_is_not_repeated_whole() {
        let said = refused(rule("tcp", &"9".repeat(10_000), "\u{1b}[31m\u{202e}"));
        assert!(said.len() < 400, "{said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    }
}
