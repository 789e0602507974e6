//! Shares and dollars, reckoned here once more: nothing of the engine's own fold is in it.

use std::collections::BTreeMap;

use protocol::Money;
use serde_json::Value;

/// Dollars by which two reckonings may differ: the broker's fees have more digits than the wire carries.
pub const CENT: Money = Money::from_parts(1, 0, 0, false, 2);

/// A trade, by its number without the revision.
#[derive(Debug, Clone, PartialEq)]
struct Trade {
    revision: u32,
    symbol: String,
    /// Signed.
    shares: Money,
    price: Money,
    fee: Money,
}

/// What an account amounts to.
#[derive(Debug, Clone, Default)]
pub struct Books {
    cash: Money,
    shares: BTreeMap<String, Money>,
    trades: BTreeMap<String, Trade>,
}

/// A decimal of a message; absent is nothing.
pub fn decimal(value: &Value) -> Money {
    value
        .as_str()
        .map_or(Money::ZERO, |text| text.parse().expect("a decimal"))
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn signed(side: &Value, shares: Money) -> Money {
    match side.as_str() {
        Some("buy") => shares,
        Some("sell") => -shares,
        other => panic!("{other:?} is no side"),
    }
}

/// An execution's number without its revision, and the revision.
fn parted(execution: &str) -> (String, u32) {
    let (root, revision) = execution.rsplit_once('.').expect("an execution id has parts");
    (root.to_owned(), revision.parse().expect("a revision"))
}

impl Books {
    /// What the gateway has on its disk.
    pub fn of_broker(facts: &[Value]) -> Self {
        let mut books = Self::default();
        for fact in facts {
            match fact["record"].as_str() {
                Some("opened") => books.cash = decimal(&fact["cash"]),
                Some("filled") => {
                    let fill = &fact["fill"];
                    let number = fill["number"].as_u64().expect("a number");
                    let permanent = fill["perm_id"].as_i64().expect("a permanent id") & 0xFFFF;
                    let trade = Trade {
                        revision: 1,
                        symbol: text(&fill["symbol"]),
                        shares: signed(&fill["side"], decimal(&fill["quantity"])),
                        price: decimal(&fill["price"]),
                        fee: decimal(&fill["commission"]),
                    };
                    books
                        .trades
                        .insert(format!("0000{permanent:04x}.{number:08x}.01"), trade);
                }
                Some("corrected") => {
                    let end = format!(".{:08x}.01", fact["number"].as_u64().expect("a number"));
                    let trade = books.trades.iter_mut().find(|(root, _)| root.ends_with(&end));
                    trade.expect("the trade that is corrected").1.price = decimal(&fact["price"]);
                }
                _ => {}
            }
        }
        books
    }

    /// What a page was told at first: its trades are part of what is held.
    pub fn of_snapshot(portfolio: &Value) -> Self {
        let mut books = Self::default();
        for trade in portfolio["trades"].as_array().into_iter().flatten() {
            books.trade(trade);
        }
        books.cash = decimal(&portfolio["cash"]) - books.cash();
        let before = books.positions();
        let held = portfolio["positions"].as_object();
        for (symbol, position) in held.into_iter().flatten() {
            books
                .shares
                .insert(symbol.clone(), decimal(&position["quantity"]));
        }
        for (symbol, shares) in before {
            *books.shares.entry(symbol).or_default() -= shares;
        }
        books
    }

    /// Takes a record of LEDGER over.
    pub fn record(&mut self, record: &Value) {
        match (record["kind"].as_str(), record["event"].as_str()) {
            (Some("opening"), _) => {
                self.cash += decimal(&record["cash"]);
                for (symbol, held) in record["positions"].as_object().into_iter().flatten() {
                    *self.shares.entry(symbol.clone()).or_default() += decimal(&held["quantity"]);
                }
            }
            (Some("adjusted"), _) => {
                self.cash += decimal(&record["cash"]);
                *self.shares.entry(text(&record["symbol"])).or_default() += decimal(&record["quantity"]);
            }
            (Some("order"), Some("fill")) => self.trade(record),
            (Some("order"), Some("commission")) => {
                let (root, _) = parted(record["execution_id"].as_str().expect("an execution"));
                if let Some(trade) = self.trades.get_mut(&root) {
                    trade.fee = decimal(&record["commission"]);
                }
            }
            _ => {}
        }
    }

    fn trade(&mut self, record: &Value) {
        let (root, revision) = parted(record["execution_id"].as_str().expect("an execution"));
        let earlier = self.trades.get(&root);
        if earlier.is_some_and(|earlier| earlier.revision > revision) {
            return;
        }
        let fee = match record["commission"].as_str() {
            Some(_) => decimal(&record["commission"]),
            None => earlier.map_or(Money::ZERO, |earlier| earlier.fee),
        };
        let trade = Trade {
            revision,
            symbol: text(&record["symbol"]),
            shares: signed(&record["side"], decimal(&record["quantity"])),
            price: decimal(&record["price"]),
            fee,
        };
        self.trades.insert(root, trade);
    }

    /// Shares by symbol, without what is flat.
    pub fn positions(&self) -> BTreeMap<String, Money> {
        let mut held = self.shares.clone();
        for trade in self.trades.values() {
            *held.entry(trade.symbol.clone()).or_default() += trade.shares;
        }
        held.retain(|_, shares| !shares.is_zero());
        held.into_iter()
            .map(|(symbol, shares)| (symbol, shares.normalize()))
            .collect()
    }

    pub fn cash(&self) -> Money {
        let moved = |trade: &Trade| trade.shares * trade.price + trade.fee;
        self.cash - self.trades.values().map(moved).sum::<Money>()
    }

    /// Numbers of the trades, without revisions.
    pub fn executions(&self) -> Vec<String> {
        self.trades.keys().cloned().collect()
    }
}

/// The number of an execution that some answer names.
pub fn root_of(item: &Value) -> String {
    parted(item["execution_id"].as_str().expect("an execution")).0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_books_of_broker_ledger_and_page_are_one_reckoning() {
        let broker = Books::of_broker(&[
            json!({"record": "opened", "cash": "1000"}),
            json!({"record": "filled", "fill": {"number": 1, "perm_id": 7, "symbol": "A", "side": "buy",
                "quantity": "10", "price": "5", "commission": "0.35"}}),
            json!({"record": "corrected", "number": 1, "price": "6"}),
        ]);
        let records = [
            json!({"kind": "opening", "cash": "1000", "positions": {}}),
            json!({"kind": "order", "event": "fill", "execution_id": "00000007.00000001.01.01", "symbol": "A",
                "side": "buy", "quantity": "10", "price": "5"}),
            json!({"kind": "order", "event": "commission", "execution_id": "00000007.00000001.01.01", "commission": "0.35"}),
            json!({"kind": "order", "event": "fill", "execution_id": "00000007.00000001.01.02", "symbol": "A",
                "side": "buy", "quantity": "10", "price": "6"}),
        ];
        let mut ledger = Books::default();
        records.iter().for_each(|record| ledger.record(record));
        assert_eq!(ledger.cash(), Money::new(93_965, 2));
        assert_eq!(
            (broker.cash(), broker.positions()),
            (ledger.cash(), ledger.positions())
        );
        assert_eq!(broker.executions(), ledger.executions());
        let mut page = Books::of_snapshot(&json!({"cash": "949.65", "positions": {"A": {"quantity": "10"}},
            "trades": [{"execution_id": "00000007.00000001.01.01", "symbol": "A", "side": "buy", "quantity": "10",
                "price": "5", "commission": "0.35"}]}));
        page.record(&records[3]);
        assert_eq!(
            (page.cash(), page.positions()),
            (ledger.cash(), ledger.positions())
        );
    }
}
