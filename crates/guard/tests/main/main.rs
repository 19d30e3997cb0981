//! The guard as a pod starts it: its own process, told everything by environment, against a server that answers as a test says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say so at once")]

mod door;

use std::process::Output;
use std::time::Duration;

use door::{Door, OTHER_PIN, PIN};
use taskplane_proto::internal::v1::StartAnswer;
use tokio::process::Command;
use tonic::Status;

const TOKEN: &str = "canary-0123456789abcdef";

struct Guard {
    command: Command,
    answer_file: tempfile::NamedTempFile,
}

fn guard(tickets: &str) -> Guard {
    let answer_file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_taskplane-guard"));
    command
        .env_clear()
        .env("TASKPLANE_TICKETS", tickets)
        .env("TASKPLANE_TICKET_PINS", PIN)
        .env("TASKPLANE_TASK_UID", "018f6c2e-9b7d-7c3a-a1b2-c3d4e5f60718")
        .env("TASKPLANE_ATTEMPT", "2")
        .env("TASKPLANE_POD_UID", "pod-1")
        .env("TASKPLANE_START_TOKEN", TOKEN)
        .env("TASKPLANE_START_WITHIN", "60")
        .env("TASKPLANE_ANSWER_FILE", answer_file.path())
        .kill_on_drop(true);
    Guard { command, answer_file }
}

impl Guard {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its exit code and what it wrote into the answer file. Whatever became of it, it kept the token to itself.
    async fn ends(mut self) -> (i32, String, String) {
        let output =
            tokio::time::timeout(Duration::from_secs(60), self.command.output()).await.expect("it does not end");
        let Output { status, stdout, stderr } = output.unwrap();
        let answer = std::fs::read_to_string(self.answer_file.path()).unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert!(stdout.is_empty());
        assert!(!said.contains("canary") && !answer.contains("canary"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        (status.code().unwrap(), answer, said)
    }
}

#[tokio::test]
async fn each_answer_has_its_exit_code() {
    for (answer, code, word) in [
        (Ok(StartAnswer::Granted), 0, "GRANTED"),
        (Ok(StartAnswer::OtherPod), 71, "OTHER_POD"),
        (Ok(StartAnswer::Cancelling), 72, "CANCELLING"),
        (Ok(StartAnswer::Over), 73, "OVER"),
        (Err(Status::permission_denied(TOKEN)), 75, "DENIED"),
        (Err(Status::invalid_argument(TOKEN)), 75, "DENIED"),
    ] {
        let door = Door::open(vec![answer]).await;
        let (ended, written, said) = guard(&door.address).ends().await;
        assert_eq!((ended, written.as_str()), (code, word));
        assert_eq!(said, format!("taskplane-guard: {word}\n"));
        let asked = door.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].attempt, asked[0].pod_uid.as_str(), asked[0].token.as_str()), (2, "pod-1", TOKEN));
    }
}

#[tokio::test]
async fn it_asks_until_it_is_answered_and_is_the_same_process_each_time() {
    let later = || Err(Status::unavailable("ask again"));
    let door = Door::open(vec![later(), Err(Status::internal("what?")), later(), Ok(StartAnswer::Granted)]).await;
    assert_eq!(guard(&door.address).ends().await.0, 0);
    let asked = door.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|question| *question == asked[0]));
    let again = Door::open(vec![Ok(StartAnswer::Granted)]).await;
    guard(&again.address).ends().await;
    assert_ne!(again.asked()[0].guard_nonce, asked[0].guard_nonce, "another process is another one");
}

#[tokio::test]
async fn an_executor_that_is_not_there_is_passed_over() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = gone.local_addr().unwrap();
    drop(gone);
    let door = Door::open(vec![Ok(StartAnswer::Granted)]).await;
    assert_eq!(guard(&format!("{nowhere},{}", door.address)).ends().await.0, 0);
}

#[tokio::test]
async fn without_an_answer_it_ends_when_its_time_is_up() {
    let door = Door::open(vec![]).await;
    let (code, written, said) = guard(&door.address).with("TASKPLANE_START_WITHIN", "2").ends().await;
    assert_eq!((code, written.as_str()), (74, "UNANSWERED"));
    assert!(said.contains("Unavailable"), "{said}");
    assert!(!door.asked().is_empty());
}

#[tokio::test]
async fn whoever_shows_another_certificate_is_told_nothing() {
    let door = Door::open(vec![Ok(StartAnswer::Granted)]).await;
    let other = guard(&door.address).with("TASKPLANE_TICKET_PINS", OTHER_PIN).with("TASKPLANE_START_WITHIN", "1");
    assert_eq!(other.ends().await.0, 74);
    assert!(door.asked().is_empty());
    // One of several will do: a certificate is renewed while pods wait.
    let either = guard(&door.address).with("TASKPLANE_TICKET_PINS", &format!("{OTHER_PIN},{PIN}"));
    assert_eq!(either.ends().await.0, 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_said_at_once() {
    for (name, value) in [("TASKPLANE_TICKETS", "nowhere"), ("TASKPLANE_ATTEMPT", TOKEN), ("TASKPLANE_START_TOKEN", "")]
    {
        let (code, written, said) = guard("127.0.0.1:1").with(name, value).ends().await;
        assert_eq!((code, written.as_str()), (78, ""));
        assert_eq!(said, format!("taskplane-guard: MISCONFIGURED: {name} is missing or makes no sense\n"));
    }
}
