//! What no recording has: said of made-up objects.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use taskplane_domain::run::{EndCause, Fate, RunEnd};
use taskplane_domain::task::{Class, Reason, Refusal, WaitReason};

use super::super::{Case, Nodes, Sighted, Verdict, judge, pod_view};

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

/// A run of which everything is told at once.
struct Scene {
    seen: Sighted,
    nodes: Nodes,
    cancelled: bool,
}

impl Scene {
    fn new(run_status: &Value) -> Self {
        let mut scene = Self { seen: Sighted::default(), nodes: Nodes::default(), cancelled: false };
        scene.nodes.set("node", Some(now() - SignedDuration::from_hours(1)));
        let run = json!({"metadata": {"uid": "run", "resourceVersion": "1"}, "status": run_status});
        scene.seen.see_run(serde_json::from_value(run).unwrap(), now());
        scene
    }

    fn failed(task_run_reason: &str, message: &str, steps: &Value) -> Self {
        let scene = Self::new(&json!({"completionTime": "2026-01-01T00:09:00Z",
            "conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed"}]}));
        scene.task_run("False", task_run_reason, message, steps)
    }

    fn goes_on(task_run_reason: &str, message: &str) -> Self {
        let scene =
            Self::new(&json!({"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]}));
        scene.task_run("Unknown", task_run_reason, message, &json!([]))
    }

    fn task_run(mut self, status: &str, reason: &str, message: &str, steps: &Value) -> Self {
        let condition = json!({"type": "Succeeded", "status": status, "reason": reason, "message": message});
        let status = json!({"podName": "pod", "conditions": [condition], "steps": steps});
        let task_run = json!({"metadata": {"uid": "task-run", "resourceVersion": "1"}, "status": status});
        self.seen.see_task_run(serde_json::from_value(task_run).unwrap(), now());
        self
    }

    fn pod(mut self, metadata: &Value, status: &Value) -> Self {
        let mut pod = json!({"metadata": {"uid": "pod", "name": "pod", "resourceVersion": "1"},
            "spec": {"nodeName": "node", "terminationGracePeriodSeconds": 30}, "status": status});
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        self.seen.see_pod(serde_json::from_value(pod).unwrap(), now());
        self
    }

    fn verdict(&self, at: Timestamp) -> Verdict {
        judge(Case { seen: &self.seen, nodes: &self.nodes, cancelled: self.cancelled, now: at })
    }

    fn end(&self) -> RunEnd {
        match self.verdict(now()) {
            Verdict::Over(Fate::Ended(end)) => end,
            other => panic!("{other:?}"),
        }
    }

    fn blamed(&self) -> (Reason, Class) {
        match self.end().cause {
            EndCause::Platform { reason, class } => (reason, class),
            other => panic!("{other:?}"),
        }
    }
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:01:00Z",
        "finishedAt": "2026-01-01T00:08:00Z"}})
}

fn container(name: &str, state: &Value) -> Value {
    json!({"name": name, "state": state})
}

fn failed_pod(reason: &str, message: &str, state: &Value) -> Value {
    json!({"phase": "Failed", "reason": reason, "message": message,
        "containerStatuses": [container("step-run", state)]})
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

#[test]
fn whether_asking_for_an_image_again_may_help_is_told_by_what_the_registry_said() {
    let pull = |message: &str| {
        let steps = json!([{"name": "run", "waiting": {"reason": "ImagePullBackOff", "message": message}}]);
        Scene::failed("TaskRunImagePullFailed", "", &steps).blamed_without_pod()
    };
    for settled in [
        "failed to resolve reference \"r/i:1\": r/i:1: not found",
        "pull access denied, repository does not exist or may require authorization",
        "unexpected status from HEAD request to https://r/v2/i: 401 Unauthorized",
        "unexpected status: 403 Forbidden",
        "manifest unknown",
    ] {
        assert_eq!(pull(settled), (Reason::ImagePull, Class::Configuration), "{settled}");
    }
    for passing in
        ["dial tcp: lookup r: no such host", "i/o timeout", "503 Service Unavailable", "429 Too Many Requests"]
    {
        assert_eq!(pull(passing), (Reason::ImagePull, Class::Infrastructure), "{passing}");
    }
}

impl Scene {
    /// The pod was never there.
    fn blamed_without_pod(mut self) -> (Reason, Class) {
        self.seen = {
            let mut seen = Sighted::default();
            let run = self.seen.run().unwrap().clone();
            let mut task_run = self.seen.task_run().unwrap().clone();
            task_run.status.pod_name = None;
            seen.see_run(run, now());
            seen.see_task_run(task_run, now());
            seen
        };
        self.blamed()
    }
}

#[test]
fn nodes_have_their_own_reasons_and_an_end_that_nobody_saw_is_of_an_unknown_class() {
    let of = |reason: &str, message: &str| {
        Scene::failed("Failed", message, &json!([]))
            .pod(&json!({}), &failed_pod(reason, message, &ended(137, "Error")))
            .blamed()
    };
    assert_eq!(of("NodeShutdown", ""), (Reason::NodeFailure, Class::Infrastructure));
    assert_eq!(of("OutOfcpu", ""), (Reason::NodeFailure, Class::Infrastructure));
    assert_eq!(of("NodeLost", ""), (Reason::NodeLost, Class::Unknown));
    assert_eq!(of("Evicted", "The node was low on resource: memory."), (Reason::NodePressure, Class::Infrastructure));
    assert_eq!(
        of("Evicted", "The node was low on resource: ephemeral-storage."),
        (Reason::NodePressure, Class::Infrastructure)
    );
}

#[test]
fn what_the_kubelet_would_not_have_never_ran() {
    let pod = json!({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no"});
    let scene = Scene::failed("Failed", "", &json!([])).pod(&json!({}), &pod);
    assert_eq!(scene.blamed(), (Reason::NodeFailure, Class::Infrastructure));
}

#[test]
fn a_command_that_lost_a_process_for_memory_and_went_on_keeps_its_exit_code() {
    let steps = json!([{"name": "run", "terminated": {"exitCode": 3, "reason": "OOMKilled"}}]);
    let scene =
        |code| Scene::failed("StepOOM", "", &steps).pod(&json!({}), &failed_pod("", "", &ended(code, "OOMKilled")));
    let end = scene(3).end();
    assert_eq!((end.cause, end.exit.code), (EndCause::OutOfMemory, Some(3)));
    assert_eq!(scene(137).end().exit.code, None);
}

#[test]
fn releases_of_tekton_before_there_were_finer_reasons_end_the_same() {
    let steps = json!([{"name": "run", "terminated": {"exitCode": 4, "reason": "Error"}}]);
    let end = Scene::failed("Failed", "", &steps).pod(&json!({}), &failed_pod("", "", &ended(4, "Error"))).end();
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(4)));
    assert_eq!(end.finished_at, "2026-01-01T00:08:00Z".parse().unwrap());
}

#[test]
fn security_and_containers_beside_it_and_what_is_new_have_their_reasons() {
    let of = |reason: &str| Scene::failed(reason, "m", &json!([])).blamed_without_pod();
    assert_eq!(of("PodAdmissionFailed"), (Reason::PodSecurity, Class::Configuration));
    assert_eq!(of("InitContainerOOM"), (Reason::PlatformContainer, Class::Infrastructure));
    assert_eq!(of("TaskRunValidationFailed"), (Reason::InvalidSpec, Class::Configuration));
    assert_eq!(of("SomethingOfNextYear"), (Reason::PlatformUnknown, Class::Configuration));
}

#[test]
fn a_pod_that_vanished_by_force_is_gone_only_when_its_node_stayed_up_for_long_enough() {
    let running = json!({"phase": "Running",
        "containerStatuses": [container("step-run", &json!({"running": {"startedAt": "2026-01-01T00:01:00Z"}}))]});
    let mut scene = Scene::failed(
        "TaskRunCancelled",
        "",
        &json!([{"name": "run", "termination_reason": "",
        "terminated": {"exitCode": 1, "reason": "TaskRunCancelled"}}]),
    )
    .pod(&json!({"annotations": {"tekton.dev/ready": "READY"}}), &running);
    scene.cancelled = true;
    scene.seen.pods_are(&[], after(1), after(1));
    let stays =
        |scene: &Scene, at| assert!(matches!(scene.verdict(at), Verdict::Ending { .. }), "{:?}", scene.verdict(at));
    // A node that died when the pod vanished is called Ready for some time yet.
    stays(&scene, after(1 + 30 + 15));
    stays(&scene, after(1 + 30 + 15 + 59));
    let cancelled = |scene: &Scene, at| match scene.verdict(at) {
        Verdict::Over(Fate::Ended(end)) => assert_eq!(end.cause, EndCause::Cancel),
        other => panic!("{other:?}"),
    };
    cancelled(&scene, after(1 + 30 + 15 + 60));
    // It was not up: it has to be, for as long, once it is back. Until then nobody says that it is cancelled.
    scene.nodes.set("node", None);
    stays(&scene, after(4000));
    scene.nodes.set("node", Some(after(4000)));
    stays(&scene, after(4000 + 104));
    cancelled(&scene, after(4000 + 105));
}

#[test]
fn a_run_whose_node_is_not_heard_of_is_lost_unless_it_was_to_be_cancelled() {
    let running = json!({"phase": "Running", "containerStatuses": [container("step-run", &json!({"running": {}}))]});
    let mut scene =
        Scene::failed("Failed", "", &json!([])).pod(&json!({"deletionTimestamp": "2026-01-01T00:10:00Z"}), &running);
    scene.nodes.set("node", None);
    assert!(matches!(scene.verdict(after(200)), Verdict::Ending { .. }));
    assert!(matches!(scene.verdict(after(301)), Verdict::Over(Fate::Lost { .. })));
    scene.cancelled = true;
    assert!(matches!(scene.verdict(after(4000)), Verdict::Ending { .. }));
}

#[test]
fn a_quota_in_the_way_of_a_pod_is_told_under_either_of_tektons_reasons() {
    for reason in ["ExceededResourceQuota", "Pending"] {
        let message = "pods \"x\" is forbidden: exceeded quota: q";
        let Verdict::Waiting(wait) = Scene::goes_on(reason, message).verdict(now()) else { panic!("{reason}") };
        assert_eq!(wait.reason, WaitReason::QuotaExceeded);
        assert_eq!(wait.message, message);
    }
}

#[test]
fn a_run_that_tekton_does_not_take_up_says_so() {
    let mut scene = Scene::new(&json!({}));
    let run = json!({"metadata": {"uid": "run", "resourceVersion": "2", "creationTimestamp": "2026-01-01T00:09:45Z"}});
    scene.seen.see_run(serde_json::from_value(run).unwrap(), now());
    let wait = |at| match scene.verdict(at) {
        Verdict::Waiting(wait) => (wait.reason, wait.message),
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(now()), (WaitReason::Submitted, String::new()));
    let (reason, message) = wait(after(30));
    assert_eq!(reason, WaitReason::Submitted);
    assert!(message.contains("-kube-api-qps"), "{message}");
}

#[test]
fn a_guarded_command_waits_for_its_ticket_and_runs_once_its_guard_has_ended_well() {
    let ready = json!({"namespace": "space", "annotations": {"tekton.dev/ready": "READY"}});
    let both = |guard: &Value| {
        let run = json!({"running": {"startedAt": "2026-01-01T00:01:00Z"}});
        json!({"phase": "Running", "containerStatuses": [container("step-guard", guard), container("step-run", &run)]})
    };
    let asking = Scene::goes_on("Running", "").pod(&ready, &both(&json!({"running": {}})));
    let Verdict::Waiting(wait) = asking.verdict(now()) else { panic!("it waits") };
    assert_eq!(wait.reason, WaitReason::StartTicket);
    let granted = Scene::goes_on("Running", "").pod(&ready, &both(&ended(0, "Completed")));
    assert!(matches!(granted.verdict(now()), Verdict::Running { .. }));
    let begun = |scene: &Scene| pod_view(&scene.seen).map(|pod| pod.begun);
    assert_eq!((begun(&asking), begun(&granted)), (Some(false), Some(true)), "what is in its log is the command's");
}

#[test]
fn a_guard_that_lets_nothing_start_tells_why_also_after_our_order() {
    let over = |code: i32, cancelled: bool| {
        let guard = container("step-guard", &ended(code, "Error"));
        let run = container("step-run", &ended(1, "Error"));
        let mut scene = Scene::failed("Failed", "", &json!([]))
            .pod(&json!({}), &json!({"phase": "Failed", "containerStatuses": [guard, run]}));
        scene.cancelled = cancelled;
        let Verdict::Over(Fate::Ended(RunEnd { cause, exit, started_at, .. })) = scene.verdict(now()) else {
            panic!("{code} is an end")
        };
        assert_eq!((exit.code, exit.signal, started_at), (None, None, None), "{code}");
        cause
    };
    for cancelled in [false, true] {
        assert_eq!(over(71, cancelled), EndCause::Refused(Refusal::OtherPod));
        assert_eq!(over(72, cancelled), EndCause::Refused(Refusal::Cancelling));
        assert_eq!(over(73, cancelled), EndCause::Refused(Refusal::Over));
        assert_eq!(over(74, cancelled), EndCause::Unanswered);
    }
    for code in [75, 78, 255] {
        // Only the row knows whether another pod was let: until then such an end is safe for nothing.
        assert_eq!(over(code, false), EndCause::Platform { reason: Reason::StartFailed, class: Class::Unknown });
    }
}
