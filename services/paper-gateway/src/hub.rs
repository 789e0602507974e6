//! The one task that owns the exchange: it takes requests in order, lets the market run, keeps what happened,
//! and only then tells the clients.

mod account;
mod binding;
mod cancel;
mod clerk;
mod contracts;
pub(crate) mod depth;
mod executions;
mod faults;
mod history;
mod late;
pub(crate) mod lines;
pub(crate) mod lookup;
mod news;
mod order_frames;
mod orders;
mod other;
mod outages;
mod pace;
mod prices;
mod quotes;
mod readers;
mod statistics;
#[cfg(test)]
mod tests;
mod tickets;
mod ticks;
mod trouble;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::venue::account::Account;
use engine::venue::bars::Bar;
use engine::venue::past::LateBooks;
use engine::venue::record::Record;
use engine::venue::{Input, Output, Venue};
use protocol::{Symbol, Timestamp};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::contracts::Directory;
use crate::fault::{Line, Weather};
use crate::hub::lines::DataRules;
use crate::journal::Journal;
use crate::line::DataType;
use crate::message::account::{CurrentTime, CurrentTimeInMillis, ManagedAccounts, NextValidId, UserInfo};
use crate::outbox::Outbox;
use crate::peer::{NO_REQUEST, Peer};
use crate::request::{Asked, Request};

use faults::Greeting;
use news::News;
use trouble::Trouble;

/// Most requests of all clients that wait for the hub; then their sockets wait.
pub(crate) const COMMANDS_MAX: usize = 1024;
/// Most requests that are answered in one turn, with one wait for the disk between them all.
const TURN_COMMANDS_MAX: usize = 64;
/// Interval of everything that is told once a second.
const SECOND: Duration = Duration::from_secs(1);
/// Seconds between two rounds of unasked account values.
const ACCOUNT_SECONDS: u64 = 180;

/// What the connections tell the hub.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client finished its greeting.
    Started {
        session: u64,
        client: i32,
        outbox: Outbox,
    },
    /// A client asks.
    Request { session: u64, asked: Asked },
    /// A connection ended.
    Gone { session: u64 },
    /// A person or a test asks for a fault.
    Control {
        line: Box<Line>,
        answer: oneshot::Sender<Value>,
    },
}

/// The exchange and everybody connected to it.
#[derive(Debug)]
pub(crate) struct Hub {
    venue: Venue,
    /// The account as far as clients have been told: the venue's, one record at a time.
    told: Account,
    journal: Journal,
    clock: Clock,
    name: String,
    directory: Directory,
    peers: BTreeMap<u64, Peer>,
    /// What clients know of each stock's quote.
    quotes: quotes::Quotes,
    /// Five-second bars of the source bar in progress: a replay tells them to whoever asks later.
    row_bars: BTreeMap<Symbol, Vec<Bar>>,
    rules: DataRules,
    clerk: clerk::Clerk,
    late: LateBooks,
    late_told: BTreeMap<Symbol, quotes::Told>,
    /// The time on disk: what is told is not later.
    mark: Option<Timestamp>,
    second: Instant,
    seconds: u64,
    /// When the last price was asked for.
    asked: Instant,
    /// Since when a client holds the replay up.
    held_since: Option<Instant>,
    ended: bool,
    drained: Arc<Notify>,
    /// Answers to the control port that wait for the disk.
    answers: Vec<(oneshot::Sender<Value>, Value)>,
    /// What goes wrong on demand; `None` where nothing can.
    trouble: Option<Box<Trouble>>,
}

impl Hub {
    pub(crate) fn new(
        venue: Venue,
        journal: Journal,
        clock: Clock,
        name: String,
        (rules, late_seconds): (DataRules, i64),
        drained: Arc<Notify>,
    ) -> Self {
        Self {
            told: venue.account().clone(),
            directory: Directory::of(venue.market()),
            clerk: clerk::Clerk::new(venue.market().clone()),
            venue,
            journal,
            clock,
            name,
            peers: BTreeMap::new(),
            quotes: quotes::Quotes::new(),
            row_bars: BTreeMap::new(),
            rules,
            late: LateBooks::new(late_seconds),
            late_told: BTreeMap::new(),
            mark: None,
            second: Instant::now() + SECOND,
            seconds: 0,
            asked: Instant::now(),
            held_since: None,
            ended: false,
            drained,
            answers: Vec::new(),
            trouble: None,
        }
    }

    /// Runs until told to stop. An error means that the account could not be kept: nothing may go on.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
    ) -> Result<()> {
        let drained = self.drained.clone();
        let mut turn = Vec::new();
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                found = self.clerk.found() => self.tell_found(found.context("a question about the past failed")?)?,
                count = commands.recv_many(&mut turn, TURN_COMMANDS_MAX) => {
                    if count == 0 {
                        break;
                    }
                    for command in turn.drain(..) {
                        self.handle(command)?;
                    }
                }
                () = drained.notified(), if self.waits_for_readers() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
            self.answer_readers()?;
            self.run_market()?;
            if Instant::now() >= self.second {
                self.tell_second()?;
            }
            self.meet_faults()?;
            self.look_on();
            self.flush()?;
            self.drop_late();
        }
        self.journal.note_clock(self.venue.now())
    }

    /// When there is something to do without being asked.
    fn wake(&self) -> Instant {
        let market = self.venue.next_at().and_then(|next| self.clock.wall(next));
        [market, self.quotes.due(), self.fault_due(), Some(self.second)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.second)
    }

    /// Lets go of all that was told in this turn, once the disk has what it is about.
    fn flush(&mut self) -> Result<()> {
        self.journal.sync()?;
        self.peers.values_mut().for_each(Peer::flush);
        for (answer, told) in self.answers.drain(..) {
            // Who asked may have left.
            answer.send(told).ok();
        }
        self.let_go();
        Ok(())
    }

    /// Lets the market run up to now, carries out an input, keeps what happened, tells it.
    fn step(&mut self, input: Input) -> Result<()> {
        let now = self.clock.now();
        self.note_ahead(now)?;
        let outputs = self.venue.step(now, input);
        let record = |output: &Output| match output {
            Output::Record(record) => Some(record.clone()),
            _ => None,
        };
        let records: Vec<Record> = outputs.iter().filter_map(record).collect();
        self.journal.append(&records, self.venue.account())?;
        let mut bars = 0;
        for output in outputs {
            match output {
                Output::Tick(tick) => self.tell_tick(&tick),
                Output::Bar(symbol, bar) => {
                    bars += 1;
                    self.tell_bar(symbol, &bar);
                }
                Output::Record(record) => self.hear(News::Record(record)),
                Output::Refused {
                    client,
                    order_id,
                    why,
                } => self.hear(News::Refused {
                    client,
                    order_id,
                    why,
                }),
            }
        }
        if let Some(past) = self.clock.past().filter(|_| bars > 0) {
            past.told(bars);
        }
        self.tell_quotes();
        Ok(())
    }

    fn handle(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Started {
                session,
                client,
                outbox,
            } => self.meet(session, client, outbox),
            Command::Gone { session } => {
                // What it asked before it left is done, though it will not read the answers.
                while let Some(asked) = self
                    .peers
                    .get_mut(&session)
                    .and_then(|peer| peer.requests.pop_front())
                {
                    self.ask(session, asked)?;
                }
                self.forget(session);
                if let Some(peer) = self.peers.remove(&session) {
                    tracing::info!(session, client = peer.client, "client left");
                }
            }
            Command::Control { line, answer } => {
                let told = self.command(*line)?;
                self.answers.push((answer, told));
            }
            Command::Request { session, asked } => match self.peers.get_mut(&session) {
                Some(peer) if peer.backlog().is_long() || !peer.requests.is_empty() => {
                    peer.requests.push_back(asked);
                }
                Some(_) => self.ask(session, asked)?,
                None => {}
            },
        }
        Ok(())
    }

    /// Takes up a request, unless its client is told nothing any more.
    fn ask(&mut self, session: u64, asked: Asked) -> Result<()> {
        if self.peers.get(&session).is_some_and(|peer| !peer.muted) {
            // Whatever is answered is true now, and all that came before it has been told.
            self.pace();
            self.step(Input::Time)?;
            self.take(session, asked.number, *asked.request)?;
        }
        drop(asked.place);
        Ok(())
    }

    fn start(&mut self, session: u64, client: i32, outbox: Outbox) {
        let mut peer = Peer::new(client, outbox);
        let greeting = self.greet(client);
        if greeting == Greeting::Close {
            return;
        }
        if greeting == Greeting::Taken || self.peers.values().any(|other| other.client == client) {
            peer.error(
                NO_REQUEST,
                326,
                "Unable to connect as the client id is already in use. Retry with a unique client id.",
            );
            tracing::warn!(session, client, "client id in use");
            // Letting go of the peer closes the connection once the error is written.
            peer.flush();
            return;
        }
        tracing::info!(session, client, "client connected");
        peer.send(
            15,
            &ManagedAccounts {
                accounts_list: Some(self.name.clone()),
            },
        );
        peer.send(9, &self.next_id(client));
        let calm = Weather::default();
        let weather = self.trouble.as_ref().map_or(&calm, |trouble| &trouble.weather);
        if let Some(code) = weather.lost() {
            peer.error(NO_REQUEST, code, &self.usual(code));
        }
        for (code, text) in weather.farms() {
            peer.error(NO_REQUEST, code, text);
        }
        self.peers.insert(session, peer);
    }

    fn next_id(&self, client: i32) -> NextValidId {
        NextValidId {
            order_id: Some(self.next_order_id(client)),
        }
    }

    /// The client of a session. Requests are only handled while it is there.
    fn peer(&mut self, session: u64) -> &mut Peer {
        self.peers
            .get_mut(&session)
            .expect("a request is answered while its peer is connected")
    }

    fn answer(&mut self, session: u64, request: Request) -> Result<()> {
        if let Some(id) = request.goes_on()
            && self.peer(session).is_full()
        {
            self.peer(session).error(
                id,
                322,
                "Error processing request.-'bF' : cause - too many requests go on",
            );
            return Ok(());
        }
        match request {
            Request::StartApi(_) | Request::Ignored => {}
            Request::CurrentTime
            | Request::CurrentTimeInMillis
            | Request::Ids
            | Request::ManagedAccounts
            | Request::UserInfo(_) => self.answer_at_once(session, &request),
            Request::AccountSummary(request) => self.account_summary(session, request),
            Request::AccountData(request) => self.account_data(session, &request),
            Request::Positions => self.positions(session),
            Request::CancelPositions => self.peer(session).positions = false,
            Request::PositionsMulti(request) => self.positions_multi(session, &request),
            Request::AccountUpdatesMulti(request) => self.account_multi(session, &request),
            Request::PnL(request) => self.gains(session, &request),
            Request::PnLSingle(request) => self.gains_single(session, &request),
            Request::ContractData(request) => self.contract_data(session, &request),
            Request::MatchingSymbols(request) => self.matching_symbols(session, &request),
            Request::MarketRule(request) => self.market_rule(session, &request),
            Request::MarketDataType(request) => {
                // A type that does not exist changes nothing.
                if let Some(kind) = request.market_data_type.and_then(DataType::of) {
                    self.peer(session).data_type = kind;
                }
            }
            Request::MarketData(request) => self.market_data(session, &request),
            Request::TickByTick(request) => self.tick_by_tick(session, &request),
            Request::RealTimeBars(request) => self.real_time_bars(session, &request),
            Request::HistoricalData(request) => self.historical_data(session, &request),
            Request::HeadTimestamp(request) => self.head_timestamp(session, &request),
            Request::HistoricalTicks(request) => self.historical_ticks(session, &request),
            Request::Histogram(request) => self.histogram(session, &request),
            Request::MarketDepth(request) => self.market_depth(session, &request),
            Request::PlaceOrder(request) => self.place_order(session, &request)?,
            Request::CancelOrder(request) => self.cancel_order(session, &request)?,
            Request::GlobalCancel => self.step(Input::CancelAll)?,
            Request::OpenOrders => self.own_open_orders(session)?,
            Request::AutoOpenOrders(request) => self.auto_open_orders(session, &request)?,
            Request::AllOpenOrders => self.open_orders(session, true),
            Request::CompletedOrders(request) => {
                self.completed_orders(session, request.api_only.unwrap_or(false));
            }
            Request::Executions(request) => self.executions(session, &request),
            Request::Cancel(kind, numbered) => {
                self.cancel(session, kind, numbered.req_id.unwrap_or(NO_REQUEST))
            }
            Request::Unknown(number, id) => self.other(session, number, id),
        }
        Ok(())
    }

    /// What is known without asking the exchange.
    fn answer_at_once(&mut self, session: u64, request: &Request) {
        match request {
            Request::CurrentTime => {
                let now = CurrentTime {
                    current_time: Some(self.venue.now().as_second()),
                };
                self.peer(session).send(49, &now);
            }
            Request::CurrentTimeInMillis => {
                let now = CurrentTimeInMillis {
                    current_time_in_millis: Some(self.venue.now().as_millisecond()),
                };
                self.peer(session).send(109, &now);
            }
            Request::Ids => {
                let next = self.next_id(self.peers[&session].client);
                self.peer(session).send(9, &next);
            }
            Request::ManagedAccounts => {
                let accounts = ManagedAccounts {
                    accounts_list: Some(self.name.clone()),
                };
                self.peer(session).send(15, &accounts);
            }
            Request::UserInfo(numbered) => {
                let info = UserInfo {
                    req_id: numbered.req_id,
                    white_branding_id: Some(String::new()),
                };
                self.peer(session).send(107, &info);
            }
            _ => {}
        }
    }

    /// Notes a time of the market's own clock that whatever is told until the next note is not later than: a gateway that
    /// was killed goes on after all that it told.
    fn note_ahead(&mut self, now: Timestamp) -> Result<()> {
        let Some(past) = self.clock.past() else {
            return Ok(());
        };
        let mark = past.mark(now);
        let is_good = |noted: &Timestamp| if mark == now { *noted == now } else { *noted > now };
        if self.mark.as_ref().is_some_and(is_good) {
            return Ok(());
        }
        self.mark = Some(mark);
        self.journal.note_clock(mark)
    }

    /// What is told once a second: gains; more rarely the account.
    fn tell_second(&mut self) -> Result<()> {
        self.second = Instant::now() + SECOND;
        self.seconds += 1;
        self.tell_gains();
        self.tell_late();
        self.tell_types();
        if self.seconds.is_multiple_of(ACCOUNT_SECONDS) && self.outage().is_none() {
            self.tell_account();
        }
        Ok(())
    }
}
