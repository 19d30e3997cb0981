//! Compiles the one question that a guard asks, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::Path::new("../../proto");
    println!("cargo::rerun-if-changed={}", root.join("taskplane/internal/v1/start_ticket.proto").display());
    let files = protox::compile(["taskplane/internal/v1/start_ticket.proto"], [root])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
