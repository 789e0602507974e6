//! The bridge with a real nats-server, a real port, and browsers that speak WebSocket themselves.

mod commands;
mod door;
mod feed;
mod pages;
mod scene;
mod slow;
