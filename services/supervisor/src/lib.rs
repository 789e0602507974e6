//! Starts the whole pipeline, keeps it up, and takes it down again.
//!
//! [`plan`] turns arguments and settings into what is to run; [`stack`] runs it, for `run-all` and for the
//! end-to-end tests alike; [`member`] keeps one process up; [`server`] is the NATS server; [`state`] is the
//! state folder with its lock and secrets; [`alarm`] tells on the bus what was given up; [`record`] says on
//! disk what runs, so that [`status`], [`stop`] and [`reset`] work from another terminal and leftovers are
//! found; [`process`], [`logs`] and [`ports`] are the tools; [`eager`] is for bench and tests. A shell only: it
//! decides nothing about trading and reaches NATS through `runtime`.

pub mod alarm;
pub mod arguments;
pub mod eager;
pub mod logs;
pub mod member;
pub mod plan;
pub mod ports;
pub mod process;
pub mod pulse;
pub mod record;
pub mod replay;
pub mod reset;
pub mod server;
pub mod stack;
pub mod state;
pub mod status;
pub mod stop;

pub use plan::Plan;
pub use stack::Stack;
