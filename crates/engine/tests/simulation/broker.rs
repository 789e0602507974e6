//! The broker: the engine's exchange behind a gateway with one session for a client id. What is written to it and what
//! it tells travels, in order, and may be lost with its connection.

use std::collections::BTreeMap;

use engine::reconcile::{BrokerStatus, Truth};
use engine::trader::{Heard, News};
use engine::venue::account::Account;
use engine::venue::market::Market;
use engine::venue::order::{Order, Status};
use engine::venue::record::{Fill as VenueFill, Record};
use engine::venue::synthetic::Synthetic;
use engine::venue::{Input as Deed, Output, Refusal, Venue};
use protocol::ledger::{Holding, Intent};
use protocol::{Id, Money, Quantity, Symbol};

use crate::answers::{self, Question};
use crate::faults::Point;
use crate::world::{Conn, Event, Ms, Run, World, begin, symbol};

/// The one client id that orders.
pub const CLIENT: i32 = 11;
/// Dollars that the account begins with.
const CASH: i64 = 100_000;

/// What is written to the broker.
#[derive(Debug, Clone)]
pub enum Said {
    Place(Id, Intent),
    Cancel(i32),
    Ask(Question),
}

/// What the broker tells a connection.
#[derive(Debug, Clone)]
pub enum Told {
    Heard(Heard),
    Notice(i32),
    /// An answer, and when it was given.
    Part(Question, Truth, u64),
}

/// A connection, from both ends.
pub struct Link {
    pub run: Run,
    /// The gateway holds the session.
    pub at_broker: bool,
    /// The process holds the socket.
    pub at_process: bool,
    /// Nothing passes, and neither end knows.
    pub frozen: bool,
    /// The gateway said on it that its own link is up.
    told_up: bool,
    last_in: Ms,
    last_out: Ms,
}

/// A record of the exchange and when it was made.
pub struct Fact {
    pub beat: u64,
    pub record: Record,
}

impl Fact {
    /// An order of ours that was taken in, and when.
    pub fn taken(&self) -> Option<(u64, &Order)> {
        match &self.record {
            Record::Accepted { order } if order.client == CLIENT => Some((self.beat, order)),
            _ => None,
        }
    }
}

pub struct Broker {
    pub venue: Venue,
    pub links: Vec<Link>,
    pub facts: Vec<Fact>,
    /// False while the gateway is away.
    pub gateway: bool,
    /// The account as the gateway remembers it while its own link to the broker is down.
    pub stale: Option<Account>,
    /// Orders that the gateway holds until its link is back.
    pub held: Vec<(Id, Intent)>,
    /// What it could not tell meanwhile.
    pub withheld: Vec<Told>,
    pub by_hand: i32,
    /// Shares and dollars that came or went without a trade: splits, transfers, interest.
    pub booked: BTreeMap<Symbol, Quantity>,
    pub booked_cash: Money,
}

fn market(seed: u64, at: protocol::Timestamp) -> Market {
    let symbols: Vec<Symbol> = (0..crate::world::SYMBOLS.len()).map(symbol).collect();
    Market::Synthetic(Synthetic::new(&symbols, seed, 1, at))
}

impl Broker {
    pub fn new(seed: u64) -> Self {
        let mut account = Account::default();
        let opening = Venue::opening(CASH.into(), begin(seed));
        account.apply(&opening);
        Self {
            venue: Venue::new(market(seed, begin(seed)), account, begin(seed)),
            links: Vec::new(),
            facts: vec![Fact {
                beat: 0,
                record: opening,
            }],
            gateway: true,
            stale: None,
            held: Vec::new(),
            withheld: Vec::new(),
            by_hand: 0,
            booked: BTreeMap::new(),
            booked_cash: Money::ZERO,
        }
    }

    /// The session that orders, if there is one.
    pub fn session(&self) -> Option<Conn> {
        self.links.iter().position(|link| link.at_broker)
    }

    /// The account as the gateway tells it.
    pub fn shown(&self) -> &Account {
        self.stale.as_ref().unwrap_or_else(|| self.venue.account())
    }

    /// True when the broker has, or had, the order of a decision.
    pub fn is_known_to_broker(&self, id: &Id) -> bool {
        let account = self.venue.account();
        let ours = |order: &Order| order.ticket.reference == id.as_str();
        account.open.values().chain(account.completed.values()).any(ours)
            || self.held.iter().any(|(held, _)| held == id)
    }

    /// What the account holds, and its cash.
    pub fn holdings(&self) -> (BTreeMap<Symbol, Quantity>, Money) {
        let account = self.venue.account();
        let positions = account.positions.iter();
        let mut held: BTreeMap<_, _> = positions
            .map(|(symbol, position)| (*symbol, position.quantity))
            .collect();
        for (symbol, shares) in &self.booked {
            *held.entry(*symbol).or_default() += shares;
        }
        held.retain(|_, shares| !shares.is_zero());
        (held, account.cash + self.booked_cash)
    }

    /// An answer of the gateway, with what was booked without a trade.
    fn part(&self, question: Question) -> Truth {
        let mut part = answers::part(question, self.shown(), self.venue.valuation().equity());
        if question == Question::Positions {
            for (symbol, shares) in &self.booked {
                let none = Holding {
                    quantity: Quantity::ZERO,
                    average_cost: Money::ZERO,
                };
                part.positions.entry(*symbol).or_insert(none).quantity += shares;
            }
            part.positions.retain(|_, holding| !holding.quantity.is_zero());
        }
        part.cash = part.cash.map(|cash| cash + self.booked_cash);
        part
    }
}

impl World {
    /// Opens a connection, unless the client id is taken.
    pub fn connect(&mut self, run: Run) -> Option<Conn> {
        if !self.broker.gateway || self.broker.session().is_some() {
            return None;
        }
        self.broker.links.push(Link {
            run,
            at_broker: true,
            at_process: true,
            frozen: false,
            told_up: false,
            last_in: self.now,
            last_out: self.now,
        });
        let conn = self.broker.links.len() - 1;
        // A gateway without its link may tell a newcomer so, or nothing.
        if self.broker.stale.is_none() {
            self.told(conn, Told::Notice(2158));
        } else if self.chance.one_in(2) {
            self.told(conn, Told::Notice(1100));
        } else {
            self.count("outage that a newcomer was not told of");
        }
        Some(conn)
    }

    /// Writes to the broker. False when the process knows that its connection is gone.
    pub fn write(&mut self, conn: Conn, said: Said) -> bool {
        let delay = self.delay();
        let link = &mut self.broker.links[conn];
        if !link.at_process {
            return false;
        }
        link.last_in = link.last_in.max(self.now + delay);
        if !link.frozen {
            let at = link.last_in;
            self.at(at, Event::ToBroker(conn, said));
        }
        true
    }

    /// Tells one connection something.
    pub fn told(&mut self, conn: Conn, told: Told) {
        let delay = self.delay();
        let link = &mut self.broker.links[conn];
        link.told_up |= matches!(told, Told::Notice(1101 | 1102 | 2104 | 2158));
        if link.at_broker && !link.frozen {
            link.last_out = link.last_out.max(self.now + delay);
            let at = link.last_out;
            self.at(at, Event::ToProcess(conn, told));
        }
    }

    /// The connection breaks: both ends learn it, each in its own time.
    pub fn break_link(&mut self, conn: Conn, frozen: bool) {
        self.broker.links[conn].frozen = frozen;
        let most = if frozen { 9_000 } else { 2_000 };
        let (broker, process) = (self.chance.between(0, most), self.chance.between(0, most));
        self.after(broker, Event::LetGo(conn));
        self.after(process, Event::Learn(conn));
    }

    /// The process is gone or has closed its end: what it wrote arrives first, unless the end was rude.
    pub fn hang_up(&mut self, conn: Conn, rude: bool) {
        let link = &mut self.broker.links[conn];
        link.at_process = false;
        let written = if rude {
            self.now
        } else {
            link.last_in.max(self.now)
        };
        let later = self.chance.between(0, 800);
        self.at(written + later, Event::LetGo(conn));
    }

    pub fn let_go(&mut self, conn: Conn) {
        self.broker.links[conn].at_broker = false;
    }

    pub fn learn(&mut self, conn: Conn) {
        let link = &mut self.broker.links[conn];
        if std::mem::take(&mut link.at_process) {
            let run = link.run;
            self.hear(run, crate::process::Input::LinkEnded);
        }
    }

    /// Something written arrives at the gateway.
    pub fn on_said(&mut self, conn: Conn, said: Said) {
        let link = &self.broker.links[conn];
        if !link.at_broker || link.frozen {
            if matches!(said, Said::Place(..)) {
                self.count("order lost on the wire");
            }
            return;
        }
        match said {
            Said::Ask(question) => {
                let part = self.broker.part(question);
                self.told(conn, Told::Part(question, part, self.beat));
            }
            Said::Cancel(order_id) if self.broker.stale.is_none() => {
                self.exchange(Deed::Cancel {
                    client: CLIENT,
                    order_id,
                });
            }
            Said::Cancel(_) => self.count("cancellation lost in an outage"),
            Said::Place(id, intent) => {
                let Link { run, told_up, .. } = self.broker.links[conn];
                if !told_up {
                    let text = format!("execution {run} ordered before it was told that the link is up");
                    self.evidence.discord.push(text);
                }
                self.on_order(id, intent);
                self.point(run, Point::OrderArrived);
            }
        }
    }

    /// Lets the exchange do something, and tells what follows.
    pub fn exchange(&mut self, deed: Deed) {
        let at = self.market_time();
        for output in self.broker.venue.step(at, deed) {
            match output {
                Output::Tick(tick) => self.feed.ticks.push(tick),
                Output::Bar(symbol, bar) => self.feed.bars.push((symbol, bar)),
                Output::Record(record) => self.on_record(record),
                Output::Refused {
                    client: CLIENT,
                    order_id,
                    why,
                } => self.on_refused(order_id, &why),
                Output::Refused { .. } => {}
            }
        }
    }

    fn on_refused(&mut self, order_id: i32, why: &Refusal) {
        let code = match why {
            Refusal::UsedId | Refusal::Mismatch => 103,
            Refusal::Filled => 104,
            Refusal::UnknownOrder => 10147,
            Refusal::Ended => 10148,
            _ => 201,
        };
        self.say(heard("", order_id, 0, News::Error(code, format!("{why:?}"))));
    }

    fn on_record(&mut self, record: Record) {
        self.tell(|| format!("broker: {}", answers::words(&record)));
        let beat = self.beat;
        self.broker.facts.push(Fact {
            beat,
            record: record.clone(),
        });
        match &record {
            Record::Accepted { order } if order.client == CLIENT => {
                let (status, text) = match order.status {
                    Status::Rejected => (BrokerStatus::Rejected, "Inactive"),
                    _ => (BrokerStatus::Working, "Submitted"),
                };
                let news = News::Status(status, Some(Quantity::ZERO), text.to_owned());
                self.say(heard(
                    &order.ticket.reference,
                    order.order_id,
                    order.perm_id,
                    news,
                ));
            }
            Record::Filled { fill } if !fill.reference.is_empty() => self.tell_fill(fill),
            Record::Ended { perm_id, .. } => {
                let ended = self.broker.venue.account().completed.get(perm_id);
                let Some(order) = ended.filter(|order| order.client == CLIENT) else {
                    return;
                };
                let (order_id, perm_id, filled) = (order.order_id, order.perm_id, order.filled);
                self.say(heard(
                    "",
                    order_id,
                    perm_id,
                    News::Status(BrokerStatus::Cancelled, Some(filled), "Cancelled".into()),
                ));
                self.say(heard("", order_id, 0, News::Error(202, "Order Canceled".into())));
            }
            Record::Corrected { number, .. } => {
                let fills = &self.broker.venue.account().fills;
                let fill = fills.iter().find(|fill| fill.number == *number).cloned();
                if let Some(fill) = fill.filter(|fill| fill.client == CLIENT) {
                    self.tell_fill(&fill);
                }
            }
            _ => {}
        }
    }

    fn tell_fill(&mut self, fill: &VenueFill) {
        let execution = answers::execution(fill, None);
        let (order_id, perm_id) = (fill.order_id, fill.perm_id);
        let news = News::Execution(execution.symbol, execution.fill.clone());
        self.say(heard(&fill.reference, order_id, perm_id, news));
        self.say(heard(
            "",
            order_id,
            perm_id,
            News::Status(BrokerStatus::Filled, Some(fill.filled), "Filled".into()),
        ));
        let commission = News::Commission(execution.fill.execution_id, fill.commission);
        self.say(heard("", 0, 0, commission));
        if let Some(conn) = self.broker.session() {
            let run = self.broker.links[conn].run;
            self.point(run, Point::Filled);
        }
    }

    /// Tells the session of an order, now and then twice, late or not at all.
    pub fn say(&mut self, news: Heard) {
        let told = Told::Heard(news);
        if self.broker.stale.is_some() {
            self.broker.withheld.push(told);
            return;
        }
        let Some(conn) = self.broker.session() else { return };
        if self.mishap(30) {
            self.count("news of an order lost");
            return;
        }
        if self.mishap(20) {
            self.count("news of an order told twice");
            self.told(conn, told.clone());
        }
        if self.mishap(30) {
            self.count("news of an order told late");
            let ms = self.chance.between(500, 8_000);
            self.after(ms, Event::ToProcess(conn, told));
        } else {
            self.told(conn, told);
        }
    }
}

pub fn heard(order_ref: &str, order_id: i32, permanent_id: i64, news: News) -> Heard {
    Heard {
        order_ref: order_ref.to_owned(),
        order_id,
        permanent_id,
        news,
    }
}
