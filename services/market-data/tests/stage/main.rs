//! The stage `market-data` between a real NATS server and a real gateway process that replays bars, dies and
//! comes back.

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod link;
mod scene;
