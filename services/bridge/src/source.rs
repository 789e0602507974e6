//! What the bridge hears: one task for each source, all into one bounded channel.

use std::time::Duration;

use protocol::market::Quote;
use protocol::operator::Health;
use protocol::subject::filter;
use runtime::{Bus, CancellationToken, Stored};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::mpsc;

/// Messages heard ahead of the hub.
const AHEAD_MAX: usize = 1_024;
/// Wait before a source that could not be read is opened again.
const AGAIN_MS: u64 = 500;

/// A part of a stream that is read in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of LEDGER.
    Ledger,
    /// Bars.
    Bars,
    /// The session.
    Session,
    /// Signals, refusals and alerts.
    Events,
    /// What became of models, which is rare and so is read further back.
    Models,
}

/// How far back a part is read at the start.
#[derive(Debug, Clone, Copy)]
pub enum Reach {
    /// From the first message on.
    All,
    /// So many places of the stream, which hold fewer messages of the part.
    Places(u64),
}

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// A quote.
    Quote(Quote),
    /// A heartbeat.
    Health(Health),
    /// A part is open; its last sequence is the number.
    Open(Part, u64),
    /// The next message of a part. Its body is still to be read from its bytes.
    Message(Part, Stored<IgnoredAny>),
    /// A part can't be read just now, and why.
    Broken(Part, String),
    /// LEDGER holds what is no JSON; nothing more is read of it.
    Fault(String),
}

/// Starts to hear everything.
///
/// # Errors
/// When the bus is closed.
pub async fn start(
    bus: &Bus,
    bars_back: u64,
    stop: &CancellationToken,
) -> anyhow::Result<mpsc::Receiver<Heard>> {
    use protocol::subject::stream::{EVENTS, LEDGER, MARKET};
    let (sender, receiver) = mpsc::channel(AHEAD_MAX);
    core(bus, filter::QUOTES, Heard::Quote, &sender, stop).await?;
    core(bus, filter::HEALTH, Heard::Health, &sender, stop).await?;
    let parts = [
        (Part::Ledger, LEDGER, ">", Reach::All),
        (Part::Bars, MARKET, filter::BARS, Reach::Places(bars_back)),
        (Part::Session, MARKET, filter::SESSION, Reach::Places(0)),
        (Part::Events, EVENTS, ">", Reach::Places(20_000)),
        (Part::Models, EVENTS, filter::MODELS, Reach::All),
    ];
    for (part, stream, filter, reach) in parts {
        let (bus, sender, stop) = (bus.clone(), sender.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = follow(&bus, part, (stream, filter), reach, &sender) => {}
                () = stop.cancelled() => {}
            }
        });
    }
    Ok(receiver)
}

/// Hears a core subject.
async fn core<T: DeserializeOwned + Send + 'static>(
    bus: &Bus,
    filter: &str,
    wrap: fn(T) -> Heard,
    sender: &mpsc::Sender<Heard>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut subscription = bus.subscribe::<T>(filter).await?;
    let (sender, stop) = (sender.clone(), stop.clone());
    tokio::spawn(async move {
        loop {
            let message =
                tokio::select! { message = subscription.next() => message, () = stop.cancelled() => None };
            let Some(message) = message else { return };
            if sender.send(wrap(message.body)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Reads a part of a stream for as long as somebody listens; opens it again when that breaks.
async fn follow(
    bus: &Bus,
    part: Part,
    (stream, filter): (&'static str, &'static str),
    reach: Reach,
    sender: &mpsc::Sender<Heard>,
) {
    let mut next = None;
    loop {
        let error = match read(bus, part, (stream, filter), reach, &mut next, sender).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if error.chain().any(|cause| cause.is::<serde_json::Error>()) {
            if part == Part::Ledger {
                if sender.send(Heard::Fault(format!("{error:#}"))).await.is_ok() {
                    std::future::pending::<()>().await;
                }
                return;
            }
            tracing::warn!(stream, error = format!("{error:#}"), "a message is left out");
            next = next.map(|next| next + 1);
        }
        let text = format!("stream {stream} can't be read: {error:#}");
        if sender.send(Heard::Broken(part, text)).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
    }
}

/// Reads until it breaks; `Ok` when nobody listens any more.
async fn read(
    bus: &Bus,
    part: Part,
    (stream, filter): (&'static str, &'static str),
    reach: Reach,
    next: &mut Option<u64>,
    sender: &mpsc::Sender<Heard>,
) -> anyhow::Result<()> {
    let from = match (*next, reach) {
        (Some(next), _) => next,
        (None, Reach::All) => 1,
        (None, Reach::Places(places)) => {
            // Opened only to learn where the part ends.
            let head = bus
                .history::<IgnoredAny>(stream, filter, u64::MAX / 2)
                .await?
                .head;
            head.saturating_sub(places).max(1)
        }
    };
    let mut history = bus.history::<IgnoredAny>(stream, filter, from).await?;
    if history.head + 1 < from && next.is_some() {
        // The stream was made anew. LEDGER's reader is told by the head; the others are read from the
        // beginning.
        *next = None;
    } else {
        *next = Some(from);
    }
    if sender.send(Heard::Open(part, history.head)).await.is_err() {
        return Ok(());
    }
    anyhow::ensure!(next.is_some(), "it was made anew and ends at {}", history.head);
    loop {
        let message = history.next().await?;
        *next = Some(message.sequence + 1);
        if sender.send(Heard::Message(part, message)).await.is_err() {
            return Ok(());
        }
    }
}
