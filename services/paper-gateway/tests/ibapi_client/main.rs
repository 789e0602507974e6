//! The real `ibapi` client against the gateway, over a socket: what a trading program relies on.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should panic where it stands"
)]

mod account;
mod client;
mod harness;
mod limits;
mod orders;
mod orders_of_each_kind;
mod prices;
mod program;
mod replay;
mod restart;
mod session;
mod speed;
