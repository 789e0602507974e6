//! The newest state of everything, and its way to the browsers: each event is folded once, serialised
//! once, and put into every browser's queue without waiting for any of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use axum::extract::ws::Utf8Bytes;
use engine::equity::Curve;
use engine::portfolio::Portfolio;
use protocol::decision::{Alert, ModelEvent, Refusal, Signal};
use protocol::feed::{EquityPoint, Frame, Snapshot};
use protocol::ledger::{self, Record};
use protocol::market::{Bar, Quote, Session};
use protocol::operator::{Health, StateMark};
use protocol::settings::Settings;
use protocol::{Hash, Symbol, Timestamp, WIRE_VERSION};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::limits::Limits;
use crate::queue::{Event, Key, Queue};
use runtime::Stored;

/// Seconds after which a heartbeat of an older process of a stage is forgotten.
const OLD_INSTANCE_SECONDS: i64 = 30;

/// The frame as the page reads it.
pub type PageFrame<'a> = Frame<&'a Portfolio>;

/// What a browser's task asks of the hub.
#[derive(Debug)]
pub enum Call {
    /// A signed-in browser: from now on it gets a snapshot, then every event.
    Join(Arc<Queue>),
    /// A browser that was too slow: a fresh snapshot.
    Snapshot(Arc<Queue>),
}

/// Whether real money trades, known to every browser's task.
#[derive(Debug, Clone)]
pub struct Mode(Arc<AtomicBool>);

impl Mode {
    /// Until LEDGER says it, what the settings allow.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self(Arc::new(AtomicBool::new(
            !settings.broker.live_account.is_empty(),
        )))
    }

    /// True when real money trades.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The newest state of everything.
#[derive(Debug)]
pub struct Hub {
    pub(crate) settings: Settings,
    limits: Arc<Limits>,
    mode: Mode,
    pub(crate) portfolio: Portfolio,
    mark: StateMark,
    curve: Curve,
    equity: BTreeMap<Timestamp, EquityPoint>,
    pub(crate) quotes: BTreeMap<Symbol, Quote>,
    bars: BTreeMap<Symbol, VecDeque<Bar>>,
    signals: BTreeMap<Symbol, Signal>,
    refusals: VecDeque<Refusal>,
    alerts: VecDeque<Alert>,
    models: VecDeque<ModelEvent>,
    pub(crate) health: BTreeMap<(String, String), Health>,
    pub(crate) session: Option<Session>,
    clients: Vec<Weak<Queue>>,
    waiting: Vec<Arc<Queue>>,
    pub(crate) counts: Counts,
}

/// What the hub did, for the metrics.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events put into queues.
    pub events: u64,
    /// Snapshots made.
    pub snapshots: u64,
    /// Times a browser was too slow.
    pub overflows: u64,
}

impl Hub {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings, limits: Arc<Limits>, mode: Mode) -> Self {
        let portfolio = Portfolio::default();
        Self {
            settings,
            limits,
            mode,
            mark: portfolio.mark(),
            portfolio,
            curve: Curve::default(),
            equity: BTreeMap::new(),
            quotes: BTreeMap::new(),
            bars: BTreeMap::new(),
            signals: BTreeMap::new(),
            refusals: VecDeque::new(),
            alerts: VecDeque::new(),
            models: VecDeque::new(),
            health: BTreeMap::new(),
            session: None,
            clients: Vec::new(),
            waiting: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes the next record of LEDGER over, and hands it on.
    ///
    /// # Errors
    /// One sentence why it can't be the next record. Nothing is changed then, and nothing handed on.
    pub fn record(&mut self, stored: &Stored<IgnoredAny>) -> Result<(), String> {
        let record: Record = serde_json::from_slice(&stored.bytes)
            .map_err(|error| format!("record {} of LEDGER is unreadable ({error})", stored.sequence))?;
        if stored.sequence <= self.portfolio.sequence {
            return Ok(());
        }
        let hash = Hash::of(&stored.bytes);
        self.portfolio
            .apply(stored.sequence, &hash, &record)
            .map_err(|fault| fault.to_string())?;
        if let Some(identity) = &self.portfolio.identity {
            self.mode
                .0
                .store(identity.mode == ledger::Mode::Live, Ordering::Relaxed);
        }
        let frame = PageFrame::Record {
            sequence: stored.sequence,
            hash,
            record: Box::new(record),
        };
        self.tell(&frame, Event::Ordered);
        Ok(())
    }

    /// Takes a quote over.
    pub fn quote(&mut self, quote: Quote) {
        let symbol = quote.symbol;
        self.quotes.insert(symbol, quote.clone());
        self.tell(&PageFrame::Quote(quote), |text| {
            Event::Newest(Key::Quote(symbol), text)
        });
    }

    /// Takes a bar over. One of the past, read at the start, makes no point of the equity curve.
    pub fn bar(&mut self, stored: &Stored<IgnoredAny>, is_past: bool) {
        let Some(bar) = decode::<Bar>(stored) else { return };
        let symbol = bar.symbol;
        if !bar.complete {
            self.tell(&PageFrame::Bar(bar), |text| Event::Newest(Key::Bar(symbol), text));
            return;
        }
        let step = Bar {
            warm_up: bar.warm_up || is_past,
            ..bar.clone()
        };
        if let Some(point) = self.curve.step(&step, &self.portfolio) {
            self.equity.insert(point.at, point);
            while self.equity.len() > self.limits.equity {
                self.equity.pop_first();
            }
        }
        let bars = self.bars.entry(symbol).or_default();
        match bars.binary_search_by_key(&(bar.start, bar.size), |held| (held.start, held.size)) {
            Ok(place) => bars[place] = bar.clone(),
            Err(place) => bars.insert(place, bar.clone()),
        }
        if bars.len() > self.limits.bars {
            bars.pop_front();
        }
        self.tell(&PageFrame::Bar(bar), |text| Event::CompleteBar(symbol, text));
    }

    /// Takes a session over.
    pub fn session(&mut self, stored: &Stored<IgnoredAny>) {
        let Some(session) = decode::<Session>(stored) else {
            return;
        };
        self.session = Some(session.clone());
        self.tell(&PageFrame::Session(session), Event::Ordered);
    }

    /// Takes a signal, a refusal or an alert over.
    pub fn event(&mut self, stored: &Stored<IgnoredAny>) {
        match stored.subject.split('.').next().unwrap_or_default() {
            "signal" => {
                let Some(signal) = decode::<Signal>(stored) else {
                    return;
                };
                self.signals.insert(signal.symbol, signal.clone());
                self.tell(&PageFrame::Signal(signal), Event::Ordered);
            }
            "refusal" => {
                let Some(refusal) = decode::<Refusal>(stored) else {
                    return;
                };
                keep(&mut self.refusals, refusal.clone(), self.limits.events);
                self.tell(&PageFrame::Refusal(refusal), Event::Ordered);
            }
            "alert" => {
                let Some(alert) = decode::<Alert>(stored) else {
                    return;
                };
                keep(&mut self.alerts, alert.clone(), self.limits.events);
                self.tell(&PageFrame::Alert(alert), Event::Ordered);
            }
            // Model events have a reader of their own.
            _ => {}
        }
    }

    /// Takes a model event over.
    pub fn model(&mut self, stored: &Stored<IgnoredAny>) {
        let Some(model) = decode::<ModelEvent>(stored) else {
            return;
        };
        keep(&mut self.models, model.clone(), self.limits.events);
        self.tell(&PageFrame::Model(model), Event::Ordered);
    }

    /// Takes a heartbeat over.
    pub fn heartbeat(&mut self, health: Health) {
        let key = (health.service.clone(), health.instance.clone());
        self.health.insert(key.clone(), health.clone());
        self.tell(&PageFrame::Health(health), |text| {
            Event::Newest(Key::Health(key.0, key.1), text)
        });
    }

    /// Takes the curve as persistence has it; every browser then gets it with a fresh snapshot.
    pub fn equity_so_far(&mut self, points: Vec<EquityPoint>) {
        if points.is_empty() {
            return;
        }
        self.equity
            .extend(points.into_iter().map(|point| (point.at, point)));
        while self.equity.len() > self.limits.equity {
            self.equity.pop_first();
        }
        self.waiting.extend(self.clients.iter().filter_map(Weak::upgrade));
    }

    /// Takes a browser's call.
    pub fn call(&mut self, call: Call) {
        match call {
            Call::Join(queue) => {
                self.clients.push(Arc::downgrade(&queue));
                self.waiting.push(queue);
            }
            Call::Snapshot(queue) => self.waiting.push(queue),
        }
    }

    /// Gives a snapshot to all who wait for one: it is made once for all of them.
    pub fn serve_waiting(&mut self, at: Timestamp) {
        if self.waiting.is_empty() {
            return;
        }
        let text = self.snapshot(at);
        self.counts.snapshots += 1;
        for queue in self.waiting.drain(..) {
            queue.put_snapshot(text.clone());
        }
    }

    /// What is due each second: tells where the fold stands, forgets who is gone.
    pub fn second(&mut self, at: Timestamp) {
        self.clients.retain(|client| client.strong_count() > 0);
        let newest: BTreeMap<String, Timestamp> =
            self.health.values().fold(BTreeMap::new(), |mut newest, health| {
                let slot = newest.entry(health.service.clone()).or_insert(health.at);
                *slot = (*slot).max(health.at);
                newest
            });
        self.health.retain(|(service, _), health| {
            newest.get(service) == Some(&health.at)
                || at.duration_since(health.at).as_secs() < OLD_INSTANCE_SECONDS
        });
        if self.mark.sequence != self.portfolio.sequence {
            self.mark = self.portfolio.mark();
        }
        let frame = PageFrame::Mark {
            state: self.mark.clone(),
            at,
        };
        self.tell(&frame, |text| Event::Newest(Key::Mark, text));
    }

    /// Browsers that are signed in.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients
            .iter()
            .filter(|client| client.strong_count() > 0)
            .count()
    }

    fn snapshot(&self, at: Timestamp) -> Utf8Bytes {
        let mode = if self.mode.is_live() {
            ledger::Mode::Live
        } else {
            ledger::Mode::Paper
        };
        let frame = PageFrame::Snapshot(Box::new(Snapshot {
            at,
            wire: WIRE_VERSION,
            market: self.settings.market.name.clone(),
            mode,
            watchlist: self.settings.market.watchlist.clone(),
            bar_size: self.settings.market.bar_size,
            risk: self.settings.risk.clone(),
            exits: self.settings.exits.clone(),
            portfolio: &self.portfolio,
            quotes: self.quotes.values().cloned().collect(),
            bars: self.bars.values().flatten().cloned().collect(),
            signals: self.signals.values().cloned().collect(),
            refusals: self.refusals.iter().cloned().collect(),
            alerts: self.alerts.iter().cloned().collect(),
            models: self.models.iter().cloned().collect(),
            health: self.health.values().cloned().collect(),
            session: self.session.clone(),
            equity: self.equity.values().cloned().collect(),
        }));
        text(&frame)
    }

    /// Serialises a frame once and puts it into every queue.
    fn tell(&mut self, frame: &PageFrame<'_>, wrap: impl FnOnce(Utf8Bytes) -> Event) {
        if self.clients.is_empty() {
            return;
        }
        let event = wrap(text(frame));
        self.counts.events += 1;
        for client in &self.clients {
            if let Some(queue) = client.upgrade()
                && !queue.put(&event)
            {
                self.counts.overflows += 1;
            }
        }
    }
}

/// A frame as text.
#[must_use]
pub fn text(frame: &PageFrame<'_>) -> Utf8Bytes {
    serde_json::to_string(frame)
        .expect("plain data is always JSON")
        .into()
}

fn decode<T: DeserializeOwned>(stored: &Stored<IgnoredAny>) -> Option<T> {
    match serde_json::from_slice(&stored.bytes) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::warn!(
                subject = stored.subject,
                error = error.to_string(),
                "unreadable message left out"
            );
            None
        }
    }
}

fn keep<T>(all: &mut VecDeque<T>, new: T, most: usize) {
    all.push_back(new);
    while all.len() > most {
        all.pop_front();
    }
}
