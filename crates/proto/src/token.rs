//! Page and resume tokens: sealed, so that nobody can read or make one, and bound to the question they continue.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

pub use crate::keyring::{BadKeys, KEY, Keyring};

/// Far above any token of ours.
const TOKEN_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("is not a token of this request: leave it empty to begin anew")]
    Foreign,
    #[error("has expired: leave it empty to begin anew")]
    Expired,
}

impl Keyring {
    /// Seals `payload` for exactly the question `purpose`.
    pub fn seal(&self, purpose: &str, payload: &[u8], expires_at: Option<Timestamp>) -> String {
        let mut plain = expires_at.map_or(i64::MAX, Timestamp::as_second).to_be_bytes().to_vec();
        plain.extend_from_slice(payload);
        URL_SAFE_NO_PAD.encode(self.encrypt(purpose, &plain))
    }

    /// What was sealed for `purpose`, unless it was tampered with, meant for another question, or is too old.
    pub fn open(&self, purpose: &str, token: &str, now: Timestamp) -> Result<Vec<u8>, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Foreign);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Foreign)?;
        let plain = self.decrypt(purpose, &bytes).ok_or(TokenError::Foreign)?;
        let (expires, payload) = plain.split_first_chunk::<8>().ok_or(TokenError::Foreign)?;
        if i64::from_be_bytes(*expires) < now.as_second() { Err(TokenError::Expired) } else { Ok(payload.to_vec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn keyring() -> Keyring {
        Keyring::new(&[[1; KEY]])
    }

    #[test]
    fn a_token_opens_for_its_own_question_alone() {
        let token = keyring().seal("list a", b"position", None);
        assert_eq!(keyring().open("list a", &token, NOW).unwrap(), b"position");
        assert_eq!(keyring().open("list b", &token, NOW), Err(TokenError::Foreign));
        assert_eq!(Keyring::new(&[[2; KEY]]).open("list a", &token, NOW), Err(TokenError::Foreign));
    }

    #[test]
    fn nonsense_and_flipped_bits_are_foreign() {
        let token = keyring().seal("q", b"p", None);
        let mut flipped = token.clone().into_bytes();
        flipped[30] ^= 1;
        for bad in ["", "x", "not base64!", &"A".repeat(1 << 20), &String::from_utf8_lossy(&flipped)] {
            assert_eq!(keyring().open("q", bad, NOW), Err(TokenError::Foreign));
        }
    }

    #[test]
    fn a_token_expires() {
        let token = keyring().seal("q", b"p", Some(NOW));
        assert!(keyring().open("q", &token, NOW).is_ok());
        assert_eq!(keyring().open("q", &token, "1970-01-01T00:00:01Z".parse().unwrap()), Err(TokenError::Expired));
    }

    #[test]
    fn the_older_key_still_opens_after_a_rotation() {
        let text = format!("{}\n{}\n", "02".repeat(KEY), "01".repeat(KEY));
        let rotated = Keyring::parse(&text).unwrap();
        assert!(rotated.open("q", &keyring().seal("q", b"p", None), NOW).is_ok());
        for bad in ["", "zz", &"0".repeat(63), &"00\n".repeat(3)] {
            assert!(Keyring::parse(bad).is_err());
        }
    }
}
