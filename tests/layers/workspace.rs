//! The workspace as cargo sees it, and its sources as they stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PREFIX: &str = "taskplane-";

/// One crate of ours.
pub struct Member {
    /// Without `taskplane-`.
    pub name: String,
    pub directory: PathBuf,
    pub dependencies: Vec<Dependency>,
}

pub struct Dependency {
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Build,
    Dev,
}

impl Member {
    /// Names of our own crates that this one is built from.
    pub fn arrows(&self) -> BTreeSet<&str> {
        self.linked().filter_map(|name| name.strip_prefix(PREFIX)).collect()
    }

    /// What this crate is built from, tests apart.
    pub fn linked(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|dependency| dependency.kind != Kind::Dev).map(|dependency| &*dependency.name)
    }

    pub fn depends_on(&self, name: &str) -> bool {
        self.dependencies.iter().any(|dependency| dependency.name == name)
    }

    /// Whether the sources, comments apart, name a crate's path.
    pub fn uses(&self, name: &str) -> bool {
        let path = format!("{}::", name.replace('-', "_"));
        let code = |file: PathBuf| fs::read_to_string(file).unwrap();
        sources(&self.directory.join("src")).into_iter().map(code).any(|text| {
            let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            lines.any(|line| names_path(line, &path))
        })
    }
}

/// `sea_orm::` but not `my_sea_orm::`.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

pub fn members() -> Vec<Member> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let name = text(&package["name"]);
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        kind: match value["kind"].as_str() {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            Some(other) => panic!("cargo knows a kind of dependency that this test does not: {other}"),
        },
    };
    Member {
        name: name.strip_prefix(PREFIX).unwrap_or(&name).to_owned(),
        directory: Path::new(&text(&package["manifest_path"])).parent().unwrap().to_owned(),
        dependencies: package["dependencies"].as_array().unwrap().iter().map(dependency).collect(),
    }
}

/// Everything that is linked into what `selection` names, on this platform, tests apart.
pub fn closure(selection: &[&str]) -> BTreeSet<String> {
    let tree = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let listed = cargo(&[&tree[..], selection].concat());
    listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All Rust files below a directory.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
