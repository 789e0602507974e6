//! Laws of the market machine: bars lose nothing and join history without overlap, what is odd is said.

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod bars;
mod odd;
mod scene;
mod time;
