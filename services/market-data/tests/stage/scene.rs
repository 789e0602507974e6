//! A NATS server, a gateway process on a folder of bars, and the stage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use protocol::decision::Alert;
use protocol::market::{Bar, Quote, Session};
use protocol::operator::Health;
use protocol::settings::Settings;
use protocol::{Symbol, Timestamp, subject};
use runtime::testing::Server;
use runtime::{Bus, CancellationToken, Subscription};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// How long anything may take.
pub const WAIT: Duration = Duration::from_secs(40);

/// 2013-10-07 13:30 UTC.
pub const BEGIN: i64 = 1_381_152_600;

/// One gateway process; it is killed when this is dropped.
pub struct Gateway {
    child: Child,
    pub address: String,
}

impl Gateway {
    /// Starts on the bars of a folder; port 0 takes a free one.
    pub fn start(folder: &Path, listen: &str, speed: &str) -> Self {
        let file = folder.join("address");
        let _ = fs::remove_file(&file);
        let started = Command::new(program())
            .arg("--listen")
            .arg(listen)
            .arg("--address-file")
            .arg(&file)
            .arg("--state")
            .arg(folder.join("state"))
            .arg("--market")
            .arg(folder.join("bars"))
            .args(["--speed", speed, "--start", "2013-10-07T14:30:00Z"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut gateway = Self {
            child: started,
            address: String::new(),
        };
        let deadline = std::time::Instant::now() + WAIT;
        loop {
            if let Ok(text) = fs::read_to_string(&file)
                && text.ends_with('\n')
            {
                text.trim().clone_into(&mut gateway.address);
                return gateway;
            }
            assert!(std::time::Instant::now() < deadline, "the gateway did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.address)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway beside this test in the target folder.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("tradewind-paper-gateway");
    assert!(
        program.exists(),
        "{} is not built: `./just test` builds it first",
        program.display()
    );
    program
}

/// Rows of bars as a gateway replays them: by symbol and minute, prices in cents, and shares.
pub type Rows = BTreeMap<(Symbol, i64), ([i64; 4], i64)>;

/// Writes the bars of two stocks; the second has no trades in many minutes.
pub fn write_bars(folder: &Path) -> Rows {
    fs::create_dir_all(folder.join("bars")).unwrap();
    let mut rows = Rows::new();
    for (symbol, price, seldom) in [("AAA", 16_700, 1), ("BBB", 1_390, 3)] {
        let mut text = "timestamp,open,high,low,close,volume\n".to_owned();
        for minute in (0..240).filter(|minute| minute % seldom == 0) {
            let open: i64 = price + minute % 17;
            let close = open + minute % 5 - 2;
            let (high, low) = (open.max(close) + minute % 4, open.min(close) - minute % 3);
            let volume = 100 + 700 * (minute % 6);
            let start = BEGIN + 60 * minute;
            let cents = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
            let [o, h, l, c] = [open, high, low, close].map(cents);
            text += &format!(
                "{},{o},{h},{l},{c},{volume}\n",
                Timestamp::from_second(start).unwrap()
            );
            rows.insert(
                (symbol.parse().unwrap(), start),
                ([open, high, low, close], volume),
            );
        }
        fs::write(folder.join("bars").join(format!("{symbol}.csv")), text).unwrap();
    }
    rows
}

/// A bar as its row.
pub fn row(bar: &Bar) -> ([i64; 4], i64) {
    let cents = |price: protocol::Price| i64::try_from(price * protocol::Price::ONE_HUNDRED).unwrap();
    (
        [bar.open, bar.high, bar.low, bar.close].map(cents),
        i64::try_from(bar.volume).unwrap(),
    )
}

pub fn settings(address: &str, watchlist: &[&str]) -> Settings {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../config.toml");
    let mut settings = runtime::config::parse(&fs::read_to_string(file).unwrap()).unwrap();
    address.clone_into(&mut settings.broker.address);
    settings.market.watchlist = watchlist.iter().map(|symbol| symbol.parse().unwrap()).collect();
    settings.market.bar_size = "1m".parse().unwrap();
    settings.market.warm_up_bars = 40;
    settings.market.quote_interval_ms = 50;
    settings
}

/// The stage while it runs.
pub struct Stage {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Stage {
    pub async fn start(server: &Server, settings: Settings) -> Self {
        let context = server.context("market-data", settings).await;
        let stop = context.stop.clone();
        Self {
            stop,
            task: tokio::spawn(market_data::serve(context)),
        }
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(WAIT, self.task)
            .await
            .expect("it ends when told")
            .unwrap()
            .unwrap();
    }
}

/// Everything that the stage says, heard from before its start.
pub struct Ears {
    pub bars: Subscription<Bar>,
    pub alerts: Subscription<Alert>,
    pub quotes: Subscription<Quote>,
    pub health: Subscription<Health>,
    pub sessions: Subscription<Session>,
}

impl Ears {
    pub async fn open(bus: &Bus) -> Self {
        Self {
            bars: bus.subscribe(subject::filter::BARS).await.unwrap(),
            alerts: bus.subscribe(subject::filter::ALERTS).await.unwrap(),
            quotes: bus.subscribe(subject::filter::QUOTES).await.unwrap(),
            health: bus.subscribe(subject::filter::HEALTH).await.unwrap(),
            sessions: bus.subscribe(subject::filter::SESSION).await.unwrap(),
        }
    }
}

/// The next message that is wanted.
pub async fn wanted<T: DeserializeOwned>(messages: &mut Subscription<T>, want: impl Fn(&T) -> bool) -> T {
    let find = async {
        loop {
            let message = messages.next().await.expect("the bus is open").body;
            if want(&message) {
                return message;
            }
        }
    };
    tokio::time::timeout(WAIT, find)
        .await
        .expect("it is said in time")
}

/// The complete bars that the stream holds, in its order.
pub async fn kept(bus: &Bus) -> Vec<Bar> {
    let mut history = bus
        .history::<Bar>(subject::stream::MARKET, subject::filter::BARS, 1)
        .await
        .unwrap();
    let mut bars = Vec::new();
    loop {
        let stored = history.next().await.unwrap();
        let sequence = stored.sequence;
        bars.extend(Some(stored.message).filter(|bar| bar.complete));
        if sequence >= history.head {
            return bars;
        }
    }
}
