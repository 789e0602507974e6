//! A ledger in memory and a trader on it: what the trader appends is folded at once, as a service does it.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::gate::{Gate, Moment};
use engine::portfolio::Portfolio;
use engine::reconcile::{BrokerOrder, BrokerStatus, Truth};
use engine::testing::settings;
use engine::trader::{Ask, Draft, Heard, Input, News, Output, Trader};
use jiff::SignedDuration;
use protocol::decision::{Alert, Check, Regime, Signal};
use protocol::ledger::{Entry, Epoch, Fill, Holding, Identity, Intent, Mode, Opening, Record, Side};
use protocol::market::{Phase, Quote, Session};
use protocol::operator::{Command, Reply, Verb};
use protocol::settings::Settings;
use protocol::{Hash, Id, Price, Quantity, Symbol, Timestamp};

pub struct World {
    pub trader: Trader,
    pub records: Vec<(u64, Hash, Record)>,
    pub intents: Vec<(Id, Intent)>,
    pub refused: Vec<(Symbol, Check)>,
    pub replies: Vec<Reply>,
    pub cancels: Vec<i32>,
    pub alerts: Vec<Alert>,
    pub now: Timestamp,
    fills: u32,
    settings: Settings,
    /// Counts for itself what goes out.
    gate: Gate,
    /// Subjects written, each once for ever.
    subjects: BTreeSet<String>,
}

pub fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub fn number(text: &str) -> Quantity {
    text.parse().unwrap()
}

impl World {
    /// An account with these positions, just opened, the gate open, in the regular session.
    pub fn new(positions: &[(&str, &str)]) -> Self {
        Self::with(positions, |_| ())
    }

    /// The same, with other settings.
    pub fn with(positions: &[(&str, &str)], change: impl Fn(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let mut world = Self::on(settings, Portfolio::default(), Vec::new());
        let identity = Identity {
            account: "DU1".into(),
            mode: Mode::Paper,
            gateway: "here".into(),
            client_id: 11,
        };
        world.append_as(0, Entry::Identity(identity));
        world.begin();
        let holding = |quantity: &str| Holding {
            quantity: number(quantity),
            average_cost: number("100"),
        };
        let positions = positions
            .iter()
            .map(|(name, quantity)| (symbol(name), holding(quantity)))
            .collect();
        world.append(Entry::Opening(Opening {
            cash: number("100000"),
            positions,
            execution_ids: Vec::new(),
            order_refs: Vec::new(),
        }));
        world.step(Input::Gate(None));
        world.phase(Phase::Regular);
        world
    }

    fn on(settings: Settings, portfolio: Portfolio, records: Vec<(u64, Hash, Record)>) -> Self {
        Self {
            gate: Gate::new(settings.risk.clone(), portfolio.order_id_max, &portfolio),
            trader: Trader::new(settings.clone(), portfolio),
            settings,
            records,
            intents: Vec::new(),
            refused: Vec::new(),
            replies: Vec::new(),
            cancels: Vec::new(),
            alerts: Vec::new(),
            now: "2026-11-23T15:00:00Z".parse().unwrap(),
            fills: 0,
            subjects: BTreeSet::new(),
        }
    }

    /// The process dies and another begins on the same ledger, in the regular session.
    pub fn restart(self) -> Self {
        let mut world = self.restart_untold();
        world.phase(Phase::Regular);
        world
    }

    /// The same, and nothing of the market's hours is told.
    pub fn restart_untold(self) -> Self {
        let mut portfolio = Portfolio::default();
        for (sequence, hash, record) in &self.records {
            portfolio.apply(*sequence, hash, record).unwrap();
        }
        assert_eq!(
            portfolio.mark(),
            self.trader.portfolio.mark(),
            "the fold of the ledger is what was held in memory"
        );
        let mut world = Self::on(self.settings, portfolio, self.records);
        world.now = self.now;
        world.fills = self.fills;
        world.subjects = self.subjects;
        world.begin();
        world.step(Input::Gate(None));
        world
    }

    fn begin(&mut self) {
        let epoch = self.trader.portfolio.epoch + 1;
        self.append_as(
            epoch,
            Entry::Epoch(Epoch {
                instance: "test".into(),
                version: "0".into(),
            }),
        );
    }

    pub fn phase(&mut self, phase: Phase) {
        self.phase_until(phase, None);
    }

    pub fn phase_until(&mut self, phase: Phase, next_change: Option<Timestamp>) {
        let session = self.session(phase, next_change);
        self.step(Input::Session(session, self.now));
    }

    /// What the market-data stage says now.
    pub fn session(&self, phase: Phase, next_change: Option<Timestamp>) -> Session {
        Session {
            id: Id::derive(&["session"]),
            at: self.now,
            phase,
            next_change,
            source: "test".into(),
            speed: 1.0,
            connected: true,
        }
    }

    pub fn append(&mut self, entry: Entry) {
        self.append_as(self.trader.portfolio.epoch, entry);
    }

    fn append_as(&mut self, epoch: u64, entry: Entry) {
        let id = Id::derive(&["test", &self.records.len().to_string()]);
        self.store(
            Draft {
                id,
                at: self.now,
                cause: None,
                entry,
            }
            .record(epoch),
        );
    }

    fn store(&mut self, mut record: Record) {
        record.previous_hash = self.trader.portfolio.hash.clone();
        let hash = Hash::of(&serde_json::to_vec(&record).unwrap());
        let sequence = self.trader.portfolio.sequence + 1;
        self.trader.applied(sequence, &hash, &record, self.now).unwrap();
        self.records.push((sequence, hash, record));
    }

    pub fn step(&mut self, input: Input) {
        for output in self.trader.step(self.now, input) {
            match output {
                Output::Append(draft) if !self.trader.is_new(&draft) => {}
                Output::Append(draft) => {
                    let subject = protocol::subject::record(
                        &draft.clone().record(self.trader.portfolio.epoch),
                        self.trader.portfolio.sequence + 1,
                    );
                    assert!(
                        self.subjects.insert(subject.clone()),
                        "{subject} is written twice"
                    );
                    if let Entry::Intent(intent) = &draft.entry {
                        assert!(
                            self.intents.iter().all(|(id, _)| *id != draft.id),
                            "one intent a decision"
                        );
                        assert!(
                            self.intents
                                .iter()
                                .all(|(_, known)| known.order_id != intent.order_id),
                            "one order id an order"
                        );
                        self.intents.push((draft.id.clone(), intent.clone()));
                    }
                    self.store(draft.clone().record(self.trader.portfolio.epoch));
                    if let Entry::Intent(intent) = &draft.entry {
                        let moment = Moment {
                            at: draft.at,
                            waited: Duration::ZERO,
                            killed: self.trader.killed(),
                            closed: self.trader.closed(self.now),
                            portfolio: &self.trader.portfolio,
                            others: self.trader.others(),
                        };
                        let passed = self.gate.pass(&moment, &draft.id, intent);
                        assert_eq!(
                            passed,
                            Ok(()),
                            "what is decided well passes the last gate: {intent:?}"
                        );
                    }
                }
                Output::Refuse(refusal) => self.refused.push((refusal.symbol, refusal.check)),
                Output::Reply(reply) => self.replies.push(reply),
                Output::Cancel(order_id) => self.cancels.push(order_id),
                Output::Alert(alert) => self.alerts.push(alert),
            }
        }
    }

    pub fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub fn quote(&mut self, name: &str, price: &str) {
        let quote = self.quote_of(name, price);
        self.step(Input::Quote(quote));
    }

    pub fn quote_of(&self, name: &str, price: &str) -> Quote {
        let price: Price = number(price);
        Quote {
            id: Id::derive(&["quote", name, &self.now.to_string()]),
            at: self.now,
            symbol: symbol(name),
            bid: Some(price),
            ask: Some(price),
            last: Some(price),
            bid_size: None,
            ask_size: None,
            previous_close: None,
            tradable: true,
        }
    }

    pub fn signal(&mut self, name: &str, up: f64, down: f64, regime: Regime) {
        let signal = self.signal_of(name, up, down, regime);
        self.step(Input::Signal(signal));
    }

    /// An opinion of now. Another one at the same instant follows from another bar.
    pub fn signal_of(&self, name: &str, up: f64, down: f64, regime: Regime) -> Signal {
        let opinion = format!("{up} {down} {regime:?}");
        Signal {
            id: Id::derive(&["signal", name, &self.now.to_string(), &opinion]),
            at: self.now,
            cause: Id::derive(&["bar"]),
            symbol: symbol(name),
            down,
            flat: 1.0 - up - down,
            up,
            regime,
            price: number("100"),
            model: "test".into(),
            model_hash: Hash::zero(),
        }
    }

    pub fn bullish(&mut self, name: &str) {
        self.signal(name, 0.7, 0.1, Regime::Bull);
    }

    pub fn bearish(&mut self, name: &str) {
        self.signal(name, 0.1, 0.7, Regime::Bull);
    }

    pub fn fill(&mut self, id: &Id, quantity: &str, price: &str) {
        self.fills += 1;
        let order = &self.trader.portfolio.orders[id];
        let fill = Fill {
            execution_id: format!("e{}", self.fills),
            side: order.side,
            quantity: number(quantity),
            price: number(price),
            commission: Some(Quantity::ONE),
            executed_at: self.now,
            permanent_id: 1000 + i64::from(order.order_id),
        };
        let news = News::Execution(order.symbol, fill);
        self.step(Input::Broker(Heard {
            order_ref: id.to_string(),
            order_id: 0,
            permanent_id: 0,
            news,
        }));
    }

    /// The broker fills the last order completely.
    pub fn fill_last(&mut self, price: &str) {
        let (id, intent) = self.intents.last().cloned().unwrap();
        self.fill(&id, &intent.quantity.to_string(), price);
    }

    /// The broker refuses the last order.
    pub fn reject_last(&mut self) {
        let order_ref = self.intents.last().unwrap().0.to_string();
        let news = News::Error(201, "no".into());
        self.step(Input::Broker(Heard {
            order_ref,
            order_id: 0,
            permanent_id: 0,
            news,
        }));
    }

    pub fn ask(&mut self, verb: Verb, name: Option<&str>) -> bool {
        let symbol = name.map(symbol);
        let command = Command {
            symbol,
            ..Command::default()
        };
        self.command(verb, command).accepted
    }

    /// An operator asks, and is answered.
    pub fn command(&mut self, verb: Verb, command: Command) -> &Reply {
        let id = Id::derive(&["ask", &self.records.len().to_string(), verb.as_str()]);
        self.step(Input::Ask(Ask {
            id: id.clone(),
            verb,
            by: "operator".into(),
            command,
        }));
        self.replies.iter().find(|reply| reply.id == id).unwrap()
    }

    pub fn bought(&self) -> usize {
        self.intents
            .iter()
            .filter(|(_, intent)| intent.side == Side::Buy)
            .count()
    }

    /// What the broker says when it is read now, over a link that is whole all the time: so many shares are held,
    /// nothing works and cash is not told.
    pub fn truth(&self, held: &[(&str, Quantity)]) -> Truth {
        let holding = |quantity: Quantity| Holding {
            quantity,
            average_cost: number("100"),
        };
        let held = held.iter().filter(|(_, quantity)| !quantity.is_zero());
        Truth {
            began: self.now,
            whole_since: Some(Timestamp::UNIX_EPOCH),
            positions: held
                .map(|(name, quantity)| (symbol(name), holding(*quantity)))
                .collect(),
            folded: self.trader.portfolio.sequence,
            ..Truth::default()
        }
    }

    pub fn held(&self, name: &str) -> Quantity {
        self.trader.portfolio.held(symbol(name))
    }
}

/// After the close, with 50 shares of AAPL that cost $100 each, at this price.
pub fn evening(price: &str) -> World {
    let mut world = World::with(&[("AAPL", "50")], |settings| {
        settings.market.extended_hours = true
    });
    world.phase(Phase::After);
    world.quote("AAPL", price);
    world
}

/// The broker says so of the latest order.
pub fn hear(world: &mut World, status: BrokerStatus) {
    let (id, intent) = world.intents.last().unwrap();
    let order_ref = id.to_string();
    let order_id = intent.order_id;
    let filled = world.trader.portfolio.orders[id].filled;
    world.step(Input::Broker(Heard {
        order_ref,
        order_id,
        permanent_id: 1000 + i64::from(order_id),
        news: News::Status(status, Some(filled), String::new()),
    }));
}

/// The price of AAPL is told and stays for so many seconds.
pub fn stays(world: &mut World, price: &str, seconds: i64) {
    for _ in 0..seconds {
        world.quote("AAPL", price);
        world.step(Input::Tick);
        world.later(1);
    }
}

/// An order of ours as the broker shows it while it works.
pub fn shown(id: &Id, intent: &Intent, permanent_id: i64) -> BrokerOrder {
    BrokerOrder {
        order_ref: id.to_string(),
        order_id: intent.order_id,
        permanent_id,
        symbol: intent.symbol,
        side: intent.side,
        quantity: intent.quantity,
        limit_price: None,
        status: BrokerStatus::Working,
        text: String::new(),
    }
}

/// The alerts of a kind.
pub fn told<'a>(world: &'a World, kind: &str) -> Vec<&'a Alert> {
    world.alerts.iter().filter(|alert| alert.kind == kind).collect()
}
