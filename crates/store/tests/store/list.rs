//! Lists of Tasks.

use taskplane_domain::task::{StateKind, Task};
use taskplane_store::{TaskMark, TaskQuery};

use crate::kit::{Kit, name};

crate::on_both_engines![
    a_list_is_read_page_by_page_in_either_order,
    a_page_goes_on_where_the_one_before_ended_whatever_came_meanwhile,
    a_list_is_of_the_states_asked_for,
    a_list_ends_at_its_space,
];

fn all_of(space: &str) -> TaskQuery {
    TaskQuery {
        space: name(space),
        app: None,
        states: Vec::new(),
        job: None,
        newest_first: false,
        after: None,
        limit: 3,
    }
}

async fn pages(kit: &Kit, mut query: TaskQuery) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let page = kit.store.task_list(&query).await.unwrap();
        seen.extend(page.iter().map(|task| task.name.to_string()));
        match page.last() {
            Some(last) => query.after = Some(TaskMark::from(last)),
            None => return seen,
        }
    }
}

/// Ten Tasks of two Apps in turn; two of each second, so that their times alone do not order them.
async fn ten(kit: &Kit) -> Vec<Task> {
    let space = kit.a_space("s").await;
    let apps = [kit.an_app(&space, "a").await, kit.an_app(&space, "b").await];
    let mut tasks = Vec::new();
    for turn in 0..10 {
        tasks.push(kit.a_task(&space, &apps[turn % 2]).await);
        if turn % 2 == 1 {
            kit.advance(1);
        }
    }
    tasks
}

async fn a_list_is_read_page_by_page_in_either_order(kit: Kit) {
    let tasks = ten(&kit).await;
    let mut names: Vec<_> = tasks.iter().map(|task| task.name.to_string()).collect();
    assert_eq!(pages(&kit, all_of("s")).await, names);
    names.reverse();
    assert_eq!(pages(&kit, TaskQuery { newest_first: true, ..all_of("s") }).await, names);
    let of_b = |newest_first| TaskQuery { app: Some(name("b")), newest_first, ..all_of("s") };
    let ids = |ids: [u64; 5]| ids.map(|id| format!("spaces/s/apps/b/tasks/{id}"));
    assert_eq!(pages(&kit, of_b(false)).await, ids([1, 2, 3, 4, 5]));
    assert_eq!(pages(&kit, of_b(true)).await, ids([5, 4, 3, 2, 1]));
}

async fn a_page_goes_on_where_the_one_before_ended_whatever_came_meanwhile(kit: Kit) {
    let tasks = ten(&kit).await;
    let newest = TaskQuery { newest_first: true, ..all_of("s") };
    let first = kit.store.task_list(&newest).await.unwrap();
    let space = kit.store.space_get(&"spaces/s".parse().unwrap()).await.unwrap();
    let app = kit.store.app_get(&"spaces/s/apps/a".parse().unwrap()).await.unwrap();
    kit.a_task(&space, &app).await;
    kit.cancelled(&first[2]).await;
    let after = first.last().map(TaskMark::from);
    let second = kit.store.task_list(&TaskQuery { after, ..newest }).await.unwrap();
    let names: Vec<_> = second.iter().map(|task| task.uid).collect();
    assert_eq!(names, [tasks[6].uid, tasks[5].uid, tasks[4].uid]);
}

async fn a_list_is_of_the_states_asked_for(kit: Kit) {
    let tasks = ten(&kit).await;
    kit.cancelled(&tasks[3]).await;
    kit.running(&tasks[7]).await;
    let of = |states: &[StateKind]| TaskQuery { states: states.to_vec(), limit: 100, ..all_of("s") };
    let both = kit.store.task_list(&of(&[StateKind::Cancelled, StateKind::Running])).await.unwrap();
    assert_eq!(both.iter().map(|task| task.uid).collect::<Vec<_>>(), [tasks[3].uid, tasks[7].uid]);
    assert!(kit.store.task_list(&of(&[StateKind::Failed])).await.unwrap().is_empty());
    let of_job = TaskQuery { job: Some(name("j")), ..all_of("s") };
    assert!(kit.store.task_list(&of_job).await.unwrap().is_empty());
}

async fn a_list_ends_at_its_space(kit: Kit) {
    ten(&kit).await;
    kit.a_space("t").await;
    assert!(pages(&kit, all_of("t")).await.is_empty());
    let foreign = TaskQuery { app: Some(name("a")), ..all_of("t") };
    assert!(pages(&kit, foreign).await.is_empty());
}
