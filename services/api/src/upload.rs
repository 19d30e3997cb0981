//! Source archives on their way in: judged while they stream, stored only when they are sound.

use std::fs::File;
use std::io::{self, Read, Write as _};

use std::time::Duration;

use bytes::Bytes;
use taskplane_domain::Invalid;
use taskplane_domain::app::SourceArchive;
use taskplane_domain::uid::UploadUid;
use taskplane_proto::v1 as pb;
use taskplane_runtime::server::OUR_FAULT;
use taskplane_source::{Limits, SourceError, Summary, check};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::Api;
use crate::error::ApiError;

/// Chunks between network and judge.
const UNDER_WAY: usize = 4;
/// How long a client may be silent in the midst of an archive.
const IDLE: Duration = Duration::from_secs(60);
const FIELD: &str = "app.source.archive";

impl Api {
    /// Receives the rest of a push. Nothing is kept of an archive that is refused.
    pub(crate) async fn receive(
        &self,
        mut stream: Streaming<pb::PushAppRequest>,
        sha256: Option<String>,
    ) -> Result<SourceArchive, Status> {
        let limits = Limits {
            max_archive_bytes: self.args.source_max_bytes,
            max_unpacked_bytes: self.args.source_max_unpacked_bytes,
            ..Limits::default()
        };
        let _room = self.limits.upload()?;
        let (chunks, receiver) = mpsc::channel(UNDER_WAY);
        let judged = tokio::task::spawn_blocking(move || judge(receiver, &limits));
        let mut broken = None;
        loop {
            let message = tokio::time::timeout(IDLE, stream.message()).await;
            let chunk = match message
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing of the archive came for a minute")))
            {
                Ok(None) => break,
                Ok(Some(pb::PushAppRequest { part: Some(pb::push_app_request::Part::Chunk(chunk)) })) => Ok(chunk),
                Ok(Some(_)) => {
                    broken =
                        Some(ApiError::from(Invalid::one("part", "must be `chunk` after the first message")).into());
                    Err(io::ErrorKind::InvalidData.into())
                }
                Err(status) => {
                    broken = Some(status);
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            };
            // The judge hangs up as soon as it has seen enough.
            if chunks.send(chunk).await.is_err() || broken.is_some() {
                break;
            }
        }
        drop(chunks);
        let judged = judged.await.map_err(|_| Status::internal(OUR_FAULT))?;
        if let Some(status) = broken {
            return Err(status);
        }
        let (file, summary) = judged.map_err(refused)?;
        let stored = summary.sha256_hex();
        if sha256.is_some_and(|sha256| sha256 != stored) {
            return Err(ApiError::from(Invalid::one(
                "app.source.archive.sha256",
                "is not the digest of the bytes that arrived: send them again",
            ))
            .into());
        }
        let Summary { sha256: _, size_bytes, entry_count, unpacked_bytes: _ } = summary;
        // Its name is in the database before there are bytes under it, so whatever is left of this is found and cleared away.
        let upload = UploadUid(self.platform.clock.new_uid());
        let upload = self.platform.store.source_reserve(&stored, upload).await.map_err(ApiError::from)?;
        let archive = SourceArchive { sha256: stored, size_bytes, entry_count, upload };
        self.objects.source_put(&archive.object(), file).await.map_err(ApiError::from)?;
        Ok(archive)
    }
}

fn refused(error: SourceError) -> Status {
    match error {
        SourceError::Refused(refusal) => ApiError::from(Invalid::one(FIELD, refusal.to_string())).into(),
        SourceError::Read(_) | SourceError::Write { .. } | SourceError::NotEmpty(_) => {
            tracing::warn!(%error, "an upload could not be kept");
            Status::unavailable("the archive could not be kept at the moment: try again")
        }
    }
}

/// Reads the archive to its end, or to the first reason to refuse it, and keeps a copy meanwhile.
fn judge(receiver: mpsc::Receiver<io::Result<Bytes>>, limits: &Limits) -> Result<(File, Summary), SourceError> {
    let mut copy = tempfile::tempfile().map_err(SourceError::Read)?;
    let mut chunks = Chunks { receiver, rest: Bytes::new(), copy: &mut copy };
    let summary = check(&mut chunks, limits)?;
    Ok((copy, summary))
}

/// The chunks of a stream as one reader, each kept in the copy before it is looked at.
struct Chunks<'a> {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
    copy: &'a mut File,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.rest = chunk?,
            }
            self.copy.write_all(&self.rest)?;
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
