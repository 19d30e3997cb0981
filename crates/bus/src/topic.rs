//! Which events a subscriber wants to hear of.

use taskplane_domain::event::{Event, Kind};
use taskplane_domain::name::Name;

/// A choice among the subjects `taskplane.v1.<space>.<kind>.<name>.<fact>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    kind: Option<Kind>,
    space: Option<Name>,
    app: Option<Name>,
}

impl Topic {
    pub fn all() -> Self {
        Self::default()
    }

    pub fn spaces() -> Self {
        Self { kind: Some(Kind::Space), ..Self::default() }
    }

    pub fn apps() -> Self {
        Self { kind: Some(Kind::App), ..Self::default() }
    }

    pub fn jobs() -> Self {
        Self { kind: Some(Kind::Job), ..Self::default() }
    }

    pub fn tasks() -> Self {
        Self { kind: Some(Kind::Task), ..Self::default() }
    }

    /// Tasks of a Space, or of one App in it.
    pub fn tasks_of(space: Name, app: Option<Name>) -> Self {
        Self { kind: Some(Kind::Task), space: Some(space), app }
    }

    /// Everything of a Space: itself, its Apps, their Tasks; or only what is of one App.
    pub fn of(space: Name, app: Option<Name>) -> Self {
        Self { kind: None, space: Some(space), app }
    }

    pub fn matches(&self, event: &Event) -> bool {
        let Self { kind, space, app } = self;
        kind.is_none_or(|kind| kind == event.fact.kind())
            && space.as_ref().is_none_or(|space| space == event.subject.space())
            && (app.is_none() || app.as_ref() == event.subject.app())
    }
}
