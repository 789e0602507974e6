//! The rules in force: which message each waits for, and how often it has been set off.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::facts::{Facts, Way};
use super::kind::Fault;
use super::line::{Times, Trigger};

/// Most rules at a time. Those that are done make room for new ones.
pub(super) const RULES_MAX: usize = 1000;

/// All rules, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    last: u64,
    armed: BTreeMap<u64, Armed>,
}

#[derive(Debug)]
struct Armed {
    trigger: Trigger,
    fault: Fault,
    seen: u32,
    fired: u32,
}

impl Rules {
    /// Takes a rule in and gives it its number; `None` when there are too many.
    pub(crate) fn add(&mut self, trigger: Trigger, fault: Fault) -> Option<u64> {
        if self.armed.len() >= RULES_MAX {
            self.armed.retain(|_, armed| !armed.is_done());
        }
        if self.armed.len() >= RULES_MAX {
            return None;
        }
        self.last += 1;
        let armed = Armed {
            trigger,
            fault,
            seen: 0,
            fired: 0,
        };
        self.armed.insert(self.last, armed);
        Some(self.last)
    }

    /// Takes a rule away; false when there is none of that number.
    pub(crate) fn remove(&mut self, number: u64) -> bool {
        self.armed.remove(&number).is_some()
    }

    /// Whether a rule could need to know an order's tag or stock where the message does not say it.
    pub(crate) fn name_orders(&self) -> bool {
        let names = |armed: &Armed| armed.trigger.order_ref.is_some() || armed.trigger.symbol.is_some();
        self.armed.values().any(names)
    }

    /// Counts a message, and says which faults it sets off.
    pub(crate) fn set_off(&mut self, facts: &Facts) -> Vec<Fault> {
        let mut faults = Vec::new();
        for armed in self.armed.values_mut() {
            if armed.is_done() || !armed.trigger.means(facts) {
                continue;
            }
            armed.seen = armed.seen.saturating_add(1);
            if armed.seen >= armed.trigger.nth {
                armed.fired = armed.fired.saturating_add(1);
                faults.push(armed.fault.clone());
            }
        }
        faults
    }

    /// Every rule with its number and how often it was set off.
    pub(crate) fn list(&self) -> Vec<Value> {
        let told = |(number, armed): (&u64, &Armed)| {
            let mut line = serde_json::to_value(&armed.fault).unwrap_or_default();
            line["when"] = json!(armed.trigger);
            json!({ "number": number, "fired": armed.fired, "rule": line })
        };
        self.armed.iter().map(told).collect()
    }
}

impl Armed {
    fn is_done(&self) -> bool {
        matches!(self.trigger.times, Times::Number(most) if self.fired >= most)
    }
}

impl Trigger {
    fn means(&self, facts: &Facts) -> bool {
        let number = match facts.way {
            Way::In => self.incoming.is_some_and(|incoming| incoming.is(facts.number)),
            Way::Out => self.outgoing.is_some_and(|outgoing| outgoing.is(facts.number)),
        };
        let symbol = || {
            facts
                .symbol
                .as_ref()
                .and_then(|symbol| symbol.parse::<protocol::Symbol>().ok())
        };
        number
            && self.client.is_none_or(|client| client == facts.client)
            && self.order_id.is_none_or(|id| Some(id) == facts.order_id)
            && self.code.is_none_or(|code| Some(code) == facts.code)
            && (self.status.is_none() || self.status == facts.status)
            && (self.order_ref.is_none() || self.order_ref == facts.order_ref)
            && self.symbol.is_none_or(|wanted| symbol() == Some(wanted))
    }
}
