//! Labels on Tasks, with the syntax of Kubernetes labels.

use std::collections::BTreeMap;

use crate::invalid::{Check, Invalid};

/// Most labels on one Task.
pub const LABELS_MAX: usize = 64;

pub type Labels = BTreeMap<String, String>;

/// Checks what a user brings under `field`.
pub fn parse(field: &str, labels: Labels) -> Result<Labels, Invalid> {
    let mut check = Check::new();
    if labels.len() > LABELS_MAX {
        check.refuse(field, format!("must be at most {LABELS_MAX} labels"));
    }
    for (key, value) in &labels {
        let shown: String = key.chars().take(63).flat_map(char::escape_default).collect();
        if !is_key(key) {
            check.refuse(
                format!("{field}[{shown}]"),
                "must have a key of at most 63 letters, digits, -, _ and ., with an optional DNS prefix and /",
            );
        }
        if !(value.is_empty() || is_token(value)) {
            check.refuse(
                format!("{field}[{shown}]"),
                "must have a value of at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit",
            );
        }
    }
    check.finish_with(Some(labels))
}

fn is_token(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_token(key),
        Some((prefix, name)) => {
            let dns =
                |part: &str| is_token(part) && part.bytes().all(|byte| !byte.is_ascii_uppercase() && byte != b'_');
            prefix.len() <= 253 && prefix.split('.').all(dns) && is_token(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_the_syntax_of_kubernetes() {
        for (key, value) in [("team", "blue"), ("example.com/team", ""), ("a_b.c-d", "X.1")] {
            assert!(parse("labels", Labels::from([(key.into(), value.into())])).is_ok(), "{key}={value}");
        }
        let long = "x".repeat(64);
        for (key, value) in [
            ("", "x"),
            ("a=b", "x"),
            ("a", "b,c"),
            ("a", "-b"),
            ("/a", "b"),
            ("A.com/", "b"),
            ("a/b/c", "d"),
            ("a", &long),
            (&long, "a"),
        ] {
            assert!(parse("labels", Labels::from([(key.into(), value.into())])).is_err(), "{key}={value}");
        }
    }
}
