//! Settings as the tests of this crate use them.

use protocol::settings::Settings;

/// Settings of a small market with every limit on.
///
/// # Panics
/// Never: the text is part of the program.
#[must_use]
pub fn settings() -> Settings {
    serde_json::from_str(include_str!("testing.json")).expect("the text below is right")
}
