//! Persistence against a real nats-server and real redb files: what it keeps, answers, survives and refuses.

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod faults;
mod queries;
mod replay;
mod scene;
