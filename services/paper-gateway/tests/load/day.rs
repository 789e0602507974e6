//! Twenty-four hours of the market with ten clients that trade at random: to the cent and to the last order, all is
//! accounted for, and the gateway has not grown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::venue::account::Account;
use engine::venue::record::Record;
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::drivers::{DEADLINE, plain, real};
use crate::process::Process;
use crate::trader::{Day, STOCKS, Trade, Trader};
use crate::{ALONE, PROGRAM};
use wire_client::{Body, Fields, connect};

/// Clients of each sort: of the real library, and made of frames.
const REAL: i32 = 3;
const PLAIN: i32 = 7;
/// Tuesday in the middle of New York's trading: its midnight, at which orders of the day end, is on the way.
const START: &str = "2024-03-05T15:00:00Z";
const START_SECOND: i64 = 1_709_650_800;
const HOURS: i64 = 24;
/// What the account begins with.
const CASH: i64 = 20_000_000;
/// Most that the gateway's memory may grow in the second half of the day.
const GROWTH_BYTES_MAX: usize = 12 << 20;
/// Longest that the file of records may be: the length that makes a snapshot replace it, and one turn.
const LOG_BYTES_MAX: u64 = (8 << 20) + (1 << 20);
/// Longest time that the day may take.
const DAY_MAX: Duration = Duration::from_secs(600);

/// The account as the state folder holds it: the snapshot and the records after it.
fn kept(folder: &Path) -> Account {
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
    for line in std::fs::read_to_string(folder.join("account.log"))
        .unwrap()
        .lines()
    {
        let line: Line = serde_json::from_str(line).unwrap();
        if line.n > last {
            account.apply(&line.record);
            last = line.n;
        }
    }
    account
}

/// What a new client is told at the end: values of the account by name, and shares and price of each stock.
struct Statement {
    values: BTreeMap<String, Decimal>,
    holdings: BTreeMap<String, (Decimal, Decimal)>,
    open: usize,
}

/// Cancels everything again and again until all clients have seen their orders end, and returns them.
async fn close(address: &str, clients: Vec<JoinHandle<Trader>>) -> Vec<Trader> {
    let (mut reader, mut writer) = connect(address, 99).await.unwrap();
    let mut all = std::pin::pin!(futures::future::try_join_all(clients));
    let mut again = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            traders = &mut all => return traders.unwrap(),
            _ = again.tick() => writer.send(58, &Body::new()).await.unwrap(),
            read = reader.read(|_, _| {}) => read.unwrap(),
        }
    }
}

/// Asks for the account and for open orders.
async fn statement(address: &str) -> Statement {
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

/// Waits for an hour of the market's day; the file of records stays short all the while.
async fn until_hour(day: &Day, hour: i64, state: &Path) {
    let deadline = Instant::now() + DAY_MAX;
    while day.second.load(Ordering::Relaxed) < START_SECOND + hour * 3600 {
        assert!(Instant::now() < deadline, "hour {hour} does not come");
        let length = std::fs::metadata(state.join("account.log")).unwrap().len();
        assert!(length < LOG_BYTES_MAX, "account.log has {length} bytes");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_four_hours_of_random_orders_are_accounted_for_and_leave_no_trace_in_memory() {
    let _alone = ALONE.lock().await;
    let state = tempfile::tempdir().unwrap();
    let (symbols, cash) = (STOCKS.join(","), CASH.to_string());
    let more = [
        "--speed",
        "max",
        "--start",
        START,
        "--symbols",
        &symbols,
        "--cash",
        &cash,
    ];
    let gateway = Process::start(PROGRAM, state.path(), &more);
    let day = Arc::new(Day::default());
    let begin = Instant::now();
    let mut clients = Vec::new();
    for client in 1..=REAL + PLAIN {
        let (address, trader, day) = (gateway.address.clone(), Trader::new(client), day.clone());
        clients.push(if client <= REAL {
            tokio::spawn(real(address, trader, day))
        } else {
            tokio::spawn(plain(address, trader, day))
        });
    }
    until_hour(&day, HOURS / 2, state.path()).await;
    let half = gateway.resident();
    until_hour(&day, HOURS, state.path()).await;
    let end = gateway.resident();
    day.closing.store(true, Ordering::Relaxed);
    let traders = timeout(2 * DEADLINE, close(&gateway.address, clients)).await;
    let traders = traders.expect("all orders end in time");
    let statement = statement(&gateway.address).await;
    let processor = gateway.processor();
    assert_eq!(gateway.stop(), Some(0));

    let count = report(&traders);
    println!(
        "{HOURS} hours in {:.0} s, {processor:.0} s of processor time; {count}; {} KiB at half time, {} KiB at the end",
        begin.elapsed().as_secs_f64(),
        half >> 10,
        end >> 10
    );
    reconcile(&traders, &statement, &kept(state.path()));
    assert!(end < half + GROWTH_BYTES_MAX, "from {half} to {end} bytes");
}

/// Counts of what happened, for people.
fn report(traders: &[Trader]) -> String {
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for how in traders.iter().flat_map(|trader| trader.ended.values()) {
        *ends.entry(how).or_default() += 1;
    }
    let (acts, trades): (usize, usize) = traders.iter().fold((0, 0), |(acts, trades), trader| {
        (acts + trader.acts, trades + trader.trades.len())
    });
    format!("{acts} acts, {trades} executions, orders ended: {ends:?}")
}

fn reconcile(traders: &[Trader], statement: &Statement, kept: &Account) {
    for trader in traders {
        let client = trader.client;
        assert!(trader.is_done(), "orders of client {client} have no end");
        assert!(trader.lost.is_empty(), "client {client} lost {:?}", trader.lost);
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
