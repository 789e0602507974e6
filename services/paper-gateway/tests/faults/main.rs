//! Every fault that the gateway can be asked for, as clients see it on the wire.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should panic where it stands"
)]

mod by_hand;
mod control;
mod frames;
mod harness;
mod orders;
mod outages;
mod passing;
mod prices;
mod trading;
