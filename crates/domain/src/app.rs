//! Apps: what Tasks run on. A push makes a revision, and a revision never changes.

use jiff::Timestamp;

use crate::bind;
use crate::env::{self, Env};
use crate::event::{Event, EventData, Fact, Subject};
use crate::invalid::{Check, Invalid};
use crate::name::AppName;
use crate::placement::Placement;
use crate::quantity::Resources;
use crate::security_group::Groups;
use crate::service::Binding;
use crate::standing::Standing;
use crate::uid::{AppUid, SpaceUid, UploadUid};

/// Longest command.
pub const COMMAND_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub uid: AppUid,
    pub space_uid: SpaceUid,
    pub name: AppName,
    pub revision: u32,
    pub spec: AppSpec,
    /// How many Tasks it keeps; none: as many as its Space says.
    pub task_retention_count: Option<u32>,
    pub standing: Standing,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What one revision says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    pub source: Source,
    pub command: Option<Command>,
    pub env: Env,
    pub resources: Resources,
    pub security_groups: Groups,
    /// In the order in which they were bound.
    pub services: Vec<Binding>,
    pub placement: Placement,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Image(String),
    Archive(SourceArchive),
}

/// An archive that was uploaded, checked and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceArchive {
    /// Lower-case hex.
    pub sha256: String,
    pub size_bytes: u64,
    pub entry_count: u32,
    /// The upload that brought it. None: an earlier release kept it, under its digest alone.
    pub upload: Option<UploadUid>,
}

impl Source {
    /// `before`, where that has the very bytes: they need not be kept twice.
    fn or_the_same(self, before: Self) -> Self {
        match (&self, &before) {
            (Self::Archive(new), Self::Archive(old)) if new.sha256 == old.sha256 => before,
            (Self::Archive(_) | Self::Image(_), Self::Archive(_) | Self::Image(_)) => self,
        }
    }
}

impl SourceArchive {
    /// What it is called where archives are kept. No two uploads share a name, so what is cleared away is never what another
    /// push has just brought.
    pub fn object(&self) -> String {
        match self.upload {
            Some(upload) => format!("{}-{upload}", self.sha256),
            None => self.sha256.clone(),
        }
    }
}

/// A line for `/bin/sh -c`: not blank, no NUL, within bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    /// None when `text` is empty: not said here.
    pub fn parse(field: &str, text: String) -> Result<Option<Self>, Invalid> {
        if text.is_empty() {
            Ok(None)
        } else if text.trim().is_empty() {
            Err(Invalid::one(field, "must not consist of white space alone"))
        } else if text.contains('\0') {
            Err(Invalid::one(field, "must not contain NUL"))
        } else if text.len() > COMMAND_MAX {
            Err(Invalid::one(
                field,
                format!("must be at most {COMMAND_MAX} bytes long: put a longer one into a file of the App"),
            ))
        } else {
            Ok(Some(Self(text)))
        }
    }

    /// What was checked before and comes back from where it was kept.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Commands are kept out of logs and traces: they often hold more than they should.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[command]")
    }
}

/// Checks an image reference for its form; whether it exists is the cluster's to say.
pub fn parse_image(field: &str, image: String) -> Result<String, Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b':' | b'@');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = image.as_bytes();
    let fine =
        bytes.len() <= 512 && bytes.iter().all(|byte| allowed(*byte)) && edge(bytes.first()) && edge(bytes.last());
    if fine {
        Ok(image)
    } else {
        Err(Invalid::one(field, "must be an image reference like registry.example/team/app:1.2"))
    }
}

/// What a push brings; what it leaves unset stays as it was.
#[derive(Debug, Clone)]
pub struct Push {
    pub name: AppName,
    pub source: Option<Source>,
    /// Set but empty: forget the App's command.
    pub command: Option<Option<Command>>,
    pub env: Env,
    pub replace_env: bool,
    /// Taken out of what the App has already; names it has not are passed over.
    pub unset_env: Vec<String>,
    pub resources: Resources,
    /// To be bound to, beside what the App is bound to already.
    pub services: Vec<Binding>,
    /// Set but empty: what its Space says.
    pub task_retention_count: Option<Option<u32>>,
    pub placement: Option<Placement>,
}

/// An App as it is to be, with the event that says so.
#[derive(Debug, Clone)]
pub struct AppChange {
    pub app: App,
    pub event: Event,
}

impl App {
    pub fn create(uid: AppUid, space_uid: SpaceUid, push: Push, at: Timestamp) -> Result<AppChange, Invalid> {
        let Push {
            name,
            source,
            command,
            env,
            replace_env: _,
            unset_env: _,
            resources,
            services,
            task_retention_count,
            placement,
        } = push;
        let source = source
            .ok_or_else(|| Invalid::one("app.source", "is required on the first push: send an image or an archive"))?;
        let services = bound_as_well(&name, Vec::new(), services)?;
        let security_groups = Groups::default();
        let placement = placement.unwrap_or_default();
        let spec = AppSpec { source, command: command.flatten(), env, resources, services, security_groups, placement };
        let app = Self {
            uid,
            space_uid,
            name,
            revision: 1,
            spec,
            task_retention_count: task_retention_count.flatten(),
            standing: Standing::Active,
            version: 1,
            created_at: at,
            updated_at: at,
        };
        Ok(app.told(Fact::AppPushed, at))
    }

    /// The change that `push` makes, or none when everything is as it says. What is no part of the spec makes no revision.
    pub fn push(self, push: Push, at: Timestamp) -> Result<Option<AppChange>, Invalid> {
        let Push {
            name,
            source,
            command,
            env,
            replace_env,
            unset_env,
            resources,
            services,
            task_retention_count,
            placement,
        } = push;
        let before = self.spec.clone();
        let spec = AppSpec {
            source: match source {
                Some(source) => source.or_the_same(before.source),
                None => before.source,
            },
            command: command.unwrap_or(before.command),
            env: if replace_env { env } else { before.env.without(&unset_env).overlaid(&env) },
            resources: resources.or(before.resources),
            security_groups: before.security_groups,
            services: bound_as_well(&name, before.services, services)?,
            placement: placement.unwrap_or(before.placement),
        };
        let mut check = Check::new();
        if spec.env.size() > env::INHERITED_MAX {
            check.refuse(
                "app.env",
                format!("must be at most {} bytes in all, with what the App has already", env::INHERITED_MAX),
            );
        }
        check.finish()?;
        let task_retention_count = task_retention_count.unwrap_or(self.task_retention_count);
        let same = task_retention_count == self.task_retention_count;
        let app = Self { task_retention_count, ..self };
        if same || spec != app.spec {
            return Ok(app.revised(spec, Fact::AppPushed, at));
        }
        let version = app.version + 1;
        Ok(Some(Self { version, updated_at: at, ..app }.told(Fact::AppPushed, at)))
    }

    /// The change to these security groups, or none when they are bound already.
    pub fn with_groups(self, security_groups: Groups, at: Timestamp) -> Option<AppChange> {
        let spec = AppSpec { security_groups, ..self.spec.clone() };
        self.revised(spec, Fact::AppUpdated, at)
    }

    /// Nothing new is taken in any more, and what is there is to go. None: that was asked for before.
    pub fn delete(self, at: Timestamp) -> Option<AppChange> {
        if self.standing == Standing::Deleting {
            return None;
        }
        let version = self.version + 1;
        Some(Self { standing: Standing::Deleting, version, updated_at: at, ..self }.told(Fact::AppDeleteRequested, at))
    }

    /// Its last event: the row is about to go.
    pub fn deleted(self, at: Timestamp) -> AppChange {
        let version = self.version + 1;
        Self { version, updated_at: at, ..self }.told(Fact::AppDeleted, at)
    }

    pub(crate) fn told(self, fact: Fact, at: Timestamp) -> AppChange {
        let event = Event {
            uid: self.uid.0,
            sequence: self.version,
            subject: Subject::App(self.name.clone()),
            fact,
            at,
            data: EventData::App { revision: self.revision },
            trace: None,
        };
        AppChange { app: self, event }
    }
}

/// A push says again what was bound before, whatever the name it was bound by.
fn bound_as_well(app: &AppName, mut services: Vec<Binding>, new: Vec<Binding>) -> Result<Vec<Binding>, Invalid> {
    for binding in new {
        if services.iter().any(|there| there.service == binding.service) {
            continue;
        }
        services =
            bind::with(app, services, binding).map_err(|error| Invalid::one("app.services", error.to_string()))?;
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn push(command: Option<&str>, env: &[(&str, &str)]) -> Push {
        Push {
            name: "spaces/s/apps/a".parse().unwrap(),
            source: Some(Source::Image("img:1".into())),
            command: command.map(|text| Command::parse("command", text.into()).unwrap()),
            env: Env::stored(env.iter().map(|(k, v)| ((*k).into(), (*v).into()))),
            replace_env: false,
            unset_env: Vec::new(),
            resources: Resources::default(),
            services: Vec::new(),
            task_retention_count: None,
            placement: None,
        }
    }

    fn app() -> App {
        App::create(AppUid(Uuid::nil()), SpaceUid(Uuid::nil()), push(Some("a"), &[("A", "1")]), Timestamp::UNIX_EPOCH)
            .unwrap()
            .app
    }

    #[test]
    fn an_equal_push_makes_no_revision() {
        assert!(app().push(push(Some("a"), &[("A", "1")]), Timestamp::UNIX_EPOCH).unwrap().is_none());
        assert!(app().push(push(None, &[]), Timestamp::UNIX_EPOCH).unwrap().is_none());
    }

    #[test]
    fn a_push_keeps_what_it_does_not_mention() {
        let change = app().push(push(None, &[("B", "2")]), Timestamp::UNIX_EPOCH).unwrap().unwrap();
        assert_eq!(change.app.spec.env.names().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(change.app.spec.command.unwrap().as_str(), "a");
        assert_eq!((change.app.revision, change.event.sequence), (2, 2));
    }

    #[test]
    fn how_many_tasks_it_keeps_makes_a_version_and_no_revision() {
        let kept = |app: App, count| {
            let push = Push { task_retention_count: count, ..push(None, &[]) };
            app.push(push, Timestamp::UNIX_EPOCH).unwrap().map(|change| change.app)
        };
        let own = kept(app(), Some(Some(7))).unwrap();
        assert_eq!((own.task_retention_count, own.revision, own.version), (Some(7), 1, 2));
        assert!(kept(own.clone(), None).is_none());
        assert!(kept(own.clone(), Some(Some(7))).is_none());
        let spaces = kept(own, Some(None)).unwrap();
        assert_eq!((spaces.task_retention_count, spaces.revision, spaces.version), (None, 1, 3));
    }

    #[test]
    fn the_same_bytes_uploaded_again_are_no_other_source() {
        let archive = |sha256: &str, upload| SourceArchive {
            sha256: sha256.to_owned(),
            size_bytes: 1,
            entry_count: 1,
            upload: Some(UploadUid(Uuid::from_u128(upload))),
        };
        let of = |archive: &SourceArchive| Push { source: Some(Source::Archive(archive.clone())), ..push(None, &[]) };
        let first = archive("a", 1);
        let app = app().push(of(&first), Timestamp::UNIX_EPOCH).unwrap().unwrap().app;
        assert!(app.clone().push(of(&archive("a", 2)), Timestamp::UNIX_EPOCH).unwrap().is_none());
        let also = Push { env: Env::stored([("B".into(), "2".into())]), ..of(&archive("a", 3)) };
        let change = app.clone().push(also, Timestamp::UNIX_EPOCH).unwrap().unwrap();
        assert_eq!(change.app.spec.source, Source::Archive(first));
        let other = archive("b", 4);
        let change = app.push(of(&other), Timestamp::UNIX_EPOCH).unwrap().unwrap();
        assert_eq!(change.app.spec.source, Source::Archive(other));
    }

    #[test]
    fn a_first_push_needs_a_source() {
        let bare = Push { source: None, ..push(None, &[]) };
        assert!(App::create(AppUid(Uuid::nil()), SpaceUid(Uuid::nil()), bare, Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn commands_are_bounded_and_never_blank() {
        let parse = |text: &str| Command::parse("command", text.to_owned());
        assert!(parse("").unwrap().is_none());
        assert!(parse(&"x".repeat(COMMAND_MAX)).is_ok());
        for bad in [" ", "\n\t", "a\0b", &"x".repeat(COMMAND_MAX + 1)] {
            assert!(parse(bad).is_err());
        }
    }
}
