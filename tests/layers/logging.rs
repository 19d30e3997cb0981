//! What the source logs, against the list that `docs/LOGGING.md` is.

use std::collections::BTreeSet;
use std::fs;

use crate::workspace::{root, sources};

/// What begins an event or a span.
const MACROS: &[&str] =
    &["error!(", "warn!(", "info!(", "debug!(", "trace!(", "info_span!(", "debug_span!(", "event!(", "span!("];

/// Fields that a line may have, and those that the list explains.
fn listed() -> BTreeSet<String> {
    let document = fs::read_to_string(root().join("docs/LOGGING.md")).unwrap();
    let (_, chapter) = document.split_once("## Fields\n").unwrap();
    let table = chapter.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_start_matches("| ").split(" | ").next().unwrap().to_owned());
    cells.flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>()).collect()
}

/// The arguments of a macro, up to the parenthesis that closes it.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut all = vec![String::new()];
    for character in text.chars() {
        if !quoted && depth == 0 && character == ')' {
            break;
        }
        match character {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = quoted && character == '\\' && !escaped;
        all.last_mut().unwrap().push(character);
    }
    all.into_iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// The field that an argument sets; None for a message, a span's name, what is said of the macro itself.
fn field(argument: &str) -> Option<String> {
    if argument.starts_with('"') || argument.starts_with("parent:") || argument.starts_with("target:") {
        return None;
    }
    let bare = argument.trim_start_matches(['%', '?']);
    let name: String = bare.chars().take_while(|c| c.is_ascii_alphanumeric() || "._".contains(*c)).collect();
    let rest = bare[name.len()..].trim_start();
    (rest.is_empty() || rest.starts_with('=') && !rest.starts_with("==")).then_some(name)
}

#[test]
fn what_is_logged_is_on_the_list() {
    let listed = listed();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in ["crates", "services"].into_iter().flat_map(|directory| sources(&root().join(directory))) {
        let relative = file.strip_prefix(root()).unwrap().display().to_string();
        // The command line has no log, and tests log what they like.
        if relative.starts_with("crates/cli") || relative.contains("/tests/") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let product = source.split("#[cfg(test)]").next().unwrap();
        for begin in MACROS {
            for (at, _) in product.match_indices(begin) {
                // Another macro whose name ends like this one.
                if product[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                    continue;
                }
                for name in arguments(&product[at + begin.len()..]).iter().filter_map(|argument| field(argument)) {
                    if !listed.contains(&name) {
                        wrong.push(format!("{relative} logs {name}, which docs/LOGGING.md does not list"));
                    }
                    used.insert(name);
                }
            }
        }
    }
    // Of these the formatter takes care.
    let frame = ["timestamp", "level", "target", "message", "span", "trace_id"];
    let idle = listed.iter().filter(|name| !used.contains(*name) && !frame.contains(&name.as_str()));
    wrong.extend(idle.map(|name| format!("docs/LOGGING.md lists {name}, which nothing logs")));
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn arguments_are_told_apart_and_their_fields_found() {
    let text =
        r#"parent: None, "a, (name", %error, code = ?status.code(), task.name = format!("{a}, {b}"), tries, "said")"#;
    let arguments = arguments(&format!("{text}; more(of, it)"));
    assert_eq!(arguments.len(), 7, "{arguments:?}");
    let fields: Vec<String> = arguments.iter().filter_map(|argument| field(argument)).collect();
    assert_eq!(fields, ["error", "code", "task.name", "tries"]);
}
