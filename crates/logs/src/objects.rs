//! The store: where it is, and the few things that are done with objects.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use taskplane_domain::log::Landmark;
use taskplane_domain::uid::{SpaceUid, TaskUid};

use crate::chunk::Chunk;
use crate::key::{chunk_start, space_prefix, task_prefix};
use crate::{LogKey, LogReader, LogWriter, LogsError};

/// An object store. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    root: Arc<PathBuf>,
}

/// What is archived of a log.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    /// First offset of each chunk, ascending.
    pub starts: Vec<u64>,
    pub end: u64,
    /// The latest line of the newest chunk.
    pub landmark: Option<Landmark>,
}

impl Objects {
    /// `file:///absolute/path`, taken as it stands, without percent-decoding. The directory is made when missing, for this
    /// user only.
    pub fn open(url: &str) -> Result<Self, LogsError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(LogsError::Url("it must have the form file:///absolute/path".into()));
        };
        if scheme != "file" {
            return Err(LogsError::Url(format!("scheme {scheme} is not supported, only file:///absolute/path")));
        }
        if !rest.starts_with('/') || rest.contains('\0') {
            return Err(LogsError::Url(
                "file:// must be followed by an absolute path, as in file:///data/objects".into(),
            ));
        }
        let root = PathBuf::from(rest);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        let store = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), root: Arc::new(root) })
    }

    /// Goes on behind what is archived. `cap`: how many bytes of output are kept, half from its head and half from its tail;
    /// none, or 0: all of it.
    pub async fn writer(&self, key: LogKey, cap: Option<u64>) -> Result<LogWriter, LogsError> {
        LogWriter::resume(self.clone(), key, cap).await
    }

    /// As [`Objects::writer`], but waits as long as the store is not there.
    pub async fn await_writer(&self, key: LogKey, cap: Option<u64>) -> LogWriter {
        LogWriter::resume_patiently(self.clone(), key, cap).await
    }

    pub fn reader(&self, key: LogKey) -> LogReader {
        LogReader::new(self.clone(), key)
    }

    /// All attempts. Nothing may be writing them.
    pub async fn remove_task_logs(&self, space: SpaceUid, task: TaskUid) -> Result<(), LogsError> {
        self.remove_below(task_prefix(space, task)).await
    }

    /// All Tasks of the Space. Nothing may be writing them.
    pub async fn remove_space_logs(&self, space: SpaceUid) -> Result<(), LogsError> {
        self.remove_below(space_prefix(space)).await
    }

    async fn remove_below(&self, prefix: String) -> Result<(), LogsError> {
        let listed = self.store.list(Some(&Path::from(prefix.as_str()))).map_ok(|meta| meta.location).boxed();
        self.delete(listed).await?;
        // A crash while writing leaves a file aside that is no object, yet holds output.
        let directory = self.root.join(prefix);
        tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })
        .await?
    }

    pub(crate) async fn delete_chunks(&self, key: LogKey, starts: Vec<u64>) -> Result<(), LogsError> {
        let locations = starts.into_iter().map(move |start| Ok(key.chunk(start)));
        self.delete(futures::stream::iter(locations).boxed()).await
    }

    /// What is gone already is no error.
    async fn delete(&self, locations: BoxStream<'static, object_store::Result<Path>>) -> Result<(), LogsError> {
        let mut deleted = self.store.delete_stream(locations);
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(crate) async fn get(&self, location: &Path) -> Result<Option<Bytes>, LogsError> {
        match self.store.get(location).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn put(&self, location: &Path, bytes: Vec<u8>) -> Result<(), LogsError> {
        self.store.put(location, bytes.into()).await?;
        Ok(())
    }

    /// False: there is one of that name already, and it stays as it is.
    pub(crate) async fn put_new(&self, location: &Path, bytes: Vec<u8>) -> Result<bool, LogsError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(location, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn chunk_starts(&self, key: &LogKey) -> Result<Vec<u64>, LogsError> {
        sorted_starts(self.store.list(Some(&key.prefix()))).await
    }

    /// Only those that begin at `from`, which is not 0, or later: far cheaper than all when there are few.
    pub(crate) async fn chunk_starts_from(&self, key: &LogKey, from: u64) -> Result<Vec<u64>, LogsError> {
        sorted_starts(self.store.list_with_offset(Some(&key.prefix()), &key.chunk(from - 1))).await
    }

    /// `None`: it was cut from the log since it was listed.
    pub(crate) async fn chunk(&self, key: &LogKey, start: u64) -> Result<Option<Chunk>, LogsError> {
        let location = key.chunk(start);
        let Some(packed) = self.get(&location).await? else {
            return Ok(None);
        };
        let unpacked = tokio::task::spawn_blocking(move || Chunk::unpack(start, &packed)).await?;
        unpacked.map(Some).map_err(|what| LogsError::Damaged { object: location.to_string(), what })
    }

    pub(crate) async fn extent(&self, key: &LogKey) -> Result<Extent, LogsError> {
        loop {
            let starts = self.chunk_starts(key).await?;
            let Some(last) = starts.last() else {
                return Ok(Extent::default());
            };
            // The last one can only be gone because newer ones came: look again.
            if let Some(chunk) = self.chunk(key, *last).await? {
                let (end, landmark) = chunk.extent()?;
                return Ok(Extent { end, landmark, starts });
            }
        }
    }
}

async fn sorted_starts(listed: BoxStream<'static, object_store::Result<ObjectMeta>>) -> Result<Vec<u64>, LogsError> {
    let mut starts: Vec<u64> =
        listed.try_filter_map(async |meta| Ok(chunk_start(&meta.location))).try_collect().await?;
    starts.sort_unstable();
    Ok(starts)
}
