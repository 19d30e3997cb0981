//! `push`: an App from source or an image, as the flags and the manifest say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use futures::stream::{self, StreamExt as _};
use indicatif::ProgressBar;
use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::push_app_request::Part;
use taskplane_proto::v1::{App, AppSource, PushAppRequest, PushAppSpec, PushedService, SourceArchive, app_source};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::{map, resources};
use crate::args::{PushArgs, ResourceArgs};
use crate::connect::Tries;
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::manifest::{self, Application};
use crate::names;
use crate::pack::Archive;
use crate::progress::Progress;

/// Well below the 1 MiB that a message may have.
const CHUNK: usize = 512 * 1024;

pub async fn push(context: &Context, args: PushArgs) -> Result<(), Failure> {
    require_task(&args)?;
    let application = application(&args)?;
    for warning in &application.warnings {
        context.screen().note(warning);
    }
    let name = args.app.clone();
    let (mut spec, source) = plan(context.session.space()?, args, application)?;
    let app = match source {
        Source::Image(image) => {
            spec.source = Some(AppSource { kind: Some(app_source::Kind::Image(image)) });
            let _progress = Progress::spinner(context.screen(), format!("pushing {name}"));
            send(context, spec, None).await?
        }
        Source::Path(path) => {
            let archive = archive(context, path).await?;
            let declared = SourceArchive { sha256: archive.sha256.clone(), ..SourceArchive::default() };
            spec.source = Some(AppSource { kind: Some(app_source::Kind::Archive(declared)) });
            let progress = Progress::bytes(context.screen(), format!("pushing {name}"), archive.size);
            let upload = Upload { path: archive.path.clone(), bar: progress.bar(), failed: Arc::default() };
            send(context, spec, Some(upload)).await?
        }
    };
    report(context, &app)
}

/// There is no other kind of App here, and nobody should believe there was.
fn require_task(args: &PushArgs) -> Result<(), Failure> {
    if args.task {
        return Ok(());
    }
    Err(Failure::Usage("long-running Apps are not supported, an App here only runs Tasks; add --task".to_owned()))
}

fn application(args: &PushArgs) -> Result<Application, Failure> {
    let path = match &args.manifest {
        Some(path) => Some(path.clone()),
        None if args.no_manifest => None,
        // Where cf looks, then beside what is pushed.
        None => manifest::beside(Path::new("")).or_else(|| manifest::beside(args.path.as_deref()?)),
    };
    match path {
        Some(path) => {
            manifest::read(&path, &args.app, &map(args.vars.clone())).map_err(|error| Failure::wrong(error.to_string()))
        }
        None => Ok(Application::default()),
    }
}

/// What will be sent after the first message.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Image(String),
    Path(PathBuf),
}

/// Flags beat the manifest.
fn plan(parent: String, args: PushArgs, application: Application) -> Result<(PushAppSpec, Source), Failure> {
    let PushArgs {
        app,
        path,
        docker_image,
        command,
        env,
        replace_env,
        resources: typed,
        task_retention_count,
        placement,
        ..
    } = args;
    let source = match (docker_image, path) {
        (Some(image), _) => Source::Image(image),
        (None, Some(path)) => Source::Path(path),
        (None, None) => match (application.image, application.path) {
            (Some(_), Some(_)) => {
                return Err(Failure::wrong_with(
                    "the manifest has both docker.image and path".to_owned(),
                    "remove one, or say -p or --docker-image".to_owned(),
                ));
            }
            (Some(image), None) => Source::Image(image),
            (None, path) => Source::Path(path.unwrap_or_else(|| PathBuf::from("."))),
        },
    };
    let mut variables = application.env;
    variables.extend(env);
    let spec = PushAppSpec {
        parent,
        app_id: app,
        source: None,
        command: command.or(application.command),
        env: variables,
        replace_env,
        resources: resources(ResourceArgs {
            memory_limit: typed.memory_limit.or(application.memory),
            disk_quota: typed.disk_quota.or(application.disk),
            cpu_cores: typed.cpu_cores.or(application.cpu),
        }),
        services: application.services.into_iter().map(pushed).collect(),
        unset_env: Vec::new(),
        etag: String::new(),
        task_retention_count: task_retention_count.or(application.task_retention_count),
        placement: placement.placement(),
    };
    Ok((spec, source))
}

fn pushed((service, binding_name): (String, Option<String>)) -> PushedService {
    PushedService { service, binding_name: binding_name.unwrap_or_default() }
}

async fn archive(context: &Context, path: PathBuf) -> Result<Archive, Failure> {
    let _progress = Progress::spinner(context.screen(), format!("packing {}", path.display()));
    tokio::task::spawn_blocking(move || Archive::from_path(&path))
        .await
        .map_err(|error| Failure::wrong(format!("packing failed: {error}")))?
        .map_err(|error| Failure::wrong(error.to_string()))
}

/// The file to send, the bar to advance, and what went wrong while reading it.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    path: PathBuf,
    bar: ProgressBar,
    failed: Arc<Mutex<Option<io::Error>>>,
}

/// An equal push changes nothing, so this may be repeated. There is no deadline: an upload takes what it takes, and a
/// dead connection is noticed by its pings.
pub(super) async fn send(context: &Context, spec: PushAppSpec, upload: Option<Upload>) -> Result<App, Failure> {
    let session = &context.session;
    let answer = session
        .again(Tries::default(), async || {
            let first = PushAppRequest { part: Some(Part::App(spec.clone())) };
            let messages = stream::once(async { first });
            let mut client = AppServiceClient::new(session.channel.clone());
            match upload.clone() {
                Some(upload) => client.push_app(messages.chain(chunks(upload))).await,
                None => client.push_app(messages).await,
            }
        })
        .await;
    let read_error = upload.and_then(|upload| upload.failed.lock().ok()?.take().map(|error| (upload.path, error)));
    match read_error {
        Some((path, error)) => Err(Failure::wrong(format!("cannot read {}: {error}", path.display()))),
        None => answer.map(tonic::Response::into_inner),
    }
}

/// The file in pieces. A read error ends them early and is kept; the server then misses the rest and says no.
fn chunks(upload: Upload) -> impl Stream<Item = PushAppRequest> + Send + 'static {
    upload.bar.set_position(0);
    stream::unfold((None::<File>, upload), |(file, upload)| async move {
        match read_chunk(file, &upload.path).await {
            Ok((_, chunk)) if chunk.is_empty() => None,
            Ok((file, chunk)) => {
                upload.bar.inc(chunk.len() as u64);
                Some((PushAppRequest { part: Some(Part::Chunk(chunk)) }, (Some(file), upload)))
            }
            Err(error) => {
                if let Ok(mut failed) = upload.failed.lock() {
                    *failed = Some(error);
                }
                None
            }
        }
    })
}

async fn read_chunk(file: Option<File>, path: &Path) -> io::Result<(File, Bytes)> {
    let mut file = match file {
        Some(file) => file,
        None => File::open(path).await?,
    };
    let mut chunk = BytesMut::with_capacity(CHUNK);
    while chunk.len() < CHUNK && (&mut file).take((CHUNK - chunk.len()) as u64).read_buf(&mut chunk).await? > 0 {}
    Ok((file, chunk.freeze()))
}

fn report(context: &Context, app: &App) -> Result<(), Failure> {
    context.printer.one(app, |app| {
        let name = escape::line(names::last(&app.name)).into_owned();
        let run =
            if app.command.is_empty() { format!("run-task {name} -c COMMAND") } else { format!("run-task {name}") };
        format!(
            "App {name} is pushed as revision {}. It is stopped: no route, no process, only the Tasks you run.\n\n\
             Run a Task:   {}\n",
            app.revision,
            context.hint(&run)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> PushArgs {
        let words = ["taskplane", "push", "shop"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Push(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn planned(words: &[&str], application: Application) -> (PushAppSpec, Source) {
        plan("spaces/s".to_owned(), args(words), application).unwrap()
    }

    #[test]
    fn a_push_without_task_is_refused_with_the_flag_to_add() {
        let failure = require_task(&args(&["-p", "."])).unwrap_err();
        assert!(failure.line().contains("not supported") && failure.line().ends_with("add --task"));
        assert_eq!(failure.exit_code(), 2);
        assert!(require_task(&args(&["--task"])).is_ok());
    }

    #[test]
    fn a_manifest_beside_the_source_is_found() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("manifest.yml"), "applications: [{name: shop, command: x}]").unwrap();
        let path = directory.path().to_str().unwrap();
        let found = application(&args(&["--task", "-p", path])).unwrap();
        assert_eq!(found.command.as_deref(), Some("x"));
        let ignored = application(&args(&["--task", "-p", path, "--no-manifest"])).unwrap();
        assert_eq!(ignored, Application::default());
    }

    #[test]
    fn flags_beat_the_manifest() {
        let manifest = Application {
            path: Some(PathBuf::from("src")),
            command: Some("manifest".to_owned()),
            memory: Some("1G".to_owned()),
            disk: Some("2G".to_owned()),
            env: BTreeMap::from([("A".to_owned(), "m".to_owned()), ("B".to_owned(), "m".to_owned())]),
            ..Application::default()
        };
        let (spec, source) = planned(&["--task", "-m", "256M", "-c", "flag", "-e", "A=flag"], manifest);
        assert_eq!(source, Source::Path(PathBuf::from("src")));
        assert_eq!(spec.command.as_deref(), Some("flag"));
        assert_eq!(spec.env, BTreeMap::from([("A".to_owned(), "flag".to_owned()), ("B".to_owned(), "m".to_owned())]));
        let resources = spec.resources.unwrap();
        assert_eq!((resources.memory.as_str(), resources.disk.as_str(), resources.cpu.as_str()), ("256M", "2G", ""));
    }

    #[test]
    fn the_source_is_the_flag_then_the_manifest_then_here() {
        let image = || Application { image: Some("m:1".to_owned()), ..Application::default() };
        assert_eq!(planned(&["--task"], Application::default()).1, Source::Path(PathBuf::from(".")));
        assert_eq!(planned(&["--task"], image()).1, Source::Image("m:1".to_owned()));
        assert_eq!(planned(&["--task", "-p", "x"], image()).1, Source::Path(PathBuf::from("x")));
        assert_eq!(planned(&["--task", "--docker-image", "f:2"], image()).1, Source::Image("f:2".to_owned()));
    }

    #[test]
    fn what_is_not_said_is_not_sent() {
        let (spec, _) = planned(&["--task"], Application::default());
        assert_eq!((spec.command, spec.resources, spec.replace_env), (None, None, false));
    }

    #[tokio::test]
    async fn a_file_goes_in_chunks_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..CHUNK * 2 + 7).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let upload = Upload { path, bar: ProgressBar::hidden(), failed: Arc::default() };
        let sent: Vec<Bytes> = chunks(upload)
            .map(|message| match message.part {
                Some(Part::Chunk(chunk)) => chunk,
                other => panic!("{other:?}"),
            })
            .collect()
            .await;
        assert_eq!(sent.iter().map(Bytes::len).collect::<Vec<_>>(), [CHUNK, CHUNK, 7]);
        assert_eq!(sent.concat(), content);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_leaves_its_error() {
        let upload = Upload { path: "/does/not/exist".into(), bar: ProgressBar::hidden(), failed: Arc::default() };
        let failed = Arc::clone(&upload.failed);
        assert_eq!(chunks(upload).count().await, 0);
        assert_eq!(failed.lock().unwrap().take().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
