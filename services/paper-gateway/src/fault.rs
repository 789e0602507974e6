//! What goes wrong on demand: the language in which faults are ordered, and the rules that decide, message by
//! message, what becomes of it. All of it is pure: the hub tells it what passes and when, and carries out what it says.

mod delays;
mod facts;
mod kind;
mod line;
mod names;
mod pacing;
mod rules;
mod scenario;
#[cfg(test)]
mod tests;
mod weather;

pub use scenario::ScenarioError;

pub(crate) use delays::{Delays, Due};
pub(crate) use facts::Facts;
pub(crate) use kind::{DataType, Farm, Fault, LinkState, Place, Port, Side, State};
pub(crate) use line::{Ask, Clear, Line, Order, parse, time, unknown};
pub(crate) use names::Outgoing;
pub(crate) use pacing::{Pace, Pacing};
pub(crate) use rules::Rules;
pub(crate) use scenario::read as read_scenario;
pub(crate) use weather::{Sky, Weather};
