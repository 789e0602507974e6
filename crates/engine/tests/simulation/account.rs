//! The judges' own reading of the raw records of LEDGER: JSON and sums, and none of the engine's code.

use std::collections::BTreeMap;

use protocol::{Money, Quantity, Timestamp};
use serde_json::Value;

use crate::ledger::Stored;

/// A decision as LEDGER has it.
pub struct Decided {
    pub id: String,
    /// The signal or command that it follows from.
    pub cause: String,
    pub symbol: String,
    pub buys: bool,
    pub quantity: Quantity,
    pub entry: bool,
    pub worth: Money,
    pub order_id: i64,
    pub epoch: u64,
    pub sequence: u64,
    pub beat: u64,
    /// What became of it: the kind of event, and when.
    pub events: Vec<(String, u64, u64)>,
}

impl Decided {
    /// Whether an event of this kind was recorded.
    pub fn has(&self, kind: &str) -> bool {
        self.events.iter().any(|(event, ..)| event == kind)
    }

    /// Whether it was called absent before an instant.
    pub fn was_absent(&self, beat: u64) -> bool {
        let mut events = self.events.iter();
        events.any(|(kind, _, at)| kind == "absent" && *at < beat)
    }
}

/// A trade as LEDGER has it, in its latest revision.
#[derive(Debug, Clone)]
pub struct Traded {
    pub order: String,
    pub symbol: String,
    pub revision: u32,
    pub signed: Quantity,
    pub price: Money,
    pub commission: Money,
    /// The record that told it first.
    pub first: u64,
    /// The broker's permanent id of the order.
    pub permanent_id: i64,
    /// Whether a figure of the broker that was taken over before has it in it.
    pub taken_over: bool,
}

/// Everything that LEDGER says of the account.
#[derive(Default)]
pub struct Books {
    pub decided: Vec<Decided>,
    /// By the part of the execution's id that corrections keep.
    pub trades: BTreeMap<String, Traded>,
    pub opening: BTreeMap<String, Quantity>,
    /// Trades before the opening, which are in it.
    pub before: Vec<String>,
    pub cash: Money,
    pub twice: Vec<String>,
    pub epoch: u64,
    pub wrong: Vec<String>,
    /// When the kill switch was latched and acknowledged, or released, in the order of LEDGER.
    pub kills: Vec<(bool, u64)>,
    /// Records of each flatten that was accepted, by its id.
    pub flattens: BTreeMap<String, u64>,
    /// What calls a flatten off: the record, and when it was acknowledged.
    pub calls_off: Vec<(u64, u64)>,
    /// States of symbols by themselves: the symbol, whether it is halted, and the record.
    pub halts: Vec<(String, bool, u64)>,
    /// How much more the broker has than LEDGER, by symbol, while that is told; none for cash.
    gaps: BTreeMap<String, Quantity>,
    /// How much of it an operator ignores.
    ignored: BTreeMap<String, Quantity>,
    /// Until when sales, and purchases, are in the latest figure of a symbol that was taken over, and the highest order
    /// id before it.
    taken: BTreeMap<String, (Timestamp, Timestamp, i64)>,
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, field: &str) -> Quantity {
    value[field]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn instant(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// What an execution's id keeps, and its revision.
fn root(id: &str) -> (String, u32) {
    let (root, revision) = id.rsplit_once('.').unwrap_or((id, "0"));
    (root.to_owned(), revision.parse().unwrap_or(0))
}

impl Books {
    /// Reads all records.
    pub fn of(records: &[Stored]) -> Self {
        let mut books = Self::default();
        let mut previous = protocol::Hash::zero().0;
        for stored in records {
            let value: Value = serde_json::from_slice(&stored.bytes).unwrap();
            if text(&value, "previous_hash") != previous {
                books.wrong.push(format!(
                    "record {} does not follow the one before it",
                    stored.sequence
                ));
            }
            previous = protocol::Hash::of(&stored.bytes).0;
            let epoch = value["epoch"].as_u64().unwrap_or_default();
            match text(&value, "kind").as_str() {
                "epoch" => books.epoch = epoch,
                _ if epoch != books.epoch => {
                    books.wrong.push(format!(
                        "record {} is of epoch {epoch}, not {}",
                        stored.sequence, books.epoch
                    ));
                }
                _ => {}
            }
            books.read(stored, &value);
        }
        books
    }

    fn read(&mut self, stored: &Stored, value: &Value) {
        self.gap(stored, value);
        match text(value, "kind").as_str() {
            "opening" => {
                self.cash += number(value, "cash");
                for (symbol, holding) in value["positions"].as_object().into_iter().flatten() {
                    self.opening.insert(symbol.clone(), number(holding, "quantity"));
                }
                let ids = value["execution_ids"].as_array().into_iter().flatten();
                self.before = ids.filter_map(Value::as_str).map(|id| root(id).0).collect();
            }
            "intent" => self.decided.push(Decided {
                id: text(value, "id"),
                cause: text(value, "cause"),
                symbol: text(value, "symbol"),
                buys: text(value, "side") == "buy",
                quantity: number(value, "quantity"),
                entry: text(value, "reason") == "entry",
                worth: number(value, "quantity") * number(value, "reference_price"),
                order_id: value["order_id"].as_i64().unwrap_or_default(),
                epoch: value["epoch"].as_u64().unwrap_or_default(),
                sequence: stored.sequence,
                beat: stored.beat,
                events: Vec::new(),
            }),
            "order" => self.event(stored, value),
            "adjusted" => {
                self.cash += number(value, "cash");
                *self.opening.entry(text(value, "symbol")).or_default() += number(value, "quantity");
                let read = &value["read_between"];
                if let (Some(first), Some(last)) = (instant(&read[0]), instant(&read[1])) {
                    let ids = self.decided.iter().map(|decided| decided.order_id);
                    let taken = (first, last, ids.max().unwrap_or_default());
                    let known = self.taken.entry(text(value, "symbol")).or_insert(taken);
                    *known = (known.0.max(first), known.1.max(last), taken.2);
                }
            }
            "state" if value["symbol"].is_string() => {
                let halted = text(value, "state") == "halted";
                self.halts.push((text(value, "symbol"), halted, stored.sequence));
            }
            "kill" if value["latched"] == true => {
                self.kills.extend(stored.acknowledged.map(|beat| (true, beat)));
                self.call_off(stored);
            }
            "kill" => self.kills.push((false, stored.beat)),
            "command" if value["accepted"] == true => match text(value, "verb").as_str() {
                "flatten" => drop(self.flattens.insert(text(value, "id"), stored.sequence)),
                "cancel-all" => self.call_off(stored),
                _ => {}
            },
            _ => {}
        }
    }

    fn call_off(&mut self, stored: &Stored) {
        let acknowledged = stored.acknowledged;
        self.calls_off
            .extend(acknowledged.map(|beat| (stored.sequence, beat)));
    }

    /// Entries wait while a symbol differs, unless it differs by just what an operator ignores.
    fn gap(&mut self, stored: &Stored, value: &Value) {
        let (symbol, gap) = (
            text(value, "symbol"),
            number(value, "broker") - number(value, "ours"),
        );
        match text(value, "kind").as_str() {
            "difference" => drop(self.gaps.insert(symbol, gap)),
            "reconciled" => {
                self.gaps.clear();
                self.ignored.clear();
            }
            "adjusted" => drop(self.gaps.remove(&symbol)),
            "settled" if text(value, "choice") == "ignore" => drop(self.ignored.insert(symbol, gap)),
            "settled" => drop(self.ignored.remove(&symbol)),
            "intent" if text(value, "reason") == "entry" => {
                let gap = self.gaps.get(&symbol).copied().unwrap_or_default();
                if !gap.is_zero() && self.ignored.get(&symbol) != Some(&gap) {
                    let sequence = stored.sequence;
                    self.wrong.push(format!(
                        "record {sequence} enters {symbol}, of which the broker has {gap} shares more"
                    ));
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, stored: &Stored, value: &Value) {
        let (order, kind) = (text(value, "order"), text(value, "event"));
        let execution = text(value, "execution_id");
        if kind == "fill" {
            let (root, revision) = root(&execution);
            let quantity = number(value, "quantity");
            let buys = text(value, "side") == "buy";
            let before = self.trades.get(&root);
            let taken_over = before.map_or_else(|| self.is_taken_over(value), |before| before.taken_over);
            let trade = Traded {
                taken_over,
                order: order.clone(),
                symbol: text(value, "symbol"),
                revision,
                signed: if buys { quantity } else { -quantity },
                price: number(value, "price"),
                commission: number(value, "commission"),
                first: before.map_or(stored.sequence, |before| before.first),
                permanent_id: value["permanent_id"].as_i64().unwrap_or_default(),
            };
            let before = self.trades.insert(root, trade);
            if before.is_some_and(|before| before.revision >= revision) {
                self.twice.push(execution);
            }
        } else if let Some(trade) = self.trades.get_mut(&root(&execution).0) {
            trade.commission += number(value, "commission");
        }
        let decided = self.decided.iter_mut().find(|decided| decided.id == order);
        if let Some(decided) = decided {
            decided.events.push((kind, stored.sequence, stored.beat));
        }
    }

    /// Where the clocks can't tell, a purchase is in what was taken over and a sale is not.
    fn is_taken_over(&self, fill: &Value) -> bool {
        let Some((sales, purchases, order_id_max)) = self.taken.get(&text(fill, "symbol")) else {
            return false;
        };
        let id = text(fill, "order");
        let mut decided = self.decided.iter();
        let order_id = decided.find(|one| one.id == id).map_or(0, |one| one.order_id);
        let until = if text(fill, "side") == "buy" {
            purchases
        } else {
            sales
        };
        order_id <= *order_id_max && instant(&fill["executed_at"]).is_some_and(|at| at <= *until)
    }

    /// Trades that moved shares and cash.
    fn moved(&self) -> impl Iterator<Item = &Traded> {
        self.trades.values().filter(|trade| !trade.taken_over)
    }

    /// Shares of each symbol.
    pub fn positions(&self) -> BTreeMap<String, Quantity> {
        let mut positions = self.opening.clone();
        for trade in self.moved() {
            *positions.entry(trade.symbol.clone()).or_default() += trade.signed;
        }
        positions.retain(|_, shares| !shares.is_zero());
        positions
    }

    /// Dollars after all trades and what they cost.
    pub fn money(&self) -> Money {
        let spent = |trade: &Traded| trade.signed * trade.price + trade.commission;
        self.cash - self.moved().map(spent).sum::<Money>()
    }

    /// Shares of a decision that were filled up to a record.
    pub fn filled(&self, id: &str, until: u64) -> Quantity {
        let of = self
            .trades
            .values()
            .filter(|trade| trade.order == id && trade.first <= until);
        of.map(|trade| trade.signed.abs()).sum()
    }
}
