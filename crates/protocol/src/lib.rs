//! What is said: ids, exact decimals, subjects, messages, and the frames a browser gets.
//!
//! Every stage and the page share these types, so a change of the wire is one visible diff here.
//! `units` and `symbol` are the words, `subject` says who may say them where, `market`, `decision`,
//! `ledger` and `operator` are the messages, `feed` is what the bridge tells a browser, and
//! `settings` is what the operator says in `services/config.toml`. Knows nobody; compiles to wasm32.

pub mod decision;
pub mod feed;
pub mod ids;
pub mod ledger;
pub mod market;
pub mod operator;
pub mod settings;
pub mod subject;
pub mod symbol;
pub mod units;

pub use ids::{Hash, Id};
pub use symbol::Symbol;
pub use units::{Money, Price, Quantity, Timestamp};

/// Version of the wire. Stages refuse to start against a stage that speaks another one.
pub const WIRE_VERSION: u32 = 4;
