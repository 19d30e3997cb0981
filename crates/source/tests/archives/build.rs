//! Archives built block by block, so that they can be wrong in any way.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::Header;
use taskplane_source::{Limits, Reason, SourceError, Summary, check, unpack};

/// A tar being written.
#[derive(Debug, Clone, Default)]
pub struct Tar {
    pub bytes: Vec<u8>,
}

/// One header's fields as they will stand in the block.
#[derive(Clone)]
pub struct Head<'a> {
    pub name: &'a [u8],
    pub kind: u8,
    pub size: u64,
    pub mode: u32,
    pub link: &'a [u8],
}

impl<'a> Head<'a> {
    pub fn file(name: &'a str, size: usize) -> Self {
        Self { name: name.as_bytes(), kind: b'0', size: size as u64, mode: 0o644, link: b"" }
    }

    pub fn block(&self) -> [u8; 512] {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..self.name.len()].copy_from_slice(self.name);
        header.as_old_mut().linkname[..self.link.len()].copy_from_slice(self.link);
        header.as_old_mut().linkflag[0] = self.kind;
        header.set_size(self.size);
        header.set_mode(self.mode);
        header.set_mtime(1_000_000_000);
        header.set_cksum();
        *header.as_bytes()
    }
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn entry(mut self, head: &Head<'_>, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(&head.block());
        self.data(data)
    }

    pub fn data(mut self, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(data);
        let padding = self.bytes.len().next_multiple_of(512) - self.bytes.len();
        self.zeros(padding)
    }

    pub fn zeros(mut self, count: usize) -> Self {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.entry(&Head::file(name, data.len()), data.as_bytes())
    }

    pub fn directory(self, name: &str) -> Self {
        self.entry(&Head { kind: b'5', mode: 0o755, ..Head::file(name, 0) }, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(&Head { kind: b'2', link: target.as_bytes(), ..Head::file(name, 0) }, b"")
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(&Head { kind: b'1', link: target.as_bytes(), ..Head::file(name, 0) }, b"")
    }

    /// A header that carries text for the next entry: `x` and `g` for PAX, `L` and `K` for GNU.
    pub fn extension(self, kind: u8, text: &[u8]) -> Self {
        self.entry(&Head { kind, ..Head::file("extension", text.len()) }, text)
    }

    pub fn pax(self, key: &str, value: &str) -> Self {
        self.extension(b'x', &record(key, value))
    }

    pub fn end(self) -> Vec<u8> {
        self.zeros(1024).bytes
    }
}

/// A PAX record, whose length counts its own digits.
pub fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = (1..6).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
    format!("{} {key}={value}\n", rest + digits).into_bytes()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn judge(archive: &[u8]) -> Result<Summary, SourceError> {
    check(archive, &Limits::default())
}

pub fn reason(result: Result<Summary, SourceError>) -> Reason {
    match result {
        Err(SourceError::Refused(refusal)) => refusal.reason().clone(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// Judging and unpacking refuse alike, and neither writes outside the root.
pub fn refuse(cases: &[(&str, Vec<u8>, Reason)]) {
    for (what, archive, expected) in cases {
        assert_eq!(reason(judge(archive)), *expected, "{what}");
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let unpacked = unpack(&archive[..], &root, &Limits::default());
        assert_eq!(reason(unpacked), *expected, "{what}, unpacked");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "{what} wrote outside the root");
    }
}

/// Hands out a few bytes at a time, as a pipe may, and remembers how many.
pub struct Drip<'a> {
    pub bytes: &'a [u8],
    pub step: usize,
    pub taken: usize,
}

impl<'a> Drip<'a> {
    pub fn new(bytes: &'a [u8], step: usize) -> Self {
        Self { bytes, step, taken: 0 }
    }
}

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(buf.len()).min(self.bytes.len() - self.taken);
        buf[..count].copy_from_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
