//! Compiles `proto/` without protoc, and keeps the descriptors for reflection and JSON.
#![expect(clippy::disallowed_methods, reason = "cargo tells build scripts by environment")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

const FILES: [&str; 13] = [
    "taskplane/v1/deletion.proto",
    "taskplane/v1/space.proto",
    "taskplane/v1/app.proto",
    "taskplane/v1/task.proto",
    "taskplane/v1/job.proto",
    "taskplane/v1/retention.proto",
    "taskplane/v1/security_group.proto",
    "taskplane/v1/service.proto",
    "taskplane/v1/event.proto",
    "taskplane/event/v1/event.proto",
    "taskplane/internal/v1/spec.proto",
    "taskplane/internal/v1/start_ticket.proto",
    "taskplane/internal/v1/executor.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let all = compiler.file_descriptor_set();
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    // The public listener describes itself, and nothing of the internal port.
    let mut public = all.clone();
    public.file.retain(|file| !file.package().starts_with("taskplane.internal"));
    fs::write(out.join("public.bin"), public.encode_to_vec())?;

    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(all)?;
    Ok(())
}
