//! Files that others wait for.

use std::io;
use std::path::Path;

/// Whoever waits for the file never reads half of it.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, path)
}
