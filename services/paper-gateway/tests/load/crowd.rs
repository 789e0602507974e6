//! Fifty clients follow two hundred stocks that each show ten quotes a second and some.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::process::Process;
use wire_client::{Body, Fields, Reader, Writer, connect, stock};

const CLIENTS: i32 = 50;
const STOCKS: usize = 200;
/// Quotes of each stock that the market makes each second: a few more than each client must be told.
const TRADES_A_SECOND: &str = "11";
/// Seconds for which they are counted.
const SECONDS: u64 = 8;
/// Requests for the whole account with which a client that does not read fills its queue.
const UNREAD_REQUESTS: usize = 4_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// What one client saw.
struct Seen {
    updates: Vec<usize>,
    frames: usize,
    lags: Vec<Duration>,
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn symbol(index: usize) -> String {
    format!("L{index:03}")
}

/// Asks for the quotes of all stocks.
async fn follow(address: &str, client: i32) -> (Reader, Writer) {
    let (reader, mut writer) = connect(address, client).await.unwrap();
    for index in 0..STOCKS {
        let request = Body::new().int(1, index as i64).part(2, &stock(&symbol(index)));
        writer.send(1, &request).await.unwrap();
    }
    (reader, writer)
}

/// What the clients and the test tell each other.
#[derive(Default)]
struct Signals {
    /// Clients that have been told a quote of every stock.
    ready: AtomicUsize,
    counting: AtomicBool,
}

/// Reads all the time, and counts for a while once told to.
async fn watch(mut reader: Reader, signals: Arc<Signals>) -> Seen {
    let mut seen = Seen::new();
    let (mut is_ready, mut end) = (false, None);
    loop {
        if !is_ready && !seen.updates.contains(&0) {
            is_ready = true;
            signals.ready.fetch_add(1, Ordering::Relaxed);
        }
        if end.is_none() && signals.counting.load(Ordering::Relaxed) {
            seen = Seen::new();
            end = Some(Instant::now() + Duration::from_secs(SECONDS));
        }
        let until = end.unwrap_or_else(|| Instant::now() + DEADLINE);
        match timeout_at(until, reader.read(|number, body| seen.take(number, body))).await {
            Ok(read) => read.expect("the gateway keeps the connection"),
            Err(_) => return seen,
        }
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            updates: vec![0; STOCKS],
            frames: 0,
            lags: Vec::new(),
        }
    }

    fn take(&mut self, number: i32, body: &[u8]) {
        self.frames += 1;
        let fields = Fields(body);
        match number {
            // The day's volume is told with every round of a stock's quotes.
            2 if fields.int(2) == 8 => self.updates[fields.int(1) as usize] += 1,
            46 => {
                let second = Duration::from_secs(fields.text(3).parse().unwrap());
                self.lags.push(wall().saturating_sub(second));
            }
            _ => {}
        }
    }
}

/// A client that asks for everything and reads nothing, until it is cut off.
async fn never_read(address: String) {
    let (mut reader, mut writer) = follow(&address, CLIENTS + 1).await;
    let asking = async {
        for _ in 0..UNREAD_REQUESTS {
            if writer.send(6, &Body::new().int(1, 1)).await.is_err() {
                break;
            }
        }
        while writer.send(49, &Body::new()).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, asking).await.expect("it is cut off");
    while reader.read(|_, _| {}).await.is_ok() {}
}

/// What came of it.
#[derive(Debug)]
pub struct Measured {
    /// Frames that all clients were told each second.
    pub frames: u64,
    /// Quotes a second of the stock and the client that were told the fewest.
    pub quotes: f64,
    /// Those quotes as a part of what was told of the most lively stock to the luckiest client.
    pub fairness: f64,
    /// Longest time from the begin of a second to its first trade's arrival: most of all and of 99 %, in ms.
    pub lags: [u128; 2],
    /// Share of one processor that the gateway used.
    pub processor: f64,
    /// Memory of the gateway, in bytes.
    pub resident: usize,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{CLIENTS} clients, {STOCKS} stocks: {} messages a second, {:.1} quotes a second or more of each stock to \
             each client ({:.0} % of the most that one got), told within {} ms (99 %: {} ms) of their second; {:.0} % of a processor, {} MiB",
            self.frames,
            self.quotes,
            self.fairness * 100.0,
            self.lags[0],
            self.lags[1],
            self.processor * 100.0,
            self.resident >> 20,
        )
    }
}

/// Starts a gateway and the clients, counts for a while, and ends them all. A client that never reads may be there.
pub async fn measure(program: &str, unread: bool) -> Measured {
    let state = tempfile::tempdir().unwrap();
    let symbols = (0..STOCKS).map(symbol).collect::<Vec<_>>().join(",");
    let lines = STOCKS.to_string();
    let more = [
        "--symbols",
        &symbols,
        "--trades-per-second",
        TRADES_A_SECOND,
        "--lines",
        &lines,
    ];
    let gateway = Process::start(program, state.path(), &more);
    let signals = Arc::new(Signals::default());
    let (mut writers, mut clients) = (Vec::new(), Vec::new());
    for client in 1..=CLIENTS {
        let (reader, writer) = follow(&gateway.address, client).await;
        writers.push(writer);
        clients.push(tokio::spawn(watch(reader, signals.clone())));
    }
    let deadline = Instant::now() + DEADLINE;
    while signals.ready.load(Ordering::Relaxed) < clients.len() {
        assert!(
            Instant::now() < deadline,
            "a quote of every stock for every client"
        );
        sleep(Duration::from_millis(10)).await;
    }
    let before = gateway.processor();
    signals.counting.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    let unread = unread.then(|| tokio::spawn(never_read(gateway.address.clone())));
    sleep_until(begin + Duration::from_secs(SECONDS)).await;
    let processor = (gateway.processor() - before) / begin.elapsed().as_secs_f64();
    let resident = gateway.resident();

    let (mut frames, mut lags, mut fewest, mut most) = (0, Vec::new(), usize::MAX, 1);
    for client in clients {
        let seen = client.await.unwrap();
        frames += seen.frames as u64;
        lags.extend(seen.lags);
        fewest = fewest.min(*seen.updates.iter().min().unwrap());
        most = most.max(*seen.updates.iter().max().unwrap());
    }
    if let Some(unread) = unread {
        timeout(DEADLINE, unread).await.expect("cut off in time").unwrap();
    }
    assert_eq!(gateway.stop(), Some(0));
    lags.sort();
    let lag = |part: f64| lags[((lags.len() - 1) as f64 * part) as usize].as_millis();
    Measured {
        frames: frames / SECONDS,
        quotes: fewest as f64 / SECONDS as f64,
        fairness: fewest as f64 / most as f64,
        lags: [lag(1.0), lag(0.99)],
        processor,
        resident,
    }
}
