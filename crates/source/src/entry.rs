//! Headers: one entry at a time, with the extension headers that speak of it.

use std::io::Read;

use tar::{EntryType, Header};

use crate::Limits;
use crate::contents::Contents;
use crate::error::{Reason, Refusal, SourceError};
use crate::pax::Pax;

pub(crate) const BLOCK_BYTES: usize = 512;

/// Extended attributes may stand in a PAX header beside the name; files may not.
const MAX_PAX_BYTES: u64 = 1 << 20;

/// One entry as the archive tells it; nothing about it is judged yet but its form.
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// Seconds since 1970, when the header has them.
    pub(crate) modified: Option<u64>,
}

pub(crate) enum Kind {
    /// Its data are the next bytes of the archive.
    File {
        size: u64,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
}

/// Reads entries; between two of them the caller reads the first one's data.
pub(crate) struct Entries<'a, R> {
    contents: Contents<R>,
    limits: &'a Limits,
    seen: u32,
    blocks: u64,
}

/// What came before an entry's own header.
#[derive(Default)]
struct Extension {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<'a, R: Read> Entries<'a, R> {
    pub(crate) fn open(archive: R, limits: &'a Limits) -> Result<Self, SourceError> {
        Ok(Self { contents: Contents::open(archive, limits)?, limits, seen: 0, blocks: 0 })
    }

    /// The next entry, or `None` at the two blocks of zeros that end an archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, SourceError> {
        let mut extension = Extension::default();
        while let Some(header) = self.header()? {
            match header.entry_type() {
                EntryType::XHeader if extension.pax.is_none() => {
                    extension.pax = Some(Pax::parse(&self.extension(&header, MAX_PAX_BYTES)?)?);
                }
                EntryType::GNULongName if extension.long_name.is_none() => {
                    extension.long_name = Some(self.long_name(&header)?);
                }
                EntryType::GNULongLink if extension.long_link.is_none() => {
                    extension.long_link = Some(self.long_name(&header)?);
                }
                EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                    return Err(Reason::Malformed("an extension that is there twice").into());
                }
                EntryType::XGlobalHeader => {
                    self.count()?;
                    if Pax::parse(&self.extension(&header, MAX_PAX_BYTES)?)?.speaks_of_an_entry() {
                        return Err(Reason::Malformed("a global one that names an entry").into());
                    }
                }
                _ => {
                    self.count()?;
                    return self.entry(&header, extension).map(Some);
                }
            }
        }
        if extension.is_empty() { Ok(None) } else { Err(Reason::Malformed("an extension of no entry").into()) }
    }

    /// Hands over a file's data piece by piece, and skips the padding after it.
    pub(crate) fn data(
        &mut self,
        size: u64,
        buf: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        self.contents.admit(size)?;
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            self.contents.exact(&mut buf[..want])?;
            each(&buf[..want])?;
            left -= want as u64;
        }
        let padding = (BLOCK_BYTES - (size % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES;
        self.contents.exact(&mut [0; BLOCK_BYTES][..padding])
    }

    /// Counts bytes that the archive does not hold but a copy of its tree does.
    pub(crate) fn charge(&mut self, size: u64) -> Result<(), SourceError> {
        self.contents.charge(size)
    }

    /// Checksum and size of the upload, once nothing but padding follows.
    pub(crate) fn finish(self) -> Result<([u8; 32], u64), SourceError> {
        self.contents.finish()
    }

    fn header(&mut self) -> Result<Option<Header>, SourceError> {
        let mut header = Header::new_old();
        let first = self.blocks == 0;
        let filled = self.contents.fill(header.as_mut_bytes())?;
        self.blocks += 1;
        match filled {
            BLOCK_BYTES => {}
            0 if first => return Err(Reason::Empty.into()),
            _ if first => return Err(Reason::NotAnArchive.into()),
            _ => return Err(Reason::Truncated.into()),
        }
        if is_zero(header.as_bytes()) {
            let mut second = [0; BLOCK_BYTES];
            self.contents.exact(&mut second)?;
            return if is_zero(&second) { Ok(None) } else { Err(Reason::TrailingJunk.into()) };
        }
        match header.cksum() {
            Ok(sum) if sum == checksum(header.as_bytes()) => Ok(Some(header)),
            _ if first => Err(Reason::NotAnArchive.into()),
            _ => Err(Reason::Malformed("a wrong checksum").into()),
        }
    }

    fn count(&mut self) -> Result<(), SourceError> {
        if self.seen >= self.limits.max_entries {
            return Err(Reason::TooManyEntries(self.limits.max_entries).into());
        }
        self.seen += 1;
        Ok(())
    }

    fn extension(&mut self, header: &Header, limit: u64) -> Result<Vec<u8>, SourceError> {
        let size = size(header)?;
        if size > limit {
            return Err(Reason::Malformed("an extension that is too long").into());
        }
        let mut text = Vec::new();
        self.data(size, &mut [0; BLOCK_BYTES], |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(text)
    }

    /// GNU's own way to long names: the data of a header of its own, ended by a NUL.
    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, SourceError> {
        let limit = self.limits.max_path_bytes;
        if size(header)? > limit as u64 + 1 {
            return Err(Reason::NameTooLong(limit).into());
        }
        let mut name = self.extension(header, limit as u64 + 1)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn entry(&self, header: &Header, extension: Extension) -> Result<Entry, SourceError> {
        let Extension { pax, long_name, long_link } = extension;
        let Pax { path, link, size, sparse } = pax.unwrap_or_default();
        let name = match path.or(long_name) {
            Some(name) => name,
            None => name_field(header)?,
        };
        let kind = match kind(header, &name, link.or(long_link), size) {
            Ok(_) if sparse => return Err(Refusal::entry(&name, Reason::Sparse).into()),
            judged => judged.map_err(|reason| Refusal::entry(&name, reason))?,
        };
        let mode = match header.mode() {
            Ok(mode) => mode & 0o7777,
            Err(_) => return Err(Refusal::entry(&name, Reason::Malformed("its mode")).into()),
        };
        Ok(Entry { name, kind, mode, modified: header.mtime().ok() })
    }
}

impl Extension {
    fn is_empty(&self) -> bool {
        let Self { pax, long_name, long_link } = self;
        pax.is_none() && long_name.is_none() && long_link.is_none()
    }
}

fn kind(header: &Header, name: &[u8], link: Option<Vec<u8>>, pax_size: Option<u64>) -> Result<Kind, Reason> {
    let size = size(header)?;
    if let Some(pax) = pax_size.filter(|pax| *pax != size) {
        return Err(Reason::SizeMismatch { ustar: size, pax });
    }
    let target = || link.map_or_else(|| linked(&header.as_old().linkname), Ok);
    let kind = match header.entry_type() {
        // Before ustar a directory was a file whose name ends in a slash; writers still mark it so beside its type.
        EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => return Ok(Kind::File { size }),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink { target: target()? },
        EntryType::Link => Kind::HardLink { target: target()? },
        EntryType::Char | EntryType::Block | EntryType::Fifo => return Err(Reason::SpecialFile),
        EntryType::GNUSparse => return Err(Reason::Sparse),
        other => return Err(Reason::UnsupportedType(other.as_byte().into())),
    };
    if size > 0 { Err(Reason::UnexpectedData) } else { Ok(kind) }
}

fn size(header: &Header) -> Result<u64, Reason> {
    header.entry_size().map_err(|_| Reason::Malformed("its size"))
}

/// The name as the header alone tells it, which ustar splits in two.
fn name_field(header: &Header) -> Result<Vec<u8>, SourceError> {
    let name = field(&header.as_old().name);
    let (prefix, name) = match header.as_ustar() {
        Some(ustar) => (field(&ustar.prefix), name),
        None => (Some(&[][..]), name),
    };
    match (prefix, name) {
        (Some([]), Some(name)) => Ok(name.to_vec()),
        (Some(prefix), Some(name)) => Ok([prefix, b"/", name].concat()),
        _ => Err(Refusal::entry(&header.as_old().name, Reason::NulInName).into()),
    }
}

fn linked(linkname: &[u8]) -> Result<Vec<u8>, Reason> {
    field(linkname).map(<[u8]>::to_vec).ok_or(Reason::NulInName)
}

/// A field ends at its first NUL, and only NULs may follow: readers would differ about anything else.
fn field(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    is_zero(&bytes[end..]).then_some(&bytes[..end])
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The sum of a header's bytes, its own field read as spaces.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}
