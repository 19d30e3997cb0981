//! What an App is bound to, as files for its runs: a directory for each binding with a file for each credential, as
//! servicebinding.io has it. They lie beside the working copy, are there for the run alone, and go when it is over.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use taskplane_domain::service::BoundService;

use crate::record;
use crate::told::binding_files;

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
        for (name, content) in binding_files(spec) {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(dir.join(name))?;
            file.write_all(content.reveal().as_bytes())?;
        }
    }
    Ok(())
}
