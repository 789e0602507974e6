//! The books of the day: what was told, what is kept and what the account says are all the same, and each order traded and
//! cost what it may.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use engine::venue::account::Account;
use engine::venue::order::{Lifetime, Order, Status};
use engine::venue::record::Record;
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::time::timeout;

use crate::drivers::DEADLINE;
use crate::trader::{Trade, Trader};
use wire_client::{Body, Fields, connect};

/// What the account begins with.
pub const CASH: i64 = 20_000_000;

/// The account as the state folder holds it, while the gateway runs too: the snapshot and the records after it.
pub fn kept(folder: &Path) -> Account {
    let path = folder.join("account.json");
    let snapshot = || std::fs::metadata(&path).ok().map(|file| file.ino());
    loop {
        let before = snapshot();
        let account = read(folder);
        // Another snapshot may have taken the place of records that were not read yet.
        if snapshot() == before {
            return account;
        }
    }
}

fn read(folder: &Path) -> Account {
    #[derive(Deserialize)]
    struct Snapshot {
        n: u64,
        account: Account,
    }
    #[derive(Deserialize)]
    struct Line {
        n: u64,
        #[serde(flatten)]
        record: Record,
    }
    let (mut last, mut account) = match std::fs::read(folder.join("account.json")) {
        Ok(bytes) => {
            let snapshot: Snapshot = serde_json::from_slice(&bytes).unwrap();
            (snapshot.n, snapshot.account)
        }
        Err(_) => (0, Account::default()),
    };
    let text = std::fs::read_to_string(folder.join("account.log")).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        if line.n > last {
            account.apply(&line.record);
            last = line.n;
        }
    }
    account
}

/// No order outlives the midnight and the close that have been, both in seconds since 1970.
pub fn check_lives(account: &Account, midnight: i64, close: i64) {
    for order in account.open.values() {
        let since = if order.awaits_close() { close } else { midnight };
        let ends = order.awaits_close() || order.ticket.lifetime == Lifetime::Day;
        assert!(
            !ends || order.placed_at.as_second() >= since,
            "its life is over: {order:?}"
        );
        assert!(!order.ticket.lifetime.is_immediate(), "it waits: {order:?}");
    }
}

/// Orders that ended at an instant, as some condition says.
pub fn ended_at(account: &Account, second: i64, of: impl Fn(&Order) -> bool) -> usize {
    let at = |order: &&Order| order.end.as_ref().is_some_and(|end| end.at.as_second() == second);
    account
        .completed
        .values()
        .filter(at)
        .filter(|order| of(order))
        .count()
}

/// What a new client is told at the end: values of the account by name, and shares and price of each stock.
pub struct Statement {
    values: BTreeMap<String, Decimal>,
    holdings: BTreeMap<String, (Decimal, Decimal)>,
    open: usize,
}

/// Asks for the account and for open orders.
pub async fn statement(address: &str) -> Statement {
    let (mut reader, mut writer) = connect(address, 98).await.unwrap();
    writer.send(6, &Body::new().int(1, 1)).await.unwrap();
    writer.send(16, &Body::new()).await.unwrap();
    let (mut values, mut holdings) = (BTreeMap::new(), BTreeMap::new());
    let (mut open, mut end) = (0, false);
    while !end {
        let each = |number, body: &[u8]| {
            let fields = Fields(body);
            match number {
                6 => {
                    if let Ok(value) = fields.text(2).parse() {
                        values.insert(fields.text(1).to_owned(), value);
                    }
                }
                7 => {
                    let price = protocol::units::exact(fields.double(3).unwrap()).unwrap();
                    let held = (fields.text(2).parse().unwrap(), price);
                    holdings.insert(fields.part(1).text(2).to_owned(), held);
                }
                5 => open += 1,
                53 => end = true,
                _ => {}
            }
        };
        timeout(DEADLINE, reader.read(each)).await.unwrap().unwrap();
    }
    Statement {
        values,
        holdings,
        open,
    }
}

/// What was told, what is kept, and what the account says are all the same, to the last decimal.
pub fn reconcile(traders: &[Trader], statement: &Statement, kept: &Account) {
    for trader in traders {
        let client = trader.client;
        assert!(trader.is_done(), "orders of client {client} have no end");
        assert!(trader.lost.is_empty(), "client {client} lost {:?}", trader.lost);
        check_orders(trader, kept);
    }
    let (mut cash, mut fees) = (Decimal::from(CASH), Decimal::ZERO);
    let mut shares: BTreeMap<String, Decimal> = BTreeMap::new();
    let mut executions: BTreeMap<&str, (&Trade, Decimal)> = BTreeMap::new();
    for trader in traders {
        for (id, trade) in &trader.trades {
            let fee = trader.fees[id];
            let other = executions.insert(id, (trade, fee));
            assert!(other.is_none(), "execution {id} was told to two clients");
        }
    }
    for (trade, fee) in executions.values() {
        cash -= trade.shares * trade.price + fee;
        fees += fee;
        *shares.entry(trade.stock.clone()).or_default() += trade.shares;
    }
    // What was told, what is kept, and what the account says: all the same.
    assert_eq!(kept.last_fill, executions.len() as u64);
    assert_eq!((kept.cash, kept.commissions_total), (cash, fees));
    assert!(kept.open.is_empty() && statement.open == 0);
    let mut value = Decimal::ZERO;
    for (stock, shares) in &shares {
        assert_eq!(kept.shares(stock.parse().unwrap()), *shares, "{stock}");
        let none = (Decimal::ZERO, Decimal::ZERO);
        let (told, price) = statement.holdings.get(stock).copied().unwrap_or(none);
        assert_eq!(told, *shares, "{stock}");
        value += told * price;
    }
    assert_eq!(statement.values["TotalCashValue"], cash.round_dp(2));
    assert_eq!(statement.values["NetLiquidation"], (cash + value).round_dp(2));
    // Cash and shares at their price are the deposit, what was won for good, and what the shares have won so far.
    let cost: Decimal = kept.positions.values().map(|held| held.cost).sum();
    assert_eq!(
        cash + value,
        Decimal::from(CASH) + kept.realized_total + value - cost
    );
}

/// Each order traded what its client asked for at the most, and was charged what the broker's table says.
fn check_orders(trader: &Trader, kept: &Account) {
    let mut traded: BTreeMap<i32, [Decimal; 3]> = BTreeMap::new();
    for (id, trade) in &trader.trades {
        let terms = &trader.asked[&trade.order];
        let same = trade.stock == terms.stock && trade.shares.is_sign_positive() == terms.buys;
        assert!(same, "{trade:?} of {terms:?}");
        let [shares, value, fees] = traded.entry(trade.order).or_default();
        *shares += trade.shares.abs();
        *value += trade.shares.abs() * trade.price;
        *fees += trader.fees[id];
    }
    let cents = |hundredths: i64| Decimal::new(hundredths, 4);
    for (order, [shares, value, fees]) in &traded {
        let terms = &trader.asked[order];
        assert!(*shares <= terms.quantity.into(), "{shares} shares of {terms:?}");
        // 0.35 cents a share, at least 35 cents, at most a hundredth of the value; told to a millionth of a dollar.
        let fee = (shares * cents(35)).max(cents(3_500)).min(value * cents(100));
        assert!(
            (fees - fee).abs() <= Decimal::new(1, 6),
            "{fees}, not {fee}, for {shares} shares of {terms:?}"
        );
    }
    for order in kept
        .completed
        .values()
        .filter(|order| order.client == trader.client)
    {
        let shares = traded
            .get(&order.order_id)
            .map_or(Decimal::ZERO, |[shares, ..]| *shares);
        assert_eq!(order.filled, shares, "{order:?}");
        let is_whole = order.filled == order.ticket.quantity;
        assert_eq!(is_whole, order.status == Status::Filled, "{order:?}");
    }
    for (order, how) in &trader.ended {
        assert!(
            how != "Filled" || traded.contains_key(order),
            "order {order} was filled by nothing"
        );
    }
}
