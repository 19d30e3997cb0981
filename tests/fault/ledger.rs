//! What the commands themselves write down, in a file that nothing of ours knows of: that they began, that they go on, that they
//! came to their end. `O_APPEND` puts the lines in the order in which they were written, whoever wrote them.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a Task does, besides telling of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// How often it tells that it goes on, a tenth of a second apart.
    pub beats: u32,
    pub exit: u8,
    /// Whether it does not mind being asked to end.
    pub stubborn: bool,
}

impl Script {
    pub const BRIEF: Self = Self { beats: 0, exit: 0, stubborn: false };

    /// For `/bin/sh -c`. Whatever follows in the same text is a comment.
    pub fn command(&self, ledger: &Path) -> String {
        let Self { beats, exit, stubborn } = self;
        let trap = if *stubborn { "trap '' TERM; " } else { "" };
        let ledger = ledger.display();
        format!(
            "{trap}t=\"$CF_TASK_ID $TASKPLANE_ATTEMPT\"; echo start $t >>{ledger}; i=0; \
             while [ $i -lt {beats} ]; do sleep 0.1; echo beat $t >>{ledger}; i=$((i+1)); done; \
             echo end $t >>{ledger}; exit {exit} #"
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where in the file it begins.
    pub offset: u64,
    pub mark: Mark,
    pub uid: String,
    pub attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Start,
    Beat,
    End,
}

/// What was written; a line that makes no sense is one of ours gone wrong.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut offset = 0;
    let mut entries = Vec::new();
    for line in text.split_inclusive('\n') {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mark, uid, attempt] = words[..] else { panic!("the ledger says {line:?} at {offset}") };
        let mark = match mark {
            "start" => Mark::Start,
            "beat" => Mark::Beat,
            "end" => Mark::End,
            other => panic!("the ledger says {other:?} at {offset}"),
        };
        entries.push(Entry { offset, mark, uid: uid.to_owned(), attempt: attempt.parse().unwrap() });
        offset += line.len() as u64;
    }
    entries
}
