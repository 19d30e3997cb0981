//! What applies to an App's Tasks: its own row and its Space's, as one query brings them.

use sea_orm::FromQueryResult;
use sea_orm::prelude::Uuid;
use taskplane_domain::name::AppName;
use taskplane_domain::retention::Retention;
use taskplane_domain::uid::AppUid;
use taskplane_proto::convert::SpaceRules;
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::retention::AppRule;
use crate::row::Row;

#[derive(FromQueryResult)]
pub(crate) struct RuleRow {
    uid: Uuid,
    space: String,
    name: String,
    next_task_id: i64,
    own_count: Option<i64>,
    space_count: i64,
    rules: Option<Vec<u8>>,
}

impl RuleRow {
    pub(crate) fn into_rule(self) -> Result<AppRule, Corrupt> {
        let row = Row::new("apps", self.uid);
        let Self { uid, space, name, next_task_id, own_count, space_count, rules } = self;
        let of_space = Row::new("spaces", &space);
        let SpaceRules {
            minimum_finished,
            age,
            failed,
            delete_terminated_logs: _,
            resources: _,
            default_timeout: _,
            cluster: _,
            start_ticket: _,
        } = of_space.decoded::<pb::SpaceRules, _>("rules", rules.as_deref().unwrap_or_default())?;
        let count = of_space.count("task_retention_count", space_count)?;
        let own = own_count.map(|count| row.count("task_retention_count", count)).transpose()?;
        Ok(AppRule {
            app: AppUid(uid),
            name: AppName { space: row.parsed("space", &space)?, app: row.parsed("name", &name)? },
            rule: Retention { count, minimum_finished, age, failed }.of_app(own),
            own: own.is_some(),
            accepted: row.count("next_task_id", next_task_id.saturating_sub(1))?,
        })
    }
}
