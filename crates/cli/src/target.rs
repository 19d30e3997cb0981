//! Which api and Space a command speaks to: flags and environment first, then what `target` stored.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::Everywhere;
use crate::failure::Failure;

/// Where a standalone listens when nobody says otherwise.
pub const DEFAULT_API: &str = "http://127.0.0.1:7070";

/// The content of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
}

/// What a command speaks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub api: String,
    /// Who vouches for it, when it is reached by https.
    pub ca_file: Option<PathBuf>,
    pub space: Option<String>,
}

impl Target {
    pub fn choose(everywhere: &Everywhere, stored: &Stored) -> Self {
        let first = |given: &Option<String>, kept: &Option<String>| {
            [given, kept].into_iter().flatten().find(|text| !text.is_empty()).cloned()
        };
        Self {
            api: first(&everywhere.api, &stored.api).unwrap_or_else(|| DEFAULT_API.to_owned()),
            ca_file: [&everywhere.ca_file, &stored.ca_file]
                .into_iter()
                .flatten()
                .find(|path| !path.as_os_str().is_empty())
                .cloned(),
            space: first(&everywhere.space, &stored.space),
        }
    }
}

/// The configuration file's path, if there is any place for one.
pub fn config_path(everywhere: &Everywhere) -> Option<PathBuf> {
    let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    given(&everywhere.config).or_else(|| {
        // The specification of these directories says to ignore relative paths.
        let home = given(&everywhere.config_home)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(std::env::home_dir()?.join(".config")))?;
        Some(home.join("taskplane").join("config.yaml"))
    })
}

/// Reads what was stored; a file that is not there stores nothing.
pub fn load(path: Option<&Path>) -> Result<Stored, Failure> {
    let Some(path) = path else { return Ok(Stored::default()) };
    let fix = || "fix or remove the file".to_owned();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
        Err(error) => {
            return Err(Failure::wrong_with(format!("cannot read {}: {error}", path.display()), fix()));
        }
    };
    serde_yaml_ng::from_str::<Option<Stored>>(&text)
        .map(Option::unwrap_or_default)
        .map_err(|error| Failure::wrong_with(format!("cannot read {}: {error}", path.display()), fix()))
}

/// Stores a choice; readers see the old file or the new one, never a part.
pub fn store(path: &Path, stored: &Stored) -> Result<(), Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::wrong(format!("cannot write {}: {error}", path.display()));
    let text = serde_yaml_ng::to_string(stored).map_err(|error| cannot(&error))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(|error| cannot(&error))?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| cannot(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| cannot(&error))?;
    file.persist(path).map_err(|error| cannot(&error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everywhere(api: Option<&str>, space: Option<&str>) -> Everywhere {
        Everywhere {
            api: api.map(str::to_owned),
            ca_file: None,
            space: space.map(str::to_owned),
            config: None,
            config_home: None,
            output: crate::args::Output::Table,
            request_timeout: std::time::Duration::from_secs(1),
        }
    }

    #[test]
    fn what_is_typed_beats_what_is_stored() {
        let stored = Stored {
            api: Some("http://stored:1".to_owned()),
            ca_file: Some("/ca".into()),
            space: Some("stored".to_owned()),
        };
        let typed = Target::choose(&everywhere(Some("http://typed:1"), None), &stored);
        assert_eq!(
            typed,
            Target { api: "http://typed:1".to_owned(), ca_file: Some("/ca".into()), space: Some("stored".to_owned()) }
        );
        let nothing = Target::choose(&everywhere(Some(""), None), &Stored::default());
        assert_eq!(nothing, Target { api: DEFAULT_API.to_owned(), ca_file: None, space: None });
    }

    #[test]
    fn a_stored_choice_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/config.yaml");
        assert_eq!(load(Some(&path)).unwrap(), Stored::default());
        let stored = Stored { space: Some("blue".to_owned()), ..Stored::default() };
        store(&path, &stored).unwrap();
        assert_eq!(load(Some(&path)).unwrap(), stored);
    }

    #[test]
    fn an_empty_file_stores_nothing_and_a_broken_one_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "").unwrap();
        assert_eq!(load(Some(&path)).unwrap(), Stored::default());
        fs::write(&path, "api: [1\nspace: x").unwrap();
        let line = load(Some(&path)).unwrap_err().line();
        assert!(line.contains("line") && line.ends_with("fix or remove the file"), "{line}");
    }

    #[test]
    fn the_file_lies_in_the_configuration_directory() {
        let mut flags = everywhere(None, None);
        flags.config_home = Some(PathBuf::from("/c"));
        assert_eq!(config_path(&flags).unwrap(), Path::new("/c/taskplane/config.yaml"));
        flags.config_home = Some(PathBuf::from("relative"));
        assert!(config_path(&flags).unwrap().ends_with(".config/taskplane/config.yaml"));
        flags.config = Some(PathBuf::from("here.yaml"));
        assert_eq!(config_path(&flags).unwrap(), Path::new("here.yaml"));
    }
}
