//! What the incarnation that leads decides beside trading: when the broker is read and compared, when the way to it is
//! open, what a start demands, and the last look before an order leaves. Whoever carries it tells it what happened and
//! does what it says, in that order, before it tells the next.

mod memory;
mod second;
mod start;

use std::collections::VecDeque;
use std::time::Duration;

use protocol::decision::{Alert, Level, Refusal, Signal};
use protocol::ledger::{Entry, Intent, Record};
use protocol::market::{Quote, Session};
use protocol::operator::Reply;
use protocol::settings::Settings;
use protocol::{Id, Timestamp};

use crate::gate::{Gate, Moment, Unsent};
use crate::link::{Link, Meaning};
use crate::portfolio::Portfolio;
use crate::reconcile::{self, BrokerExecution, Pass, Truth};
use crate::trader::{Ask, Draft, Garbled, Heard, Input as Step, News, Output, Trader, Unclear};

pub use memory::{Memory, Recall};
use start::Stage;

/// Milliseconds until a reading that must be confirmed, or could not be used, is followed by another.
const AGAIN_MS: u64 = 1_000;
/// Readings of the broker's truth that may fail in a row before this incarnation ends.
const FAILED_READINGS_MAX: u32 = 3;
/// Notices that wait to be taken in, at most: more is a gateway that went mad.
const NOTICES_MAX: usize = 10_000;
/// IB's code for an order id that it has already.
const USED_ID: i32 = 103;

/// What can happen.
#[derive(Debug, Clone)]
pub enum Input {
    /// A model's opinion.
    Signal(Signal),
    /// A newer quote.
    Quote(Quote),
    /// A newer session, and when it was published, wall clock.
    Session(Session, Timestamp),
    /// The broker spoke of an order.
    Order(Heard),
    /// The next of the notices that were heard is taken in.
    Heard,
    /// An operator asks.
    Ask(Ask),
    /// Somebody asked what can't be understood.
    Unclear(Unclear),
    /// A message of the market or of a model can't be read.
    Garbled(Garbled),
    /// The reading of the broker's truth has ended, or failed for this reason.
    Truth(Result<Truth, String>, Pass),
    /// The time of a [`Deed::Look`] has come.
    Look(Pass),
    /// Time passes.
    Tick,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Append the record of a draft ([`Desk::record`]) as this epoch, and tell [`Trader::applied`]. If it is an intent,
    /// send it once when [`Desk::pass`] lets it.
    Append(u64, Draft),
    /// Ask the broker to cancel the order with this id.
    Cancel(i32),
    /// Tell that an order was not made.
    Refuse(Refusal),
    /// Tell a person.
    Alert(Alert),
    /// Answer the asker with what [`Trader::answer`] makes of it then.
    Reply(Reply),
    /// Read the broker's truth beside all else. There is one reading at a time.
    Read(Pass),
    /// Tell [`Input::Look`] in so many milliseconds, in place of the one that is awaited for this pass.
    Look(Pass, u64),
    /// The start is over: listen to everything from now on.
    Trade,
    /// It is over.
    End(End),
}

/// Why an incarnation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Doubt: the next incarnation reads the truth.
    Again(String),
    /// Two things that must agree do not: a person must look before anything is ordered again.
    Contradiction(String),
}

/// A notice of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// IB's code.
    pub code: i32,
    /// The gateway's words.
    pub text: String,
    /// The order that it is about; 0 for none.
    pub order_id: i32,
}

/// The state machine.
#[derive(Debug)]
pub struct Desk {
    /// Who decides the orders.
    pub trader: Trader,
    gate: Gate,
    link: Link,
    heard: VecDeque<(Meaning, Notice)>,
    stage: Stage,
    /// The highest order id that was ever about to be sent.
    order_id_max: i32,
    /// True while a reading is under way.
    reading: bool,
    /// Wall clock when the last reading was asked for.
    began: Timestamp,
    /// What was asked for while a reading was under way, which may have missed it. A second pass is due as soon as that
    /// has ended: behind the running ones, it would wait for ever.
    due: Option<Pass>,
    /// Wall clock when the first reading began that was compared since the link became whole.
    fresh: Option<Timestamp>,
    failed_readings: u32,
    reconcile_ms: u64,
    second_pass_ms: u64,
    opening_gap_ms: u64,
}

impl Desk {
    /// Begins with the fold of the ledger, what the witness remembers of order ids, and the gateway's next one.
    #[must_use]
    pub fn new(settings: Settings, portfolio: Portfolio, order_id_max: i32, next_order_id: i32) -> Self {
        let broker = &settings.broker;
        let reconcile_ms = 1_000 * u64::from(broker.reconcile_seconds.max(1));
        let second_pass_ms = 1_000 * u64::from(broker.second_pass_seconds);
        let opening_gap_ms = u64::from(broker.opening_gap_ms);
        let mut trader = Trader::new(settings, portfolio);
        trader.raise_order_id(order_id_max + 1);
        trader.raise_order_id(next_order_id);
        let used_max = order_id_max.max(trader.portfolio.order_id_max);
        Self {
            gate: Gate::new(trader.limits().clone(), used_max, &trader.portfolio),
            trader,
            link: Link::default(),
            heard: VecDeque::new(),
            stage: Stage::default(),
            order_id_max,
            reading: false,
            began: Timestamp::UNIX_EPOCH,
            due: None,
            fresh: None,
            failed_readings: 0,
            reconcile_ms,
            second_pass_ms,
            opening_gap_ms,
        }
    }

    /// Hears a notice. It counts for what may leave from now on; what follows from it is said when it is taken in.
    pub fn hear(&mut self, notice: Notice) {
        if self.heard.len() >= NOTICES_MAX {
            return self.cut(format!("more than {NOTICES_MAX} notices wait"));
        }
        let meaning = self.link.hear(notice.code, &notice.text);
        if meaning != Meaning::Nothing {
            self.fresh = None;
        }
        if meaning != Meaning::Nothing || notice.order_id > 0 {
            self.heard.push_back((meaning, notice));
        }
    }

    /// The connection to the gateway can't be used any more.
    pub fn cut(&mut self, why: String) {
        self.link.end(why);
    }

    /// True when [`Input::Heard`] has something to take in. It comes before whatever else happened.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty() || self.link.ended().is_some()
    }

    /// Why the way to the broker is closed, if so: a sentence for people.
    #[must_use]
    pub fn closed(&self) -> Option<String> {
        self.link.closed()
    }

    /// Takes an input. `latched` says whether the kill switch of this machine is, by a look right now.
    pub fn step(&mut self, wall: Timestamp, latched: bool, input: Input) -> Vec<Deed> {
        self.set_gate(wall);
        let mut deeds = Vec::new();
        // The trader goes on before that is in the ledger: it knows that the switch is latched, and decides by that.
        if self.stage == Stage::Trading && latched != self.trader.killed_here() {
            deeds = self.trade(wall, Step::KillHere(latched));
        }
        deeds.extend(match input {
            Input::Signal(signal) => self.trade(wall, Step::Signal(signal)),
            Input::Quote(quote) => self.trade(wall, Step::Quote(quote)),
            Input::Session(session, published) => self.trade(wall, Step::Session(session, published)),
            Input::Ask(ask) => self.trade(wall, Step::Ask(ask)),
            Input::Unclear(unclear) => self.trade(wall, Step::Unclear(unclear)),
            Input::Garbled(garbled) => self.trade(wall, Step::Garbled(garbled)),
            Input::Order(heard) => self.on_order(wall, heard),
            Input::Heard => self.on_heard(wall),
            Input::Truth(truth, pass) => self.on_reading(wall, truth, pass),
            Input::Look(pass) => self.look(wall, pass),
            Input::Tick => self.on_tick(wall),
        });
        self.set_gate(wall);
        deeds
    }

    /// The record of a draft, and what must be on disk beside the ledger before it counts. `None` when it says nothing
    /// that is not known.
    pub fn record(&mut self, epoch: u64, draft: Draft) -> Option<(Record, Memory)> {
        if !self.trader.is_new(&draft) {
            return None;
        }
        let mut record = draft.record(epoch);
        let portfolio = &self.trader.portfolio;
        record.previous_hash = portfolio.hash.clone();
        if let Entry::Intent(intent) = &record.entry {
            self.order_id_max = self.order_id_max.max(intent.order_id);
        }
        let memory = Memory {
            sequence: portfolio.sequence,
            hash: portfolio.hash.clone(),
            order_id_max: self.order_id_max,
        };
        Some((record, memory))
    }

    /// The last look, right before an order is written to the broker. `latched` as in [`Desk::step`]; `waited` is the
    /// wall time since the decision. Every notice that is there must have been heard.
    ///
    /// # Errors
    /// What follows when it may not leave. Nothing of it was sent.
    pub fn pass(
        &mut self,
        wall: Timestamp,
        latched: bool,
        waited: Duration,
        id: &Id,
        at: Timestamp,
        intent: &Intent,
    ) -> Result<(), Vec<Deed>> {
        let link = self.link.closed();
        let moment = Moment {
            at,
            waited,
            killed: latched || self.trader.killed(),
            closed: self.trader.closed(wall).or(link.as_deref()),
            portfolio: &self.trader.portfolio,
            others: self.trader.others(),
        };
        let Err(why) = self.gate.pass(&moment, id, intent) else {
            return Ok(());
        };
        let unsent = Unsent {
            id: id.clone(),
            intent: intent.clone(),
            why,
        };
        let ends = self.link.ended().is_some();
        let outputs = self.trader.never_sent(wall, &unsent, ends);
        let mut deeds = self.deeds(outputs);
        // What can't be sent by this incarnation, the next one may decide anew.
        deeds.extend(self.link.ended().map(again));
        Err(deeds)
    }

    fn trade(&mut self, wall: Timestamp, step: Step) -> Vec<Deed> {
        let outputs = self.trader.step(wall, step);
        self.deeds(outputs)
    }

    fn deeds(&self, outputs: Vec<Output>) -> Vec<Deed> {
        let epoch = self.trader.portfolio.epoch;
        let deed = |output| match output {
            Output::Append(draft) => Deed::Append(epoch, draft),
            Output::Cancel(order_id) => Deed::Cancel(order_id),
            Output::Refuse(refusal) => Deed::Refuse(refusal),
            Output::Alert(alert) => Deed::Alert(alert),
            Output::Reply(reply) => Deed::Reply(reply),
        };
        outputs.into_iter().map(deed).collect()
    }

    fn alert(&self, wall: Timestamp, kind: &str, level: Level, text: String) -> Vec<Deed> {
        self.deeds(vec![self.trader.alert(wall, kind, level, None, text)])
    }

    /// Opens or closes the trader's gate by the link. Until the start is over it stays closed.
    fn set_gate(&mut self, wall: Timestamp) {
        let closed = self.link.closed();
        if self.stage == Stage::Trading && self.trader.gate() != closed.as_deref() {
            // The gate alone asks for nothing.
            drop(self.trader.step(wall, Step::Gate(closed)));
        }
    }

    fn on_order(&mut self, wall: Timestamp, heard: Heard) -> Vec<Deed> {
        let mut told = Truth::default();
        if let News::Execution(symbol, fill) = &heard.news {
            told.executions.push(BrokerExecution {
                order_ref: heard.order_ref.clone(),
                symbol: *symbol,
                fill: fill.clone(),
            });
        } else if reconcile::is_unwritten(&self.trader.portfolio, &heard.order_ref) {
            return vec![unwritten(&heard.order_ref)];
        }
        if let Some(end) = self.contradiction(&told) {
            return vec![end];
        }
        let end = self.used_id(&heard);
        let needs_reading = self.trader.needs_reading(&heard);
        let mut deeds = self.trade(wall, Step::Broker(heard));
        if needs_reading {
            deeds.extend(self.read(wall, Pass::Running));
        }
        deeds.extend(end);
        deeds
    }

    /// The end, when the broker tells what can't be: an order that only another copy can have sent, or an execution with
    /// the id of another one.
    fn contradiction(&self, truth: &Truth) -> Option<Deed> {
        let portfolio = &self.trader.portfolio;
        if let Some(order_ref) = reconcile::unwritten(portfolio, truth) {
            return Some(unwritten(order_ref));
        }
        let mut executions = truth.executions.iter();
        let another = executions.find(|one| reconcile::is_another(portfolio, one))?;
        let fill = &another.fill;
        let text = format!(
            "the broker tells execution {} as {:?} {} {} of order `{}`, and LEDGER has another one of that id: this is another gateway, or its account began anew; use another state folder",
            fill.execution_id, fill.side, fill.quantity, another.symbol, another.order_ref
        );
        Some(Deed::End(End::Contradiction(text)))
    }

    /// The end, when the broker knows the id of an order of this incarnation from another one: somebody else sends, or
    /// its ids went back. Who connects anew is told where they are.
    fn used_id(&self, heard: &Heard) -> Option<Deed> {
        let portfolio = &self.trader.portfolio;
        let mut ours = portfolio
            .orders
            .values()
            .filter(|order| order.order_id != 0 && order.epoch == portfolio.epoch);
        let is_used = matches!(heard.news, News::Error(USED_ID, _))
            && ours.any(|order| order.order_id == heard.order_id);
        is_used.then(|| again(format!("the broker has the order id {} already", heard.order_id)))
    }

    fn on_heard(&mut self, wall: Timestamp) -> Vec<Deed> {
        let Some((meaning, notice)) = self.heard.pop_front() else {
            return self.link.ended().map(again).into_iter().collect();
        };
        match meaning {
            Meaning::Closed(reason) => {
                let text = format!("{reason}; nothing is ordered until it is whole and compared");
                self.alert(wall, "broker-link", Level::Critical, text)
            }
            // What was compared since needs no other reading.
            Meaning::Whole if self.link.closed().is_none() => Vec::new(),
            Meaning::Whole => self.read(wall, Pass::Running).into_iter().collect(),
            Meaning::Nothing => {
                let heard = Heard {
                    order_ref: String::new(),
                    order_id: notice.order_id,
                    permanent_id: 0,
                    news: News::Error(notice.code, notice.text),
                };
                self.on_order(wall, heard)
            }
            // What is told before it is taken in first.
            Meaning::End => Vec::new(),
        }
    }

    fn on_tick(&mut self, wall: Timestamp) -> Vec<Deed> {
        let mut deeds = self.trade(wall, Step::Tick);
        if self.trader.is_outdated(self.began, wall) {
            deeds.extend(self.read(wall, Pass::Running));
        }
        deeds
    }

    /// Begins a reading, unless one is under way. That one may miss what asked for this; so another follows it.
    fn read(&mut self, wall: Timestamp, pass: Pass) -> Option<Deed> {
        if self.reading {
            self.due = self.due.max(Some(pass));
            return None;
        }
        self.reading = true;
        self.began = wall;
        self.link.read();
        Some(Deed::Read(pass))
    }

    fn look(&mut self, wall: Timestamp, pass: Pass) -> Vec<Deed> {
        match pass {
            // While a link is down, or not known to be up, the gateway tells what it remembers, and nothing may be called
            // absent by that.
            Pass::Second if !self.link.is_whole() => vec![Deed::Look(pass, AGAIN_MS)],
            Pass::Second if self.fresh.is_none() => {
                let next = Deed::Look(pass, self.second_pass_ms.max(AGAIN_MS));
                std::iter::once(next)
                    .chain(self.read(wall, Pass::Running))
                    .collect()
            }
            Pass::First | Pass::Second => self.read(wall, pass).into_iter().collect(),
            Pass::Running => {
                let next = Deed::Look(pass, self.reconcile_ms);
                std::iter::once(next).chain(self.read(wall, pass)).collect()
            }
        }
    }

    fn on_reading(&mut self, wall: Timestamp, truth: Result<Truth, String>, pass: Pass) -> Vec<Deed> {
        self.reading = false;
        let truth = truth.map(|truth| Truth {
            began: self.began,
            whole_since: None,
            ..truth
        });
        if self.stage != Stage::Trading {
            return self.start_reads(wall, truth);
        }
        let mut deeds = self.on_truth(wall, truth, pass);
        match self.due.take() {
            Some(Pass::Second) => deeds.extend(self.look(wall, Pass::Second)),
            Some(pass) => deeds.push(Deed::Look(pass, AGAIN_MS)),
            None => {}
        }
        deeds
    }

    fn on_truth(&mut self, wall: Timestamp, truth: Result<Truth, String>, pass: Pass) -> Vec<Deed> {
        let truth = match truth {
            Ok(truth) => truth,
            Err(text) => {
                self.failed_readings += 1;
                return if self.failed_readings >= FAILED_READINGS_MAX {
                    vec![again(format!("the broker's truth can't be read: {text}"))]
                } else if pass == Pass::Second {
                    vec![Deed::Look(pass, AGAIN_MS)]
                } else {
                    Vec::new()
                };
            }
        };
        if self.link.is_whole() && self.link.missed() {
            return self.read(wall, pass).into_iter().collect();
        }
        if pass == Pass::Second && !self.link.is_whole() {
            return vec![Deed::Look(pass, AGAIN_MS)];
        }
        if let Some(end) = self.contradiction(&truth) {
            return vec![end];
        }
        self.failed_readings = 0;
        let truth = self.compared(truth);
        // Between the two looks the gateway had the time to tell what it held.
        let early_ms = self.second_early_ms();
        let early = early_ms.filter(|_| pass == Pass::Second);
        let pass = if early.is_some() { Pass::Running } else { pass };
        // While its link is down the gateway tells what it remembers, which says nothing of what it does not tell.
        let lost_exit = self.trader.lost_exit(&truth).filter(|_| self.link.is_whole());
        let mut deeds = self.trade(wall, Step::Truth(truth, pass));
        if self.trader.wants_another_look() {
            deeds.push(Deed::Look(Pass::Running, AGAIN_MS));
        }
        deeds.extend(early.map(|ms| Deed::Look(Pass::Second, ms)));
        deeds.extend(lost_exit.map(again));
        deeds
    }
}

fn again(why: impl Into<String>) -> Deed {
    Deed::End(End::Again(why.into()))
}

fn unwritten(order_ref: &str) -> Deed {
    Deed::End(End::Contradiction(format!(
        "the broker has order {order_ref}, which this pipeline sent and LEDGER does not have: this is an older backup, or another copy of it traded; bring the newest LEDGER back, or begin with an empty state folder"
    )))
}
