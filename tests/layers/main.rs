//! The house as `docs/ARCHITECTURE.md` draws it: which crate may see which, and who owns what comes from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod logging;
mod metrics;
mod workspace;

use std::collections::BTreeSet;
use std::fs;

use workspace::{Kind, Member, closure, members, root, sources};

/// What each crate may be built from, among our own.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("source", &[]),
    ("runtime", &[]),
    ("proto", &["domain"]),
    ("logs", &["domain"]),
    ("bus", &["domain", "proto"]),
    ("store", &["domain", "proto"]),
    ("manifest", &["domain"]),
    ("backend", &["domain", "source", "manifest"]),
    ("platform", &["domain", "store", "bus", "runtime"]),
    ("api", &["domain", "proto", "store", "bus", "logs", "source", "runtime", "platform"]),
    ("executor", &["domain", "proto", "backend", "logs", "runtime"]),
    ("scheduler", &["domain", "bus", "platform", "runtime"]),
    ("reaper", &["domain", "store", "bus", "logs", "platform", "runtime"]),
    (
        "standalone",
        &["api", "executor", "scheduler", "reaper", "bus", "domain", "logs", "proto", "store", "runtime", "platform"],
    ),
    ("cli", &["domain", "proto", "manifest"]),
    ("guard", &[]),
    ("tests", &[]),
];

/// Built for tests only, hence from anything; nothing else is built from it.
const TESTKIT: &str = "testkit";

/// A crate from outside that has one front door.
struct FrontDoor {
    foreign: &'static str,
    owner: &'static str,
    arrival: Arrival,
}

#[derive(PartialEq, Eq)]
enum Arrival {
    /// Here, and missed when it is gone.
    Here,
    /// Comes with the part that needs it, or only through another; held to its owner from its first day.
    Awaited,
}

const FRONT_DOORS: &[FrontDoor] = &[
    FrontDoor { foreign: "sea-orm", owner: "store", arrival: Arrival::Here },
    FrontDoor { foreign: "sea-orm-migration", owner: "store", arrival: Arrival::Here },
    FrontDoor { foreign: "sqlx", owner: "store", arrival: Arrival::Awaited },
    FrontDoor { foreign: "object_store", owner: "logs", arrival: Arrival::Here },
    FrontDoor { foreign: "opentelemetry_sdk", owner: "runtime", arrival: Arrival::Here },
    FrontDoor { foreign: "opentelemetry-otlp", owner: "runtime", arrival: Arrival::Here },
    FrontDoor { foreign: "async-nats", owner: "bus", arrival: Arrival::Here },
    FrontDoor { foreign: "kube", owner: "backend", arrival: Arrival::Awaited },
    FrontDoor { foreign: "k8s-openapi", owner: "backend", arrival: Arrival::Awaited },
    FrontDoor { foreign: "cron", owner: "domain", arrival: Arrival::Here },
];

/// What a measurement compares with, or looks past us with: in no product.
const BESIDE: &[(&str, &[&str])] = &[("tests", &["cron", "sea-orm"])];

/// Crates from outside that carry one of ours, without being its alone.
const CARRIED: &[(&str, &[&str])] = &[
    ("proto", &["tonic", "prost-types"]),
    ("api", &["tonic", "tokio", "tracing"]),
    ("executor", &["tonic", "tokio", "tracing"]),
    ("runtime", &["tracing", "tokio", "clap"]),
    ("cli", &["clap", "tonic"]),
];

/// TLS is rustls with ring: no system library, no C beyond that.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "aws-lc-sys"];

const MAX_LINES: usize = 450;

fn find<'m>(members: &'m [Member], name: &str) -> &'m Member {
    members.iter().find(|member| member.name == name).unwrap_or_else(|| panic!("there is no crate taskplane-{name}"))
}

/// Fails with all that is wrong, one sentence a line.
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn crates_see_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for member in members() {
        if member.name == TESTKIT {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member.name) else {
            wrong.push(format!("{} has no place in the table of arrows", member.name));
            continue;
        };
        let allowed = BTreeSet::from_iter(allowed.iter().copied());
        wrong.extend(
            member
                .arrows()
                .difference(&allowed)
                .map(|other| format!("{} depends on {other}, but may see only {allowed:?}", member.name)),
        );
    }
    none(wrong);
}

#[test]
fn every_crate_of_the_table_is_there() {
    let members = members();
    for (name, _) in ARROWS {
        find(&members, name);
    }
}

#[test]
fn arrows_never_run_in_a_circle() {
    let mut settled = BTreeSet::new();
    for (name, below) in ARROWS {
        let above = below.iter().filter(|other| !settled.contains(*other));
        none(above.map(|other| format!("the table puts {name} before {other}, on which it stands")).collect());
        settled.insert(name);
    }
}

#[test]
fn the_testkit_is_for_tests_only() {
    let linked = |member: &Member| member.arrows().contains(TESTKIT);
    none(
        members()
            .iter()
            .filter(|member| linked(member))
            .map(|member| format!("{} is built from the testkit", member.name))
            .collect(),
    );
}

#[test]
fn foreign_crates_are_seen_behind_their_front_door_only() {
    let members = members();
    let mut wrong = Vec::new();
    for FrontDoor { foreign, owner, .. } in FRONT_DOORS {
        let beside = |member: &Member| BESIDE.iter().any(|(name, all)| *name == member.name && all.contains(foreign));
        let links = |member: &Member| member.linked().any(|name| name == *foreign);
        let depends = |member: &Member| if beside(member) { links(member) } else { member.depends_on(foreign) };
        let strangers = members.iter().filter(|member| member.name != *owner && depends(member));
        wrong.extend(strangers.map(|member| format!("{} depends on {foreign}, which is {owner}'s alone", member.name)));
        let strangers = members.iter().filter(|member| member.name != *owner && member.uses(foreign));
        wrong.extend(strangers.map(|member| format!("{} uses {foreign}, which is {owner}'s alone", member.name)));
    }
    none(wrong);
}

#[test]
fn owners_really_use_what_they_own() {
    let members = members();
    let mut wrong = Vec::new();
    for FrontDoor { foreign, owner, arrival } in FRONT_DOORS {
        let member = find(&members, owner);
        match (member.depends_on(foreign), arrival) {
            (true, _) if !member.uses(foreign) => {
                wrong.push(format!("{owner} depends on {foreign} and does not use it"))
            }
            (false, Arrival::Here) => wrong.push(format!("{owner} no longer depends on {foreign}, which it owns")),
            (true, _) | (false, Arrival::Awaited) => {}
        }
    }
    none(wrong);
}

#[test]
fn what_carries_a_crate_is_really_used_in_it() {
    let members = members();
    let mut wrong = Vec::new();
    for (name, carriers) in CARRIED {
        let member = find(&members, name);
        let idle = carriers.iter().filter(|foreign| !member.depends_on(foreign) || !member.uses(foreign));
        wrong.extend(idle.map(|foreign| format!("{name} does not use {foreign}, which is said to carry it")));
    }
    none(wrong);
}

#[test]
fn the_executor_links_neither_database_nor_bus() {
    let linked = closure(&["-p", "taskplane-executor"]);
    assert!(linked.contains("tonic"), "the executor's dependencies were not read");
    let forbidden =
        ["sea-orm", "sea-orm-migration", "sqlx", "sqlx-core", "async-nats", "taskplane-store", "taskplane-bus"];
    none(
        forbidden
            .iter()
            .filter(|name| linked.contains(**name))
            .map(|name| format!("the executor links {name}"))
            .collect(),
    );
}

#[test]
fn the_domain_neither_waits_nor_speaks() {
    let members = members();
    let domain = find(&members, "domain");
    let forbidden = [
        "tokio",
        "futures",
        "async-trait",
        "serde",
        "serde_json",
        "tonic",
        "prost",
        "prost-types",
        "sea-orm",
        "tracing",
    ];
    none(
        domain
            .linked()
            .filter(|name| forbidden.contains(name))
            .map(|name| format!("the domain depends on {name}"))
            .collect(),
    );
}

#[test]
fn only_the_wire_is_generated_at_build_time() {
    let builds = |member: &Member| member.dependencies.iter().any(|dependency| dependency.kind == Kind::Build);
    // The guard speaks one call of the wire and must stay small: it makes that call of its own, without the rest.
    let wire = ["proto", "guard"];
    let others = members().into_iter().filter(|member| !wire.contains(&member.name.as_str()) && builds(member));
    none(others.map(|member| format!("{} has build dependencies", member.name)).collect());
}

#[test]
fn no_second_tls_is_linked() {
    let linked = closure(&["--workspace"]);
    none(BANNED.iter().filter(|name| linked.contains(**name)).map(|name| format!("{name} is linked")).collect());
}

#[test]
fn files_stay_short_enough_to_read() {
    let files = ["crates", "services", "tests"].into_iter().flat_map(|directory| sources(&root().join(directory)));
    let mut wrong = Vec::new();
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > MAX_LINES {
            let file = file.strip_prefix(root()).unwrap().display();
            wrong.push(format!("{file} has {lines} lines, more than {MAX_LINES}"));
        }
    }
    none(wrong);
}
