//! Rules of security groups as Cloud Foundry writes them: a file with a JSON list. Only its shape is looked at here; whether
//! the values are right, the api says.

use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Map, Value};
use taskplane_proto::v1::SecurityGroupRule;

/// A larger file is none of rules.
const FILE_MAX: u64 = 1 << 20;

/// What is wrong with a file of rules, with the place.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    #[error("{0} is larger than 1 MiB: it holds no rules")]
    TooLarge(String),
    #[error("{0} is not JSON: {1}")]
    Syntax(String, serde_json::Error),
    #[error("{file}: {place}: expected {expected}")]
    Shape { file: String, place: String, expected: &'static str },
    #[error("{file}: {place} is not known: a rule has protocol, destination, ports, type, code, log and description")]
    Unknown { file: String, place: String },
}

/// The rules of a file; `-` is standard input.
pub fn read(path: &Path) -> Result<Vec<SecurityGroupRule>, RulesError> {
    let file = path.display().to_string();
    let mut text = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().take(FILE_MAX + 1).read_to_end(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut text)),
    };
    read.map_err(|error| RulesError::Unreadable(file.clone(), error))?;
    if text.len() as u64 > FILE_MAX {
        return Err(RulesError::TooLarge(file));
    }
    parse(&file, &text)
}

fn parse(file: &str, text: &[u8]) -> Result<Vec<SecurityGroupRule>, RulesError> {
    let value: Value = serde_json::from_slice(text).map_err(|error| RulesError::Syntax(file.to_owned(), error))?;
    let shape = |place: String, expected| RulesError::Shape { file: file.to_owned(), place, expected };
    let Value::Array(rules) = value else {
        return Err(shape("the whole".to_owned(), "a list of rules: [{\"protocol\": …}]"));
    };
    let mut read = Vec::new();
    for (index, rule) in rules.into_iter().enumerate() {
        let Value::Object(fields) = rule else {
            return Err(shape(format!("rules[{index}]"), "a rule: {\"protocol\": …}"));
        };
        read.push(rule_of(file, index, fields)?);
    }
    Ok(read)
}

fn rule_of(file: &str, index: usize, fields: Map<String, Value>) -> Result<SecurityGroupRule, RulesError> {
    let mut rule = SecurityGroupRule::default();
    for (name, value) in fields {
        let place = format!("rules[{index}].{name}");
        let expected = match (name.as_str(), value) {
            // As if it were not there.
            (_, Value::Null) if is_known(&name) => continue,
            ("protocol", Value::String(text)) => {
                rule.protocol = text;
                continue;
            }
            ("destination", Value::String(text)) => {
                rule.destination = text;
                continue;
            }
            ("ports", Value::String(text)) => {
                rule.ports = text;
                continue;
            }
            ("description", Value::String(text)) => {
                rule.description = text;
                continue;
            }
            ("log", Value::Bool(log)) => {
                rule.log = log;
                continue;
            }
            ("type" | "code", value) => match small(&value) {
                Some(number) if name == "type" => {
                    rule.r#type = Some(number);
                    continue;
                }
                Some(number) => {
                    rule.code = Some(number);
                    continue;
                }
                None => "a whole number",
            },
            ("ports", _) => "text: \"443\", \"80,443\" or \"8080-8090\"",
            ("log", _) => "true or false",
            ("protocol" | "destination" | "description", _) => "text",
            _ => return Err(RulesError::Unknown { file: file.to_owned(), place }),
        };
        return Err(RulesError::Shape { file: file.to_owned(), place, expected });
    }
    Ok(rule)
}

fn is_known(name: &str) -> bool {
    ["protocol", "destination", "ports", "type", "code", "log", "description"].contains(&name)
}

fn small(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|number| i32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_cloud_foundry_is_read() {
        let text = br#"[
            {"protocol": "icmp", "destination": "0.0.0.0/0", "type": 0, "code": -1},
            {"protocol": "tcp", "destination": "10.0.11.0/24", "ports": "80,443", "log": true,
             "description": "Allow http and https traffic from ZoneA"},
            {"protocol": "all", "destination": "10.0.0.1-10.0.0.9", "ports": null}
        ]"#;
        let rules = parse("f", text).unwrap();
        let icmp = (rules[0].protocol.as_str(), rules[0].r#type, rules[0].code);
        assert_eq!(icmp, ("icmp", Some(0), Some(-1)));
        let tcp = (rules[1].destination.as_str(), rules[1].ports.as_str(), rules[1].log);
        assert_eq!(tcp, ("10.0.11.0/24", "80,443", true));
        assert_eq!(rules[1].description, "Allow http and https traffic from ZoneA");
        assert_eq!((rules[2].protocol.as_str(), rules[2].ports.as_str()), ("all", ""));
        assert_eq!(parse("f", b"[]").unwrap(), []);
    }

    #[test]
    fn what_has_not_the_shape_of_rules_is_refused_with_its_place() {
        for (text, said) in [
            ("{}", "f: the whole: expected a list of rules: [{\"protocol\": …}]"),
            ("[1]", "f: rules[0]: expected a rule: {\"protocol\": …}"),
            ("[{}, []]", "f: rules[1]: expected a rule: {\"protocol\": …}"),
            (r#"[{"ports": 443}]"#, "f: rules[0].ports: expected text: \"443\", \"80,443\" or \"8080-8090\""),
            (r#"[{"log": "yes"}]"#, "f: rules[0].log: expected true or false"),
            (r#"[{"destination": ["::1"]}]"#, "f: rules[0].destination: expected text"),
            (r#"[{"type": 1.5}]"#, "f: rules[0].type: expected a whole number"),
            (r#"[{"code": 99999999999}]"#, "f: rules[0].code: expected a whole number"),
            (
                r#"[{"port": "443"}]"#,
                "f: rules[0].port is not known: a rule has protocol, destination, ports, type, code, log and description",
            ),
            (
                r#"[{"port": null}]"#,
                "f: rules[0].port is not known: a rule has protocol, destination, ports, type, code, log and description",
            ),
        ] {
            assert_eq!(parse("f", text.as_bytes()).unwrap_err().to_string(), said);
        }
        assert!(parse("f", b"[").unwrap_err().to_string().starts_with("f is not JSON: EOF"));
        let deep = "[".repeat(10_000);
        assert!(parse("f", deep.as_bytes()).unwrap_err().to_string().starts_with("f is not JSON: recursion limit"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = read(Path::new("/nowhere/rules.json")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/rules.json: No such file"), "{missing}");
        let endless = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(endless, "/dev/zero is larger than 1 MiB: it holds no rules");
    }
}
