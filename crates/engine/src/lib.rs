//! What is decided: pure state machines, `step(&mut self, now, Input) -> Vec<Output>`.
//!
//! No clock, no IO, no async, no randomness, no environment, no iteration in hash order: the same inputs
//! give the same outputs on every machine, in a service, in a test, in a simulation and in the browser.
//! A machine cannot fail: bad input is an output, and a bug is an assert that stays on in release.
//!
//! The market side: [`market`] makes quotes and bars of ticks, [`features`] and [`regime`] describe bars,
//! [`signal`] weighs a model's answer. The money side: [`portfolio`] is THE fold of the ledger, [`order`] the
//! life of an order, [`risk`], [`sizing`] and [`exits`] decide what may and should be held, [`gate`] is the last
//! thing before an order leaves, [`reconcile`] compares with the broker, [`others`] are
//! orders there that are not of the ledger, [`trader`] puts them together, [`desk`]
//! says when the broker is read and whether the way to it ([`link`]) is open, [`equity`] draws the curve.
//! [`venue`] is the simulated exchange that the paper gateway speaks for.

pub mod day;
pub mod desk;
pub mod equity;
pub mod exits;
pub mod features;
pub mod gate;
pub mod link;
pub mod market;
pub mod order;
pub mod others;
pub mod portfolio;
pub mod position;
pub mod reconcile;
pub mod regime;
pub mod restart;
pub mod risk;
pub mod signal;
pub mod sizing;
#[doc(hidden)]
pub mod testing;
pub mod trader;
pub mod venue;
