//! Keys that seal: what is sealed with them can be read, made and moved by nobody else.

use chacha20poly1305::aead::{Aead, AeadCore, KeyInit, OsRng, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Bytes of a key.
pub const KEY: usize = 32;
const NONCE: usize = 24;
/// Begins the nonces of derived keys.
const DERIVED: u8 = 0xd1;

/// Which key sealed something. Says nothing about the key itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

/// The first key seals, all of them open, so that keys can be rotated.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: KeyId,
    seal: XChaCha20Poly1305,
    /// Of a key of its own, made from this one.
    mac: Hmac<Sha256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error("was sealed with a key that is not at hand")]
    KeyMissing,
    /// Cut, changed, or sealed for another place.
    #[error("is not what was sealed for this place")]
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must hold one or two lines of {} hexadecimal digits each", KEY * 2)]
pub struct BadKeys;

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Keyring {
    pub fn new(keys: &[[u8; KEY]]) -> Self {
        let named = |key: &[u8; KEY]| {
            let seal = XChaCha20Poly1305::new(key.into());
            Key { id: id_of(&seal), seal, mac: mac_of(key) }
        };
        Self { keys: keys.iter().map(named).collect() }
    }

    /// Reads a key file: a key per line in hexadecimal, the present one first.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let keys: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(parse_key)
            .collect::<Option<_>>()
            .ok_or(BadKeys)?;
        if (1..=2).contains(&keys.len()) { Ok(Self::new(&keys)) } else { Err(BadKeys) }
    }

    /// The keys, the present one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(|key| key.id)
    }

    /// Seals bytes for exactly one `place`: nobody can read them without the key, nor pass them off as another place's.
    /// The key's id comes first, so that a missing key is told from a damaged text.
    pub fn seal_bytes(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let mut bytes = self.ids().next().map(|id| id.0.to_vec()).unwrap_or_default();
        bytes.extend(self.encrypt(place, plain));
        bytes
    }

    pub fn open_bytes(&self, place: &str, bytes: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (id, sealed) = bytes.split_first_chunk::<8>().ok_or(Unopened::Foreign)?;
        let key = self.keys.iter().find(|key| key.id.0 == *id).ok_or(Unopened::KeyMissing)?;
        decrypt(&key.seal, place, sealed).ok_or(Unopened::Foreign)
    }

    /// A key for something else, of which only the present key's holders know: the same one each time, and nothing about this
    /// key or one derived for another.
    pub fn derived(&self, what: uuid::Uuid) -> [u8; KEY] {
        // What the cipher adds to a text, under a nonce that no text gets: theirs are drawn by lot.
        let mut nonce = [DERIVED; NONCE];
        nonce[NONCE - 16..].copy_from_slice(what.as_bytes());
        let key = match self.keys.first() {
            Some(first) => first,
            None => return [0; KEY],
        };
        let stream = key.seal.encrypt(XNonce::from_slice(&nonce), [0_u8; KEY].as_slice()).unwrap_or_default();
        stream.first_chunk().copied().unwrap_or_default()
    }

    /// A nonce and what follows it.
    pub(crate) fn encrypt(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        // It fails only beyond 256 GiB.
        let sealed = self
            .keys
            .first()
            .and_then(|key| key.seal.encrypt(&nonce, Payload { msg: plain, aad: purpose.as_bytes() }).ok());
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.unwrap_or_default());
        bytes
    }

    /// With whichever key opens it.
    pub(crate) fn decrypt(&self, purpose: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        self.keys.iter().find_map(|key| decrypt(&key.seal, purpose, bytes))
    }

    /// Vouches for `text` in one `place`, with the present key. Says nothing about the text, and is always the same.
    pub fn vouch(&self, place: &str, text: &str) -> Vec<u8> {
        let vouched = |key: &Key| vouching(key, place, text).finalize().into_bytes().to_vec();
        self.keys.first().map(vouched).unwrap_or_default()
    }

    /// Whether one of the keys vouched for this. Takes as long whatever is wrong with it.
    pub fn is_vouched(&self, place: &str, text: &str, shown: &[u8]) -> bool {
        let by = |key: &Key| vouching(key, place, text).verify_slice(shown).is_ok();
        self.keys.iter().fold(false, |found, key| by(key) | found)
    }
}

fn vouching(key: &Key, place: &str, text: &str) -> Hmac<Sha256> {
    key.mac.clone().chain_update(place).chain_update([0]).chain_update(text)
}

fn mac_of(key: &[u8; KEY]) -> Hmac<Sha256> {
    let derived = keyed(key).chain_update("the key that vouches").finalize().into_bytes();
    keyed(&derived.into())
}

fn keyed(key: &[u8; KEY]) -> Hmac<Sha256> {
    // As long as a block: what HMAC itself makes of a shorter key.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..KEY].copy_from_slice(key);
    <Hmac<Sha256> as hmac::Mac>::new(&block)
}

fn decrypt(key: &XChaCha20Poly1305, purpose: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
    key.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: purpose.as_bytes() }).ok()
}

/// The seal on nothing, which only this key makes. No text is ever sealed under its nonce.
fn id_of(key: &XChaCha20Poly1305) -> KeyId {
    let seal = key.encrypt(&XNonce::default(), Payload { msg: b"", aad: b"the id of a key" }).unwrap_or_default();
    KeyId(seal.first_chunk().copied().unwrap_or_default())
}

fn parse_key(line: &str) -> Option<[u8; KEY]> {
    let digits: Vec<u8> =
        line.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == KEY * 2 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Keyring {
        Keyring::new(&[[1; KEY]])
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_alone() {
        let sealed = one().seal_bytes("tasks/1", b"canary");
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        assert_eq!(one().open_bytes("tasks/1", &sealed).unwrap(), b"canary");
        assert_eq!(one().open_bytes("tasks/2", &sealed), Err(Unopened::Foreign));
    }

    #[test]
    fn a_changed_bit_or_a_lost_byte_is_noticed() {
        let sealed = one().seal_bytes("p", b"canary");
        for at in 8..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(one().open_bytes("p", &flipped), Err(Unopened::Foreign));
            assert_eq!(one().open_bytes("p", &sealed[..at]), Err(Unopened::Foreign));
        }
    }

    #[test]
    fn a_missing_key_is_told_from_a_damaged_text() {
        let sealed = one().seal_bytes("p", b"canary");
        let other = Keyring::new(&[[2; KEY]]);
        assert_eq!(other.open_bytes("p", &sealed), Err(Unopened::KeyMissing));
        let rotated = Keyring::new(&[[2; KEY], [1; KEY]]);
        assert_eq!(rotated.open_bytes("p", &sealed).unwrap(), b"canary");
        assert_eq!(other.open_bytes("p", &rotated.seal_bytes("p", b"new")).unwrap(), b"new");
        assert_ne!(other.ids().next(), one().ids().next());
    }

    #[test]
    fn a_derived_key_is_the_same_each_time_and_no_other() {
        let [a, b] = [1, 2].map(uuid::Uuid::from_u128);
        assert_eq!(one().derived(a), one().derived(a));
        assert_ne!(one().derived(a), one().derived(b));
        assert_ne!(one().derived(a), Keyring::new(&[[2; KEY]]).derived(a));
        assert_eq!(one().derived(a), Keyring::new(&[[1; KEY], [2; KEY]]).derived(a));
        assert_ne!(one().derived(a), [0; KEY]);
    }

    #[test]
    fn what_is_vouched_for_is_so_for_its_own_place_and_text_alone() {
        let shown = one().vouch("tickets", "task-1/1");
        assert!(one().is_vouched("tickets", "task-1/1", &shown));
        for (place, text) in [("tickets", "task-1/2"), ("pages", "task-1/1"), ("ticket", "stask-1/1")] {
            assert!(!one().is_vouched(place, text, &shown), "{place} {text}");
        }
        for wrong in [&shown[..31], &[], &[0; 32], &[shown.clone(), vec![0]].concat()] {
            assert!(!one().is_vouched("tickets", "task-1/1", wrong));
        }
        let rotated = Keyring::new(&[[2; KEY], [1; KEY]]);
        assert!(rotated.is_vouched("tickets", "task-1/1", &shown));
        assert!(!Keyring::new(&[[2; KEY]]).is_vouched("tickets", "task-1/1", &shown));
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", one()).len(), "[]".len() + 16);
        assert!(!format!("{:?}", one()).contains("0101"));
    }
}
