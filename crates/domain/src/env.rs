//! Environment variables: names a shell takes, values nobody may see.

use std::collections::BTreeMap;
use std::fmt;

use crate::invalid::{Check, Invalid};

/// One value.
pub const VALUE_MAX: usize = 32 * 1024;
/// All that one Task brings along.
pub const TASK_MAX: usize = 32 * 1024;
/// All of an App, or all of a Space; together they may have twice as much.
pub const INHERITED_MAX: usize = 64 * 1024;

/// Of the first binding with a `uri`; without one a variable like any other.
pub const DATABASE_URL: &str = "DATABASE_URL";
/// Where the files of bindings are.
pub const BINDING_ROOT: &str = "SERVICE_BINDING_ROOT";

/// Names that the platform sets itself.
const RESERVED: [&str; 5] = [BINDING_ROOT, "INSTANCE_GUID", "MEMORY_LIMIT", "MEMORY_LIMIT_IN_MB", "DISK_LIMIT"];
const RESERVED_PREFIXES: [&str; 6] = ["VCAP_", "CF_INSTANCE_", "CF_TASK_", "KUBERNETES_", "TASKPLANE_", "KFT_CMD_"];

/// A value that must not be printed: it has no `Debug`, no `Display` and leaves only by [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a Task brought along. Only who hands it to an executor needs the values; everybody else knows the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnv {
    /// On its way in, or out.
    Open(Env),
    /// As it is kept.
    Sealed(SealedEnv),
}

/// Variables that only the holder of a key can open, and only in the place they were sealed for.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedEnv {
    pub names: Vec<String>,
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealedEnv").field(&self.names).finish()
    }
}

impl From<Env> for TaskEnv {
    fn from(env: Env) -> Self {
        Self::Open(env)
    }
}

impl TaskEnv {
    /// Sorted.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Open(env) => env.names().collect(),
            Self::Sealed(sealed) => sealed.names.iter().map(String::as_str).collect(),
        }
    }

    /// Sealed by `seal`, where there is something to seal and it is not yet.
    pub fn sealed(self, seal: impl FnOnce(&Env) -> SealedEnv) -> Self {
        match self {
            Self::Open(env) if !env.is_empty() => Self::Sealed(seal(&env)),
            env => env,
        }
    }
}

/// Variables by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Env(BTreeMap<String, Secret>);

impl Env {
    /// Checks names and sizes of what a user brings under `field`, which may have `max` bytes in all.
    pub fn parse(field: &str, vars: impl IntoIterator<Item = (String, String)>, max: usize) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let mut env = BTreeMap::new();
        for (name, value) in vars {
            if let Some(problem) = problem_of(&name) {
                // The name may be a value that slipped into the wrong place: only its beginning is repeated.
                check.refuse(format!("{field}[{}]", shown(&name)), problem);
            } else if value.contains('\0') {
                check.refuse(format!("{field}[{name}]"), "must not contain NUL");
            } else if value.len() > VALUE_MAX {
                check.refuse(format!("{field}[{name}]"), format!("must be at most {VALUE_MAX} bytes long"));
            }
            env.insert(name, Secret::new(value));
        }
        let env = Self(env);
        if env.size() > max {
            check.refuse(field, format!("must be at most {max} bytes in all, names included"));
        }
        check.finish_with(Some(env))
    }

    /// What was checked before and comes back from where it was kept.
    pub fn stored(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(vars.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    }

    /// These variables, with `over` replacing those of the same name.
    pub fn overlaid(mut self, over: &Self) -> Self {
        self.0.extend(over.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// These variables without those names.
    pub fn without(mut self, names: &[String]) -> Self {
        for name in names {
            self.0.remove(name);
        }
        self
    }

    /// These variables, with one of them as `asked` has it: also when it has none of that name.
    pub fn with_one_of(mut self, asked: &Self, name: &str) -> Self {
        match asked.0.get(name) {
            Some(value) => self.0.insert(name.to_owned(), value.clone()),
            None => self.0.remove(name),
        };
        self
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.0.len()).sum()
    }
}

fn problem_of(name: &str) -> Option<&'static str> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Some("is no name that a shell takes: use letters, digits and _, not beginning with a digit")
    } else if name.len() > 256 {
        Some("must have a name of at most 256 characters")
    } else if RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        Some("is set by the platform and cannot be replaced: choose another name")
    } else {
        None
    }
}

/// The beginning of a malformed name, fit to be printed.
fn shown(name: &str) -> String {
    name.chars().take(16).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Env, Invalid> {
        Env::parse("env", [(name.to_owned(), value.to_owned())], TASK_MAX)
    }

    #[test]
    fn names_that_no_shell_takes_are_refused() {
        for bad in ["", "=", "A=B", "1A", "A-B", "A B", "A\0", "Ä", "A.B", "\u{1b}[31m"] {
            assert!(parse(bad, "x").is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn names_that_the_platform_sets_are_refused() {
        for bad in
            ["VCAP_SERVICES", "VCAP_X", "KUBERNETES_SERVICE_HOST", "CF_INSTANCE_IP", "TASKPLANE_RUN", "MEMORY_LIMIT"]
        {
            assert!(parse(bad, "x").is_err(), "{bad:?} was accepted");
        }
        for good in ["PATH", "LD_PRELOAD", "DATABASE_URL", "_", "a", "A1"] {
            assert!(parse(good, "x").is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn sizes_are_bounded_to_the_byte() {
        assert!(parse("A", &"x".repeat(TASK_MAX - 1)).is_ok());
        assert!(parse("A", &"x".repeat(TASK_MAX)).is_err());
        assert!(Env::parse("env", [("A".into(), "x".repeat(VALUE_MAX))], INHERITED_MAX).is_ok());
        assert!(Env::parse("env", [("A".into(), "x".repeat(VALUE_MAX + 1))], INHERITED_MAX).is_err());
    }

    #[test]
    fn a_value_is_never_printed() {
        let env = parse("A", "canary\0").unwrap_err();
        assert!(!format!("{env} {env:?} {:?}", parse("A", "canary").unwrap()).contains("canary"));
    }
}
