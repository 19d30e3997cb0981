//! Source archives, named by the SHA-256 of their bytes: `sources/<sha256>`.

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
    pub async fn source_put(&self, sha256: &str, mut file: File) -> Result<(), LogsError> {
        let location = location(sha256)?;
        if self.source_exists(sha256).await? {
            return Ok(());
        }
        file.rewind()?;
        let mut upload =
            BufWriter::with_capacity(self.store.clone(), location, PART_BYTES).with_max_concurrency(PARTS_UNDER_WAY);
        let refused = match copy_hashed(file, &mut upload).await {
            Ok(actual) if actual == sha256 => {
                let stored = upload.shutdown().await;
                return stored.map_err(|error| LogsError::Unavailable(Box::new(error)));
            }
            Ok(actual) => LogsError::DigestMismatch { expected: sha256.to_owned(), actual },
            Err(error) => error,
        };
        if let Err(error) = upload.abort().await {
            tracing::warn!(source.sha256 = sha256, error = &error as &dyn std::error::Error, "upload left unfinished");
        }
        Err(refused)
    }

    /// At its beginning. Stays readable when the source is removed meanwhile.
    pub async fn source_open(&self, sha256: &str) -> Result<File, LogsError> {
        match self.store.get(&location(sha256)?).await {
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
            Err(object_store::Error::NotFound { .. }) => Err(LogsError::NoSuchSource(sha256.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn source_exists(&self, sha256: &str) -> Result<bool, LogsError> {
        match self.store.head(&location(sha256)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// One that is gone already is no error.
    pub async fn source_remove(&self, sha256: &str) -> Result<(), LogsError> {
        match self.store.delete(&location(sha256)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn location(sha256: &str) -> Result<Path, LogsError> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if sha256.len() != 64 || !sha256.bytes().all(digit) {
        return Err(LogsError::NotADigest);
    }
    Ok(Path::from(format!("sources/{sha256}")))
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
