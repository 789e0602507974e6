//! Laws of the money side: the fold, the order's life and the trader, tried with many inputs.

// A test that meets what it did not expect has failed.
#![allow(clippy::unwrap_used)]

mod again;
mod cancellation;
mod confirm;
mod copy;
mod desk;
mod fate;
mod flatten;
mod fold;
mod garbled;
mod gate;
mod hours;
mod inactive;
mod incident;
mod late;
mod limit;
mod many;
mod others;
mod settle;
mod silence;
mod story;
mod sums;
mod takeover;
mod trading;
mod unclear;
mod unsaid;
mod unsent;
mod world;
