//! A ticker symbol, parsed once into a legal subject token.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest symbol, in bytes. US stock symbols with a class suffix fit easily.
pub const SYMBOL_BYTES_MAX: usize = 15;

/// A US stock symbol such as `AAPL` or `BRK_B`: upper-case letters, digits and `_`, 1 to 15 of them.
///
/// The class separator is written in three ways in the wild (`BRK B` by the broker, `BRK.B` by most
/// people); both parse to `BRK_B`, which is legal as a token of a subject and as a file name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol {
    bytes: [u8; SYMBOL_BYTES_MAX],
    length: u8,
}

/// Why a text is not a symbol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a stock symbol: use 1 to 15 letters or digits, with a blank, dot or underscore before a share class"
)]
pub struct SymbolError(String);

impl Symbol {
    /// The symbol as a subject token, `BRK_B`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)])
            .expect("a symbol is ASCII by construction")
    }

    /// The symbol as the broker writes it, `BRK B`.
    #[must_use]
    pub fn broker_text(&self) -> String {
        self.as_str().replace('_', " ")
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;

    fn from_str(text: &str) -> Result<Self, SymbolError> {
        let refuse = || SymbolError(text.chars().take(40).collect());
        if text.is_empty() || text.len() > SYMBOL_BYTES_MAX {
            return Err(refuse());
        }
        let mut bytes = [0; SYMBOL_BYTES_MAX];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = match byte {
                b'A'..=b'Z' | b'0'..=b'9' => byte,
                b'a'..=b'z' => byte.to_ascii_uppercase(),
                b'.' | b' ' | b'_' => b'_',
                _ => return Err(refuse()),
            };
        }
        let length = text.len();
        if bytes[0] == b'_' || bytes[length - 1] == b'_' {
            return Err(refuse());
        }
        Ok(Self {
            bytes,
            length: u8::try_from(length).expect("checked against the maximum above"),
        })
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Symbol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_classes_have_one_spelling() {
        for text in ["BRK B", "BRK.B", "brk_b"] {
            let symbol: Symbol = text.parse().unwrap();
            assert_eq!(
                (symbol.as_str(), symbol.broker_text().as_str()),
                ("BRK_B", "BRK B")
            );
        }
    }

    #[test]
    fn what_would_break_a_subject_is_refused() {
        for text in [
            "",
            "A*",
            "A>B",
            ".A",
            "A.",
            "<IMG SRC=X>",
            "AAPL\n",
            "ABCDEFGHIJKLMNOP",
            "Ä",
        ] {
            assert!(text.parse::<Symbol>().is_err(), "{text:?}");
        }
    }
}
