//! As much of PostgreSQL's protocol as it takes to see a COMMIT go by, and its answer.
//!
//! A message is a letter, its length, and its content; the first one of a client has no letter, and the server answers a
//! question about encryption with one bare letter. A connection that speaks otherwise, or goes on encrypted, is not understood
//! and passes as it is.

use std::sync::{Mutex, PoisonError};

use crate::proxy::{CommitCut, Toward};

/// All that is looked at of a message.
const HEAD: usize = 64;
const LENGTH: usize = 4;

const SSL_REQUEST: [u8; LENGTH] = 80_877_103_u32.to_be_bytes();
const GSS_REQUEST: [u8; LENGTH] = 80_877_104_u32.to_be_bytes();

/// What is said on one connection.
#[derive(Debug, Default)]
pub(super) struct Talk(Mutex<Both>);

#[derive(Debug)]
struct Both {
    client: Speaker,
    server: Speaker,
}

impl Default for Both {
    fn default() -> Self {
        Self { client: Speaker::at(Next::Opening), server: Speaker::at(Next::Message) }
    }
}

impl Talk {
    /// Where the connection could be cut by what is on its way now.
    pub(super) fn hears(&self, toward: Toward, piece: &[u8]) -> Option<CommitCut> {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Both { client, server } = &mut *both;
        let mut found = None;
        match toward {
            Toward::Server => client.says(piece, |letter, head| match letter {
                None if head.starts_with(&SSL_REQUEST) || head.starts_with(&GSS_REQUEST) => {
                    server.next = Next::Bare;
                    Next::Opening
                }
                Some(b'Q') if is_commit(head) => {
                    found = Some(CommitCut::BeforeServer);
                    Next::Message
                }
                // A statement to be prepared has a name, which ends as the statement does.
                Some(b'P')
                    if head.iter().position(|byte| *byte == 0).is_some_and(|end| is_commit(&head[end + 1..])) =>
                {
                    found = Some(CommitCut::BeforeServer);
                    Next::Message
                }
                _ => Next::Message,
            }),
            Toward::Client => server.says(piece, |letter, head| {
                if letter == Some(b'C') && is_commit(head) {
                    found = Some(CommitCut::BeforeClient);
                }
                Next::Message
            }),
        }
        if server.next == Next::Unknown {
            client.next = Next::Unknown;
        }
        found
    }
}

fn is_commit(head: &[u8]) -> bool {
    let text = head.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.trim_ascii().strip_suffix(b";").unwrap_or(text);
    text.trim_ascii().eq_ignore_ascii_case(b"COMMIT")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A message without a letter.
    Opening,
    Message,
    /// One byte: whether encryption follows.
    Bare,
    /// Not a language that is understood here.
    Unknown,
}

/// One side, whose messages arrive in pieces.
#[derive(Debug)]
struct Speaker {
    next: Next,
    letter: Option<u8>,
    length: Vec<u8>,
    head: Vec<u8>,
    /// Of the content, what is still to come.
    left: usize,
}

impl Speaker {
    fn at(next: Next) -> Self {
        Self { next, letter: None, length: Vec::new(), head: Vec::new(), left: 0 }
    }

    /// Each whole message goes to `each`, with its letter and the beginning of its content; it says what comes next.
    fn says(&mut self, mut piece: &[u8], mut each: impl FnMut(Option<u8>, &[u8]) -> Next) {
        while let Some((first, rest)) = piece.split_first() {
            match self.next {
                Next::Unknown => return,
                Next::Bare => {
                    self.next = if *first == b'N' { Next::Message } else { Next::Unknown };
                    piece = rest;
                }
                Next::Message if self.letter.is_none() && self.length.is_empty() => {
                    self.letter = Some(*first);
                    piece = rest;
                }
                Next::Opening | Next::Message if self.length.len() < LENGTH => {
                    self.length.push(*first);
                    piece = rest;
                    if let Ok(length) = <[u8; LENGTH]>::try_from(&*self.length) {
                        let content = (u32::from_be_bytes(length) as usize).checked_sub(LENGTH);
                        self.left = content.unwrap_or_default();
                        if content.is_none() {
                            self.next = Next::Unknown;
                        }
                    }
                }
                Next::Opening | Next::Message => {
                    let (content, rest) = piece.split_at(self.left.min(piece.len()));
                    let kept = content.len().min(HEAD - self.head.len());
                    self.head.extend_from_slice(&content[..kept]);
                    self.left -= content.len();
                    piece = rest;
                }
            }
            if self.length.len() == LENGTH && self.left == 0 && self.next != Next::Unknown {
                self.next = each(self.letter.take(), &self.head);
                self.length.clear();
                self.head.clear();
            }
        }
    }
}
