//! The bridge with a real nats-server, a real port, and browsers that speak WebSocket themselves.

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod commands;
mod door;
mod feed;
mod pages;
mod scene;
mod slow;
