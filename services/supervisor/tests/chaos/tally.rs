//! What was done and what came of it, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use protocol::Id;
use protocol::operator::Verb;
use serde_json::json;

use crate::world::{Outcome, World};

/// A command of the history.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: Id,
    pub verb: Verb,
    pub outcome: Outcome,
}

/// Totals of a run.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub schedules: u64,
    pub faults: BTreeMap<String, u64>,
    /// The commands of this world.
    pub asked: Vec<Asked>,
    /// How often a rule of the gateway was set off, as far as it was counted.
    fired: BTreeMap<u64, u64>,
    /// Names this world among all.
    world: u64,
    ids: u64,
    pub sums: BTreeMap<&'static str, u64>,
    /// Ends of processes by exit code.
    pub ends: BTreeMap<(&'static str, i32), u32>,
}

impl Tally {
    /// Of a world that begins.
    pub fn of(world: u64) -> Self {
        Self {
            world,
            ..Self::default()
        }
    }

    pub fn fault(&mut self, kind: impl Into<String>) {
        *self.faults.entry(kind.into()).or_default() += 1;
    }

    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.sums.entry(what).or_default() += count;
    }

    fn sum(&self, what: &str) -> u64 {
        self.sums.get(what).copied().unwrap_or_default()
    }

    /// An id for the next command.
    pub fn next_id(&mut self) -> Id {
        self.ids += 1;
        Id::derive(&["chaos", &self.world.to_string(), &self.ids.to_string()])
    }

    /// Counts the faults at orders that were set off since the last time. The gateway's rules may then be forgotten.
    pub async fn fired(&mut self, world: &World) {
        let answer = world.control(&json!({"ask": "faults"})).await.unwrap_or_default();
        for rule in answer["rules"].as_array().into_iter().flatten() {
            let number = rule["number"].as_u64().unwrap_or_default();
            let fired = rule["fired"].as_u64().unwrap_or_default();
            let known = self.fired.insert(number, fired).unwrap_or_default();
            let (fault, when) = (&rule["rule"]["fault"], &rule["rule"]["when"]);
            let message = when["in"].as_str().or(when["out"].as_str()).unwrap_or_default();
            let kind = format!("broker: {} {message}", fault.as_str().unwrap_or_default());
            if fired > known {
                *self.faults.entry(kind.replace('-', " ")).or_default() += fired - known;
            }
        }
    }

    /// The gateway's rules are gone, and their numbers begin anew.
    pub fn forget_rules(&mut self) {
        self.fired.clear();
    }

    /// Takes over the totals of another world.
    pub fn merge(&mut self, other: Self) {
        self.schedules += other.schedules;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (what, count) in other.sums {
            *self.sums.entry(what).or_default() += count;
        }
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        writeln!(f, "{:>8} schedules\n{faults:>8} faults", self.schedules)?;
        for (kind, count) in &self.faults {
            writeln!(f, "{count:>16} {kind}")?;
        }
        for (what, count) in &self.sums {
            writeln!(f, "{count:>8} {what}")?;
        }
        for ((name, code), count) in &self.ends {
            writeln!(f, "{count:>8} ends of {name} with exit code {code}")?;
        }
        let share = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
        let (intents, absent) = (self.sum("orders decided"), self.sum("orders absent"));
        writeln!(f, "{:>7.2}% absent rate", share(absent, intents))
    }
}
