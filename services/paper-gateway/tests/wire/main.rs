//! The gateway by raw frames: what every request is answered with, down to the numbers.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should panic where it stands"
)]

mod account;
mod backlog;
mod decoder;
mod depth;
mod fields;
mod harness;
mod lines;
mod lookups;
mod messages;
mod noise;
mod orders;
mod past;
