//! A client of IB's socket protocol made of bare frames: it builds and reads protobuf by field numbers, as the wire has
//! them, and can do what no proper client does. For tests and measurements of the paper gateway.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that can't go on should panic where it stands"
)]

mod body;
mod connection;
mod fields;
mod raw;

pub use body::{Body, about, framed, numbered, stock};
pub use connection::{GREETING, Reader, Writer, connect, greet};
pub use fields::{Fields, Message, Value};
pub use raw::{DEADLINE, Raw, is_end_of_the_past, lines};

/// Added to a message's number on the wire.
const OFFSET: i32 = 200;
/// Number of an error frame.
pub const ERROR: i32 = 4;
