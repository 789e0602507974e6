//! Ids and hashes. Ids are derived from content, never random, so that a repetition is recognised.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The id of a message: 1 to 64 letters, digits, `-` and `_`, so that it is a legal subject token.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Length of a derived id, in bytes.
const DERIVED_BYTES: usize = 26;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: use 1 to 64 letters, digits, `-` or `_`")]
pub struct IdError(String);

impl Id {
    /// The id that follows from what it names: the first 26 characters of a hash over the parts.
    /// Equal parts in equal order give the equal id, on every machine.
    #[must_use]
    pub fn derive(parts: &[&str]) -> Self {
        let mut text = hash_parts(parts).0;
        text.truncate(DERIVED_BYTES);
        Self(text)
    }

    /// True for a text that [`Id::derive`] could have made.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        self.0.len() == DERIVED_BYTES && self.0.bytes().all(digit)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > ID_BYTES_MAX || !text.bytes().all(legal) {
            return Err(IdError(text.chars().take(40).collect()));
        }
        Ok(Self(text))
    }
}

impl std::str::FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.to_owned().try_into()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 160 bits of a SHA-256, as 40 hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub String);

impl Hash {
    /// The hash before the first record of a chain.
    #[must_use]
    pub fn zero() -> Self {
        Self("0".repeat(40))
    }

    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)[..20]))
    }

    /// The first eight characters, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The hash of several texts. Each is preceded by its length, so that no two lists share a hash.
#[must_use]
pub fn hash_parts(parts: &[&str]) -> Hash {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    Hash(hex(&digest.finalize()[..20]))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_content() {
        assert_eq!(Id::derive(&["a", "bc"]), Id::derive(&["a", "bc"]));
        assert_ne!(Id::derive(&["a", "bc"]), Id::derive(&["ab", "c"]));
        assert_eq!(Id::derive(&["a"]).as_str().len(), 26);
        assert!(Id::derive(&["a"]).is_derived());
        assert!(!Id("AAPL-5s-1380000000".to_owned()).is_derived());
    }

    #[test]
    fn ids_are_legal_subject_tokens() {
        for text in ["", "a.b", "a b", "*", ">", "é", &"x".repeat(65)] {
            assert!(text.parse::<Id>().is_err(), "{text:?}");
        }
        assert!("AAPL-5s-1380000000_a".parse::<Id>().is_ok());
    }
}
