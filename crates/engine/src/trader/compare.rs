//! What follows from reading the broker's whole truth: what was missed is recorded, what differs is told, and that
//! nothing differs is told now and then.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use protocol::decision::Level;
use protocol::ledger::{Adjusted, Difference, Entry, OrderChange, Reconciled};
use protocol::{Id, Money, Price, Quantity, Symbol, Timestamp};

use super::{Ask, Draft, Output, Trader};
use crate::reconcile::{self, Pass, Truth};

/// Wall seconds between two records that broker and ledger agree, when nothing happens.
const RECONCILED_RECORD_SECONDS: i64 = 600;
/// Sentences of what was left out that one alert tells, at most.
const LEFT_OUT_TOLD_MAX: usize = 10;
/// By how much the broker's clock, this machine's and the market's may be apart.
const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_secs(10);

/// The latest comparison of broker and ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    /// Wall clock when its reading began; 1970 before the first.
    pub(super) began: Timestamp,
    /// Differences that it found again, with its figures. One that was seen once may be the broker's answers to two
    /// questions with a trade in between.
    confirmed: Vec<Difference>,
    /// Dollars a share on average, as the broker tells it.
    costs: BTreeMap<Symbol, Price>,
    /// Between which instants by the broker's clock its reading was made, and surely so.
    read_between: (Timestamp, Timestamp),
    /// LEDGER sequence at the beginning of its reading, if shares did not differ in it.
    pub(super) agreed: Option<u64>,
    /// Orders of ours that the broker worked.
    pub(super) at_work: BTreeSet<Id>,
}

impl Trader {
    pub(super) fn on_truth(&mut self, wall: Timestamp, truth: &Truth, pass: Pass) -> Vec<Output> {
        self.note_adopted(truth);
        let mut outputs = self.left_out(wall, truth);
        outputs.extend(self.see_others(wall, truth));
        outputs.extend(self.inactive_at_broker(wall, truth));
        outputs.extend(self.compare(wall, truth, pass));
        outputs
    }

    /// Tells what a reading left out, once for as long as each reading does.
    fn left_out(&mut self, wall: Timestamp, truth: &Truth) -> Vec<Output> {
        let now: BTreeSet<String> = truth.left_out.iter().cloned().collect();
        let before = std::mem::replace(&mut self.noticed.left_out, now);
        let news: Vec<&str> = self
            .noticed
            .left_out
            .difference(&before)
            .map(String::as_str)
            .collect();
        if news.is_empty() {
            return Vec::new();
        }
        let told = news[..news.len().min(LEFT_OUT_TOLD_MAX)].join("; ");
        let text = format!(
            "{} figures of the broker can't be read and are left out: {told}",
            news.len()
        );
        vec![self.alert(wall, "unreadable-number", Level::Critical, None, text)]
    }

    /// Tells of positions without a known cost, once for as long as each is held so: no price is their stop or target.
    pub(super) fn costs_unknown(&mut self, wall: Timestamp) -> Vec<Output> {
        let positions = self.portfolio.open_positions();
        let now: BTreeSet<Symbol> = positions
            .filter(|position| position.cost.is_zero())
            .map(|position| position.symbol)
            .collect();
        let before = std::mem::replace(&mut self.noticed.cost_unknown, now);
        let news = self.noticed.cost_unknown.difference(&before);
        news.map(|symbol| {
            let text = format!(
                "{} shares of {symbol} are held at an unknown cost, so they have no stop and no target: only an opinion, a regime, `command.close` or `command.flatten` sells them",
                self.portfolio.held(*symbol).normalize()
            );
            self.alert(wall, "cost-unknown", Level::Critical, Some(*symbol), text)
        })
        .collect()
    }

    fn compare(&mut self, wall: Timestamp, truth: &Truth, pass: Pass) -> Vec<Output> {
        let missing = reconcile::missing(&self.portfolio, truth, pass);
        let brings_news = !missing.is_empty();
        let mut outputs = self.incidents_of(wall, &missing);
        outputs.extend(missing.into_iter().map(|event| {
            let at = match &event.change {
                OrderChange::Fill(fill) => self.heard_at(wall, fill),
                _ => self.now_or(wall),
            };
            self.event(at, event)
        }));
        let differences = if brings_news {
            self.differences_after(&outputs, truth)
        } else {
            reconcile::differences(&self.portfolio, truth)
        };
        self.remember(wall, truth, &differences);
        if brings_news {
            // Behind its news, so that no exit closes more than both have. The rest is for the next reading.
            outputs.extend(self.tell(wall, &differences));
            self.noticed.another_look = true;
            return outputs;
        }
        outputs.extend(self.ghosts(wall, truth));
        outputs.extend(self.excess(wall, &BTreeSet::new()));
        outputs.extend(self.tell(wall, &differences));
        outputs.extend(self.agreements(wall, truth, pass, &differences));
        outputs
    }

    /// Where positions differ once what the reading brings is recorded.
    fn differences_after(&self, news: &[Output], truth: &Truth) -> Vec<Difference> {
        let drafts = news.iter().filter_map(|output| match output {
            Output::Append(draft) => Some(draft.clone()),
            _ => None,
        });
        let records = drafts.map(|draft| draft.record(self.portfolio.epoch));
        let after = self.portfolio.with(truth.folded, records);
        let mut differences = reconcile::differences(&after, truth);
        // Cash may follow a trade late, and holds no exit back.
        differences.retain(|difference| difference.symbol.is_some());
        differences
    }

    fn remember(&mut self, wall: Timestamp, truth: &Truth, differences: &[Difference]) {
        let again = differences
            .iter()
            .filter(|found| reconcile::is_told(&self.portfolio, found));
        let of_shares = |difference: &Difference| difference.symbol.is_some();
        let costs = truth.positions.iter();
        let earliest = self.now_or(wall).min(truth.began);
        let latest = self.live_clock(wall);
        self.comparison = Comparison {
            agreed: (!differences.iter().any(of_shares)).then_some(truth.folded),
            at_work: reconcile::at_work(&self.portfolio, truth),
            began: truth.began,
            confirmed: again.cloned().collect(),
            costs: costs
                .map(|(symbol, holding)| (*symbol, holding.average_cost))
                .collect(),
            read_between: (
                earliest.checked_sub(CLOCKS_APART_MAX).unwrap_or(Timestamp::MIN),
                latest.checked_add(CLOCKS_APART_MAX).unwrap_or(Timestamp::MAX),
            ),
        };
    }

    /// Records the differences that are not told.
    fn tell(&self, wall: Timestamp, differences: &[Difference]) -> Vec<Output> {
        let mut outputs = Vec::new();
        for difference in differences {
            if reconcile::is_told(&self.portfolio, difference) {
                continue;
            }
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
        outputs
    }

    /// Records that what differed is equal again, or that all is.
    fn agreements(
        &self,
        wall: Timestamp,
        truth: &Truth,
        pass: Pass,
        differences: &[Difference],
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
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

    /// A difference as the latest comparison found it, if it was seen twice and nothing moved since.
    pub(super) fn compared(&self, symbol: Option<Symbol>) -> Result<&Difference, &'static str> {
        let ours = symbol.map_or(self.portfolio.cash, |symbol| self.portfolio.held(symbol));
        let mut confirmed = self.comparison.confirmed.iter();
        let found = confirmed.find(|found| found.symbol == symbol).ok_or(
            "it was seen once, and a trade at that moment would look the same: wait for the next comparison with the broker",
        )?;
        if found.ours == ours {
            Ok(found)
        } else {
            Err("it moved since it was compared: wait for the next comparison with the broker")
        }
    }

    /// What it takes for the ledger to say what the broker says; `None` while nobody knows what its shares are worth.
    pub(super) fn taken_over(&self, ask: &Ask, difference: &Difference) -> Option<Adjusted> {
        let change = difference.broker - difference.ours;
        let text = format!("{} takes the broker's figure: {}", ask.by, ask.command.note);
        let Some(symbol) = difference.symbol else {
            return Some(Adjusted {
                symbol: None,
                quantity: Quantity::ZERO,
                average_cost: Money::ZERO,
                cash: change,
                read_between: None,
                text,
            });
        };
        let prices = [self.prices.get(&symbol), self.comparison.costs.get(&symbol)];
        let known = prices.into_iter().flatten().find(|price| !price.is_zero());
        if known.is_none() && !difference.broker.is_zero() {
            return None;
        }
        Some(Adjusted {
            symbol: Some(symbol),
            quantity: change,
            average_cost: known.copied().unwrap_or_default(),
            cash: Money::ZERO,
            read_between: Some(self.comparison.read_between),
            text,
        })
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
