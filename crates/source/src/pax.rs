//! PAX extension records: the few that change what an entry is, the rest ignored.

use crate::error::Reason;

#[derive(Debug, Default)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) sparse: bool,
}

impl Pax {
    /// Records are `LENGTH KEY=VALUE\n`, the length counting itself. A later record overrides an earlier one.
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, Reason> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (record, rest) = split_record(bytes).ok_or(Reason::Malformed("a PAX record"))?;
            bytes = rest;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(Reason::Malformed("a PAX record"))?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => pax.size = Some(decimal(value).ok_or(Reason::Malformed("a PAX size"))?),
                b"SCHILY.realsize" => pax.sparse = true,
                key if key.starts_with(b"GNU.sparse") => pax.sparse = true,
                _ => {}
            }
        }
        Ok(pax)
    }

    /// A global header may carry a comment, as those of `git archive` do, but no name and no size for all entries.
    pub(crate) fn speaks_of_an_entry(&self) -> bool {
        let Self { path, link, size, sparse } = self;
        path.is_some() || link.is_some() || size.is_some() || *sparse
    }
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?;
    Some((record.strip_suffix(b"\n")?, &bytes[length..]))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
