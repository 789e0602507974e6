//! Execution's mind: signals, quotes, broker events and commands in; records for the ledger, cancellations, refusals
//! and answers out. It holds no order that the ledger does not know: an order is sent because its intent was appended.

mod ask;
mod broker;
mod cancel;
mod command;
mod compare;
mod decide;
mod flatten;
mod garbled;
mod inactive;
mod incident;
mod limit;
mod message;
mod opinion;
mod others;
mod silence;
mod unsent;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::SignedDuration;
use protocol::decision::{Alert, Check, Level, Refusal};
use protocol::ledger::{Entry, Kill, Mode, OrderChange, OrderEvent, Reason, Record, TradingState};
use protocol::market::{Phase, Quote, Session};
use protocol::settings::{Risk, Settings};
use protocol::subject::filter;
use protocol::{Hash, Id, Price, Symbol, Timestamp};

use crate::market::clock::LIVE_SECONDS_MAX;
use crate::portfolio::{LedgerFault, Portfolio};
use crate::restart;
use crate::risk::{Look, Refused};

use cancel::Requests;
use compare::Comparison;
use decide::number_intents;
use garbled::Spoilt;
use incident::Noticed;
use limit::Standing;
pub use message::{Ask, Draft, Garbled, Heard, Input, News, Output, Unclear};
use opinion::Opinion;
use others::Foreign;
use unsent::Stop;

/// Seconds by which what is told in a live market may be ahead of the clock: a wrong time must not stop the day.
const AHEAD_SECONDS_MAX: i64 = 60;
/// Who asks through the page.
pub const BY_WEB: &str = "web";
/// Who latched the kill switch, where no operator's command did.
const KILLED_BY_MACHINE: &str = "machine";
/// Seconds of market time between an exit that failed and the next one.
const EXIT_RETRY_SECONDS: i64 = 15;

/// The state machine.
#[derive(Debug, Clone)]
pub struct Trader {
    settings: Settings,
    config_hash: Hash,
    /// The fold, which nothing but records changes.
    pub portfolio: Portfolio,
    /// Market clock: the latest instant that the market told.
    now: Timestamp,
    /// What the market-data stage last said of the market's hours, and when it was published, wall clock.
    session: Option<(Session, Timestamp)>,
    gate: Option<String>,
    killed_here: bool,
    repeated: u64,
    quotes: BTreeMap<Symbol, Quote>,
    /// The latest signal of each symbol.
    opinions: BTreeMap<Symbol, Opinion>,
    prices: BTreeMap<Symbol, Price>,
    sent: VecDeque<Timestamp>,
    /// Wall clock when a person was last told that orders would be too many in a minute.
    rate_told: Option<Timestamp>,
    /// Wall clock when each open order of this incarnation was recorded, and when the broker last showed each open exit of
    /// an earlier one.
    sent_wall: BTreeMap<Id, Timestamp>,
    next_order_id: i32,
    flat_told: bool,
    /// Exits that were refused, and told, since an exit of their symbol went out: each cause once.
    refused_exits: BTreeSet<(Symbol, Reason, Check)>,
    /// Subjects on which something came that can't be read.
    spoilt: BTreeMap<String, Spoilt>,
    noticed: Noticed,
    standing: Standing,
    /// Operators' orders of the latest step that the last gate stopped.
    stopped: Vec<Stop>,
    requests: Requests,
    comparison: Comparison,
    foreign: Foreign,
}

impl Trader {
    /// Begins with the fold of the ledger so far, the gate closed.
    #[must_use]
    pub fn new(settings: Settings, portfolio: Portfolio) -> Self {
        let config = serde_json::to_vec(&(&settings.entry, &settings.exits, &settings.risk))
            .expect("settings are plain data");
        let next_order_id = portfolio.order_id_max + 1;
        // Until the market speaks, its clock stands where the last decision was made.
        let mut decided: Vec<_> = portfolio
            .orders
            .values()
            .filter(|order| order.order_id != 0)
            .map(|order| order.created_at)
            .collect();
        decided.sort_unstable();
        let now = decided.last().copied().unwrap_or(Timestamp::UNIX_EPOCH);
        let count = decided
            .len()
            .saturating_sub(settings.risk.orders_per_minute_max as usize + 1);
        Self {
            settings,
            config_hash: Hash::of(&config),
            portfolio,
            now,
            session: None,
            gate: Some("broker truth is being loaded".to_owned()),
            killed_here: false,
            repeated: 0,
            quotes: BTreeMap::new(),
            opinions: BTreeMap::new(),
            prices: BTreeMap::new(),
            sent: decided.split_off(count).into(),
            rate_told: None,
            sent_wall: BTreeMap::new(),
            next_order_id,
            flat_told: true,
            refused_exits: BTreeSet::new(),
            spoilt: BTreeMap::new(),
            noticed: Noticed::default(),
            standing: Standing::default(),
            stopped: Vec::new(),
            requests: Requests::default(),
            comparison: Comparison::default(),
            foreign: Foreign::default(),
        }
    }

    /// The broker's next order id raises ours; it never lowers it, so that no id is used twice.
    pub fn raise_order_id(&mut self, next: i32) {
        self.next_order_id = self.next_order_id.max(next);
    }

    /// The limits that it trades by.
    #[must_use]
    pub fn limits(&self) -> &Risk {
        &self.settings.risk
    }

    /// Why nothing may be sent, if so.
    #[must_use]
    pub fn gate(&self) -> Option<&str> {
        self.gate.as_deref()
    }

    /// Why nothing may be sent at this moment, if so: the gate, the gateway's daily restart, or that no reading that
    /// began after it was compared.
    #[must_use]
    pub fn closed(&self, wall: Timestamp) -> Option<&str> {
        let restart = || match self.restart_over_at(wall)? {
            over if wall < over => Some(restart::REASON),
            _ => self
                .is_outdated(self.comparison.began, wall)
                .then_some(restart::NOT_COMPARED),
        };
        self.gate.as_deref().or_else(restart)
    }

    /// True when a reading that began then does not tell what the gateway's latest restart left. A reading that is yet
    /// to begin does not either: the clock was set back since, and says no more which of them came first.
    #[must_use]
    pub fn is_outdated(&self, began: Timestamp, wall: Timestamp) -> bool {
        let over = self.restart_over_at(wall).filter(|over| *over <= wall);
        over.is_some_and(|over| began < over || wall < began)
    }

    fn restart_over_at(&self, wall: Timestamp) -> Option<Timestamp> {
        restart::over_at(&self.settings.broker, self.is_live(), wall)
    }

    /// True when the account has real money.
    fn is_live(&self) -> bool {
        let identity = self.portfolio.identity.as_ref();
        identity.is_some_and(|identity| identity.mode == Mode::Live)
    }

    /// How often a decision was made again that has its order already, and refused by that.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Wall clock at the beginning of the latest reading that was compared; 1970 before the first.
    #[must_use]
    pub fn compared_at(&self) -> Timestamp {
        self.comparison.began
    }

    /// True while the local kill switch is latched.
    #[must_use]
    pub fn killed_here(&self) -> bool {
        self.killed_here
    }

    /// A record was appended. Must be told before anything else happens.
    ///
    /// # Errors
    /// When it can't follow what is folded: another writer wrote.
    pub fn applied(
        &mut self,
        sequence: u64,
        hash: &Hash,
        record: &Record,
        wall: Timestamp,
    ) -> Result<(), LedgerFault> {
        self.portfolio.apply(sequence, hash, record)?;
        if let Entry::Intent(intent) = &record.entry {
            self.next_order_id = self.next_order_id.max(intent.order_id + 1);
            self.sent.push_back(record.at);
            while self.sent.len() > self.settings.risk.orders_per_minute_max as usize + 1 {
                self.sent.pop_front();
            }
            self.sent_wall.insert(record.id.clone(), wall);
        }
        Ok(())
    }

    /// True when a record still says something that the fold does not know. One step may say a thing twice, and what
    /// has a write-once subject may be recorded once.
    #[must_use]
    pub fn is_new(&self, draft: &Draft) -> bool {
        let orders = &self.portfolio.orders;
        match &draft.entry {
            Entry::Intent(_) => !orders.contains_key(&draft.id),
            Entry::Order(event) => match &event.change {
                OrderChange::Fill(fill) => !self.portfolio.counted(fill),
                OrderChange::Commission { .. } => true,
                change => orders
                    .get(&event.order)
                    .is_none_or(|order| order.can_record(change)),
            },
            _ => true,
        }
    }

    /// True while any kill switch is latched.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.portfolio.killed || self.killed_here
    }

    /// Takes an input. `wall` is the wall clock, for liveness only.
    pub fn step(&mut self, wall: Timestamp, input: Input) -> Vec<Output> {
        self.stopped.clear();
        let outputs = self.take(wall, input);
        self.note_requests(wall, &outputs);
        outputs
    }

    fn take(&mut self, wall: Timestamp, input: Input) -> Vec<Output> {
        match input {
            Input::Signal(signal) => self.on_signal(wall, &signal),
            Input::Quote(quote) => self.on_quote(wall, quote),
            Input::Session(session, published) => {
                let at = session.at;
                self.could_read(|| filter::SESSION.to_owned());
                self.session = Some((session, published));
                self.see(wall, at);
                Vec::new()
            }
            Input::Broker(heard) => self.on_heard(wall, &heard),
            Input::Truth(truth, pass) => self.on_truth(wall, &truth, pass),
            Input::Ask(ask) => self.on_ask(wall, &ask),
            Input::Unclear(unclear) => ask::refuse(wall, unclear),
            Input::Garbled(garbled) => self.on_garbled(wall, &garbled),
            Input::Gate(gate) => {
                self.gate = gate;
                Vec::new()
            }
            Input::KillHere(latched) => self.on_kill_here(wall, latched),
            Input::Tick => self.on_tick(wall),
        }
    }

    fn on_kill_here(&mut self, wall: Timestamp, latched: bool) -> Vec<Output> {
        self.killed_here = latched;
        if !latched {
            return Vec::new();
        }
        let mut outputs = self.cancel_all("the kill switch is latched");
        if !self.portfolio.killed {
            // Whoever leads next may be on another machine, which has no such file.
            let kill = Kill {
                latched,
                by: KILLED_BY_MACHINE.to_owned(),
                text: "the file KILL is there, or SIGUSR1 was sent".to_owned(),
            };
            outputs.push(Output::Append(Draft {
                id: Id::derive(&["kill-here", &wall.to_string()]),
                at: wall,
                cause: None,
                entry: Entry::Kill(kill),
            }));
        }
        outputs
    }

    fn on_tick(&mut self, wall: Timestamp) -> Vec<Output> {
        let mut outputs = self.silent_orders(wall);
        outputs.extend(self.excess(wall, &BTreeSet::new()));
        outputs.extend(self.costs_unknown(wall));
        outputs.extend(self.left_exits(wall));
        if let Some(command) = self.portfolio.flattening.clone() {
            // It closes all that is held, so nothing is closed twice in one step.
            self.standing.forget();
            outputs.extend(self.flatten_on(wall, &command));
        }
        outputs.extend(self.wished_exits(wall));
        outputs.extend(self.cancel_again(wall, &outputs));
        number_intents(&mut outputs);
        outputs
    }

    /// Takes in a market time that was told. The clock never goes back, so in a live market one that is far ahead of the
    /// session's own time counts no further: it would make all that is told in time look old.
    fn see(&mut self, wall: Timestamp, at: Timestamp) {
        let latest = self
            .live(wall)
            .map(|live| live.max(wall) + SignedDuration::from_secs(AHEAD_SECONDS_MAX));
        self.now = self.now.max(latest.map_or(at, |latest| at.min(latest)));
    }

    /// What the session told of the market clock, run on with the wall clock since.
    fn run_on(&self, wall: Timestamp) -> Option<Timestamp> {
        let (session, published) = self.session.as_ref()?;
        let since = wall.duration_since(*published).max(SignedDuration::ZERO);
        session.at.checked_add(since).ok()
    }

    /// The same where the market clock was told to be the wall's, which it then is also while nobody tells it.
    fn live(&self, wall: Timestamp) -> Option<Timestamp> {
        let (session, published) = self.session.as_ref()?;
        let apart = session.at.duration_since(*published).abs();
        let live = session.speed == 1.0 && apart <= SignedDuration::from_secs(LIVE_SECONDS_MAX);
        self.run_on(wall).filter(|_| live)
    }

    /// The market clock, or the wall clock before the market spoke. A live one goes on when the market falls silent, so
    /// that what is done then is of its own day.
    fn now_or(&self, wall: Timestamp) -> Timestamp {
        match self.live(wall) {
            Some(live) => self.now.max(live),
            None if self.now == Timestamp::UNIX_EPOCH => wall,
            None => self.now,
        }
    }

    fn look<'a>(&'a self, wall: Timestamp, symbol: Symbol) -> Look<'a> {
        Look {
            now: self.live_clock(wall),
            portfolio: &self.portfolio,
            others: self.others(),
            settings: &self.settings,
            phase: self.phase(wall),
            gate: self.closed(wall),
            killed_here: self.killed_here,
            quote: self.fresh_quote(wall, symbol),
            prices: &self.prices,
            sent: &self.sent,
        }
    }

    /// Where in the day we are. What the market-data stage said last holds until the change that it foretold: should it
    /// die, nobody tells that one. `Closed` without an end is what it says while it does not know the hours.
    fn phase(&self, wall: Timestamp) -> Option<Phase> {
        let (session, _) = self.session.as_ref()?;
        let now = self.run_on(wall)?.max(self.now);
        let holds = match session.next_change {
            Some(change) => now < change,
            None => session.phase != Phase::Closed,
        };
        holds.then_some(session.phase)
    }

    /// The newest quote of a symbol, unless it is too old.
    fn fresh_quote(&self, wall: Timestamp, symbol: Symbol) -> Option<&Quote> {
        let quote = self.quotes.get(&symbol)?;
        let limit = SignedDuration::from_secs(i64::from(self.settings.market.stale_after_seconds));
        (self.live_clock(wall).duration_since(quote.at) <= limit).then_some(quote)
    }

    /// The market clock, for ages: in a live market it goes on when the market falls silent; a replay has its own time.
    fn live_clock(&self, wall: Timestamp) -> Timestamp {
        let live = wall.duration_since(self.now).abs() <= SignedDuration::from_secs(LIVE_SECONDS_MAX);
        if live {
            self.now.max(wall)
        } else {
            self.now_or(wall)
        }
    }

    fn event(&self, at: Timestamp, event: OrderEvent) -> Output {
        let id = protocol::subject::event_id(&event.order, &event.change);
        let cause = Some(event.order.clone());
        Output::Append(Draft {
            id,
            at,
            cause,
            entry: Entry::Order(event),
        })
    }

    pub(crate) fn alert(
        &self,
        wall: Timestamp,
        kind: &str,
        level: Level,
        symbol: Option<Symbol>,
        text: String,
    ) -> Output {
        let id = Id::derive(&["alert", kind, &text, &wall.to_string()]);
        Output::Alert(Alert {
            id,
            at: wall,
            cause: None,
            service: "execution".to_owned(),
            kind: kind.to_owned(),
            level,
            symbol,
            text,
        })
    }

    fn refusal(&self, wall: Timestamp, cause: &Id, symbol: Symbol, refused: Refused) -> Output {
        let id = Id::derive(&[
            "refusal",
            cause.as_str(),
            symbol.as_str(),
            &format!("{:?}", refused.check),
        ]);
        let at = self.now_or(wall);
        Output::Refuse(Refusal {
            id,
            at,
            cause: cause.clone(),
            symbol,
            check: refused.check,
            text: refused.text,
        })
    }

    /// What may be traded.
    #[must_use]
    pub fn state(&self) -> TradingState {
        self.portfolio.state
    }
}
