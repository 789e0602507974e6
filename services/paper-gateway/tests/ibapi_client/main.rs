//! The real `ibapi` client against the gateway, over a socket: what a trading program relies on.

mod harness;
mod orders;
mod prices;
mod session;
