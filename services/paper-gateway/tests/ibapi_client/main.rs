//! The real `ibapi` client against the gateway, over a socket: what a trading program relies on.

mod account;
mod harness;
mod limits;
mod orders;
mod prices;
mod replay;
mod restart;
mod session;
