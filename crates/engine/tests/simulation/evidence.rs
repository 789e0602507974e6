//! What is seen of a run: what the judges look at, totals that show that a run means something, and its story.

use std::collections::BTreeMap;

use protocol::ledger::{Entry, Reason};
use protocol::{Hash, Id};

use crate::world::{Run, World};

/// An order that was written to a connection.
pub struct Sent {
    pub beat: u64,
    pub run: Run,
    /// Milliseconds since the world began, by the clock of its host.
    pub clock: i64,
    pub id: Id,
    pub reason: Reason,
    /// The local kill switch was latched.
    pub latched: bool,
}

/// A reading of the broker's truth that came to its end.
pub struct Read {
    pub run: Run,
    /// As the clock of a [`Sent`].
    pub began: i64,
    /// The beat of its end.
    pub ended: u64,
    /// The beat at which the broker told open orders.
    pub told_open: u64,
    /// The beat at which it was taken in.
    pub compared: Option<u64>,
}

#[derive(Default)]
pub struct Evidence {
    pub totals: BTreeMap<&'static str, u64>,
    /// What execution said beside orders: alerts and refusals, by kind.
    pub said: BTreeMap<String, u64>,
    pub story: Option<Vec<String>>,
    pub sent: Vec<Sent>,
    pub readings: Vec<Read>,
    /// Every incarnation that traded, in order.
    pub leaders: Vec<Run>,
    /// The last that was killed as planned.
    pub killed: Option<Run>,
    /// The digest that a fold told first at a position of LEDGER.
    pub marks: BTreeMap<u64, Hash>,
    /// What a fold could not take in or told otherwise than another.
    pub discord: Vec<String>,
    /// When New York's day ended.
    pub midnight: Option<u64>,
    /// Orders that the gateway let appear late, which no design can rule out.
    pub late: Vec<Id>,
}

impl Evidence {
    pub fn new(told: bool) -> Self {
        Self {
            story: told.then(Vec::new),
            ..Self::default()
        }
    }
}

impl World {
    /// What happened in this run, and how often.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals: BTreeMap<String, u64> = self
            .evidence
            .totals
            .iter()
            .map(|(what, count)| ((*what).to_owned(), *count))
            .collect();
        let mut add = |what: String, count: u64| *totals.entry(what).or_default() += count;
        for stored in &self.ledger.records {
            let subject: String = match &stored.record.entry {
                Entry::Order(event) => protocol::subject::kind(&event.change),
                other => serde_json::to_value(other).unwrap()["kind"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            };
            let kind = ["fill", "commission"]
                .into_iter()
                .find(|kind| subject.starts_with(kind));
            add(format!("LEDGER: {}", kind.unwrap_or(&subject)), 1);
        }
        self.evidence
            .said
            .iter()
            .for_each(|(what, count)| add(what.clone(), *count));
        let leaders = &self.evidence.leaders;
        add("incarnation".to_owned(), leaders.len() as u64);
        let taken_over = leaders
            .windows(2)
            .filter(|pair| pair[0].host != pair[1].host)
            .count() as u64;
        if taken_over > 0 {
            add("takeover".to_owned(), taken_over);
        }
        totals
    }
}
