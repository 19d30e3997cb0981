//! The uncompressed bytes of an upload: counted and hashed as they arrive, bounded as they come out.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use crate::Limits;
use crate::error::{Reason, SourceError};

const BUFFER_BYTES: usize = 64 << 10;
const GZIP_FIRST_BYTE: u8 = 0x1f;

/// The ratio says little about a small archive: an empty file of 1 MiB compresses a thousandfold.
const RATIO_FROM_BYTES: u64 = 64 << 20;

/// What came in over the wire. Its own errors travel through the decoder as [`SourceError`]s inside an [`io::Error`].
struct Upload<R> {
    inner: R,
    hash: Sha256,
    size: u64,
    limit: u64,
}

impl<R: Read> Read for Upload<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buf) {
                Ok(count) => {
                    self.size += count as u64;
                    if self.size > self.limit {
                        return Err(io::Error::other(SourceError::from(Reason::TooLarge(self.limit))));
                    }
                    self.hash.update(&buf[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(SourceError::Read(error))),
            }
        }
    }
}

/// One type at a time: as it is, or inside a gzip member.
enum Layer<R> {
    Plain(BufReader<Upload<R>>),
    Gzip(GzDecoder<BufReader<Upload<R>>>),
}

pub(crate) struct Contents<R> {
    /// `None` only while one gzip member is exchanged for the next.
    layer: Option<Layer<R>>,
    produced: u64,
    charged: u64,
    max_unpacked_bytes: u64,
    max_ratio: u64,
}

impl<R: Read> Contents<R> {
    /// Looks at the first byte only: no tar that anybody wrote begins with a name that begins with 0x1f.
    pub(crate) fn open(archive: R, limits: &Limits) -> Result<Self, SourceError> {
        let upload = Upload { inner: archive, hash: Sha256::new(), size: 0, limit: limits.max_archive_bytes };
        let mut upload = BufReader::with_capacity(BUFFER_BYTES, upload);
        let gzip = upload.fill_buf().map_err(judged)?.first() == Some(&GZIP_FIRST_BYTE);
        let layer = if gzip { Layer::Gzip(GzDecoder::new(upload)) } else { Layer::Plain(upload) };
        Ok(Self {
            layer: Some(layer),
            produced: 0,
            charged: 0,
            max_unpacked_bytes: limits.max_unpacked_bytes,
            max_ratio: limits.max_ratio,
        })
    }

    /// Fills `buf` as far as the archive reaches.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, SourceError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Fills `buf`, or the archive is cut short.
    pub(crate) fn exact(&mut self, buf: &mut [u8]) -> Result<(), SourceError> {
        if self.fill(buf)? < buf.len() { Err(Reason::Truncated.into()) } else { Ok(()) }
    }

    /// Refuses what is announced before it is read.
    pub(crate) fn admit(&self, size: u64) -> Result<(), SourceError> {
        if self.produced.saturating_add(self.charged).saturating_add(size) > self.max_unpacked_bytes {
            return Err(Reason::UnpacksTooLarge(self.max_unpacked_bytes).into());
        }
        Ok(())
    }

    /// Counts bytes that the archive does not hold but a copy of its tree does.
    pub(crate) fn charge(&mut self, size: u64) -> Result<(), SourceError> {
        self.admit(size)?;
        self.charged += size;
        Ok(())
    }

    /// Reads what follows the archive's end, which may only be padding, and gives checksum and size of the upload.
    pub(crate) fn finish(mut self) -> Result<([u8; 32], u64), SourceError> {
        let mut buf = vec![0; BUFFER_BYTES];
        loop {
            match self.read(&mut buf)? {
                0 => break,
                count if buf[..count].iter().all(|byte| *byte == 0) => {}
                _ => return Err(Reason::TrailingJunk.into()),
            }
        }
        let upload = match self.layer {
            Some(Layer::Plain(upload)) => upload.into_inner(),
            Some(Layer::Gzip(gzip)) => gzip.into_inner().into_inner(),
            None => return Err(Reason::Truncated.into()),
        };
        Ok((upload.hash.finalize().into(), upload.size))
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            let (count, uploaded) = match &mut self.layer {
                Some(Layer::Plain(upload)) => (upload.read(buf).map_err(judged)?, upload.get_ref().size),
                Some(Layer::Gzip(gzip)) => (gzip.read(buf).map_err(judged)?, gzip.get_ref().get_ref().size),
                None => (0, 0),
            };
            if count > 0 {
                self.bound(count as u64, uploaded)?;
                return Ok(count);
            }
            if !self.next_member()? {
                return Ok(0);
            }
        }
    }

    fn bound(&mut self, count: u64, uploaded: u64) -> Result<(), SourceError> {
        self.produced += count;
        self.admit(0)?;
        if self.produced > RATIO_FROM_BYTES && self.produced / uploaded.max(1) > self.max_ratio {
            return Err(Reason::Bomb(self.max_ratio).into());
        }
        Ok(())
    }

    /// A gzip file may be several, one after the other, and may end in zeros. Anything else after it is junk.
    fn next_member(&mut self) -> Result<bool, SourceError> {
        let mut upload = match self.layer.take() {
            Some(Layer::Gzip(gzip)) => gzip.into_inner(),
            over => {
                self.layer = over;
                return Ok(false);
            }
        };
        let next = upload.fill_buf().map_err(judged)?.first().copied();
        if next == Some(GZIP_FIRST_BYTE) {
            self.layer = Some(Layer::Gzip(GzDecoder::new(upload)));
            return Ok(true);
        }
        loop {
            let padding = upload.fill_buf().map_err(judged)?;
            if padding.iter().any(|byte| *byte != 0) {
                return Err(Reason::TrailingJunk.into());
            }
            let count = padding.len();
            if count == 0 {
                break;
            }
            upload.consume(count);
        }
        self.layer = Some(Layer::Plain(upload));
        Ok(false)
    }
}

/// Tells the upload's own errors from those of the decoder.
fn judged(error: io::Error) -> SourceError {
    match error.downcast::<SourceError>() {
        Ok(own) => own,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Reason::Truncated.into(),
        Err(_) => Reason::CorruptGzip.into(),
    }
}
