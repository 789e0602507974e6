//! The bridge: serves the page, and tells every browser on `/ws` what happens, from a snapshot on.
//!
//! `source` hears the bus, `hub` holds the newest state and hands it on, `queue` is what waits for one
//! browser, `client` is one browser, `web` and `page` are the HTTP side, `board` is health and metrics.

pub mod board;
pub mod client;
pub mod hub;
pub mod limits;
pub mod page;
pub mod queue;
pub mod source;
pub mod web;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use protocol::decision::Level;
use protocol::feed::EquityPoint;
use protocol::operator::{Answer, HealthState, QUERY_LIMIT_MAX, Query};
use protocol::subject;
use runtime::{Bus, CancellationToken, Context, Exit, HealthHandle, Stored, code, now};
use serde::de::IgnoredAny;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::board::Board;
use crate::client::Desk;
use crate::hub::{Call, Hub, Mode};
use crate::limits::Limits;
use crate::page::Page;
use crate::source::{Heard, Part};
use crate::web::Site;

/// Calls of browsers that wait for the hub.
const CALLS_MAX: usize = 256;
/// Most places of MARKET that are read back at the start.
const BARS_BACK_MAX: u64 = 100_000;
/// Time between two attempts to get the equity curve from persistence.
const EQUITY_AGAIN_MS: u64 = 2_000;
/// How long browsers wait for the past of anything but LEDGER.
const REPLAY_SECONDS_MAX: u64 = 10;
/// How long open answers may take at the end.
const CLOSE_SECONDS_MAX: u64 = 2;

/// Everything that can wake this stage.
enum Input {
    Stop,
    Call(Option<Call>),
    Second,
    Equity(Vec<EquityPoint>),
    Heard(Option<Heard>),
    Closed(Result<std::io::Result<()>, tokio::task::JoinError>),
}

/// Runs the stage until it is told to stop.
///
/// # Errors
/// When the port is taken, or the token is missing.
pub async fn serve(context: Context) -> anyhow::Result<()> {
    let listen = &context.settings.bridge.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| taken(listen, &error))?;
    let limits = Limits {
        clients: context.settings.bridge.clients_max as usize,
        ..Limits::default()
    };
    serve_on(context, listener, limits).await
}

fn taken(listen: &str, error: &std::io::Error) -> anyhow::Error {
    let text = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "{listen} is taken by another program, so the dashboard can't be served there: \
                 stop that program, or set bridge.listen"
            )
        }
        _ => format!(
            "the dashboard can't be served on {listen} ({error}): \
             set bridge.listen to an address of this machine"
        ),
    };
    Exit::error(code::UNAVAILABLE, text)
}

/// Runs the stage on a port that is open already.
///
/// # Errors
/// When the token is missing.
pub async fn serve_on(context: Context, listener: TcpListener, limits: Limits) -> anyhow::Result<()> {
    let token = read_token(&context.state)?;
    let address = listener.local_addr().context("the dashboard's address")?;
    let limits = Arc::new(limits);
    let mode = Mode::of(&context.settings);
    let page = Page::new(context.settings.bridge.page.clone());
    let board = Arc::new(Mutex::new(Board::default()));
    let (sender, calls) = mpsc::channel(CALLS_MAX);
    let desk = Desk {
        hub: sender,
        bus: context.bus.clone(),
        token: token.into(),
        mode: mode.clone(),
        limits: limits.clone(),
        stop: context.stop.clone(),
    };
    let router = Site::new(desk, page.clone(), board.clone(), address).router();
    // Small frames must not wait for each other.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = error.to_string(), "frames may wait for each other");
        }
    });
    let stop = context.stop.clone();
    let site = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    let site = tokio::spawn(async move { site.await });
    tracing::info!(address = %address, "the dashboard is served");
    let stage = Stage {
        hub: Hub::new(context.settings.clone(), limits.clone(), mode),
        bus: context.bus.clone(),
        health: context.health.clone(),
        page,
        board,
        replays: Replays::new(),
        fault: None,
    };
    let outcome = stage.run(&context.stop, calls, &limits, site).await;
    context.stop.cancel();
    outcome
}

fn read_token(state: &Path) -> anyhow::Result<String> {
    let file = state.join("token");
    let found = std::fs::read_to_string(&file)
        .unwrap_or_default()
        .trim()
        .to_owned();
    if found.is_empty() {
        let text = format!(
            "{} is missing: start the stages with `./just run-all`, which makes it",
            file.display()
        );
        return Err(Exit::error(code::MISSING, text));
    }
    Ok(found)
}

struct Stage {
    hub: Hub,
    bus: Bus,
    health: HealthHandle,
    page: Page,
    board: Arc<Mutex<Board>>,
    replays: Replays,
    /// Why LEDGER is not taken in any more.
    fault: Option<String>,
}

impl Stage {
    async fn run(
        mut self,
        stop: &CancellationToken,
        mut calls: mpsc::Receiver<Call>,
        limits: &Limits,
        mut site: tokio::task::JoinHandle<std::io::Result<()>>,
    ) -> anyhow::Result<()> {
        let market = &self.hub.settings.market;
        let running = u64::from(market.bar_size.seconds() / 5) + 1;
        let back = (limits.bars as u64 * market.watchlist.len() as u64 * running).min(BARS_BACK_MAX);
        let mut sources = source::start(&self.bus, back, stop).await?;
        let mut equity = std::pin::pin!(ask_equity(self.bus.clone()));
        let mut equity_known = false;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => Input::Stop,
                closed = &mut site => Input::Closed(closed),
                call = calls.recv() => Input::Call(call),
                _ = second.tick() => Input::Second,
                points = &mut equity, if !equity_known => Input::Equity(points),
                heard = sources.recv() => Input::Heard(heard),
            };
            match input {
                Input::Stop | Input::Call(None) | Input::Heard(None) => break,
                Input::Closed(closed) => return closed?.context("the HTTP server ended"),
                Input::Call(Some(call)) => {
                    self.hub.call(call);
                    while let Ok(call) = calls.try_recv() {
                        self.hub.call(call);
                    }
                }
                Input::Second => self.second(),
                Input::Equity(points) => {
                    equity_known = true;
                    self.hub.equity_so_far(points);
                }
                Input::Heard(Some(heard)) => self.hear(heard).await,
            }
            if self.replays.over() {
                self.hub.serve_waiting(now());
            }
        }
        // Browsers are told by their own tasks; what is still open after that is cut.
        let _ = tokio::time::timeout(Duration::from_secs(CLOSE_SECONDS_MAX), site).await;
        Ok(())
    }

    async fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Quote(quote) => self.hub.quote(quote),
            Heard::Health(health) => self.hub.heartbeat(health),
            Heard::Open(part, head) => {
                self.replays.opened(part, head);
                if part == Part::Ledger && head < self.hub.portfolio.sequence {
                    let known = self.hub.portfolio.sequence;
                    let text = format!(
                        "LEDGER ends at record {head}, but the bridge has seen record {known}: \
                         find out what became of the NATS store"
                    );
                    self.fail(text).await;
                }
            }
            Heard::Broken(part, text) => self.replays.broke(part, text),
            Heard::Fault(text) => {
                self.fail(format!(
                    "LEDGER holds what is no record ({text}): see who wrote it"
                ))
                .await
            }
            Heard::Message(part, stored) => {
                let is_past = self.replays.message(part, stored.sequence);
                self.message(part, &stored, is_past).await;
            }
        }
    }

    async fn message(&mut self, part: Part, stored: &Stored<IgnoredAny>, is_past: bool) {
        match part {
            Part::Ledger if self.fault.is_some() => {}
            Part::Ledger => {
                if let Err(fault) = self.hub.record(stored) {
                    self.fail(format!(
                        "{fault}; see who wrote it, the page stands where it was before it"
                    ))
                    .await;
                }
            }
            Part::Bars => self.hub.bar(stored, is_past),
            Part::Session => self.hub.session(stored),
            Part::Events => self.hub.event(stored),
            Part::Models => self.hub.model(stored),
        }
    }

    /// LEDGER can't be trusted: what is known is still shown, and a person must look.
    async fn fail(&mut self, text: String) {
        if self.fault.is_none() {
            self.bus
                .alert("ledger-fault", Level::Critical, text.clone())
                .await;
            self.fault = Some(text);
        }
        self.second();
    }

    fn second(&mut self) {
        self.hub.second(now());
        let (state, text) = if let Some(fault) = &self.fault {
            (HealthState::Degraded, fault.clone())
        } else if let Some(broken) = self.replays.broken() {
            (HealthState::Degraded, broken)
        } else if !self.replays.over() {
            (
                HealthState::Starting,
                "reads what was published before".to_owned(),
            )
        } else if let Some(missing) = self.page.missing() {
            (HealthState::Degraded, missing)
        } else {
            (HealthState::Ready, String::new())
        };
        self.health.set(state, text.clone());
        self.health.figure("browsers_count", self.hub.clients() as f64);
        self.health
            .figure("ledger_sequence", self.hub.portfolio.sequence as f64);
        self.health
            .figure("browser_overflows_count", self.hub.counts.overflows as f64);
        *self.board.lock().expect("nobody panics while holding it") = Board::of(&self.hub, state, text);
    }
}

/// Which parts of the streams are read up to where they ended when they were opened.
#[derive(Debug)]
struct Replays {
    parts: [Replay; 5],
    begin: Instant,
}

#[derive(Debug, Default)]
struct Replay {
    head: Option<u64>,
    seen: u64,
    broken: Option<String>,
}

impl Replays {
    fn new() -> Self {
        Self {
            parts: Default::default(),
            begin: Instant::now(),
        }
    }

    fn opened(&mut self, part: Part, head: u64) {
        let replay = &mut self.parts[part as usize];
        // Opened again after a break, what comes is not of the past.
        replay.head.get_or_insert(head);
        replay.broken = None;
    }

    fn broke(&mut self, part: Part, text: String) {
        self.parts[part as usize].broken = Some(text);
    }

    /// Notes a message; true when it was there before the bridge was.
    fn message(&mut self, part: Part, sequence: u64) -> bool {
        let replay = &mut self.parts[part as usize];
        replay.seen = replay.seen.max(sequence);
        replay.head.is_none_or(|head| sequence <= head)
    }

    /// True once browsers may get snapshots. LEDGER must be read; the rest is waited for a while only, as
    /// a part whose last messages were aged out of the stream meanwhile never ends.
    fn over(&self) -> bool {
        let over = |replay: &Replay| replay.head.is_some_and(|head| replay.seen >= head);
        over(&self.parts[Part::Ledger as usize])
            && (self.parts.iter().all(over) || self.begin.elapsed() > Duration::from_secs(REPLAY_SECONDS_MAX))
    }

    fn broken(&self) -> Option<String> {
        self.parts.iter().find_map(|replay| replay.broken.clone())
    }
}

/// Asks persistence for the curve so far, again and again until it answers.
async fn ask_equity(bus: Bus) -> Vec<EquityPoint> {
    let query = Query {
        limit: Some(QUERY_LIMIT_MAX),
        ..Query::default()
    };
    loop {
        match bus
            .request::<_, Answer<EquityPoint>>(&subject::query("equity"), &query)
            .await
        {
            Ok(Answer::Page { items, .. }) => return items,
            Ok(Answer::Error { error }) => tracing::debug!(error = error.message, "no equity curve yet"),
            Err(error) => tracing::debug!(error = format!("{error:#}"), "no equity curve yet"),
        }
        tokio::time::sleep(Duration::from_millis(EQUITY_AGAIN_MS)).await;
    }
}
