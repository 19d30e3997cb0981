//! The question, asked until it is answered or the time is up.

use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};

use crate::answer::Answer;
use crate::pinned::Pinned;
use crate::settings::Settings;

mod pb {
    tonic::include_proto!("taskplane.internal.v1");
}

/// How long connecting may take, and how long an answer.
const CONNECTING: Duration = Duration::from_secs(5);
const ANSWERING: Duration = Duration::from_secs(10);
/// Between two tries: the first pause, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

enum Heard {
    Answer(Answer),
    /// Asking again may help.
    Nothing(String),
}

/// The answer, and more for a person.
pub async fn until_answered(settings: &Settings, started: Instant) -> (Answer, String) {
    let random = SystemRandom::new();
    let (Some(nonce), Ok(pinned)) = (nonce(&random), Pinned::new(&settings.pins)) else {
        return (Answer::Misconfigured, "there is no randomness here".to_owned());
    };
    let question = pb::AskStartRequest {
        task_uid: settings.task_uid.clone(),
        attempt: settings.attempt,
        pod_uid: settings.pod_uid.clone(),
        guard_nonce: nonce,
        token: settings.token.clone(),
    };
    let (mut pause, mut last) = (PAUSE, String::new());
    for address in settings.addresses.iter().cycle() {
        let left = settings.within.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        // An answer that comes too late is none: the control plane may have given it up by then, and says so when it is asked.
        match timeout(left, ask(&pinned, address, &question)).await {
            Ok(Heard::Answer(answer)) => return (answer, String::new()),
            Ok(Heard::Nothing(why)) => last = format!("{address}: {why}"),
            Err(_) => break,
        }
        let left = settings.within.saturating_sub(started.elapsed());
        tokio::time::sleep(jittered(pause, &random).min(left)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    (Answer::Unanswered, last)
}

async fn ask(pinned: &Pinned, address: &str, question: &pb::AskStartRequest) -> Heard {
    let channel = match timeout(CONNECTING, connect(pinned.clone(), address.to_owned())).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Heard::Nothing(chain(&error)),
        Err(_) => return Heard::Nothing("not connected in time".to_owned()),
    };
    let mut request = Request::new(question.clone());
    request.set_timeout(ANSWERING);
    let mut client = pb::start_ticket_client::StartTicketClient::new(channel);
    match timeout(ANSWERING, client.ask_start(request)).await {
        Err(_) => Heard::Nothing("not answered in time".to_owned()),
        Ok(Err(status)) => match status.code() {
            Code::PermissionDenied | Code::InvalidArgument => Heard::Answer(Answer::Denied),
            code => Heard::Nothing(format!("{code:?}")),
        },
        Ok(Ok(response)) => match response.get_ref().answer() {
            pb::StartAnswer::Granted => Heard::Answer(Answer::Granted),
            pb::StartAnswer::OtherPod => Heard::Answer(Answer::OtherPod),
            pb::StartAnswer::Cancelling => Heard::Answer(Answer::Cancelling),
            pb::StartAnswer::Over => Heard::Answer(Answer::Over),
            // Of a release to come: not a yes.
            pb::StartAnswer::Unspecified => Heard::Nothing("an answer that makes no sense".to_owned()),
        },
    }
}

async fn connect(pinned: Pinned, address: String) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: Uri| {
        let (pinned, address) = (pinned.clone(), address.clone());
        async move { Ok::<_, std::io::Error>(TokioIo::new(pinned.connect(&address).await?)) }
    });
    Endpoint::from_static("http://tickets").connect_with_connector(connector).await
}

fn nonce(random: &SystemRandom) -> Option<String> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Half of it and up to as much again: many guards that lost the same executor come back one by one.
fn jittered(pause: Duration, random: &SystemRandom) -> Duration {
    let mut byte = [0];
    if random.fill(&mut byte).is_err() {
        return pause;
    }
    pause / 2 + pause * u32::from(byte[0]) / 255
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
