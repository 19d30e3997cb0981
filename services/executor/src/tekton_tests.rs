use clap::Parser as _;

use super::*;
use crate::tickets_args::TicketsArgs;

const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/guard/tests/main/one.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/guard/tests/main/one.key.pem");
/// SHA-256 of it.
const PIN: &str = "a47c3ddf3fdc652b309ab11f811814dd8e592cf762bc2cc7d19a667225b5d7b1";

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    tekton: TektonArgs,
    #[command(flatten)]
    tickets: TicketsArgs,
}

fn checked(flags: &[&str]) -> anyhow::Result<TektonConfig> {
    let Args { tekton, tickets } = Args::parse_from(std::iter::once("executor").chain(flags.iter().copied()));
    tekton.check(tickets.check()?.as_ref())
}

fn refused(flags: &[&str]) -> String {
    checked(flags).expect_err("these settings cannot work").to_string()
}

fn serving<'a>(advertise: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let served = ["--tickets-listen=0.0.0.0:7073", "--tickets-cert", CERT, "--tickets-key", KEY, "--tickets-advertise"];
    served.into_iter().chain([advertise]).chain(more.iter().copied()).collect()
}

#[test]
fn without_tickets_no_task_has_a_guard() {
    let config = checked(&[]).unwrap();
    assert!(config.guard.is_none() && config.pod_facing.is_empty());
}

#[test]
fn a_guard_is_told_where_to_ask_and_whom_to_trust() {
    let other = "5A".repeat(32);
    let flags = serving("10.0.0.1:7073,[fd00::1]:7073", &["--guard-image=guard:1", "--tickets-pin", &other]);
    let config = checked(&[&flags[..], &["--start-deadline=90"]].concat()).unwrap();
    let Guard { image, addresses, pins } = config.guard.unwrap();
    assert_eq!((image.as_str(), addresses), ("guard:1", vec!["10.0.0.1:7073".to_owned(), "[fd00::1]:7073".to_owned()]));
    assert_eq!(pins.now().unwrap(), [PIN.to_owned(), "5a".repeat(32)]);
    assert_eq!(config.pod_facing, ["10.0.0.1:7073".parse().unwrap(), "[fd00::1]:7073".parse().unwrap()]);
    assert_eq!(config.start_deadline, Duration::from_secs(90));
}

#[test]
fn half_of_the_settings_are_none() {
    assert!(refused(&["--guard-image=guard:1"]).starts_with("--guard-image needs --tickets-listen"));
    let no_image = refused(&serving("10.0.0.1:7073", &[]));
    assert!(no_image.starts_with("--tickets-listen with --backend tekton needs --guard-image"), "{no_image}");
    let lonely = ["--tickets-listen=0.0.0.0:7073", "--guard-image=guard:1"];
    let needed = "--tickets-listen needs --tickets-advertise, --tickets-cert and --tickets-key";
    assert_eq!(refused(&lonely), needed);
    assert_eq!(refused(&[&lonely[..], &["--tickets-cert", CERT, "--tickets-key", KEY]].concat()), needed);
    for flag in ["--tickets-advertise=10.0.0.1:1", "--tickets-cert=x", "--tickets-key=x"] {
        assert!(refused(&[flag]).contains("need --tickets-listen"), "{flag}");
    }
    let loopback = refused(&serving("127.0.0.1:7073", &["--guard-image=guard:1"]));
    assert_eq!(loopback, "--tickets-advertise 127.0.0.1:7073 is no address that a pod can reach");
}

#[test]
fn a_policy_needs_to_know_where_executors_are() {
    let named = serving("tickets.taskplane.svc:7073", &["--guard-image=guard:1"]);
    let missing = refused(&named);
    assert!(missing.starts_with("--pod-facing is missing"), "{missing}");
    let said = checked(&[&named[..], &["--pod-facing=taskplane:7073"]].concat()).unwrap();
    assert_eq!(said.pod_facing, ["taskplane:7073".parse().unwrap()]);
    let theirs = checked(&[&named[..], &["--manage-namespaces=false"]].concat()).unwrap();
    assert!(theirs.pod_facing.is_empty(), "an operator's to say");
}
