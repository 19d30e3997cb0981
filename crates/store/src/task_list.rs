//! Lists of Tasks, page by page. A page begins after the last Task of the one before, wherever that is by now.

use jiff::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};
use taskplane_domain::name::Name;
use taskplane_domain::task::{StateKind, Task};
use taskplane_domain::uid::TaskUid;

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::{big, task};

#[derive(Debug, Clone)]
pub struct TaskQuery {
    pub space: Name,
    /// Of this App alone, in the order of their numbers; else of the whole Space, in the order of their acceptance.
    pub app: Option<Name>,
    /// Empty: all of them.
    pub states: Vec<StateKind>,
    pub job: Option<Name>,
    pub newest_first: bool,
    pub after: Option<TaskMark>,
    pub limit: u32,
}

/// Where a Task stands in either order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskMark {
    pub id: u64,
    pub created_at: Timestamp,
    pub uid: TaskUid,
}

impl From<&Task> for TaskMark {
    fn from(task: &Task) -> Self {
        Self { id: task.name.id, created_at: task.created_at, uid: task.uid }
    }
}

impl Store {
    pub async fn task_list(&self, query: &TaskQuery) -> Result<Vec<Task>, StoreError> {
        use task::Column;
        let TaskQuery { space, app, states, job, newest_first, after, limit } = query;
        let order = if *newest_first { Order::Desc } else { Order::Asc };
        let mut select = task::Entity::find().filter(Column::Space.eq(space.as_str()));
        if let Some(app) = app {
            select = select.filter(Column::App.eq(app.as_str())).order_by(Column::Id, order);
        } else {
            select = select.order_by(Column::CreatedAt, order.clone()).order_by(Column::Uid, order);
        }
        if !states.is_empty() {
            select = select.filter(Column::State.is_in(states.iter().map(|state| state.as_str())));
        }
        if let Some(job) = job {
            select = select.filter(Column::Job.eq(job.as_str()));
        }
        if let Some(TaskMark { id, created_at, uid }) = after {
            let (place, mark) = match app {
                Some(_) => (Expr::col(Column::Id), Expr::val(big(*id))),
                None => (
                    Expr::tuple([Expr::col(Column::CreatedAt), Expr::col(Column::Uid)]),
                    Expr::tuple([Expr::val(created_at.as_microsecond()), Expr::val(uid.0)]),
                ),
            };
            select = select.filter(if *newest_first { place.lt(mark) } else { place.gt(mark) });
        }
        let rows = self.read(select.limit(u64::from(*limit)).all(self.db())).await?;
        rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
    }
}
