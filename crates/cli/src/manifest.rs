//! `manifest.yml` as Cloud Foundry writes it, reduced to what an App that only runs Tasks can use.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_yaml_ng::{Mapping, Value};

/// What is wrong with a manifest, with the place.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    #[error("{0}: {1}")]
    Syntax(String, serde_yaml_ng::Error),
    #[error("{file}: {place}: expected {expected}")]
    Shape { file: String, place: String, expected: &'static str },
    #[error("{file}: {place}: (({name})) has no value; add --var {name}=VALUE")]
    Variable { file: String, place: String, name: String },
    #[error("{file} has no application `{wanted}`, it has {present}")]
    NoSuchApplication { file: String, wanted: String, present: String },
    #[error("{file} has no applications")]
    Empty { file: String },
}

/// One application of a manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Application {
    pub name: Option<String>,
    /// Relative to the manifest in the file, to the current directory here.
    pub path: Option<PathBuf>,
    pub command: Option<String>,
    pub memory: Option<String>,
    pub disk: Option<String>,
    pub cpu: Option<String>,
    pub env: BTreeMap<String, String>,
    pub image: Option<String>,
    /// Names of services, with what their bindings are to be called.
    pub services: Vec<(String, Option<String>)>,
    pub task_retention_count: Option<i32>,
    /// What stands in the file and has no effect, a line each.
    pub warnings: Vec<String>,
}

/// Fields of Cloud Foundry that mean something for long-running processes only, or that have no counterpart here.
const NOT_FOR_TASKS: [&str; 32] = [
    "args",
    "build",
    "buildpack",
    "buildpacks",
    "default-route",
    "dockerfile",
    "domain",
    "domains",
    "entrypoint",
    "features",
    "health-check-http-endpoint",
    "health-check-interval",
    "health-check-invocation-timeout",
    "health-check-type",
    "host",
    "hosts",
    "instances",
    "lifecycle",
    "log-rate-limit-per-second",
    "metadata",
    "no-hostname",
    "ports",
    "processes",
    "random-route",
    "readiness-health-check-http-endpoint",
    "readiness-health-check-interval",
    "readiness-health-check-invocation-timeout",
    "readiness-health-check-type",
    "routes",
    "sidecars",
    "stack",
    "timeout",
];

/// Finds the manifest that a push without `--manifest` reads.
pub fn beside(directory: &Path) -> Option<PathBuf> {
    ["manifest.yml", "manifest.yaml"].iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

/// Reads a manifest, or the one in a directory, and picks the application that is pushed as `app`.
pub fn read(path: &Path, app: &str, vars: &BTreeMap<String, String>) -> Result<Application, ManifestError> {
    let path = if path.is_dir() { path.join("manifest.yml") } else { path.to_path_buf() };
    let file = path.display().to_string();
    let text = fs::read_to_string(&path).map_err(|error| ManifestError::Unreadable(file.clone(), error))?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut application = pick(&Reader { file: &file, vars }, &text, app)?;
    application.path = application.path.map(|path| base.join(path));
    Ok(application)
}

struct Reader<'a> {
    file: &'a str,
    vars: &'a BTreeMap<String, String>,
}

fn pick(reader: &Reader<'_>, text: &str, app: &str) -> Result<Application, ManifestError> {
    let syntax = |error| ManifestError::Syntax(reader.file.to_owned(), error);
    let mut document: Value = serde_yaml_ng::from_str(text).map_err(syntax)?;
    document.apply_merge().map_err(syntax)?;
    let document = document.as_mapping().ok_or_else(|| reader.shape("the file", "a mapping with `applications`"))?;

    let mut warnings = Vec::new();
    for (key, _) in document {
        match key.as_str() {
            Some("applications" | "version") => {}
            _ => warnings.push(format!("manifest field {} is not known, ignored", shown(key))),
        }
    }
    let list = match document.get("applications") {
        Some(Value::Sequence(list)) if !list.is_empty() => list,
        Some(Value::Sequence(_) | Value::Null) | None => {
            return Err(ManifestError::Empty { file: reader.file.to_owned() });
        }
        Some(_) => return Err(reader.shape("applications", "a list")),
    };

    // Names first: only the chosen application must be right in every field.
    let mut named = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let place = format!("applications[{index}]");
        let fields = value.as_mapping().ok_or_else(|| reader.shape(&place, "a mapping"))?;
        let name = match fields.get("name") {
            Some(name) => reader.text(&format!("{place}.name"), name)?,
            None => None,
        };
        named.push((place, name, fields));
    }
    let chosen = match named.as_slice() {
        [only] => only,
        several => several.iter().find(|(_, name, _)| name.as_deref() == Some(app)).ok_or_else(|| {
            let present: Vec<&str> = several.iter().filter_map(|(_, name, _)| name.as_deref()).collect();
            ManifestError::NoSuchApplication {
                file: reader.file.to_owned(),
                wanted: app.to_owned(),
                present: present.join(", "),
            }
        })?,
    };
    let (place, _, fields) = chosen;
    let mut application = reader.application(place, fields)?;
    warnings.append(&mut application.warnings);
    application.warnings = warnings;
    Ok(application)
}

impl Reader<'_> {
    fn application(&self, place: &str, fields: &Mapping) -> Result<Application, ManifestError> {
        let mut app = Application::default();
        for (key, value) in fields {
            let name = key.as_str().unwrap_or_default();
            let at = format!("{place}.{name}");
            match name {
                "name" => app.name = self.text(&at, value)?,
                "path" => app.path = self.text(&at, value)?.map(PathBuf::from),
                "command" => app.command = self.text(&at, value)?,
                "memory" => app.memory = self.text(&at, value)?,
                "disk_quota" | "disk-quota" => app.disk = self.text(&at, value)?,
                "cpu" | "cpu-cores" => app.cpu = self.text(&at, value)?,
                "env" => app.env = self.env(&at, value)?,
                "services" => app.services = self.services(&at, value, &mut app.warnings)?,
                "docker" => self.docker(&at, value, &mut app)?,
                "task-retention-count" => app.task_retention_count = self.number(&at, value)?,
                // What they ask for is how it is.
                "no-route" | "task" => {}
                name if NOT_FOR_TASKS.contains(&name) => app
                    .warnings
                    .push(format!("manifest field \"{name}\" does not apply to an App that only runs Tasks, ignored")),
                _ => app.warnings.push(format!("manifest field {} is not known, ignored", shown(key))),
            }
        }
        Ok(app)
    }

    fn docker(&self, place: &str, value: &Value, app: &mut Application) -> Result<(), ManifestError> {
        let fields = value.as_mapping().ok_or_else(|| self.shape(place, "a mapping with `image`"))?;
        for (key, value) in fields {
            match key.as_str() {
                Some("image") => app.image = self.text(&format!("{place}.image"), value)?,
                _ => app.warnings.push(format!("manifest field {} is not known, ignored", shown(key))),
            }
        }
        Ok(())
    }

    /// Each a name, or a mapping with `name` and perhaps `binding_name`.
    fn services(
        &self,
        place: &str,
        value: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<(String, Option<String>)>, ManifestError> {
        let list = match value {
            Value::Null => return Ok(Vec::new()),
            Value::Sequence(list) => list,
            _ => return Err(self.shape(place, "a list of services")),
        };
        let mut services = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let at = format!("{place}[{index}]");
            let Value::Mapping(fields) = value else {
                let name = self.text(&at, value)?.ok_or_else(|| self.shape(&at, "the name of a service"))?;
                services.push((name, None));
                continue;
            };
            let (mut name, mut binding) = (None, None);
            for (key, value) in fields {
                match key.as_str() {
                    Some("name") => name = self.text(&format!("{at}.name"), value)?,
                    Some("binding_name") => binding = self.text(&format!("{at}.binding_name"), value)?,
                    _ => warnings.push(format!("manifest field {} of a service has no effect, ignored", shown(key))),
                }
            }
            services.push((name.ok_or_else(|| self.shape(&at, "the `name` of a service"))?, binding));
        }
        Ok(services)
    }

    fn env(&self, place: &str, value: &Value) -> Result<BTreeMap<String, String>, ManifestError> {
        if value.is_null() {
            return Ok(BTreeMap::new());
        }
        let fields = value.as_mapping().ok_or_else(|| self.shape(place, "a mapping of names to values"))?;
        let mut env = BTreeMap::new();
        for (key, value) in fields {
            let name = scalar(key).ok_or_else(|| self.shape(place, "names that are text"))?;
            let at = format!("{place}.{name}");
            let value = match value {
                // As the cf command line does: what has structure becomes JSON.
                Value::Mapping(_) | Value::Sequence(_) => {
                    let json = serde_json::to_string(value).map_err(|_| self.shape(&at, "keys that are text"))?;
                    self.substitute(&at, &json)?
                }
                value => self.text(&at, value)?.unwrap_or_default(),
            };
            env.insert(name, value);
        }
        Ok(env)
    }

    /// A text, a number or a truth value, as text, with its variables filled in; nothing for null.
    fn text(&self, place: &str, value: &Value) -> Result<Option<String>, ManifestError> {
        if value.is_null() {
            return Ok(None);
        }
        let text = scalar(value).ok_or_else(|| self.shape(place, "a text"))?;
        self.substitute(place, &text).map(Some)
    }

    fn number(&self, place: &str, value: &Value) -> Result<Option<i32>, ManifestError> {
        let text = self.text(place, value)?;
        text.map(|text| text.parse().map_err(|_| self.shape(place, "a whole number"))).transpose()
    }

    fn substitute(&self, place: &str, text: &str) -> Result<String, ManifestError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("((") {
            let name_and_rest = after.split_once("))").filter(|(name, _)| is_variable(name));
            let Some((name, behind)) = name_and_rest else {
                // Not a variable: a shell's `((` for instance.
                out.push_str(before);
                out.push_str("((");
                rest = after;
                continue;
            };
            let value = self.vars.get(name).ok_or_else(|| ManifestError::Variable {
                file: self.file.to_owned(),
                place: place.to_owned(),
                name: name.to_owned(),
            })?;
            out.push_str(before);
            out.push_str(value);
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn shape(&self, place: &str, expected: &'static str) -> ManifestError {
        ManifestError::Shape { file: self.file.to_owned(), place: place.to_owned(), expected }
    }
}

/// A variable begins with a letter or `_`: a shell's arithmetic, `((1+2))` or `((i++))`, is left alone.
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn shown(key: &Value) -> String {
    scalar(key).map_or_else(|| "that is no text".to_owned(), |name| format!("\"{name}\""))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
