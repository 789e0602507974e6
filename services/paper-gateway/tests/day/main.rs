//! A full trading day against the gateway, by each of the clients that most programs use: the real `ibapi` crate,
//! and IB's own Python client. At its end cash, positions and gains follow from the executions, to the cent.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should panic where it stands"
)]

#[path = "../ibapi_client/client.rs"]
mod harness;
mod markets;
mod python;
mod rust;
