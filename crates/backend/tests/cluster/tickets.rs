//! Guarded runs: with the guard's own image, somebody for it to ask, and a ledger of what commands really did.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use taskplane_backend::tekton::{Guard, Pins, TektonConfig};
use taskplane_backend::{Backend, Observation};
use taskplane_domain::run::{EndCause, RunKey, RunSpec, StartToken};
use taskplane_domain::task::{Refusal, Wait, WaitReason};
use taskplane_proto::internal::v1::start_ticket_server::{StartTicket, StartTicketServer};
use taskplane_proto::internal::v1::{AskStartRequest, AskStartResponse, StartAnswer};
use taskplane_runtime::tls::{Identity, ServerTls};
use taskplane_runtime::{Lifecycle, net, server};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::admin::{all, kubectl};
use crate::kit::{Kit, until};

/// Where pods reach processes of the test.
const NODE: &str = "10.99.0.1";
const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guard/tests/main");
const GUARD: &str = concat!("docker.io/taskplane/guard:", env!("CARGO_PKG_VERSION"));

/// Answers as the control plane does.
#[derive(Clone, Default)]
struct Tickets(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    /// Who may start what.
    holders: HashMap<(String, u32), (String, String)>,
    asked: Vec<(AskStartRequest, StartAnswer)>,
    cancelling: bool,
}

#[tonic::async_trait]
impl StartTicket for Tickets {
    async fn ask_start(&self, request: Request<AskStartRequest>) -> Result<Response<AskStartResponse>, Status> {
        let asked = request.into_inner();
        let mut ledger = self.0.lock().unwrap();
        let who = (asked.pod_uid.clone(), asked.guard_nonce.clone());
        let answer = if ledger.cancelling {
            StartAnswer::Cancelling
        } else if *ledger.holders.entry((asked.task_uid.clone(), asked.attempt)).or_insert_with(|| who.clone()) == who {
            StartAnswer::Granted
        } else {
            StartAnswer::OtherPod
        };
        ledger.asked.push((asked, answer));
        Ok(Response::new(AskStartResponse { answer: answer.into() }))
    }
}

impl Tickets {
    /// What was asked for that attempt: pod, token and answer.
    fn asked(&self, key: &RunKey) -> Vec<(String, String, StartAnswer)> {
        let ledger = self.0.lock().unwrap();
        let of_it = |asked: &AskStartRequest| asked.task_uid == key.task.to_string() && asked.attempt == key.attempt;
        let told =
            |(asked, answer): &(AskStartRequest, StartAnswer)| (asked.pod_uid.clone(), asked.token.clone(), *answer);
        ledger.asked.iter().filter(|(asked, _)| of_it(asked)).map(told).collect()
    }

    fn answers(&self, key: &RunKey) -> Vec<StartAnswer> {
        self.asked(key).into_iter().map(|(_, _, answer)| answer).collect()
    }
}

/// Where guards ask, until it is dropped.
struct Door(Lifecycle);

impl Door {
    async fn open(tickets: &Tickets, at: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let file = |name: &str| PathBuf::from(CERTIFICATES).join(name);
        let tls = ServerTls::public(Identity { certificate: file("one.pem"), key: file("one.key.pem") }).unwrap();
        let (lifecycle, routes) = (Lifecycle::new(), Routes::new(StartTicketServer::new(tickets.clone())));
        let serving = lifecycle.clone();
        let incoming = net::secured(listener, tls);
        lifecycle.spawn_vital("tickets", async move { server::serve(routes, incoming, &[], &serving).await });
        (Self(lifecycle), at)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.soft().cancel();
        self.0.hard().cancel();
    }
}

/// Each line that a command sent: what it did to the world, once or more often.
struct Effects {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    lifecycle: Lifecycle,
}

impl Effects {
    async fn new() -> Self {
        let listener = TcpListener::bind((NODE, 0)).await.unwrap();
        let effects =
            Self { port: listener.local_addr().unwrap().port(), lines: Arc::default(), lifecycle: Lifecycle::new() };
        let (lines, hard) = (Arc::clone(&effects.lines), effects.lifecycle.hard().clone());
        let listening = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut line = String::new();
                BufReader::new(stream).read_line(&mut line).await.unwrap();
                lines.lock().unwrap().push(line.trim().to_owned());
            }
        };
        effects
            .lifecycle
            .spawn("effects", async move { hard.run_until_cancelled(listening).await.unwrap_or_default() });
        effects
    }

    /// A command that has an effect, and then does `more`.
    fn command(&self, name: &str, more: &str) -> String {
        format!("echo up; echo {name} | nc -w 9 {NODE} {}; {more}", self.port)
    }

    fn of(&self, name: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| *line == name).count()
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        self.lifecycle.hard().cancel();
    }
}

struct Scene {
    kit: Kit,
    tickets: Tickets,
    at: SocketAddr,
    door: Option<Door>,
    effects: Effects,
}

impl Scene {
    async fn new() -> Self {
        Self::within(Duration::from_secs(600)).await
    }

    async fn within(start_deadline: Duration) -> Self {
        let tickets = Tickets::default();
        let (door, at) = Door::open(&tickets, SocketAddr::new(NODE.parse().unwrap(), 0)).await;
        let pin = Identity { certificate: PathBuf::from(CERTIFICATES).join("one.pem"), key: PathBuf::new() };
        let pins = Pins::new(move || Ok(vec![pin.fingerprint().map_err(std::io::Error::other)?]));
        let guard = Some(Guard { image: GUARD.to_owned(), addresses: vec![at.to_string()], pins });
        let pod_facing = vec![at.to_string().parse().unwrap()];
        let kit = Kit::with(|config| TektonConfig { guard, pod_facing, start_deadline, ..config }).await;
        Self { kit, tickets, at, door: Some(door), effects: Effects::new().await }
    }

    fn spec(&self, name: &str, more: &str) -> RunSpec {
        RunSpec {
            start_token: Some(StartToken(format!("token-of-{name}"))),
            ..self.kit.spec(&self.effects.command(name, more))
        }
    }

    async fn start(&self, spec: &RunSpec) {
        assert!(self.kit.backend.ensure(spec).await.unwrap().guarded);
        self.kit.backend.release(&spec.key).await.unwrap();
    }

    async fn waits_for_its_ticket(&self, key: &RunKey) {
        until("it waits for its ticket", async || {
            let seen = self.kit.backend.observe(key).await.unwrap();
            let waits = |wait: &Wait| wait.reason == WaitReason::StartTicket;
            matches!(&seen, Observation::Waiting { wait, .. } if waits(wait)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_command_starts_once_it_was_allowed_and_ends_as_any_other() {
    let scene = Scene::new().await;
    for code in [0, 3] {
        let spec = scene.spec(&format!("exit-{code}"), &format!("env | grep -c TOKEN; exit {code}"));
        scene.start(&spec).await;
        let end = scene.kit.end(&spec.key).await;
        assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(code)));
        assert!(end.started_at.is_some());
        assert_eq!(scene.effects.of(&format!("exit-{code}")), 1);
        let asked = scene.tickets.asked(&spec.key);
        assert_eq!(asked.len(), 1, "{asked:?}");
        let pods = all("pods", &scene.kit.namespace());
        let pod = pods.iter().find(|pod| pod["metadata"]["uid"] == asked[0].0.as_str()).expect("it named its own pod");
        assert_eq!(pod["metadata"]["name"], format!("{}-task-pod", spec.key));
        assert_eq!(asked[0].1, format!("token-of-exit-{code}"));
        assert_eq!(scene.kit.output(&spec.key).await, b"up\n0\n", "the command does not see the token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_the_cluster_starts_again_does_not_run_the_command_again() {
    let scene = &Scene::new().await;
    let runs = (0..3).map(|number| async move {
        let name = format!("forced-{number}");
        let spec = scene.spec(&name, "sleep 20; echo down");
        scene.start(&spec).await;
        let written = Mutex::new(Vec::new());
        let reading = scene.kit.backend.output(&spec.key, 0, true).for_each(async |record| {
            written.lock().unwrap().extend(record.unwrap().content);
        });
        let deleted = async {
            until("its effect is there", async || (scene.effects.of(&name) == 1).then_some(())).await;
            until("its output comes", async || (!written.lock().unwrap().is_empty()).then_some(())).await;
            let pod = format!("{}-task-pod", spec.key);
            kubectl(&["delete", "pod", &pod, "-n", &scene.kit.namespace(), "--force", "--grace-period=0"]);
            until("the guard of a second pod has asked", async || {
                (scene.tickets.answers(&spec.key).len() == 2).then_some(())
            })
            .await;
            scene.kit.end(&spec.key).await
        };
        let (end, ()) = tokio::join!(deleted, reading);
        assert_eq!(end.cause, EndCause::Refused(Refusal::OtherPod));
        assert_eq!((end.exit.code, end.exit.signal), (None, None));
        let asked = scene.tickets.asked(&spec.key);
        assert_ne!(asked[0].0, asked[1].0, "two pods asked");
        assert_eq!(scene.tickets.answers(&spec.key), [StartAnswer::Granted, StartAnswer::OtherPod]);
        assert_eq!(scene.effects.of(&name), 1, "the command started once");
        let written = String::from_utf8(written.into_inner().unwrap()).unwrap();
        assert_eq!(written.matches("up\n").count(), 1, "{written}");
        assert!(!written.contains("Skipping"), "not the command's: {written}");
    });
    futures::future::join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_answers_the_guard_waits_and_then_the_command_starts() {
    let mut scene = Scene::new().await;
    scene.door = None;
    let spec = scene.spec("patient", "true");
    scene.start(&spec).await;
    scene.waits_for_its_ticket(&spec.key).await;
    assert_eq!((scene.effects.of("patient"), scene.tickets.answers(&spec.key).len()), (0, 0));
    scene.door = Some(Door::open(&scene.tickets, scene.at).await.0);
    let end = scene.kit.end(&spec.key).await;
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(0)));
    assert_eq!((scene.effects.of("patient"), scene.tickets.answers(&spec.key)), (1, vec![StartAnswer::Granted]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_nobody_answers_gives_up_at_the_start_deadline() {
    let mut scene = Scene::within(Duration::from_secs(5)).await;
    scene.door = None;
    let spec = scene.spec("unanswered", "true");
    scene.start(&spec).await;
    let end = scene.kit.end(&spec.key).await;
    assert_eq!((end.cause, end.started_at), (EndCause::Unanswered, None));
    assert_eq!(scene.effects.of("unanswered"), 0);
    assert_eq!(scene.kit.output(&spec.key).await, b"", "the command wrote nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_that_is_to_end() {
    let scene = Scene::new().await;
    scene.tickets.0.lock().unwrap().cancelling = true;
    let spec = scene.spec("cancelling", "true");
    scene.start(&spec).await;
    let end = scene.kit.end(&spec.key).await;
    assert_eq!((end.cause, end.started_at), (EndCause::Refused(Refusal::Cancelling), None));
    assert_eq!((scene.effects.of("cancelling"), scene.tickets.answers(&spec.key)), (0, vec![StartAnswer::Cancelling]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_made_under_other_settings_and_never_released_is_made_anew() {
    let (scene, plain) = (Scene::new().await, Kit::new().await);
    let spec = scene.spec("anew", "true");
    let made = plain.backend.ensure(&spec).await.unwrap();
    let again = scene.kit.backend.ensure(&spec).await.unwrap();
    assert_eq!((made.guarded, again.guarded), (false, true));
    assert_ne!(made.run, again.run);
    scene.kit.backend.release(&spec.key).await.unwrap();
    assert_eq!(scene.kit.end(&spec.key).await.exit.code, Some(0));
    assert_eq!((scene.effects.of("anew"), scene.tickets.answers(&spec.key)), (1, vec![StartAnswer::Granted]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_executors_are_reached_is_seen_to_in_namespaces_that_are_there_already() {
    let scene = Scene::new().await;
    let spec = scene.spec("policy", "true");
    let (plain, namespace) = (Kit::new().await, scene.kit.namespace());
    plain.backend.ensure(&spec).await.unwrap();
    let egress = || {
        let policies = all("networkpolicies", &namespace);
        let ours = policies.iter().find(|policy| policy["metadata"]["name"] == "taskplane").expect("it has its policy");
        ours["spec"]["egress"].to_string()
    };
    assert!(!egress().contains(NODE));
    scene.kit.backend.ensure(&spec).await.unwrap();
    assert!(egress().contains(&format!("{NODE}/32")) && egress().contains(&scene.at.port().to_string()));
}
