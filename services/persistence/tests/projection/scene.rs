//! A server with a small trading day on it, and the stage under test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use persistence::store::Store;
use protocol::ledger::{
    Entry, Epoch, Fill, Identity, Intent, Mode, Opening, OrderChange, OrderEvent, OrderType, Reason, Record,
    Side, TimeInForce,
};
use protocol::market::{Bar, BarSize};
use protocol::operator::{Answer, Query, StateMark};
use protocol::settings::Settings;
use protocol::{Hash, Id, Symbol, Timestamp, subject};
use runtime::ledger::Ledger;
use runtime::testing::Server;
use runtime::{Bus, CancellationToken};
use serde_json::Value;
use tokio::task::JoinHandle;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Scene {
    pub server: Server,
    pub bus: Bus,
    pub ledger: Ledger,
    /// Every record appended, as stored.
    pub records: Vec<(u64, Hash, Record)>,
    orders: i32,
}

/// The stage, running.
pub struct Running {
    pub stop: CancellationToken,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Stops it and waits for its end.
    pub async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

/// Start of the day plus minutes.
pub fn minute(minutes: i64) -> Timestamp {
    let open: Timestamp = "2013-10-07T13:30:00Z".parse().unwrap();
    open + jiff::SignedDuration::from_mins(minutes)
}

pub fn settings() -> Settings {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.toml");
    let mut settings = runtime::config::read(&file).unwrap();
    settings.market.watchlist = vec![symbol("SPY"), symbol("IBM"), symbol("QUIET")];
    settings
}

impl Scene {
    pub async fn start() -> Self {
        let server = Server::start().await;
        let bus = server.bus("execution").await;
        let ledger = Ledger::after(&bus, 0, Hash::zero());
        Self {
            server,
            bus,
            ledger,
            records: Vec::new(),
            orders: 0,
        }
    }

    pub fn file(&self) -> PathBuf {
        self.server.state.path().join(persistence::FILE)
    }

    pub async fn run(&self) -> Running {
        let context = self.server.context("persistence", settings()).await;
        let stop = context.stop.clone();
        Running {
            stop,
            task: tokio::spawn(persistence::serve(context)),
        }
    }

    /// Everything in the file; the stage must have ended.
    pub fn dump(&self) -> String {
        Store::open(&self.file(), &settings().market.name)
            .unwrap()
            .view()
            .unwrap()
            .dump()
            .unwrap()
    }

    pub async fn append(&mut self, id: &str, at: Timestamp, epoch: u64, entry: Entry) -> Id {
        let id: Id = id.parse().unwrap();
        let record = Record {
            id: id.clone(),
            at,
            cause: None,
            epoch,
            previous_hash: Hash::zero(),
            entry,
        };
        let appended = self.ledger.append(record).await.unwrap();
        self.records
            .push((appended.sequence, appended.hash, appended.record));
        id
    }

    /// Identity, first epoch, opening positions: records 1 to 3.
    pub async fn open(&mut self) {
        let at = minute(-10);
        let identity = Identity {
            account: "DU1".into(),
            mode: Mode::Paper,
            gateway: "127.0.0.1:1".into(),
            client_id: 11,
        };
        self.append("identity", at, 0, Entry::Identity(identity)).await;
        let epoch = Epoch {
            instance: "test-1".into(),
            version: "0".into(),
        };
        self.append("epoch", at, 1, Entry::Epoch(epoch)).await;
        let cash = "100000".parse().unwrap();
        let opening = Opening {
            cash,
            positions: [].into(),
            execution_ids: Vec::new(),
            order_refs: Vec::new(),
        };
        self.append("opening", at, 1, Entry::Opening(opening)).await;
    }

    /// An order with its fill and commission: three records.
    pub async fn trade(&mut self, name: &str, side: Side, quantity: u32, price: &str, at: Timestamp) {
        self.orders += 1;
        let n = self.orders;
        let intent = Intent {
            symbol: symbol(name),
            side,
            quantity: quantity.into(),
            order_type: OrderType::Market,
            limit_price: None,
            time_in_force: TimeInForce::Day,
            outside_regular_hours: false,
            reason: if side == Side::Buy {
                Reason::Entry
            } else {
                Reason::Signal
            },
            target: quantity.into(),
            basis: 0.into(),
            order_id: n,
            reference_price: None,
        };
        let order = self
            .append(&format!("intent-{n}"), at, 1, Entry::Intent(intent))
            .await;
        let execution_id = format!("0001.{n}");
        let fill = Fill {
            execution_id: execution_id.clone(),
            side,
            quantity: quantity.into(),
            price: price.parse().unwrap(),
            commission: None,
            executed_at: at,
            permanent_id: 7,
        };
        let commission = OrderChange::Commission {
            execution_id,
            commission: "0.35".parse().unwrap(),
        };
        for (k, change) in [OrderChange::Fill(fill), commission].into_iter().enumerate() {
            let event = OrderEvent {
                order: order.clone(),
                symbol: symbol(name),
                change,
            };
            self.append(&format!("event-{n}-{k}"), at, 1, Entry::Order(event))
                .await;
        }
    }

    /// A complete bar, and before it a running one that must not be kept. Returns its JSON as published.
    pub async fn bar(&self, name: &str, minutes: i64, close: &str) -> String {
        let bar = bar(name, minutes, close);
        let running = Bar {
            complete: false,
            at: bar.start,
            ..bar.clone()
        };
        self.bus
            .publish(subject::bar(bar.symbol), &running)
            .await
            .unwrap();
        self.bus
            .keep(subject::bar(bar.symbol), &bar.id, &bar)
            .await
            .unwrap();
        serde_json::to_string(&bar).unwrap()
    }

    pub async fn ask(&self, name: &str, query: &Query) -> Answer<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.bus.request(&subject::query(name), query).await {
                Ok(answer) => return answer,
                // Nobody listens yet, or any more.
                Err(error) => assert!(Instant::now() < deadline, "query.{name}: {error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn page(&self, name: &str, query: &Query) -> (Vec<Value>, Option<StateMark>) {
        match self.ask(name, query).await {
            Answer::Page { items, state, .. } => (items, state),
            Answer::Error { error } => panic!("query.{name}: {error:?}"),
        }
    }

    /// Waits until so many records and bars are in the file.
    pub async fn wait(&self, sequence: u64, bars: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = Query {
                limit: Some(1_000),
                ..Query::default()
            };
            let (items, state) = self.page("bars", &all).await;
            let reached = state.map_or(0, |state| state.sequence);
            if items.len() >= bars && reached >= sequence {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{reached} of {sequence} records, {} of {bars} bars",
                items.len()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub fn bar(name: &str, minutes: i64, close: &str) -> Bar {
    let (symbol, size, start) = (symbol(name), BarSize::ONE_MINUTE, minute(minutes));
    Bar {
        id: Bar::id_of(symbol, size, start),
        at: size.end_of(start),
        symbol,
        size,
        start,
        open: "66.40".parse().unwrap(),
        high: "200.5200".parse().unwrap(),
        low: "66.3".parse().unwrap(),
        close: close.parse().unwrap(),
        volume: "18250".parse().unwrap(),
        complete: true,
        warm_up: false,
        gap: false,
    }
}
