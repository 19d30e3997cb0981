//! What is wrong with a request: every violated field at once, each with its fix.

use std::fmt;

/// One field that cannot be accepted as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as the caller knows it: `retry_policy.max_attempts`.
    pub field: String,
    /// What is wrong and what would be right, as half a sentence: `must not be empty`.
    pub description: String,
}

impl Violation {
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// A request that breaks at least one rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    pub violations: Vec<Violation>,
}

impl Invalid {
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { violations: vec![Violation::new(field, description)] }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

/// Collects violations while a request is taken apart.
#[derive(Debug, Default)]
pub struct Check {
    violations: Vec<Violation>,
}

impl Check {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn refuse(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation::new(field, description));
    }

    /// Keeps the value, or notes under `field` why there is none.
    pub fn field<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.refuse(field, error.to_string())).ok()
    }

    /// Keeps the value, or all that is wrong inside of it.
    pub fn all<T>(&mut self, result: Result<T, Invalid>) -> Option<T> {
        result.map_err(|invalid| self.violations.extend(invalid.violations)).ok()
    }

    pub fn finish(self) -> Result<(), Invalid> {
        if self.violations.is_empty() { Ok(()) } else { Err(Invalid { violations: self.violations }) }
    }

    /// The value, if nothing was refused; a missing value is always a refused one.
    pub fn finish_with<T>(self, value: Option<T>) -> Result<T, Invalid> {
        self.finish()?;
        value.ok_or_else(|| Invalid::one("request", "is incomplete"))
    }
}
