//! `events`: what happened, where it stands in the feed, and whether the bus has it.

use prost::Message as _;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;
use taskplane_domain::event::{Event, Subject};
use taskplane_proto::event::v1 as pb;

use crate::error::Corrupt;
use crate::row::{Row, big};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub uid: Uuid,
    pub sequence: i64,
    pub space: String,
    pub app: Option<String>,
    pub task_id: Option<i64>,
    pub kind: String,
    pub fact: String,
    pub at: i64,
    pub data: Vec<u8>,
    pub trace: Option<String>,
    pub feed_position: Option<i64>,
    pub published_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A new event: nobody has heard of it.
impl From<&Event> for ActiveModel {
    fn from(event: &Event) -> Self {
        let task_id = match &event.subject {
            Subject::Task(name) => Some(big(name.id)),
            Subject::Space(_) | Subject::App(_) | Subject::Service(_) | Subject::Job(_) => None,
        };
        Self {
            id: NotSet,
            uid: Set(event.uid),
            sequence: Set(big(event.sequence)),
            space: Set(event.subject.space().to_string()),
            app: Set(event.subject.app().map(ToString::to_string)),
            task_id: Set(task_id),
            kind: Set(event.fact.kind().as_str().to_owned()),
            fact: Set(event.fact.as_str().to_owned()),
            at: Set(event.at.as_microsecond()),
            data: Set(pb::Event::from(event).encode_to_vec()),
            trace: Set(event.trace.clone()),
            feed_position: Set(None),
            published_at: Set(None),
        }
    }
}

/// The message holds all but the trace; the other columns are for looking it up, and must say the same.
impl TryFrom<Model> for Event {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("events", model.id);
        let mut event: Self = row.decoded::<pb::Event, _>("data", &model.data)?;
        let agrees = [
            ("uid", event.uid == model.uid),
            ("sequence", big(event.sequence) == model.sequence),
            ("space", event.subject.space().as_str() == model.space),
            ("kind", event.fact.kind().as_str() == model.kind),
            ("fact", event.fact.as_str() == model.fact),
        ];
        if let Some((column, _)) = agrees.into_iter().find(|(_, agrees)| !agrees) {
            return Err(row.corrupt(column));
        }
        event.trace = model.trace;
        Ok(event)
    }
}
