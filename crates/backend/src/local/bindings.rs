//! What an App is bound to, as files for its runs: a directory for each binding with a file for each credential, as
//! servicebinding.io has it. They lie beside the working copy, are there for the run alone, and go when it is over.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use taskplane_domain::env::Secret;
use taskplane_domain::service::{BoundService, Credentials, ServiceSpec};

use crate::record;

const PROVIDER: &str = "user-provided";
const NAME_MAX: usize = 253;

/// Below the run's directory, where there is something to write.
pub(super) fn write(dir: &Path, services: &[BoundService]) -> io::Result<()> {
    if services.is_empty() {
        return Ok(());
    }
    let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    let root = dir.join(record::BINDINGS);
    private(&root)?;
    for BoundService { binding, instance: _, spec } in services {
        let dir = root.join(binding.as_str());
        private(&dir)?;
        for (name, content) in files(spec) {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(dir.join(name))?;
            file.write_all(content.reveal().as_bytes())?;
        }
    }
    Ok(())
}

/// Credentials named `type` or `provider` say so themselves. A key that is no name of a file is in `VCAP_SERVICES` alone.
fn files(spec: &ServiceSpec) -> Vec<(String, Secret)> {
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
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fine) && name.bytes().any(|byte| byte != b'.')
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
            let mut files: Vec<_> =
                files(&spec).into_iter().map(|(name, content)| format!("{name}={}", content.reveal())).collect();
            files.sort();
            files
        };
        assert_eq!(told("{}"), ["provider=user-provided", "type=pg"]);
        assert_eq!(told(r#"{"type":"mysql","port":1}"#), ["port=1", "provider=user-provided", "type=mysql"]);
    }
}
