//! How it is carried: the one crate that knows NATS.
//!
//! [`run`] is every stage's `main`; [`bus`] carries typed messages; [`history`] reads streams in order;
//! [`ledger`] appends to LEDGER; [`lease`] decides who tries; [`setup`] creates streams; [`config`] reads the
//! settings; [`health`] tells how a stage is; [`fall`] ends a process at a panic; [`testing`] starts a real server for
//! tests.

pub mod bus;
pub mod config;
pub mod fall;
pub mod health;
pub mod history;
pub mod lease;
pub mod ledger;
pub mod run;
pub mod setup;
pub mod testing;

pub use bus::{Bus, Message, Request, Requests, Subscription, Unreadable};
pub use fall::guarded;
pub use health::HealthHandle;
pub use history::{History, Stored};
pub use run::{Context, Exit, code, now, run, run_watching};
pub use tokio_util::sync::CancellationToken;
