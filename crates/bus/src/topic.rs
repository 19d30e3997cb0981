//! Which events a subscriber wants to hear of.

use taskplane_domain::event::{Event, Kind};
use taskplane_domain::name::Name;

use crate::Ring;

/// A choice among the subjects `taskplane.v1.<space>.<kind>.<name>.<fact>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    kind: Option<Kind>,
    space: Option<Name>,
    app: Option<Name>,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum What {
    #[default]
    Events,
    Removals,
    Nothing,
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
        Self { kind: Some(Kind::Task), space: Some(space), app, ..Self::default() }
    }

    /// Everything of a Space: itself, its Apps, their Tasks; or only what is of one App.
    pub fn of(space: Name, app: Option<Name>) -> Self {
        Self { space: Some(space), app, ..Self::default() }
    }

    /// Not events, but that there may be something to remove.
    pub fn removals() -> Self {
        Self { what: What::Removals, ..Self::default() }
    }

    /// Only that something was missed.
    pub fn nothing() -> Self {
        Self { what: What::Nothing, ..Self::default() }
    }

    pub(crate) fn hears(&self, ring: &Ring) -> bool {
        match ring {
            Ring::Event(event) => self.matches(event),
            Ring::Removals => self.what == What::Removals,
            Ring::Missed => true,
        }
    }

    pub fn matches(&self, event: &Event) -> bool {
        let Self { kind, space, app, what } = self;
        *what == What::Events
            && kind.is_none_or(|kind| kind == event.fact.kind())
            && space.as_ref().is_none_or(|space| space == event.subject.space())
            && (app.is_none() || app.as_ref() == event.subject.app())
    }
}
