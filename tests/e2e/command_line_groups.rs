//! The command line about security groups.

use serde_json::Value;

use crate::terminal::{Terminal, cells};

const RULES: &str = r#"[
    {"protocol": "tcp", "destination": "10.0.11.0/24", "ports": "5432", "log": false, "description": "the databases"},
    {"protocol": "udp", "destination": "10.0.0.53, 10.0.1.53", "ports": "53"}
]"#;

#[tokio::test]
async fn a_group_is_made_from_a_file_bound_changed_and_deleted() {
    let terminal = Terminal::with_app().await;
    terminal.file("db.json", RULES);
    let made = terminal.ok(&["create-security-group", "db", "db.json"]);
    assert!(
        made.starts_with("Security group db created.\n\nBind it:   taskplane bind-security-group db APP"),
        "{made}"
    );
    let bound = terminal.ok(&["bind-security-group", "db", "a"]);
    assert_eq!(bound, "Security group db is bound to App a. Tasks that are accepted from now on have it.\n");
    let bound = terminal.ok(&["bind-security-group", "db", "--space-wide"]);
    assert_eq!(
        bound,
        "Security group db is bound to the whole Space s. Tasks that are accepted from now on have it.\n"
    );
    let table = terminal.ok(&["security-groups"]);
    let rows = cells(&table);
    assert_eq!(rows[0], ["Name", "Rules", "Space-wide", "Apps", "Revision", "Age"]);
    assert_eq!(rows[1][..5], ["db", "2", "True", "1", "1"]);
    let sheet = terminal.ok(&["security-group", "db"]);
    let rows = cells(&sheet);
    assert!(rows.contains(&vec!["tcp", "10.0.11.0/24", "5432", "the databases"]), "{sheet}");
    assert!(rows.contains(&vec!["udp", "10.0.0.53,10.0.1.53", "53", "<none>"]), "{sheet}");
    assert!(sheet.lines().any(|line| line.starts_with("Bound to:") && line.ends_with("the whole Space, a")), "{sheet}");
    for sheet in [terminal.ok(&["app", "a"]), terminal.ok(&["space", "s"])] {
        assert!(sheet.lines().any(|line| line.starts_with("Security groups:") && line.ends_with(" db")), "{sheet}");
    }

    terminal.file("next.json", r#"[{"protocol": "all", "destination": "10.0.11.1-10.0.11.9"}]"#);
    let changed = terminal.ok(&["update-security-group", "db", "next.json"]);
    assert_eq!(changed, "Security group db is at revision 2. Tasks that were accepted before keep theirs.\n");
    let json: Value = serde_json::from_str(&terminal.ok(&["security-group", "db", "-o", "json"])).unwrap();
    assert_eq!((&json["revision"], &json["rules"][0]["destination"]), (&2.into(), &"10.0.11.1-10.0.11.9".into()));

    let (code, line) = terminal.refusal(&["delete-security-group", "db", "-f"]);
    assert_eq!(
        (code, line.as_str()),
        (1, "taskplane: spaces/s/securityGroups/db still has bindings: to the whole Space, to App a")
    );
    terminal.ok(&["unbind-security-group", "db", "--space-wide"]);
    let unbound = terminal.ok(&["unbind-security-group", "db", "a"]);
    assert_eq!(unbound, "Security group db is not bound to App a. Tasks that were accepted before keep it.\n");
    let (_, line) = terminal.refusal(&["delete-security-group", "db"]);
    assert!(line.ends_with("; add -f to delete without asking"), "{line}");
    assert_eq!(terminal.ok(&["delete-security-group", "db", "-f"]), "Security group db deleted.\n");
    assert_eq!(terminal.ok(&["security-groups", "-o", "name"]), "");
}

#[tokio::test]
async fn a_task_and_who_runs_it_are_told_what_is_not_enforced() {
    let terminal = Terminal::with_app().await;
    terminal.file("db.json", RULES);
    terminal.ok(&["create-security-group", "db", "db.json"]);
    terminal.ok(&["bind-security-group", "db", "a"]);
    let submitted = terminal.ok(&["run-task", "a", "-c", "true"]);
    let line = submitted.lines().nth(1).unwrap();
    assert!(line.starts_with("SecurityGroupsEnforced=Unknown: ") && line.ends_with("db (revision 1)"), "{submitted}");
    let waited = terminal.run(&["run-task", "a", "-c", "true", "--wait"]);
    let line = waited.err.lines().find(|line| line.starts_with("SecurityGroupsEnforced=False: "));
    assert_eq!(waited.code, Some(0));
    assert!(line.is_some_and(|line| line.ends_with("db (revision 1)")), "{}", waited.err);
    let sheet = terminal.ok(&["task", "a/2"]);
    let rows = cells(&sheet);
    let row = rows.iter().find(|row| row.first() == Some(&"SecurityGroupsEnforced")).unwrap();
    assert_eq!(row[1..3], ["False", "LocalProcess"]);
    let json: Value = serde_json::from_str(&terminal.ok(&["task", "a/2", "-o", "json"])).unwrap();
    let said = json["conditions"].as_array().unwrap().iter().find(|said| said["type"] == "SecurityGroupsEnforced");
    assert_eq!(said.unwrap()["status"], "CONDITION_STATUS_FALSE");
}

#[tokio::test]
async fn what_is_wrong_with_rules_is_said_in_one_line() {
    let terminal = Terminal::with_app().await;
    terminal.file(
        "bad.json",
        r#"[{"protocol": "all", "destination": "10.0.0.1/8"}, {"protocol": "icmp", "destination": "::1"}]"#,
    );
    let (code, line) = terminal.refusal(&["create-security-group", "db", "bad.json"]);
    assert_eq!(code, 1);
    assert_eq!(
        line,
        "taskplane: rules[0].destination: 10.0.0.1/8 has host bits set: write 10.0.0.0/8, rules[1].protocol: cannot be \
         icmp: a Kubernetes NetworkPolicy knows no ICMP; leave the rule out"
    );
    terminal.file("odd.json", r#"[{"port": "80"}]"#);
    let (_, line) = terminal.refusal(&["create-security-group", "db", "odd.json"]);
    assert!(line.starts_with("taskplane: odd.json: rules[0].port is not known: a rule has protocol, "), "{line}");
    let (_, line) = terminal.refusal(&["create-security-group", "db", "missing.json"]);
    assert!(line.starts_with("taskplane: cannot read missing.json: No such file"), "{line}");
    let (code, line) = terminal.refusal(&["bind-security-group", "db"]);
    assert!(code == 2 && line.contains("APP"), "{line}");
    let (code, line) = terminal.refusal(&["bind-security-group", "db", "a", "--space-wide"]);
    assert!(code == 2 && line.contains("--space-wide"), "{line}");
    let (code, line) = terminal.refusal(&["bind-security-group", "db", "a"]);
    assert_eq!((code, line.as_str()), (1, "taskplane: spaces/s/securityGroups/db not found"));
}
