//! Makes a run: its directory, its working copy, its shim, its journal. All of it, or nothing that stays.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use taskplane_domain::app::{Source, SourceArchive};
use taskplane_domain::run::RunSpec;
use taskplane_domain::security_group::not_enforced_locally;
use taskplane_domain::service::{BoundService, Credentials};
use taskplane_domain::task::Reason;
use taskplane_domain::uid::RunUid;
use taskplane_source::{Limits, SourceError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::House;
use super::bindings;
use super::cgroup::{self, Group};
use super::env;
use super::run::Run;
use super::supervise::Shim;
use crate::process;
use crate::record::{self, Journal};
use crate::wire::{self, Launch};
use crate::{BackendError, Made, local::blocking};

pub(super) async fn make(house: &Arc<House>, spec: &RunSpec) -> Result<(Arc<Run>, Shim), BackendError> {
    let archive = match &spec.source {
        Source::Archive(archive) => archive.clone(),
        Source::Image(_) => {
            return Err(not_made(Reason::InvalidSpec, "this executor runs only uploaded source, not container images"));
        }
    };
    let in_secret = |service: &&BoundService| matches!(service.spec.credentials, Credentials::InSecret(_));
    if let Some(service) = spec.services.iter().find(in_secret) {
        let why = "stand in a Secret of a cluster, which a local run cannot read: give the service its credentials";
        return Err(not_made(Reason::InvalidSpec, format!("the credentials of service {} {why}", service.instance)));
    }
    let source = (house.config.fetch)(archive.clone())
        .await
        .map_err(|error| not_made(Reason::SourceUnavailable, format!("the source could not be fetched: {error}")))?;
    let dir = house.run_dir(spec.key);
    if dir.try_exists().map_err(start_failed)? {
        // What it holds may be the only witness of a start.
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "an earlier incarnation's was not recovered");
        return Err(BackendError::Unavailable { doing: "make the run", source });
    }
    let made = make_in(house, spec, &dir, (source, archive)).await;
    if made.is_err() {
        let (house, dir) = (house.clone(), dir.clone());
        blocking("remove what was made", move || house.discard(&dir)).await?;
    }
    made
}

async fn make_in(
    house: &Arc<House>,
    spec: &RunSpec,
    dir: &Path,
    (source, archive): (File, SourceArchive),
) -> Result<(Arc<Run>, Shim), BackendError> {
    let path = dir.to_owned();
    let services = spec.services.clone();
    on_disk(move || {
        lay_out(&path, source, &archive)?;
        bindings::write(&path, &services).map_err(start_failed)
    })
    .await?;
    let group = {
        let (house, key, resources) = (house.clone(), spec.key, spec.resources);
        on_disk(move || Ok(house.cgroups.make(key, &resources))).await?
    };
    let made = make_within(house, spec, dir, &group).await;
    if made.is_err() {
        cgroup::remove(group.dirs()).await;
    }
    made
}

async fn make_within(
    house: &House,
    spec: &RunSpec,
    dir: &Path,
    group: &Group,
) -> Result<(Arc<Run>, Shim), BackendError> {
    let run = RunUid(process::fresh_id().map_err(start_failed)?);
    let mark = house.mark(spec.key);
    let launch = Launch {
        command: spec.command.as_str().into(),
        env: env::variables(&house.inherited, dir, spec, &run, &mark).into_iter().collect(),
        timeout: spec.timeout,
        grace: house.config.grace,
        confinement: group.confinement.clone(),
    };
    let (mut shim, pipe) = spawn(house, dir, &mark, (spec, group)).await?;
    let made = introduce(&mut shim, pipe, &launch, spec, &run, dir).await;
    match made {
        Ok(pipe) => {
            let unmet = not_enforced_locally(&spec.security_groups);
            let made =
                Made { run, conditions: group.conditions.iter().cloned().chain(unmet).collect(), guarded: false };
            Ok((Arc::new(Run::new(spec.key, made, dir.to_owned(), pipe)), shim))
        }
        Err(error) => {
            // Its pipe is closed, so it is ending; nothing of it may still use the directory.
            let _ = shim.child.kill().await;
            Err(error)
        }
    }
}

fn lay_out(dir: &Path, source: File, archive: &SourceArchive) -> Result<(), BackendError> {
    let private = |path: &Path| DirBuilder::new().mode(0o700).create(path).map_err(start_failed);
    let work = dir.join(record::WORK);
    private(dir)?;
    private(&work)?;
    let create = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(record::OUTPUT));
    create.map_err(start_failed)?;
    let summary = taskplane_source::unpack(source, &work, &Limits::default()).map_err(|error| match error {
        SourceError::Refused(refusal) => not_made(Reason::SourceInvalid, refusal.to_string()),
        SourceError::Read(error) => {
            not_made(Reason::SourceUnavailable, format!("the source could not be read: {error}"))
        }
        SourceError::Write { path, source } => start_failed(io::Error::new(
            source.kind(),
            format!("{} could not be written: {source}", path.strip_prefix(&work).unwrap_or(&path).display()),
        )),
        SourceError::NotEmpty(_) => start_failed(io::Error::from(io::ErrorKind::DirectoryNotEmpty)),
    })?;
    if summary.sha256_hex() == archive.sha256 {
        Ok(())
    } else {
        Err(not_made(Reason::SourceInvalid, "the stored source is damaged: push it again"))
    }
}

async fn spawn(
    house: &House,
    dir: &Path,
    mark: &str,
    (spec, group): (&RunSpec, &Group),
) -> Result<(Shim, tokio::process::ChildStdin), BackendError> {
    let mut child: Child = Command::new(&house.config.shim)
        // For people who look at the list of processes.
        .arg(spec.key.to_string())
        .current_dir(dir)
        .env_clear()
        .env(process::MARK, mark)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| {
            not_made(Reason::StartFailed, format!("the run's supervisor could not be started: {error}"))
        })?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(pipe), Some(tells)) => {
            let (cgroups, disk) = (group.dirs(), spec.resources.disk);
            Ok((Shim { child, tells: BufReader::new(tells), cgroups, disk }, pipe))
        }
        _ => Err(start_failed(io::Error::from(io::ErrorKind::BrokenPipe))),
    }
}

/// Tells the shim what it is to run, hears that it has understood, and records that it exists.
async fn introduce(
    shim: &mut Shim,
    mut pipe: tokio::process::ChildStdin,
    launch: &Launch,
    spec: &RunSpec,
    run: &RunUid,
    dir: &Path,
) -> Result<File, BackendError> {
    let frame =
        launch.encode().ok_or_else(|| not_made(Reason::InvalidSpec, "command and variables must not hold NUL"))?;
    let exchange = async {
        pipe.write_all(&frame).await?;
        pipe.flush().await?;
        shim.tells.read_u8().await
    };
    match exchange.await {
        Ok(wire::READY) => {}
        Ok(_) => return Err(start_failed(io::Error::from(io::ErrorKind::InvalidData))),
        Err(error) => {
            return Err(start_failed(io::Error::new(error.kind(), format!("the run's supervisor ended: {error}"))));
        }
    }
    let pid = shim.child.id().and_then(|pid| i32::try_from(pid).ok());
    let identity = pid.and_then(|pid| Some((pid, process::stat(pid).ok()??.started)));
    let identity = identity.ok_or_else(|| start_failed(io::Error::from(io::ErrorKind::NotFound)))?;
    let boot = process::boot_id().map_err(start_failed)?;
    let journal = Journal::new(spec.key, (spec.space_uid, spec.log_cap), run, identity, (boot, shim.cgroups.clone()));
    let path: PathBuf = dir.to_owned();
    on_disk(move || {
        journal.write(&path).map_err(start_failed)?;
        path.parent().map_or(Ok(()), record::sync_dir).map_err(start_failed)?;
        fail::fail_point!("backend::ensure::after_journal");
        Ok(())
    })
    .await?;
    Ok(File::from(pipe.into_owned_fd().map_err(start_failed)?))
}

/// On a thread that may wait for the disk.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(start_failed(io::Error::other(error))))
}

fn start_failed(error: io::Error) -> BackendError {
    not_made(Reason::StartFailed, format!("the run could not be made: {error}"))
}

fn not_made(reason: Reason, message: impl Into<String>) -> BackendError {
    BackendError::NotMade { reason, message: message.into() }
}

/// What a shim tells.
pub(super) type Tells = BufReader<ChildStdout>;

/// Removes a directory and all in it, also what took its own permissions away.
pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(dir);
            fs::remove_dir_all(dir)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
