//! The stage `signal`: its models, and the stage as a whole on a real NATS server.

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod live;
mod models;
mod onnx;
