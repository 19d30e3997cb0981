//! A command on its way through Tekton and the kubelet, both of which rewrite what they take for theirs: Tekton `$(params.x)`
//! and its like, the kubelet `$$` and `$(NAME)`.
//!
//! The text is cut between each `$` and the `(` behind it, every `$` is doubled, and the parts become variables. So no value has
//! a `$(`, the kubelet undoes the doubling, and a shell puts the parts together again before the command's own shell sees them.

/// What the shell is given beside the variables.
const NAME: &str = "KFT_CMD_";
/// A command with more parts goes into a Secret, which nobody rewrites: their names would be longer than it.
const PARTS_MAX: usize = 64;

/// How a command is handed to its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoded {
    /// Variables with values as they stand in a pod.
    pub parts: Vec<(String, String)>,
    /// The variables whose values are in a Secret instead.
    pub secret: Option<(String, String)>,
    /// For `/bin/sh -c`, as it stands in a pod.
    pub script: String,
}

pub(super) fn encoded(command: &str) -> Encoded {
    let parts = cut(command);
    let count = if parts.len() > PARTS_MAX { 1 } else { parts.len() };
    let names: Vec<String> = (0..count).map(|number| format!("{NAME}{number}")).collect();
    let joined: String = names.iter().map(|name| format!("$${name}")).collect();
    // A parameter, as any variable might be one of the App's.
    let script = format!("set -- \"{joined}\"; unset {}; exec /bin/sh -c \"$$1\"", names.join(" "));
    if parts.len() > PARTS_MAX {
        return Encoded { parts: Vec::new(), secret: Some((format!("{NAME}0"), command.to_owned())), script };
    }
    let parts = names.into_iter().zip(parts.into_iter().map(doubled)).collect();
    Encoded { parts, secret: None, script }
}

/// Between each `$` and the `(` behind it.
fn cut(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let (part, next) = rest.split_at(at + 1);
        parts.push(part);
        rest = next;
    }
    parts.push(rest);
    parts
}

fn doubled(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kubelet makes of a value (`third_party/forked/golang/expansion`): `$$` is a `$`, `$(NAME)` is looked up, and
    /// left as it is where it is unknown.
    fn expanded(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
        let bytes = text.as_bytes();
        let (mut all, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            if bytes[at] != b'$' || at + 1 == bytes.len() {
                all.push(bytes[at]);
                at += 1;
                continue;
            }
            match bytes[at + 1] {
                b'$' => {
                    all.push(b'$');
                    at += 2;
                }
                b'(' => match bytes[at + 2..].iter().position(|byte| *byte == b')') {
                    Some(end) => {
                        let name = &text[at + 2..at + 2 + end];
                        all.extend(known(name).unwrap_or_else(|| format!("$({name})")).into_bytes());
                        at += end + 3;
                    }
                    None => {
                        all.extend(b"$(");
                        at += 2;
                    }
                },
                other => {
                    all.extend([b'$', other]);
                    at += 2;
                }
            }
        }
        String::from_utf8(all).unwrap()
    }

    /// What a shell makes of `set -- "$A$B"; unset A B; exec /bin/sh -c "$1"`: the command that the inner one is given.
    fn run(encoded: &Encoded) -> String {
        let unknown = |_: &str| -> Option<String> { Some("KUBELET".to_owned()) };
        let script = expanded(&encoded.script, unknown);
        let joined = script.strip_prefix("set -- \"").and_then(|rest| rest.split_once('"')).unwrap().0;
        let value = |name: &str| match &encoded.secret {
            Some((of, value)) if of == name => value.clone(),
            _ => expanded(&encoded.parts.iter().find(|(part, _)| part == name).unwrap().1, unknown),
        };
        joined.split('$').skip(1).map(value).collect()
    }

    fn arrives(command: &str) {
        let encoded = encoded(command);
        let values = encoded.parts.iter().map(|(_, value)| value).chain([&encoded.script]);
        for value in values {
            assert!(!value.contains("$("), "Tekton would look into {value:?}");
        }
        assert_eq!(run(&encoded), command);
    }

    #[test]
    fn what_tekton_and_the_kubelet_would_rewrite_arrives_as_it_was_written() {
        for command in [
            "true",
            "echo $HOME $$ $$$ \\$ $",
            "echo $(date) $$(date) $$$(date)",
            "echo $(params.x) $(context.taskRun.name) $$(params.x) $(steps.run.outputs)",
            "$($($(",
            "echo '$(' \"$)\" `id`",
            "a\nb\tc \u{1f600} \"quoted\" 'single' \\n",
        ] {
            arrives(command);
        }
        arrives(&"$(".repeat(8192));
        assert!(encoded(&"$(x)".repeat(PARTS_MAX)).secret.is_some());
        assert!(encoded(&"$(x)".repeat(PARTS_MAX - 1)).secret.is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn every_command_arrives_byte_for_byte(command in "([$(){}A-Z_.]|params|context|KFT_CMD_0|\\PC|\n|\"|'|\\\\){1,60}") {
            arrives(&command);
        }
    }
}
