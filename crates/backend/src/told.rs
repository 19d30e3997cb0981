//! What each run is told, wherever it runs.

use serde_json::json;
use taskplane_domain::env::Secret;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::RunSpec;
use taskplane_domain::service::{Credentials, ServiceSpec};

/// What Cloud Foundry says when nothing is said: nothing listens there.
pub(crate) const PORT: &str = "8080";
pub(crate) const LANG: &str = "en_US.UTF-8";
const PROVIDER: &str = "user-provided";
const FILE_NAME_MAX: usize = 253;

/// `VCAP_APPLICATION`.
pub(crate) fn application(spec: &RunSpec, resources: Resources) -> String {
    let mut limits = serde_json::Map::new();
    if let Some(memory) = resources.memory {
        limits.insert("mem".to_owned(), memory.mebibytes().into());
    }
    if let Some(disk) = resources.disk {
        limits.insert("disk".to_owned(), disk.mebibytes().into());
    }
    json!({
        "application_id": spec.app_uid.to_string(),
        "application_name": spec.name.app.as_str(),
        "application_uris": [],
        "application_version": spec.app_revision.to_string(),
        "limits": limits,
        "name": spec.name.app.as_str(),
        "process_id": spec.app_uid.to_string(),
        "process_type": "task",
        "space_id": spec.space_uid.to_string(),
        "space_name": spec.name.space.as_str(),
        "uris": [],
    })
    .to_string()
}

/// `MEMORY_LIMIT` and its like, for what is limited.
pub(crate) fn limits(resources: Resources) -> Vec<(&'static str, String)> {
    let mut vars = Vec::new();
    if let Some(memory) = resources.memory {
        vars.push(("MEMORY_LIMIT", format!("{}M", memory.mebibytes())));
        vars.push(("MEMORY_LIMIT_IN_MB", memory.mebibytes().to_string()));
    }
    if let Some(disk) = resources.disk {
        vars.push(("DISK_LIMIT", disk.mebibytes().to_string()));
    }
    vars
}

/// A service's credentials as files, as servicebinding.io has them. Those named `type` or `provider` say so themselves. A key
/// that is no name of a file is in `VCAP_SERVICES` alone.
pub(crate) fn binding_files(spec: &ServiceSpec) -> Vec<(String, Secret)> {
    let ServiceSpec { label, plan: _, tags: _, credentials } = spec;
    let mut files = match credentials {
        Credentials::Given(text) => text.values(),
        Credentials::InSecret(_) => Vec::new(),
    };
    files.retain(|(name, _)| is_file_name(name));
    for (name, content) in [("type", label.as_str()), ("provider", PROVIDER)] {
        if !files.iter().any(|(known, _)| known == name) {
            files.push((name.to_owned(), Secret::new(content)));
        }
    }
    files
}

fn is_file_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=FILE_NAME_MAX).contains(&name.len()) && name.bytes().all(fine) && name.bytes().any(|byte| byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_lead_elsewhere_are_no_files() {
        for bad in ["", ".", "..", "...", "a/b", "../a", "a\0b", "a b", "ä", &"x".repeat(254)] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
        for good in ["uri", "a.b", ".hidden", "A-1_x"] {
            assert!(is_file_name(good), "{good:?}");
        }
    }

    #[test]
    fn a_type_and_a_provider_are_always_told() {
        let told = |credentials: &str| {
            let spec = ServiceSpec::parse("pg".into(), "".into(), vec![], credentials.into(), "".into()).unwrap();
            let mut files: Vec<_> = binding_files(&spec)
                .into_iter()
                .map(|(name, content)| format!("{name}={}", content.reveal()))
                .collect();
            files.sort();
            files
        };
        assert_eq!(told("{}"), ["provider=user-provided", "type=pg"]);
        assert_eq!(told(r#"{"type":"mysql","port":1}"#), ["port=1", "provider=user-provided", "type=mysql"]);
    }
}
