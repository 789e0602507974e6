//! The world of the model: two execution processes, the ledger with its conditional append, the broker with its one
//! session a client id, and whatever can go wrong between them. What a process decides is the engine's own code; what
//! is modelled is only what carries it: `services/execution` and NATS, step by step.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use engine::gate::{Gate, Moment};
use engine::order::OrderState;
use engine::others::Others;
use engine::portfolio::Portfolio;
use engine::reconcile::{BrokerExecution, BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::{Draft, Heard, Input, News, Output, Trader};
use jiff::SignedDuration;
use protocol::decision::{Regime, Signal};
use protocol::ledger::{Entry, Epoch, Fill, Holding, Identity, Intent, Mode, Opening, Record, Side};
use protocol::market::{Phase, Quote, Session};
use protocol::settings::Settings;
use protocol::{Id, Money, Price, Quantity, Symbol, Timestamp};

use crate::log::Log;

/// The symbols that are decided on: one decision each.
pub const SYMBOLS: [&str; 2] = ["AAPL", "NVDA"];

/// Everything that two executions of one state can differ in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub log: Log,
    /// Appends whose writer never learned their fate: each may still land, at the place it was made for.
    pub pending: Vec<(Log, Packed)>,
    pub processes: [Process; 2],
    /// Connections that the broker takes for live, by process and number.
    pub sessions: Vec<(usize, u8)>,
    pub connections: u8,
    /// Orders written and not yet taken in, by connection.
    pub wire: Vec<(u8, Sent)>,
    /// Orders that the broker has.
    pub broker: Vec<(Sent, Fate)>,
    pub crashes: u8,
    pub drops: u8,
    pub lost: u8,
    pub cancels: u8,
}

/// An order as it is written to the broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    pub id: Id,
    pub order_id: i32,
    pub symbol: usize,
    pub side: Side,
}

/// What became of an order at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    Working,
    Filled,
    Cancelled,
}

/// What a model may say of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Up: a decision.
    Up,
    /// Up once more, a second later: another decision.
    UpAgain,
    /// Down: what is held is left.
    Down,
}

/// A process and where it is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Process {
    Down,
    Connected(u8),
    Read(u8, Log),
    Leading(Leading),
}

/// What an incarnation that leads has in memory, beside what follows from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leading {
    pub connection: u8,
    pub seen: Log,
    /// The highest order id when it began.
    pub order_id_max: i32,
    pub first_done: bool,
    pub second_done: bool,
    /// A second reading that was taken and not yet compared.
    pub reading: Option<Vec<(Sent, Fate)>>,
    /// What it decided and has still to do, in order.
    pub todo: Vec<Todo>,
    /// Decisions it wrote to the broker.
    pub sent: Vec<Packed>,
    /// What the broker told it of each order.
    pub told: BTreeSet<(Id, Fate)>,
    /// True when it takes silence for a rejection, which the design never does.
    pub hasty: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Todo {
    Append(Packed),
    Send(Packed),
}

/// A draft that can be compared and hashed.
#[derive(Clone)]
pub struct Packed {
    pub draft: Arc<Draft>,
    pub epoch: u64,
    key: Arc<str>,
}

impl Packed {
    pub fn of(draft: Draft, epoch: u64) -> Self {
        let key = serde_json::to_string(&draft.clone().record(epoch)).unwrap();
        Self {
            draft: Arc::new(draft),
            epoch,
            key: key.into(),
        }
    }

    /// The record that its writer makes of it after `seen`.
    pub fn record(&self, seen: &Log) -> Record {
        Record {
            previous_hash: seen.hash().clone(),
            ..Draft::clone(&self.draft).record(self.epoch)
        }
    }

    pub fn intent(&self) -> Option<&Intent> {
        match &self.draft.entry {
            Entry::Intent(intent) => Some(intent),
            _ => None,
        }
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Packed {}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}",
            protocol::subject::record(&self.draft.as_ref().clone().record(self.epoch), 0)
        )
    }
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(engine::testing::settings);
static NOW: LazyLock<Timestamp> = LazyLock::new(|| "2026-11-23T15:00:00Z".parse().unwrap());

pub fn now() -> Timestamp {
    *NOW
}

/// The clock of the model stands still, so a window in which the same entry again is held back would last for ever and
/// hide every second order: there is none.
fn settings() -> Settings {
    let mut settings = SETTINGS.clone();
    settings.risk.duplicate_window_seconds = 0;
    settings
}

pub fn symbol(number: usize) -> Symbol {
    SYMBOLS[number].parse().unwrap()
}

fn number_of(symbol: Symbol) -> usize {
    SYMBOLS.iter().position(|name| *name == symbol.as_str()).unwrap()
}

/// The ledger of an account that was opened flat.
pub fn opened() -> Log {
    let identity = Identity {
        account: "DU1".into(),
        mode: Mode::Paper,
        gateway: "here".into(),
        client_id: 11,
    };
    let opening = Opening {
        cash: Money::from(100_000),
        positions: std::collections::BTreeMap::new(),
        execution_ids: Vec::new(),
        order_refs: Vec::new(),
    };
    let first = [
        (0, Entry::Identity(identity)),
        (1, epoch_entry()),
        (1, Entry::Opening(opening)),
    ];
    first
        .into_iter()
        .enumerate()
        .fold(Log::empty(), |log, (number, (epoch, entry))| {
            let draft = Draft {
                id: Id::derive(&["first", &number.to_string()]),
                at: now(),
                cause: None,
                entry,
            };
            log.with(&Packed::of(draft, epoch).record(&log))
        })
}

fn epoch_entry() -> Entry {
    Entry::Epoch(Epoch {
        instance: "model".into(),
        version: "0".into(),
    })
}

/// The record with which a process begins to lead.
pub fn epoch(process: usize, seen: &Log) -> Packed {
    let epoch = seen.portfolio().epoch + 1;
    let draft = Draft {
        id: Id::derive(&["epoch", &epoch.to_string(), &process.to_string()]),
        at: now(),
        cause: None,
        entry: epoch_entry(),
    };
    Packed::of(draft, epoch)
}

impl Leading {
    pub fn new(connection: u8, seen: Log, hasty: bool) -> Self {
        Self {
            connection,
            order_id_max: seen.portfolio().order_id_max,
            seen,
            first_done: false,
            second_done: false,
            reading: None,
            todo: Vec::new(),
            sent: Vec::new(),
            told: BTreeSet::new(),
            hasty,
        }
    }

    /// The engine's trader as this process has it: all of it follows from the ledger and what it was told.
    fn trader(&self) -> Trader {
        let mut portfolio = self.seen.portfolio().clone();
        if self.hasty {
            let silent = [OrderState::Sent, OrderState::Unresolved, OrderState::Absent];
            let orders = portfolio.orders.values_mut();
            orders
                .filter(|order| silent.contains(&order.state))
                .for_each(|order| order.state = OrderState::Rejected);
        }
        let mut trader = Trader::new(settings(), portfolio);
        trader.step(now(), Input::Gate(None));
        trader.step(now(), Input::Session(session(), now()));
        for number in 0..SYMBOLS.len() {
            trader.step(now(), Input::Quote(quote(number)));
        }
        trader
    }

    /// Takes an input and keeps what is to be done about it; true when that is anything.
    pub fn hear(&mut self, input: Input) -> bool {
        let outputs = self.trader().step(now(), input);
        let epoch = self.seen.portfolio().epoch;
        let appends = outputs.into_iter().filter_map(|output| match output {
            Output::Append(draft) => Some(Todo::Append(Packed::of(draft, epoch))),
            _ => None,
        });
        self.todo.extend(appends);
        !self.todo.is_empty()
    }

    /// True when a draft still says something new, as the desk asks before it appends.
    pub fn is_new(&self, packed: &Packed) -> bool {
        self.trader().is_new(&packed.draft)
    }

    /// Whether the last gate lets an intent pass.
    pub fn passes(&self, packed: &Packed) -> bool {
        let mut gate = Gate::new(settings().risk, self.order_id_max, &Portfolio::default());
        let mut pass = |packed: &Packed| {
            let intent = packed.intent().expect("only intents are sent");
            let moment = Moment {
                at: now(),
                waited: Duration::ZERO,
                killed: false,
                closed: None,
                portfolio: self.seen.portfolio(),
                others: &Others::default(),
            };
            gate.pass(&moment, &packed.draft.id, intent).is_ok()
        };
        self.sent.iter().for_each(|sent| {
            pass(sent);
        });
        pass(packed)
    }
}

/// What is written to the broker for an intent.
pub fn order(packed: &Packed) -> Sent {
    let intent = packed.intent().expect("only intents are sent");
    Sent {
        id: packed.draft.id.clone(),
        order_id: intent.order_id,
        symbol: number_of(intent.symbol),
        side: intent.side,
    }
}

/// An opinion on a symbol, the same one whenever it is heard.
pub fn signal(number: usize, said: Said) -> Input {
    let later = SignedDuration::from_secs(i64::from(said == Said::UpAgain));
    let (up, down) = if said == Said::Down {
        (0.1, 0.7)
    } else {
        (0.7, 0.1)
    };
    Input::Signal(Signal {
        id: Id::derive(&["signal", SYMBOLS[number], &format!("{said:?}")]),
        at: now() + later,
        cause: Id::derive(&["bar"]),
        symbol: symbol(number),
        down,
        flat: 0.2,
        up,
        regime: Regime::Bull,
        price: Price::from(100),
        model: "model".into(),
        model_hash: protocol::Hash::zero(),
    })
}

fn quote(number: usize) -> Quote {
    let price = Some(Price::from(100));
    Quote {
        id: Id::derive(&["quote", SYMBOLS[number]]),
        at: now(),
        symbol: symbol(number),
        bid: price,
        ask: price,
        last: price,
        bid_size: None,
        ask_size: None,
        previous_close: None,
        tradable: true,
    }
}

fn session() -> Session {
    Session {
        id: Id::derive(&["session"]),
        at: now(),
        phase: Phase::Regular,
        next_change: None,
        source: "model".into(),
        speed: 1.0,
        connected: true,
    }
}

pub fn shares(log: &Log, sent: &Sent) -> Quantity {
    // The broker fills what was written, and what was written is what the intent says.
    let order = log.portfolio().orders.get(&sent.id);
    order.map_or(Quantity::ONE, |order| order.quantity)
}

fn fill(log: &Log, sent: &Sent) -> Fill {
    Fill {
        execution_id: format!("0000e0d5.{:08x}.01.01", sent.order_id),
        side: sent.side,
        quantity: shares(log, sent),
        price: Price::from(100),
        commission: Some(Money::ONE),
        executed_at: now(),
        permanent_id: permanent_id(sent),
    }
}

fn permanent_id(sent: &Sent) -> i64 {
    1000 + i64::from(sent.order_id)
}

/// What the broker says of an order as it happens.
pub fn news(log: &Log, sent: &Sent, fate: Fate) -> Input {
    let news = match fate {
        Fate::Working => News::Status(BrokerStatus::Working, None, String::new()),
        Fate::Filled => News::Execution(symbol(sent.symbol), fill(log, sent)),
        Fate::Cancelled => News::Status(BrokerStatus::Cancelled, Some(Quantity::ZERO), String::new()),
    };
    Input::Broker(Heard {
        order_ref: sent.id.to_string(),
        order_id: 0,
        permanent_id: permanent_id(sent),
        news,
    })
}

/// What the broker says when it is read.
pub fn truth(log: &Log, broker: &[(Sent, Fate)], folded: u64, pass: Pass) -> Input {
    let mut truth = Truth {
        folded,
        ..Truth::default()
    };
    for (sent, fate) in broker {
        let quantity = shares(log, sent);
        if *fate == Fate::Filled {
            let holding = truth.positions.entry(symbol(sent.symbol)).or_insert(Holding {
                quantity: Quantity::ZERO,
                average_cost: Price::from(100),
            });
            holding.quantity += sent.side.signed(quantity);
            truth.executions.push(BrokerExecution {
                order_ref: sent.id.to_string(),
                symbol: symbol(sent.symbol),
                fill: fill(log, sent),
            });
        } else {
            let (rows, status) = match fate {
                Fate::Cancelled => (&mut truth.completed, BrokerStatus::Cancelled),
                _ => (&mut truth.open, BrokerStatus::Working),
            };
            rows.push(BrokerOrder {
                limit_price: None,
                order_ref: sent.id.to_string(),
                order_id: sent.order_id,
                permanent_id: permanent_id(sent),
                symbol: symbol(sent.symbol),
                side: sent.side,
                quantity,
                status,
                text: String::new(),
            });
        }
    }
    truth.positions.retain(|_, holding| !holding.quantity.is_zero());
    Input::Truth(truth, pass)
}

/// True when an order was ever called absent in a ledger.
pub fn called_absent(log: &Log, id: &Id) -> bool {
    let order = log.portfolio().orders.get(id);
    order.is_some_and(|order| order.kinds.contains("absent") || order.state == OrderState::Absent)
}
