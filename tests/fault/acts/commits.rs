//! F4: a connection breaks between COMMIT and its answer, on the way there or on the way back. Whoever asks again finds what was
//! done, or has it done: once.

use taskplane_testkit::proxy::CommitCut;

use crate::calls::Outcome;
use crate::history::{Answer, Ask, Policy};
use crate::ledger::Script;
use crate::stage::Stage;
use crate::system::Role;

const ROUNDS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_again_after_an_unheard_commit_finds_what_was_done() {
    let mut stage = Stage::set(1000).await;
    let mut caller = stage.a_client(1);
    let job = Ask::CreateJob {
        job: "j".into(),
        app: "a".into(),
        cron: String::new(),
        policy: Policy::Always,
        script: Script::BRIEF,
    };
    assert!(matches!(caller.ask(job).await, Outcome::Told(_)));
    let mut unheard = 0;
    for round in 0..ROUNDS {
        let cut = if round % 2 == 0 { CommitCut::BeforeClient } else { CommitCut::BeforeServer };
        for kind in ["task", "job"] {
            let (display_name, request_id) = (format!("wish-{kind}-{round}"), format!("request-{kind}-{round}"));
            let ask = match kind {
                "task" => Ask::RunTask { app: "a".into(), display_name, request_id, script: Script::BRIEF },
                _ => Ask::RunJob { job: "spaces/s/jobs/j".into(), display_name, request_id },
            };
            // All the apis commit at that moment may be cut, so that this one surely is.
            let apis = stage.system.members.iter().filter(|member| member.role == Role::Api);
            apis.for_each(|api| api.database.as_ref().unwrap().cut_commits(3, cut));
            let first = caller.ask(ask.clone()).await;
            unheard += u32::from(matches!(first, Outcome::Unsure));
            let apis = stage.system.members.iter().filter(|member| member.role == Role::Api);
            apis.for_each(|api| api.database.as_ref().unwrap().cut_commits(0, cut));
            let Answer::Task(found) = caller.learns(ask.clone()).await else { unreachable!() };
            let Answer::Task(again) = caller.learns(ask).await else { unreachable!() };
            assert_eq!(found.uid, again.uid);
            if let Outcome::Told(Answer::Task(first)) = first {
                assert_eq!(found.uid, first.uid);
            }
        }
    }
    assert!(unheard > 0, "no answer was ever lost: nothing was tried here");
    let story = stage.judge().await;
    assert_eq!(story.task_events().count() as u64, 2 * ROUNDS);
}
