//! Page and resume tokens: bound to the caller and to the very question they continue.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskplane_domain::Invalid;
use taskplane_domain::run::{RunKey, StartToken};
use taskplane_proto::details;
use taskplane_proto::token::{Keyring, TokenError};
use taskplane_runtime::Clock;
use taskplane_store::FeedMark;
use tonic::{Code, Status};

const PAGE_LIFETIME: Duration = Duration::from_secs(3600);
const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 500;
const START: &str = "start-tickets";

#[derive(Clone)]
pub(crate) struct Tokens {
    keys: Keyring,
    clock: Clock,
}

impl Tokens {
    pub fn new(keys: Keyring, clock: Clock) -> Self {
        Self { keys, clock }
    }

    /// Continues a list after `position`; good for an hour.
    pub fn page(&self, question: &str, position: &str) -> String {
        let lifetime = SignedDuration::try_from(PAGE_LIFETIME).unwrap_or_default();
        let expires = self.clock.now().checked_add(lifetime).unwrap_or(Timestamp::MAX);
        self.keys.seal(question, position.as_bytes(), Some(expires))
    }

    /// The position to continue after; none for the first page.
    pub fn open_page(&self, question: &str, token: &str) -> Result<Option<String>, Invalid> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = |error: TokenError| Invalid::one("page_token", error.to_string());
        let position = self.keys.open(question, token, self.clock.now()).map_err(refused)?;
        String::from_utf8(position).map(Some).map_err(|_| refused(TokenError::Foreign))
    }

    /// Continues a watch behind a mark of the feed; good as long as the feed goes back that far.
    pub fn resume(&self, question: &str, FeedMark { position, trimmed }: FeedMark) -> String {
        self.keys.seal(question, &[position.to_be_bytes(), trimmed.to_be_bytes()].concat(), None)
    }

    /// Where to go on. A token of another question is refused like one that nobody made.
    pub fn open_resume(&self, question: &str, token: &str) -> Result<Option<FeedMark>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = |error: TokenError| details::invalid(&Invalid::one("resume_token", error.to_string()));
        let bytes = self.keys.open(question, token, self.clock.now()).map_err(refused)?;
        // The trimmed part is missing in a token from before there was any.
        let (position, trimmed) = bytes.split_first_chunk().ok_or_else(|| refused(TokenError::Foreign))?;
        let trimmed = trimmed.try_into().map(u64::from_be_bytes).unwrap_or_default();
        Ok(Some(FeedMark { position: u64::from_be_bytes(*position), trimmed }))
    }
}

/// Shows that a guard belongs to one attempt. No secret is in it, and nobody else can make it.
impl Tokens {
    pub fn start_of(&self, key: RunKey) -> StartToken {
        StartToken(hex::encode(self.keys.vouch(START, &key.to_string())))
    }

    pub fn is_start_of(&self, key: RunKey, StartToken(shown): &StartToken) -> bool {
        hex::decode(shown).is_ok_and(|shown| self.keys.is_vouched(START, &key.to_string(), &shown))
    }
}

/// How many rows a page has, or what is wrong with what was asked.
pub(crate) fn page_size(asked: i32) -> Result<u32, Invalid> {
    match u32::try_from(asked) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(Invalid::one("page_size", "must not be negative")),
    }
}

/// The feed no longer goes back as far as a token says.
pub(crate) fn too_old() -> Status {
    details::error(
        Code::OutOfRange,
        "RESUME_TOKEN_TOO_OLD",
        "resume_token: the feed no longer goes back that far: list, then watch anew",
    )
}

/// Splits one row more than a page has into the page and whether there is another.
pub(crate) fn cut<T>(mut rows: Vec<T>, size: u32) -> (Vec<T>, bool) {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    (rows, more)
}
