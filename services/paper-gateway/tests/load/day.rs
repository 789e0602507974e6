//! Twenty-four hours of the market with ten clients that trade at random: to the cent and to the last order, all is
//! accounted for, and the gateway has not grown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::venue::account::{Account, COMPLETED_KEPT_MAX, FILLS_KEPT_MAX};
use engine::venue::order::{Order, Status};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::drivers::{DEADLINE, plain, real};
use crate::ledger::{CASH, check_lives, ended_at, kept, reconcile, statement};
use crate::process::Process;
use crate::trader::{CLOSE_SECOND, Day, MIDNIGHT_SECOND, START_SECOND, STOCKS, Terms, Trader};
use crate::{ALONE, PROGRAM};
use wire_client::{Body, connect};

/// Clients of each sort: of the real library, and made of frames.
const REAL: i32 = 3;
const PLAIN: i32 = 7;
/// [`START_SECOND`].
const START: &str = "2024-03-05T15:00:00Z";
/// Hours of the market's day: an hour after the close, an hour after midnight, all of them.
const EVENING: i64 = 7;
const NIGHT: i64 = 15;
const HOURS: i64 = 24;
/// Spans for which memory is watched once the account remembers as much as it may, and the hours of each.
const SPANS: usize = 4;
const SPAN_HOURS: i64 = 2;
/// Most that the gateway's memory may grow in the span in which it grows least. A span has some 3,000 acts of clients:
/// to leave 100 bytes behind for each is too much. What was seen is 10 KiB.
const LEAST_GROWTH_BYTES_MAX: usize = 256 << 10;
/// Most that it may grow in all spans. What the system counts is the most that was ever in use at once, and a burst
/// of answers that has its like once a day lifts it: 4 MiB were seen.
const GROWTH_BYTES_MAX: usize = 8 << 20;
/// How often each thing happens at least in such a day, on a slow machine too: a tenth of what was seen.
const LEAST: [(&str, usize); 25] = [
    ("executions", 1_700),
    ("Filled MKT", 450),
    ("Filled LMT", 220),
    ("Filled STP", 170),
    ("Filled STP LMT", 100),
    ("Filled TRAIL", 150),
    ("Filled IOC", 80),
    ("Filled FOK", 80),
    ("Filled parent", 90),
    ("Filled child", 80),
    ("Filled of a group", 15),
    ("Cancelled LMT", 80),
    ("Cancelled STP", 50),
    ("Cancelled STP LMT", 120),
    ("Cancelled TRAIL", 60),
    ("Cancelled MOC", 230),
    ("Cancelled LOC", 230),
    ("Cancelled IOC", 70),
    ("Cancelled FOK", 80),
    ("Cancelled parent", 20),
    ("Cancelled child", 140),
    ("Cancelled of a group", 8),
    ("refused 201 of a group", 25),
    ("at the close", 1),
    ("at midnight", 1),
];
/// Longest that the file of records may be: the length that makes a snapshot replace it, and one turn.
const LOG_BYTES_MAX: u64 = (8 << 20) + (1 << 20);
/// Longest time that the day may take.
const DAY_MAX: Duration = Duration::from_secs(600);

/// Lets all clients trade.
fn clients(address: &str, day: &Arc<Day>) -> Vec<JoinHandle<Trader>> {
    let begin = |client| {
        let (address, trader, day) = (address.to_owned(), Trader::new(client), day.clone());
        if client <= REAL {
            tokio::spawn(real(address, trader, day))
        } else {
            tokio::spawn(plain(address, trader, day))
        }
    };
    (1..=REAL + PLAIN).map(begin).collect()
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
    let clients = clients(&gateway.address, &day);
    until_hour(&day, EVENING, state.path()).await;
    let evening = kept(state.path());
    until_hour(&day, NIGHT, state.path()).await;
    let night = kept(state.path());
    let mut full = NIGHT;
    while !remembers_all(&kept(state.path())) {
        full += 1;
        assert!(full < HOURS, "too few orders for a day");
        until_hour(&day, full, state.path()).await;
    }
    let mut resident = vec![gateway.resident()];
    for span in 1..=SPANS {
        until_hour(&day, full + SPAN_HOURS * span as i64, state.path()).await;
        resident.push(gateway.resident());
    }
    until_hour(&day, HOURS, state.path()).await;
    day.closing.store(true, Ordering::Relaxed);
    let last = kept(state.path());
    let traders = timeout(2 * DEADLINE, close(&gateway.address, clients)).await;
    let traders = traders.expect("all orders end in time");
    let statement = statement(&gateway.address).await;
    let processor = gateway.processor();
    assert_eq!(gateway.stop(), Some(0));

    let mut counts = counts(&traders);
    let (close, midnight) = (CLOSE_SECOND, MIDNIGHT_SECOND);
    let at_close = |order: &Order| order.awaits_close() && order.status == Status::Filled;
    counts.insert("at the close".into(), ended_at(&evening, close, at_close));
    counts.insert("at midnight".into(), ended_at(&night, midnight, |_| true));
    println!(
        "{HOURS} hours in {:.0} s, {processor:.0} s of processor time; {counts:#?}; after hour {full} {:?} KiB",
        begin.elapsed().as_secs_f64(),
        resident.iter().map(|bytes| bytes >> 10).collect::<Vec<_>>(),
    );
    check_lives(&evening, START_SECOND, close);
    check_lives(&last, midnight, close);
    reconcile(&traders, &statement, &kept(state.path()));
    for (what, least) in LEAST {
        let count = counts.get(what).copied().unwrap_or_default();
        assert!(count >= least, "{what}: {count}, not {least} or more");
    }
    let grown = |pair: &[usize]| pair[1].saturating_sub(pair[0]);
    let least = resident.windows(2).map(grown).min().unwrap();
    let most = resident[SPANS].saturating_sub(resident[0]);
    assert!(
        least < LEAST_GROWTH_BYTES_MAX && most < GROWTH_BYTES_MAX,
        "bytes: {resident:?}"
    );
}

/// Whether the account has begun to forget the oldest of all that it remembers.
fn remembers_all(account: &Account) -> bool {
    let taken: i32 = account.next_order_id.values().map(|next| next - 1).sum();
    let ended = taken as usize - account.open.len();
    account.last_fill > FILLS_KEPT_MAX as u64 && ended > COMPLETED_KEPT_MAX
}

/// How often each thing happened: acts, executions, and how orders of each sort ended.
fn counts(traders: &[Trader]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut add = |what: String, more: usize| *counts.entry(what).or_default() += more;
    for trader in traders {
        add("acts".into(), trader.acts);
        add("executions".into(), trader.trades.len());
        for (order, how) in &trader.ended {
            let terms = &trader.asked[order];
            let sort = match terms {
                Terms { parent: 1.., .. } => "child",
                Terms { transmit: false, .. } => "parent",
                Terms { group, .. } if !group.is_empty() => "of a group",
                Terms {
                    tif: "IOC" | "FOK", ..
                } => terms.tif,
                _ => terms.kind,
            };
            add(format!("{how} {sort}"), 1);
        }
    }
    counts
}
