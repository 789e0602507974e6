//! The whole pipeline as real processes: one binary, one module for each promise.
//!
//! Every test starts what it needs on free ports and in its own folders, writes its own data, and waits for
//! conditions, never for time. What is missing on the machine fails with the line that installs it.

// A test that finds nothing where something must be should panic there and then, in what it calls as well.
#![allow(clippy::unwrap_used)]

mod browser;
mod command_line;
mod crash;
mod errors;
mod gateway;
mod harness;
mod kill;
mod ledger;
mod life;
mod live;
mod outage;
mod permissions;
mod pipeline;
mod replay;
mod scene;
mod story;
mod tidy;
