//! Source archives: `sources/<sha256>-<upload>`, named by the SHA-256 of their bytes and by the upload that brought them. An
//! earlier release named them by the digest alone.

use std::fs::File;
use std::io::{Seek, Write};

use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{LogsError, Objects};

const READ_BYTES: usize = 256 << 10;
/// The least that S3 takes; smaller sources go up in one request.
const PART_BYTES: usize = 5 << 20;
const PARTS_UNDER_WAY: usize = 2;

impl Objects {
    /// Stores the whole of `file`, whatever its position. One that is there already stays as it is.
    pub async fn source_put(&self, object: &str, mut file: File) -> Result<(), LogsError> {
        let name = SourceName::parse(object)?;
        if self.source_exists(object).await? {
            return Ok(());
        }
        file.rewind()?;
        let mut upload = BufWriter::with_capacity(self.store.clone(), name.location(), PART_BYTES)
            .with_max_concurrency(PARTS_UNDER_WAY);
        let refused = match copy_hashed(file, &mut upload).await {
            Ok(actual) if actual == name.sha256 => {
                let stored = upload.shutdown().await;
                return stored.map_err(|error| LogsError::Unavailable(Box::new(error)));
            }
            Ok(actual) => LogsError::DigestMismatch { expected: name.sha256.to_owned(), actual },
            Err(error) => error,
        };
        if let Err(error) = upload.abort().await {
            tracing::warn!(
                source.sha256 = name.sha256,
                error = &error as &dyn std::error::Error,
                "upload left unfinished"
            );
        }
        Err(refused)
    }

    /// At its beginning. Stays readable when the source is removed meanwhile.
    pub async fn source_open(&self, object: &str) -> Result<File, LogsError> {
        match self.store.get(&SourceName::parse(object)?.location()).await {
            Ok(found) => match found.payload {
                GetResultPayload::File(file, _) => Ok(file),
                GetResultPayload::Stream(mut parts) => {
                    let mut file = tempfile::tempfile()?;
                    while let Some(part) = parts.try_next().await? {
                        file.write_all(&part)?;
                    }
                    file.rewind()?;
                    Ok(file)
                }
            },
            Err(object_store::Error::NotFound { .. }) => Err(LogsError::NoSuchSource(object.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn source_exists(&self, object: &str) -> Result<bool, LogsError> {
        match self.store.head(&SourceName::parse(object)?.location()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// One that is gone already is no error.
    pub async fn source_remove(&self, object: &str) -> Result<(), LogsError> {
        match self.store.delete(&SourceName::parse(object)?.location()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What an earlier release left, named by its digest alone.
    pub async fn sources_by_digest(&self) -> Result<Vec<String>, LogsError> {
        let listed = self.store.list(Some(&Path::from(SOURCES)));
        let named = |name: &str| SourceName::parse(name).is_ok_and(|name| name.upload.is_none());
        listed
            .try_filter_map(async |meta| Ok(meta.location.filename().filter(|name| named(name)).map(str::to_owned)))
            .map_err(LogsError::from)
            .try_collect()
            .await
    }
}

const SOURCES: &str = "sources";

struct SourceName<'a> {
    sha256: &'a str,
    upload: Option<&'a str>,
}

impl<'a> SourceName<'a> {
    fn parse(object: &'a str) -> Result<Self, LogsError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let (sha256, upload) = match object.split_once('-') {
            Some((sha256, upload)) => (sha256, Some(upload)),
            None => (object, None),
        };
        let named = sha256.len() == 64 && sha256.bytes().all(hex);
        let uid = |upload: &str| upload.len() == 36 && upload.bytes().all(|byte| hex(byte) || byte == b'-');
        if named && upload.is_none_or(uid) { Ok(Self { sha256, upload }) } else { Err(LogsError::NotASource) }
    }

    fn location(&self) -> Path {
        match self.upload {
            Some(upload) => Path::from(format!("{SOURCES}/{}-{upload}", self.sha256)),
            None => Path::from(format!("{SOURCES}/{}", self.sha256)),
        }
    }
}

/// The digest of what was copied. Nothing is visible under its name before the upload is shut down.
async fn copy_hashed(file: File, upload: &mut BufWriter) -> Result<String, LogsError> {
    let mut file = tokio::fs::File::from_std(file);
    let mut digest = Sha256::new();
    loop {
        let mut part = Vec::with_capacity(READ_BYTES);
        if (&mut file).take(READ_BYTES as u64).read_to_end(&mut part).await? == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(&part);
        upload.put(part.into()).await?;
    }
}
