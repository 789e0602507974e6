//! What goes wrong on demand, as far as the hub keeps it: the rules, what lasts, what waits.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use engine::venue::account::Account;
use tokio::sync::watch;
use tokio::time::Instant;

use super::executions;
use super::news::Outage;
use crate::door::Door;
use crate::fault::{Delays, Due, Facts, Fault, Line, Pace, Pacing, Place, Rules, Sky, Weather, time};
use crate::peer::{NO_REQUEST, Peer};
use crate::request::Request;

/// Most requests that wait for a lost link; more are lost.
const REQUESTS_HELD_MAX: usize = 1_000;
/// Most faults that wait to be carried out; more are left out.
const EVENTS_MAX: usize = 1_000;
const HISTORICAL_DATA: i32 = 20;

/// Everything that goes wrong on demand.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(super) started: Instant,
    pub(super) rules: Rules,
    pub(super) weather: Weather,
    pub(super) delays: Delays,
    pub(super) pacing: Option<Pacing>,
    pub(super) history_pacing: Option<Pacing>,
    /// What waits for the link while it is lost, and what was known before.
    pub(super) outage: Option<Outage>,
    /// Requests about orders that wait for the link, with their connection and client.
    pub(super) held_requests: VecDeque<(u64, i32, i32, Request)>,
    /// Faults that messages set off: to be carried out for this connection and client.
    pub(super) events: VecDeque<(Fault, u64, i32)>,
    /// Orders by client and id that the broker has and does not trade: as many as waits in `delays` at most.
    pub(super) inactive: BTreeSet<(i32, i32)>,
    /// Connections that end once what was queued is handed over.
    pub(super) leaving: Vec<u64>,
    pub(super) port: u16,
    /// Until when the port is closed: the end of the restart that takes longest.
    pub(super) closed_until: Duration,
    pub(super) door: watch::Sender<Door>,
}

/// What becomes of a request.
pub(super) enum Fate {
    Serve,
    Swallow,
    Cut(Place),
    Delay(Duration),
    /// It waits until the link is back.
    Hold,
    HalfOpen(Option<f64>),
    Error(i32, i32, String),
    /// The order exists and is refused.
    Inactive(String),
    /// The order exists and is inactive for so long.
    Suspend(Duration),
    Partial(protocol::Quantity),
}

/// What becomes of a frame.
enum Passage {
    Pass,
    Swallow,
    Cut(Place),
    Delay(Duration),
    Behind(crate::fault::Outgoing),
    Copies(u32),
    HalfOpen(Option<f64>),
}

impl Trouble {
    /// No trouble yet, but what a scenario has in store.
    pub(crate) fn new(port: u16, door: watch::Sender<Door>, scenario: Vec<Line>) -> Self {
        let mut delays = Delays::default();
        for line in scenario {
            delays.put(line.after.unwrap_or_default(), Due::Order(line.order));
        }
        Self {
            started: Instant::now(),
            rules: Rules::default(),
            weather: Weather::default(),
            delays,
            pacing: None,
            history_pacing: None,
            outage: None,
            held_requests: VecDeque::new(),
            events: VecDeque::new(),
            inactive: BTreeSet::new(),
            leaving: Vec::new(),
            port,
            closed_until: Duration::ZERO,
            door,
        }
    }

    /// Lets a message set off a fault that is not its own fate.
    fn happen(&mut self, fault: Fault, session: u64, client: i32) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back((fault, session, client));
        } else {
            tracing::warn!(
                ?fault,
                limit = EVENTS_MAX,
                "too many faults wait, one is left out"
            );
        }
    }

    /// Time since the start.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the rules, the weather and the limits say about a request.
    pub(super) fn judge(&mut self, session: u64, facts: &Facts) -> Fate {
        let now = self.now();
        if let Some(pacing) = &mut self.pacing {
            let most = pacing.most;
            let (count, last) = match pacing.count(now, session) {
                Pace::Fine => (0, false),
                Pace::TooFast(count) => (count, false),
                Pace::Last(count) => (count, true),
            };
            if last {
                self.leaving.push(session);
            }
            if count > 0 {
                let seen = most + 1;
                let text = format!(
                    "Max rate of messages per second has been exceeded:max={most} rec={seen} ({count})"
                );
                return Fate::Error(NO_REQUEST, 100, text);
            }
        }
        let mut fate = self.ruled(session, facts);
        if !matches!(fate, Fate::Serve) {
            return fate;
        }
        let id = facts.request_id.unwrap_or(NO_REQUEST);
        if let Some((code, text)) = self.weather.refuses(facts.number) {
            fate = Fate::Error(id, code, text.into());
        } else if self.weather.holds(facts.number) {
            fate = Fate::Hold;
        } else if facts.number == HISTORICAL_DATA
            && let Some(pacing) = &mut self.history_pacing
            && pacing.count(now, session) != Pace::Fine
        {
            let text =
                "Historical Market Data Service error message:Historical data request pacing violation";
            fate = Fate::Error(id, 162, text.into());
        }
        fate
    }

    pub(super) fn ruled(&mut self, session: u64, facts: &Facts) -> Fate {
        let mut fate = Fate::Serve;
        for fault in self.rules.set_off(facts) {
            let order_id = facts.order_id.unwrap_or(NO_REQUEST);
            let found = match fault {
                Fault::Cut { at } => Fate::Cut(at),
                Fault::Swallow {} => Fate::Swallow,
                Fault::Delay { seconds, .. } => Fate::Delay(time(seconds.unwrap_or_default())),
                Fault::HalfOpen {
                    seconds,
                    client: None,
                } => Fate::HalfOpen(seconds),
                Fault::PartialFill { shares } => Fate::Partial(shares),
                Fault::Inactive { seconds } => Fate::Suspend(time(seconds)),
                Fault::Reject {
                    text, inactive: true, ..
                } => Fate::Inactive(reason(text)),
                Fault::Reject { code, text, .. } => {
                    let text = text.unwrap_or_else(|| format!("Order rejected - reason:{}", reason(None)));
                    Fate::Error(order_id, code, text)
                }
                Fault::Silence {} => {
                    self.weather.silence(facts.client, order_id);
                    continue;
                }
                other => {
                    self.happen(other, session, facts.client);
                    continue;
                }
            };
            // Of several faults the first one decides.
            if matches!(fate, Fate::Serve) {
                fate = found;
            }
        }
        fate
    }

    /// Lets a request wait for the link.
    pub(super) fn hold(&mut self, session: u64, client: i32, number: i32, request: Request) {
        if self.held_requests.len() < REQUESTS_HELD_MAX {
            self.held_requests.push_back((session, client, number, request));
        }
    }

    /// Lets a frame to a client pass, or not.
    pub(super) fn pass(&mut self, session: u64, peer: &mut Peer, frame: Bytes, asked: bool, told: &Account) {
        let Some(mut facts) = Facts::of_frame(peer.client, &frame) else {
            return peer.pass(&frame);
        };
        self.name(&mut facts, told);
        let (passage, last_word) = self.passage(session, &facts);
        let sky = self.weather.outgoing(&facts, &frame, asked);
        if let Some(order_id) = facts.order_id.filter(|_| last_word) {
            self.weather.silence(facts.client, order_id);
        }
        let frame = match sky {
            Sky::Pass => frame,
            Sky::Instead(other) => other,
            Sky::Drop => return,
        };
        match passage {
            Passage::Pass => peer.pass(&frame),
            Passage::Swallow => return,
            Passage::Cut(place) => {
                let length = match place {
                    Place::Before => 0,
                    Place::Middle => frame.len() / 2,
                    Place::After => frame.len(),
                };
                peer.pass(&frame[..length]);
                return self.leave(session, peer);
            }
            Passage::Delay(for_so_long) => {
                let due = Due::Frame(session, frame);
                if let Some(Due::Frame(_, frame)) = self.delays.put(self.now() + for_so_long, due) {
                    peer.pass(&frame);
                }
                return;
            }
            Passage::Behind(next) => {
                if let Some(frame) = self.delays.put_behind(session, next, frame) {
                    peer.pass(&frame);
                }
                return;
            }
            Passage::Copies(more) => (0..=more).for_each(|_| peer.pass(&frame)),
            Passage::HalfOpen(seconds) => return self.freeze(session, peer, seconds),
        }
        for frame in self.delays.after(session, facts.number) {
            peer.pass(&frame);
        }
    }

    /// What the rules say about a frame, and whether it is the last one about its order.
    fn passage(&mut self, session: u64, facts: &Facts) -> (Passage, bool) {
        let (mut passage, mut last_word) = (Passage::Pass, false);
        for fault in self.rules.set_off(facts) {
            let found = match fault {
                Fault::Cut { at } => Passage::Cut(at),
                Fault::Swallow {} => Passage::Swallow,
                Fault::Delay {
                    until: Some(next), ..
                } => Passage::Behind(next),
                Fault::Delay { seconds, .. } => Passage::Delay(time(seconds.unwrap_or_default())),
                Fault::Duplicate { copies } => Passage::Copies(copies),
                Fault::HalfOpen {
                    seconds,
                    client: None,
                } => Passage::HalfOpen(seconds),
                Fault::Silence {} => {
                    last_word = true;
                    continue;
                }
                other => {
                    self.happen(other, session, facts.client);
                    continue;
                }
            };
            if matches!(passage, Passage::Pass) {
                passage = found;
            }
        }
        (passage, last_word)
    }

    /// Adds what the account knows of the order that a message is about.
    pub(super) fn name(&self, facts: &mut Facts, account: &Account) {
        if let Some(execution) = &facts.execution {
            let mut fills = account.fills.iter().rev();
            if let Some(fill) = fills.find(|fill| executions::execution_id(fill) == *execution) {
                facts.owner = Some(fill.client);
                facts.order_id = Some(fill.order_id);
                facts.order_ref = Some(fill.reference.clone());
                facts.symbol = Some(fill.symbol.broker_text());
            }
        }
        if let (None, Some(owner), Some(order_id)) = (&facts.order_ref, facts.owner, facts.order_id)
            && self.rules.name_orders()
        {
            let open = account.find_open(owner, order_id);
            if let Some(order) = open.or_else(|| account.find_completed(owner, order_id)) {
                facts.order_ref = Some(order.ticket.reference.clone());
                facts.symbol = Some(order.ticket.symbol.broker_text());
            }
        }
    }

    /// Ends a connection after what is queued for it.
    pub(super) fn leave(&mut self, session: u64, peer: &mut Peer) {
        peer.muted = true;
        self.leaving.push(session);
    }

    /// Leaves a connection half open, for ever or for a while.
    pub(super) fn freeze(&mut self, session: u64, peer: &mut Peer, seconds: Option<f64>) {
        peer.freeze();
        if let Some(seconds) = seconds {
            self.delays.put(self.now() + time(seconds), Due::GiveUp(session));
        }
    }
}

fn reason(text: Option<String>) -> String {
    text.unwrap_or_else(|| "a fault was asked for".into())
}
