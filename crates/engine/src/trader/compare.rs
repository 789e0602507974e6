//! What follows from reading the broker's whole truth: what was missed is recorded, what differs is told, and that
//! nothing differs is told now and then.

use std::collections::BTreeSet;

use protocol::decision::Level;
use protocol::ledger::{Difference, Entry, Reconciled};
use protocol::{Id, Timestamp};

use super::{Draft, Output, Trader};
use crate::reconcile::{self, Pass, Truth};

/// Wall seconds between two records that broker and ledger agree, when nothing happens.
const RECONCILED_RECORD_SECONDS: i64 = 600;

impl Trader {
    pub(super) fn on_truth(&mut self, wall: Timestamp, truth: &Truth, pass: Pass) -> Vec<Output> {
        self.compared = truth.began;
        self.at_work = reconcile::at_work(&self.portfolio, truth);
        let mut outputs = self.inactive_at_broker(wall, truth);
        outputs.extend(self.compare(wall, truth, pass));
        outputs
    }

    fn compare(&mut self, wall: Timestamp, truth: &Truth, pass: Pass) -> Vec<Output> {
        let missing = reconcile::missing(&self.portfolio, truth, pass);
        if !missing.is_empty() {
            // What differs can be told only once these are folded; the next reading tells it.
            let mut outputs = self.incidents_of(wall, &missing);
            let at = self.now_or(wall);
            outputs.extend(missing.into_iter().map(|event| self.event(at, event)));
            return outputs;
        }
        let differences = reconcile::differences(&self.portfolio, truth);
        let again = differences
            .iter()
            .filter(|found| reconcile::is_told(&self.portfolio, found));
        self.confirmed = again.cloned().collect();
        let of_shares = |difference: &Difference| difference.symbol.is_some();
        self.agreed = (!differences.iter().any(of_shares)).then_some(truth.folded);
        let mut outputs = self.ghosts(wall, truth);
        outputs.extend(self.excess(wall, &BTreeSet::new()));
        for difference in &differences {
            if !reconcile::is_told(&self.portfolio, difference) {
                let (id, symbol) = (self.difference_id(difference), difference.symbol);
                outputs.push(Output::Append(Draft {
                    id,
                    at: wall,
                    cause: None,
                    entry: Entry::Difference(difference.clone()),
                }));
                // What is ignored and as large as before only moved with the position.
                let level = if self.portfolio.ignores(difference) {
                    Level::Info
                } else {
                    Level::Critical
                };
                outputs.push(self.alert(wall, "account-difference", level, symbol, difference.text.clone()));
            }
        }
        for known in &self.portfolio.differences {
            let over = !differences
                .iter()
                .any(|difference| difference.symbol == known.symbol);
            if over && !differences.is_empty() && reconcile::compares(&self.portfolio, truth, known.symbol) {
                let equal = Difference {
                    ours: known.broker,
                    text: "they agree again".to_owned(),
                    ..known.clone()
                };
                let id = self.difference_id(&equal);
                outputs.push(Output::Append(Draft {
                    id,
                    at: wall,
                    cause: None,
                    entry: Entry::Difference(equal),
                }));
            }
        }
        // What differed and was not compared this time may differ still.
        let mut known = self.portfolio.differences.iter();
        let agree = differences.is_empty()
            && known.all(|known| reconcile::compares(&self.portfolio, truth, known.symbol));
        let settled = !self.portfolio.differences.is_empty();
        if agree && (settled || pass != Pass::Running || self.agreement_due(wall)) {
            outputs.push(self.agreement(wall, truth));
        }
        outputs
    }

    fn agreement_due(&self, wall: Timestamp) -> bool {
        let since = |at: Timestamp| wall.duration_since(at).as_secs();
        self.portfolio
            .reconciled_at
            .is_none_or(|at| since(at) >= RECONCILED_RECORD_SECONDS)
    }

    /// The record that broker and ledger agree.
    fn agreement(&self, wall: Timestamp, truth: &Truth) -> Output {
        let entry = Entry::Reconciled(Reconciled {
            text: "positions, orders, executions and cash of broker and ledger agree".to_owned(),
            positions: u32::try_from(truth.positions.len()).unwrap_or(u32::MAX),
            executions: u32::try_from(truth.executions.len()).unwrap_or(u32::MAX),
            broker_equity: truth.equity,
        });
        let id = Id::derive(&[
            "reconciled",
            &self.portfolio.sequence.to_string(),
            &wall.to_string(),
        ]);
        Output::Append(Draft {
            id,
            at: wall,
            cause: None,
            entry,
        })
    }

    fn difference_id(&self, difference: &Difference) -> Id {
        Id::derive(&[
            "difference",
            &self.portfolio.sequence.to_string(),
            &difference.text,
        ])
    }
}
