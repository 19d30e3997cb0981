//! Resource names, and the short forms in which people type and read them.

use crate::args::TaskPick;
use crate::failure::Failure;

/// `spaces/{space}`, from either form.
pub fn space(name: &str) -> String {
    match name.strip_prefix("spaces/") {
        Some(_) => name.to_owned(),
        None => format!("spaces/{name}"),
    }
}

/// `spaces/{space}/apps/{app}`.
pub fn app(space: &str, app: &str) -> String {
    format!("{space}/apps/{app}")
}

/// The resource name of the Job that was typed, by its name or in full; `space` is asked for only where it is left open.
pub fn job(typed: &str, space: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
    let parts: Vec<&str> = typed.split('/').collect();
    match parts.as_slice() {
        ["spaces", _, "jobs", _] => Ok(typed.to_owned()),
        _ => Ok(format!("{}/jobs/{typed}", space()?)),
    }
}

/// `spaces/{space}` of anything in it.
pub fn space_of(name: &str) -> String {
    name.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// The last part of a resource name.
pub fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// `APP/ID` of a Task, which is how the command line names it.
pub fn short_task(name: &str) -> String {
    match task_parts(name) {
        Some((_, app, id)) => format!("{app}/{id}"),
        None => name.to_owned(),
    }
}

/// Space, App and ID of a Task's resource name.
pub fn task_parts(name: &str) -> Option<(&str, &str, &str)> {
    let mut parts = name.split('/');
    let found = match (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?) {
        ("spaces", space, "apps", app, "tasks", id) => (space, app, id),
        _ => return None,
    };
    parts.next().is_none().then_some(found)
}

/// The resource name of the Task that was typed; `space` is asked for only where the form leaves it open.
pub fn task(pick: &TaskPick, space: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
    let TaskPick { task, id } = pick;
    let (app, id) = match id {
        Some(id) => (task.as_str(), id.as_str()),
        None if task_parts(task).is_some() => return Ok(task.clone()),
        None => task.split_once('/').ok_or_else(|| {
            Failure::wrong_with(format!("`{task}` does not say which Task"), "write APP/ID, or APP and ID".to_owned())
        })?,
    };
    Ok(format!("{}/apps/{app}/tasks/{}", space()?, task_id(id)?))
}

/// A Task's number, as typed.
pub fn task_id(text: &str) -> Result<i64, Failure> {
    text.parse::<i64>()
        .ok()
        .filter(|id| *id > 0)
        .ok_or_else(|| Failure::wrong(format!("`{text}` is not the ID of a Task, which is a number from 1")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(task: &str, id: Option<&str>) -> Result<String, Failure> {
        let pick = TaskPick { task: task.to_owned(), id: id.map(str::to_owned) };
        super::task(&pick, || Ok("spaces/blue".to_owned()))
    }

    #[test]
    fn a_task_can_be_typed_in_three_forms() {
        assert_eq!(pick("shop/3", None).unwrap(), "spaces/blue/apps/shop/tasks/3");
        assert_eq!(pick("shop", Some("3")).unwrap(), "spaces/blue/apps/shop/tasks/3");
        assert_eq!(pick("spaces/red/apps/shop/tasks/3", None).unwrap(), "spaces/red/apps/shop/tasks/3");
    }

    #[test]
    fn a_name_that_looks_like_a_task_is_not_guessed_at() {
        assert!(pick("shop-3", None).unwrap_err().line().contains("write APP/ID"));
        assert!(pick("shop/three", None).is_err());
        assert!(pick("shop", Some("0")).is_err());
        assert!(pick("shop/3/4", None).is_err());
    }

    #[test]
    fn a_task_is_shown_as_app_and_id() {
        assert_eq!(short_task("spaces/red/apps/shop/tasks/3"), "shop/3");
        assert_eq!(short_task("odd"), "odd");
    }

    #[test]
    fn a_job_can_be_typed_by_its_name_or_in_full() {
        let job = |typed| super::job(typed, || Ok("spaces/blue".to_owned())).unwrap();
        assert_eq!(job("nightly"), "spaces/blue/jobs/nightly");
        assert_eq!(job("spaces/red/jobs/nightly"), "spaces/red/jobs/nightly");
        assert_eq!(space_of("spaces/red/jobs/nightly"), "spaces/red");
    }

    #[test]
    fn a_space_may_come_with_its_prefix() {
        assert_eq!(space("blue"), "spaces/blue");
        assert_eq!(space("spaces/blue"), "spaces/blue");
    }
}
