//! Arguments of the commands about services, bindings and environments.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct ServiceArgs {
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

/// What can be said of a service.
#[derive(Debug, Args)]
pub struct ServiceSettings {
    /// Credentials as a JSON object: the object itself, @FILE, or - for standard input; what stands here is in your shell's
    /// history and in the list of processes
    #[arg(short = 'p', long, value_name = "JSON|@FILE|-")]
    pub credentials: Option<String>,
    /// Instead of credentials the name of a Secret in the cluster
    #[arg(long, value_name = "NAME", conflicts_with = "credentials")]
    pub secret: Option<String>,
    /// What VCAP_SERVICES lists it under; user-provided by default
    #[arg(long)]
    pub label: Option<String>,
    #[arg(long)]
    pub plan: Option<String>,
    /// Tags, separated by commas
    #[arg(short = 't', long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub struct WriteServiceArgs {
    #[arg(value_name = "SERVICE")]
    pub service: String,
    #[command(flatten)]
    pub settings: ServiceSettings,
}

#[derive(Debug, Args)]
pub struct DeleteServiceArgs {
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct BindServiceArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// What the App knows it as; the service's name by default
    #[arg(short = 'b', long, value_name = "NAME")]
    pub binding_name: Option<String>,
}

#[derive(Debug, Args)]
pub struct UnbindServiceArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    /// The service, or the binding
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

#[derive(Debug, Args)]
pub struct BindingsArgs {
    /// Only this App's
    #[arg(short = 'a', long, value_name = "APP")]
    pub app: Option<String>,
    /// Only this service's
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
}

#[derive(Debug, Args)]
pub struct SetEnvArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    #[command(flatten)]
    pub variable: Variable,
}

#[derive(Debug, Args)]
pub struct UnsetEnvArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// A variable, its value perhaps out of sight.
#[derive(Debug, Args)]
pub struct Variable {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Read from standard input when left out: what stands here is in your shell's history and in the list of processes
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub value: Option<String>,
}

#[derive(Debug, Args)]
pub struct NameArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `[SPACE] NAME VALUE`: the Space may be left out when it is the targeted one.
#[derive(Debug, Args)]
#[command(override_usage = "taskplane configure-space set-env [SPACE] NAME VALUE")]
pub struct SpaceVariable {
    /// The Space, or else the name
    #[arg(value_name = "SPACE")]
    pub first: String,
    /// Name or value
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    pub second: Option<String>,
    /// Read from standard input when nothing but a name is given
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub third: Option<String>,
}

impl SpaceVariable {
    /// The Space when it was named, and the variable.
    pub fn read(self) -> (Option<String>, Variable) {
        match (self.second, self.third) {
            (Some(name), Some(value)) => (Some(self.first), Variable { name, value: Some(value) }),
            (value, _) => (None, Variable { name: self.first, value }),
        }
    }
}

/// `[SPACE] NAME`.
#[derive(Debug, Args)]
#[command(override_usage = "taskplane configure-space unset-env [SPACE] NAME")]
pub struct SpaceVariableName {
    /// The Space, or else the name
    #[arg(value_name = "SPACE")]
    pub first: String,
    #[arg(value_name = "NAME")]
    pub second: Option<String>,
}

impl SpaceVariableName {
    pub fn read(self) -> (Option<String>, String) {
        match self.second {
            Some(name) => (Some(self.first), name),
            None => (None, self.first),
        }
    }
}

#[derive(Debug, Args)]
pub struct MaybeSpace {
    /// The targeted Space when left out
    #[arg(value_name = "SPACE")]
    pub space: Option<String>,
}

/// What of the Space is to be changed or shown.
#[derive(Debug, Subcommand)]
pub enum ConfigureSpace {
    /// Set a variable for all Apps of the Space
    SetEnv(SpaceVariable),
    /// Take a variable out of the Space
    UnsetEnv(SpaceVariableName),
    /// List the names of the Space's variables
    GetEnv(MaybeSpace),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(first: &str, second: Option<&str>, third: Option<&str>) -> (Option<String>, String, Option<String>) {
        let words = SpaceVariable { first: first.into(), second: second.map(Into::into), third: third.map(Into::into) };
        let (space, Variable { name, value }) = words.read();
        (space, name, value)
    }

    #[test]
    fn the_space_of_a_variable_may_be_left_out() {
        assert_eq!(read("blue", Some("A"), Some("1")), (Some("blue".into()), "A".into(), Some("1".into())));
        assert_eq!(read("A", Some("1"), None), (None, "A".into(), Some("1".into())));
        assert_eq!(read("A", None, None), (None, "A".into(), None));
    }
}
