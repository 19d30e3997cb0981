//! What is not so as it was asked for, or not yet known to be: said of a Task by whoever runs it.

use crate::invalid::{Check, Invalid};

/// Most conditions of one Task.
pub const CONDITIONS_MAX: usize = 16;
/// Longest message, in bytes.
pub const CONDITION_MESSAGE_MAX: usize = 512;
/// Longest kind and reason, in bytes.
const WORD_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// A word in camel case that says what should be so: `MemoryLimitEnforced`. Clients rely on the spelling.
    pub kind: String,
    pub status: ConditionStatus,
    /// Why, in one word of camel case.
    pub reason: String,
    /// The same for a person.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    pub const ALL: [Self; 3] = [Self::True, Self::False, Self::Unknown];
}

impl Condition {
    /// Something that is not so as it was asked for. A message that is too long is cut.
    pub fn unmet(kind: &str, reason: &str, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        message.truncate(message.floor_char_boundary(CONDITION_MESSAGE_MAX));
        Self { kind: kind.to_owned(), status: ConditionStatus::False, reason: reason.to_owned(), message }
    }

    /// All that is wrong with what somebody says of a Task.
    pub fn check(conditions: &[Self]) -> Result<(), Invalid> {
        let mut check = Check::new();
        if conditions.len() > CONDITIONS_MAX {
            check.refuse("conditions", format!("must be at most {CONDITIONS_MAX}"));
        }
        for (index, Self { kind, status: _, reason, message }) in conditions.iter().take(CONDITIONS_MAX).enumerate() {
            for (field, text) in [("type", kind), ("reason", reason)] {
                if !is_word(text) {
                    check.refuse(
                        format!("conditions[{index}].{field}"),
                        format!("must be a word in camel case of at most {WORD_MAX} letters and digits"),
                    );
                }
            }
            if conditions[..index].iter().any(|before| before.kind == *kind) {
                check.refuse(format!("conditions[{index}].type"), "must not be said twice");
            }
            if message.len() > CONDITION_MESSAGE_MAX || message.chars().any(char::is_control) {
                check.refuse(
                    format!("conditions[{index}].message"),
                    format!("must be one line of at most {CONDITION_MESSAGE_MAX} bytes"),
                );
            }
        }
        check.finish()
    }
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.len() <= WORD_MAX
        && bytes.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, reason: &str, message: &str) -> Condition {
        Condition { kind: kind.into(), status: ConditionStatus::False, reason: reason.into(), message: message.into() }
    }

    #[test]
    fn what_is_said_of_a_task_is_checked_field_by_field() {
        let refused = |conditions: &[Condition]| Condition::check(conditions).unwrap_err().to_string();
        let word = "must be a word in camel case of at most 64 letters and digits";
        assert_eq!(Condition::check(&[condition("A", "B", ""), condition("B", "B", "ä")]), Ok(()));
        assert_eq!(refused(&[condition("", "B", "")]), format!("conditions[0].type: {word}"));
        assert_eq!(refused(&[condition("memory", "B", "")]), format!("conditions[0].type: {word}"));
        assert_eq!(refused(&[condition(&"A".repeat(65), "B", "")]), format!("conditions[0].type: {word}"));
        assert_eq!(refused(&[condition("A", "No cgroup", "")]), format!("conditions[0].reason: {word}"));
        assert_eq!(
            refused(&[condition("A", "B", ""), condition("A", "C", "")]),
            "conditions[1].type: must not be said twice"
        );
        for bad in ["x".repeat(513), "two\nlines".into()] {
            assert_eq!(
                refused(&[condition("A", "B", &bad)]),
                "conditions[0].message: must be one line of at most 512 bytes"
            );
        }
        let many: Vec<_> = (0..17).map(|number| condition(&format!("A{number}"), "B", "")).collect();
        assert_eq!(Condition::check(&many[..16]), Ok(()));
        assert_eq!(refused(&many), "conditions: must be at most 16");
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_between_characters() {
        let condition = Condition::unmet("A", "B", format!("x{}", "ä".repeat(400)));
        assert_eq!(condition.message.len(), 511);
        assert_eq!(Condition::check(&[condition]), Ok(()));
    }
}
