//! Names of entries and targets of links: taken apart, and refused unless they stay inside.

use crate::Limits;
use crate::error::Reason;

/// What file systems bear in one part of a name.
const MAX_PART_BYTES: usize = 255;

/// The parts of an entry's name, without `.` and doubled slashes. No parts at all is the archive's root.
pub(crate) fn parts<'a>(name: &'a [u8], limits: &Limits) -> Result<Vec<&'a [u8]>, Reason> {
    if name.is_empty() {
        return Err(Reason::EmptyName);
    }
    if name.contains(&0) {
        return Err(Reason::NulInName);
    }
    if name.starts_with(b"/") {
        return Err(Reason::AbsoluteName);
    }
    let parts: Vec<&[u8]> = split(name).collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err(Reason::ParentInName);
    }
    if name.len() > limits.max_path_bytes {
        return Err(Reason::NameTooLong(limits.max_path_bytes));
    }
    if parts.iter().any(|part| part.len() > MAX_PART_BYTES) {
        return Err(Reason::PartTooLong(MAX_PART_BYTES));
    }
    if parts.len() > usize::from(limits.max_depth) {
        return Err(Reason::TooDeep(limits.max_depth));
    }
    Ok(parts)
}

/// Holds a symbolic link's target inside the archive, `depth` directories below whose root the link lies.
///
/// `..` may stand only in front. There it climbs real directories, for nothing is ever written through a link; after a name it
/// would climb from wherever that name leads, and no reading of the text could say where that is.
pub(crate) fn stays_inside(target: &[u8], depth: usize, limits: &Limits) -> Result<(), Reason> {
    if target.is_empty() {
        return Err(Reason::LinkWithoutTarget);
    }
    if target.contains(&0) {
        return Err(Reason::NulInName);
    }
    if target.len() > limits.max_path_bytes {
        return Err(Reason::NameTooLong(limits.max_path_bytes));
    }
    let climbs = split(target).take_while(|part| *part == b"..").count();
    let climbs_later = split(target).skip(climbs).any(|part| part == b"..");
    if target.starts_with(b"/") || climbs > depth || climbs_later {
        return Err(Reason::LinkEscapes);
    }
    Ok(())
}

/// One key for all spellings that a file system which ignores case would take for the same name.
pub(crate) fn folded(part: &[u8]) -> Box<[u8]> {
    match std::str::from_utf8(part) {
        // Up and down again, for letters such as ß that change only on the way up.
        Ok(text) => text.to_uppercase().to_lowercase().into_bytes().into(),
        Err(_) => part.to_ascii_lowercase().into(),
    }
}

fn split(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}
