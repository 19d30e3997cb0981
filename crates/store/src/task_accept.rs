//! The acceptance of Tasks: numbers, rows, events and idempotency keys of all that are asked for at one moment, or none of
//! them. Each is answered as if it had come alone, one after the other in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, QuerySelect as _};
use taskplane_domain::standing::Standing;
use taskplane_domain::task::{Birth, Task, Transition};

use crate::accept_room::{self, Counts, Room};
use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::request::{self, RequestKey};
use crate::row::{app, big, space_env, task};
use crate::txn::Txn;
use crate::{event, quota, sql};

const METHOD: &str = "RunTask";
/// Rows of one statement: engines bound how many values it may have.
const ROWS: usize = 400;

#[derive(Debug, Clone)]
pub struct Accepted {
    pub task: Task,
    /// The request was accepted before; this is the Task it made then, as it is now.
    pub repeated: bool,
}

/// A Task that is asked for.
type Asked = (Birth, Option<RequestKey>);
type Answer = Result<Accepted, StoreError>;

impl Store {
    /// `Conflict` when the App has another revision than the one the Task was made from: read it again. `LiveQuota` when the
    /// Space has no room for it.
    pub async fn task_accept(&self, birth: Birth, key: Option<RequestKey>) -> Answer {
        let mut answers = self.tasks_accept(vec![(birth, key)]).await;
        answers.pop().unwrap_or_else(|| Err(StoreError::Unusable("nothing was asked for".to_owned())))
    }

    /// Many at once, all in one Space: one transaction, and for each its own answer, in their order.
    pub async fn tasks_accept(&self, asked: Vec<(Birth, Option<RequestKey>)>) -> Vec<Answer> {
        let seal = |(birth, key): Asked| (birth.sealed(|uid, env| self.secrets().seal_task(uid, env)), key);
        let mut answers = Vec::with_capacity(asked.len());
        for some in apart(asked.into_iter().map(seal)) {
            answers.extend(self.accept_some(some.into()).await);
        }
        answers
    }

    async fn accept_some(&self, asked: Arc<[Asked]>) -> Vec<Answer> {
        let error = match self.accept_all(Arc::clone(&asked)).await {
            Ok(answers) => return answers,
            Err(error) if asked.len() == 1 => return vec![Err(error)],
            Err(error) => error,
        };
        let mut answers = Vec::with_capacity(asked.len());
        for one in asked.iter() {
            answers.push(match &error {
                // The database's word on all of them: it may have happened, and is not tried again from here.
                error @ StoreError::Unavailable(_) => Err(error.alike()),
                // One of them cannot be written as it stands. The others must not come to nothing with it.
                _ => match self.accept_all(Arc::from([one.clone()])).await {
                    Ok(answers) => answers.into_iter().next().unwrap_or(Err(StoreError::Fenced)),
                    Err(error) => Err(error),
                },
            });
        }
        answers
    }

    async fn accept_all(&self, asked: Arc<[Asked]>) -> Result<Vec<Answer>, StoreError> {
        let counts = Arc::clone(self.counts());
        self.write("task_accept", move |txn| {
            let (asked, counts) = (Arc::clone(&asked), Arc::clone(&counts));
            Box::pin(async move { accept(txn, &asked, &counts).await })
        })
        .await
    }
}

/// Cut where a key comes again: whether it made a Task is known once that transaction is over.
fn apart(asked: impl Iterator<Item = Asked>) -> Vec<Vec<Asked>> {
    let (mut all, mut keys) = (vec![Vec::new()], HashSet::new());
    for (birth, key) in asked {
        let again = key.as_ref().is_some_and(|key| !keys.insert((key.principal.clone(), key.key.clone())));
        if again {
            keys.clear();
            keys.extend(key.as_ref().map(|key| (key.principal.clone(), key.key.clone())));
            all.push(Vec::new());
        }
        all.last_mut().into_iter().for_each(|some| some.push((birth.clone(), key.clone())));
    }
    all.retain(|some| !some.is_empty());
    all
}

async fn accept(txn: &Txn, asked: &[Asked], counts: &Counts) -> Result<Vec<Answer>, Fault> {
    let Some((first, _)) = asked.first() else { return Ok(Vec::new()) };
    let space = first.task().space_uid;
    accept_room::lock(txn, space).await?;
    // None: it is to be born.
    let keys = asked.iter().map(|(_, key)| key.as_ref()).collect();
    let before = request::made_before(txn, space, METHOD, keys).await?.into_iter();
    let repeated = |task| Accepted { task, repeated: true };
    let mut answers: Vec<Option<Answer>> = before.map(|made| made.map(|made| made.map(repeated))).collect();
    let wanted: Vec<&Task> =
        asked.iter().zip(&answers).filter(|(_, is)| is.is_none()).map(|((birth, _), _)| birth.task()).collect();
    if wanted.is_empty() {
        return Ok(answers.into_iter().flatten().collect());
    }
    let scene = Scene::lock(txn, &wanted).await?;
    let mut room = counts.room(txn, space, wanted.len()).await?;
    for ((birth, _), answer) in asked.iter().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
        *answer = scene.refuses(birth.task(), &mut room).map(Err);
    }
    let born = asked.iter().zip(&answers).filter(|(_, is)| is.is_none()).map(|(asked, _)| asked);
    let mut steps = scene.numbered(txn, born).await?.into_iter();
    let accepted = |step: Transition| Accepted { task: step.into_task(), repeated: false };
    Ok(answers
        .into_iter()
        .filter_map(|answer| answer.or_else(|| steps.next().map(|step| Ok(accepted(step)))))
        .collect())
}

/// The Apps that Tasks are asked of, locked, in the order in which everybody locks them; and the environments there are.
struct Scene {
    apps: HashMap<Uuid, app::Model>,
    envs: HashSet<i64>,
}

impl Scene {
    async fn lock(txn: &Txn, wanted: &[&Task]) -> Result<Self, Fault> {
        let apps = app::Entity::find()
            .filter(app::Column::Uid.is_in(wanted.iter().map(|task| task.app_uid.0).collect::<BTreeSet<_>>()))
            .order_by_asc(app::Column::Uid)
            .lock_exclusive()
            .all(&txn.db)
            .await?;
        let spaces: BTreeSet<Uuid> = wanted.iter().map(|task| task.space_uid.0).collect();
        let revisions: BTreeSet<i64> = wanted.iter().map(|task| task.space_env_revision.into()).collect();
        let envs = space_env::Entity::find()
            .select_only()
            .column(space_env::Column::Revision)
            .filter(space_env::Column::SpaceUid.is_in(spaces))
            .filter(space_env::Column::Revision.is_in(revisions))
            .into_tuple()
            .all(&txn.db)
            .await?;
        Ok(Self { apps: apps.into_iter().map(|app| (app.uid, app)).collect(), envs: envs.into_iter().collect() })
    }

    /// Why there is not to be such a Task; None: it takes its place.
    fn refuses(&self, task: &Task, room: &mut Room) -> Option<StoreError> {
        if room.left == 0 {
            return Some(quota::full(&task.name.space, room.quota));
        }
        let name = task.name.app_name();
        let app = match self.apps.get(&task.app_uid.0) {
            None => return Some(StoreError::NotFound(name.to_string())),
            Some(app) => app,
        };
        if app.standing != Standing::Active.as_str() {
            return Some(StoreError::AppDeleting(name));
        }
        let is_so = app.revision == i64::from(task.app_revision) && self.envs.contains(&task.space_env_revision.into());
        if !is_so {
            return Some(StoreError::Conflict(name.to_string()));
        }
        room.left -= 1;
        None
    }

    /// Writes them under the next numbers of their Apps: given in order, and given again if this comes to nothing.
    async fn numbered<'a>(
        &self,
        txn: &Txn,
        born: impl Iterator<Item = &'a Asked> + Clone,
    ) -> Result<Vec<Transition>, Fault> {
        let mut groups: BTreeMap<(Uuid, u32), (&Task, u64)> = BTreeMap::new();
        for task in born.clone().map(|(birth, _)| birth.task()) {
            groups.entry((task.app_uid.0, task.space_env_revision)).or_insert((task, 0)).1 += 1;
        }
        let mut next: HashMap<(Uuid, u32), u64> = HashMap::new();
        for (group, (task, count)) in groups {
            next.insert(group, next_ids(txn, task, count).await?);
        }
        let (mut steps, mut keys) = (Vec::new(), Vec::new());
        for (birth, key) in born {
            let task = birth.task();
            let id = next.entry((task.app_uid.0, task.space_env_revision)).or_default();
            let step = birth.clone().numbered(*id);
            *id += 1;
            keys.extend(key.as_ref().map(|key| (step.task().clone(), key)));
            steps.push(step);
        }
        request::keep(txn, METHOD, &keys).await?;
        insert(txn, &steps).await.map_err(|fault| match (fault, &keys[..]) {
            // Its key is forgotten, but what it made has left a trace.
            (Fault::Again(StoreError::AlreadyExists(_)), [_]) if steps.len() == 1 => StoreError::KeyReused.into(),
            (Fault::Again(error), _) => Fault::Store(error),
            (fault, _) => fault,
        })?;
        Ok(steps)
    }
}

/// Takes the next numbers of the App, and says the first.
async fn next_ids(txn: &Txn, asked: &Task, count: u64) -> Result<u64, Fault> {
    // What was looked at before stands in the statement that gives the numbers: an environment that is found unused by
    // whoever trims them stays unused.
    const TEXT: &str = "UPDATE apps SET next_task_id = next_task_id + $5 WHERE uid = $1 AND revision = $2 AND standing = 'ACTIVE' \
         AND EXISTS (SELECT 1 FROM space_envs WHERE space_uid = $3 AND revision = $4) RETURNING next_task_id - $5 AS value";
    let (app, env) = (i64::from(asked.app_revision), i64::from(asked.space_env_revision));
    let values = [asked.app_uid.0.into(), app.into(), asked.space_uid.0.into(), env.into(), big(count).into()];
    match sql::number(&txn.db, TEXT, values).await? {
        Some(id) => Ok(id.unsigned_abs()),
        None => Err(Fault::Again(StoreError::Conflict(asked.name.app_name().to_string()))),
    }
}

async fn insert(txn: &Txn, steps: &[Transition]) -> Result<(), Fault> {
    for some in steps.chunks(ROWS) {
        let rows = some.iter().map(|step| task::ActiveModel::from(task::Model::from(step.task())));
        let name = some.first().map(|step| step.task().name.to_string()).unwrap_or_default();
        let done = task::Entity::insert_many(rows).exec_without_returning(&txn.db).await;
        done.map_err(|error| Fault::taken(error, name))?;
        event::append_all(txn, some.iter().map(Transition::event)).await?;
    }
    Ok(())
}
