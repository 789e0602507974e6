//! Persistence: LEDGER, bars and events into one redb file, and answers about them on `query.{name}`.
//!
//! `store` is the file and `view` reads it, `fold` turns messages into rows, `reader` and `intake` bring
//! the streams, `query` answers. The streams are the truth and the file a projection: it may be deleted
//! at any time while the stage is down.

mod event;
mod fold;
mod intake;
pub mod query;
mod reader;
pub mod store;
pub mod view;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use protocol::decision::Level;
use protocol::ledger::Record;
use protocol::market::Bar;
use protocol::operator::HealthState;
use protocol::subject::{filter, stream};
use runtime::{Bus, CancellationToken, Context, HealthHandle, Requests, Stored};
use serde::de::IgnoredAny;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::fold::Fold;
use crate::intake::{Intake, Next};
use crate::reader::Read;
use crate::store::{Batch, Cursors, Store};

/// Name of the file in the state folder.
pub const FILE: &str = "persistence.redb";
/// Messages committed at once, at the most.
const BATCH_MESSAGES_MAX: usize = 1_000;
/// How long the first message of a batch waits for others.
const BATCH_MS: u64 = 5;
/// Queries answered at the same time; others wait for their turn.
const QUERIES_MAX: usize = 8;

/// Everything that can wake this stage.
enum Input {
    Stop,
    BatchDue,
    Intake(Option<Next>),
    Event(Option<Read>),
}

/// Runs the stage until it is told to stop.
///
/// # Errors
/// When the file is locked, damaged, or can't be written.
pub async fn serve(context: Context) -> anyhow::Result<()> {
    let store = Arc::new(Store::open(
        &context.state.join(FILE),
        &context.settings.market.name,
    )?);
    let requests = context.bus.requests(filter::QUERIES).await?;
    let watched = context.settings.market.watchlist.iter().copied().collect();
    let answers = tokio::spawn(answer(
        requests,
        store.clone(),
        Arc::new(watched),
        context.stop.clone(),
    ));
    let outcome = Stage::new(&context, store)?.run(&context.stop).await;
    answers.abort();
    outcome
}

/// Answers queries for as long as the stage lives. Each reads the file as it is then and holds nobody up.
async fn answer(
    mut requests: Requests,
    store: Arc<Store>,
    watched: Arc<BTreeSet<protocol::Symbol>>,
    stop: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(QUERIES_MAX));
    loop {
        let request = tokio::select! { request = requests.next() => request, () = stop.cancelled() => None };
        let (Some(request), Ok(turn)) = (request, turns.clone().acquire_owned().await) else {
            return;
        };
        let (store, watched) = (store.clone(), watched.clone());
        tokio::spawn(async move {
            let found = tokio::task::spawn_blocking(move || {
                // What one query trips over, such as a damaged page, is no end of the others.
                let answer = runtime::guarded(AssertUnwindSafe(|| {
                    query::answer(&store, &watched, request.last_token(), &request.payload)
                }));
                (request, answer)
            });
            match found.await {
                Ok((request, Ok(answer))) => request.reply(&answer).await,
                Ok((_, Err(_))) => tracing::error!("a query was not answered: answering it panicked"),
                Err(error) => tracing::error!(error = error.to_string(), "a query was not answered"),
            }
            drop(turn);
        });
    }
}

async fn until(due: Option<Instant>) {
    tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await;
}

struct Stage {
    bus: Bus,
    health: HealthHandle,
    stop: CancellationToken,
    store: Arc<Store>,
    fold: Fold,
    intake: Intake,
    events: mpsc::Receiver<Read>,
    cursors: Cursors,
    batch: Batch,
    batch_due: Option<Instant>,
    /// Why LEDGER is not taken in any more.
    fault: Option<String>,
    broken: Option<String>,
    caught_up: bool,
}

impl Stage {
    fn new(context: &Context, store: Arc<Store>) -> anyhow::Result<Self> {
        let cursors = store.view()?.cursors()?;
        let fold = Fold::load(&store)?;
        tracing::info!(
            ledger = cursors.ledger,
            market = cursors.market,
            events = cursors.events,
            "the file is open"
        );
        let (bus, stop) = (&context.bus, &context.stop);
        // LEDGER is read from the last record that is known, which must still be there and the same.
        let ledger = reader::start(bus, stream::LEDGER, cursors.ledger, stop);
        let market = reader::start(bus, stream::MARKET, cursors.market + 1, stop);
        Ok(Self {
            bus: bus.clone(),
            health: context.health.clone(),
            stop: stop.clone(),
            store,
            fold,
            intake: Intake::new(ledger, market, (cursors.ledger.saturating_sub(1), cursors.market)),
            events: reader::start(bus, stream::EVENTS, cursors.events + 1, stop),
            cursors,
            batch: Batch {
                cursors,
                ..Batch::default()
            },
            batch_due: None,
            fault: None,
            broken: None,
            caught_up: false,
        })
    }

    async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            let due = self.batch_due;
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => Input::Stop,
                () = until(due), if due.is_some() => Input::BatchDue,
                next = self.intake.next() => Input::Intake(next),
                read = self.events.recv() => Input::Event(read),
            };
            match input {
                Input::Stop => return self.commit().await,
                Input::BatchDue => self.commit().await?,
                Input::Intake(None) | Input::Event(None) => return self.commit().await,
                Input::Intake(Some(next)) => self.take(next).await?,
                Input::Event(Some(read)) => self.event(read).await?,
            }
            if self.batch.messages >= BATCH_MESSAGES_MAX {
                self.commit().await?;
            }
            self.tell_health();
        }
    }

    async fn take(&mut self, next: Next) -> anyhow::Result<()> {
        match next {
            Next::LedgerOpen(head) => {
                self.broken = None;
                let known = self.fold.portfolio().sequence;
                if head < known {
                    let text = format!(
                        "LEDGER ends at record {head}, but persistence.redb knows record {known}: \
                         find out what became of the NATS store, or delete the file to go on"
                    );
                    self.fail(text).await;
                }
            }
            Next::MarketOpen(head) => {
                self.broken = None;
                if head < self.batch.cursors.market {
                    tracing::warn!(
                        head,
                        known = self.batch.cursors.market,
                        "MARKET was made anew: it is read from its beginning"
                    );
                    self.intake
                        .restart_market(reader::start(&self.bus, stream::MARKET, 1, &self.stop));
                    self.batch.cursors.market = 0;
                }
            }
            Next::Record(stored, record) => self.record(&stored, *record).await?,
            Next::Market(stored, bar) => self.market(&stored, bar)?,
            Next::Broken(text) => self.broken = Some(text),
            Next::LedgerFault(text) => {
                self.fail(format!(
                    "LEDGER holds what is no record ({text}): see who wrote it"
                ))
                .await
            }
        }
        self.caught_up |= self.intake.caught_up();
        Ok(())
    }

    async fn record(
        &mut self,
        stored: &Stored<IgnoredAny>,
        record: Result<Record, String>,
    ) -> anyhow::Result<()> {
        if self.fault.is_some() {
            return Ok(());
        }
        let sequence = stored.sequence;
        if sequence <= self.fold.portfolio().sequence {
            // A record that waits for its commit is younger than the reader's first, so the file has this
            // one.
            let known = self.store.view()?.record(sequence)?;
            if known.is_some_and(|known| known != stored.bytes) {
                let text = format!(
                    "record {sequence} of LEDGER is not the one that persistence.redb knows: \
                     find out what became of the NATS store, or delete the file to go on"
                );
                self.fail(text).await;
            }
            return Ok(());
        }
        let outcome = match record {
            Ok(record) => self
                .fold
                .record(sequence, &stored.bytes, &record, &mut self.batch)?
                .map_err(|fault| fault.to_string()),
            Err(error) => Err(format!("record {sequence} of LEDGER is unreadable ({error})")),
        };
        match outcome {
            Ok(()) => self.count(),
            Err(fault) => {
                self.fail(format!(
                    "{fault}; see who wrote it, positions stand where they were before it"
                ))
                .await
            }
        }
        Ok(())
    }

    fn market(&mut self, stored: &Stored<IgnoredAny>, bar: Option<Bar>) -> anyhow::Result<()> {
        self.batch.cursors.market = stored.sequence;
        self.count();
        if let Some(bar) = bar {
            if self.fault.is_some() {
                // The portfolio stands still, so a curve would show what is not known.
                self.batch.keep_bar(bar, &stored.bytes);
            } else {
                self.fold.bar(bar, &stored.bytes, &mut self.batch)?;
            }
        }
        Ok(())
    }

    async fn event(&mut self, read: Read) -> anyhow::Result<()> {
        match read {
            Read::Open { head } => {
                self.broken = None;
                if head < self.batch.cursors.events {
                    tracing::warn!(
                        head,
                        known = self.batch.cursors.events,
                        "EVENTS was made anew: it is read from its beginning"
                    );
                    self.events = reader::start(&self.bus, stream::EVENTS, 1, &self.stop);
                    self.batch.cursors.events = 0;
                }
            }
            Read::Message(stored) => {
                self.batch.cursors.events = stored.sequence;
                self.batch.rows.extend(event::row(&stored));
                self.count();
            }
            Read::Broken(text) | Read::Fault(text) => self.broken = Some(text),
        }
        Ok(())
    }

    /// LEDGER can't be trusted: what is known is still answered, nothing is overwritten, a person must look.
    async fn fail(&mut self, text: String) {
        self.intake.give_ledger_up();
        if self.fault.is_none() {
            self.bus
                .alert("ledger-fault", Level::Critical, text.clone())
                .await;
            self.fault = Some(text);
        }
    }

    fn count(&mut self) {
        self.batch.messages += 1;
        let due = Instant::now() + Duration::from_millis(BATCH_MS);
        self.batch_due.get_or_insert(due);
    }

    /// Writes the batch and its cursors; the fold is ahead of the file until then.
    async fn commit(&mut self) -> anyhow::Result<()> {
        self.batch_due = None;
        if self.batch.messages == 0 {
            return Ok(());
        }
        self.fold.finish(&mut self.batch)?;
        let batch = std::mem::take(&mut self.batch);
        self.cursors = batch.cursors;
        self.batch.cursors = batch.cursors;
        let (store, begin, messages) = (self.store.clone(), Instant::now(), batch.messages);
        tokio::task::spawn_blocking(move || store.commit(&batch)).await??;
        self.health
            .figure("commit_ms", begin.elapsed().as_secs_f64() * 1e3);
        self.health.figure("batch_count", messages as f64);
        self.health.figure("ledger_sequence", self.cursors.ledger as f64);
        self.health.figure("market_sequence", self.cursors.market as f64);
        self.health.figure("events_sequence", self.cursors.events as f64);
        Ok(())
    }

    fn tell_health(&self) {
        let (state, text) = match (&self.fault, &self.broken) {
            (Some(fault), _) => (HealthState::Degraded, fault.as_str()),
            (None, Some(broken)) => (HealthState::Degraded, broken.as_str()),
            (None, None) if !self.caught_up => (HealthState::Starting, "reads what was published before"),
            (None, None) => (HealthState::Ready, ""),
        };
        self.health.set(state, text);
    }
}
