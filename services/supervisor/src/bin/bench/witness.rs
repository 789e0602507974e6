//! A bystander on the bus: hears bars, signals and intents with the instants at which it did, and joins them with the
//! gateway's trace to the way of each order that followed from a bar.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use protocol::decision::Signal;
use protocol::ledger::{Entry, Reason, Record};
use protocol::market::{Bar, BarSize};
use protocol::subject::filter;
use protocol::{Id, Symbol, Timestamp};
use runtime::Bus;

/// Lengths of the messages on the way, in bytes of JSON, and a record as it is appended.
#[derive(Debug, Clone)]
pub struct Messages {
    /// A bar.
    pub bar: usize,
    /// A signal.
    pub signal: usize,
    /// An intent.
    pub intent: Record,
}

/// Lengths of the frames at the gateway's socket, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Frames {
    /// A five-second bar.
    pub bar: usize,
    /// An order.
    pub order: usize,
}

/// What was heard so far. Instants are nanoseconds of the wall clock.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// When a bar was heard.
    pub bars: BTreeMap<Id, u128>,
    /// Which bar a signal follows from, and when it was heard.
    pub signals: BTreeMap<Id, (Id, u128)>,
    /// Which signal an intent follows from, and when it was heard; only those that a bar decided.
    pub intents: BTreeMap<Id, (Id, u128)>,
    /// Start of the newest bars, and those bars in the order in which they were heard.
    newest: Timestamp,
    burst: Vec<(Id, Symbol)>,
    bar_bytes: usize,
    signal_bytes: usize,
    intent: Option<Record>,
}

/// The bystander.
#[derive(Debug, Clone)]
pub struct Witness(Arc<Mutex<Heard>>);

impl Witness {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the bus is closed.
    pub async fn listen(bus: &Bus) -> anyhow::Result<Self> {
        let witness = Self(Arc::default());
        let mut bars = bus.subscribe::<Bar>(filter::BARS).await?;
        let mut signals = bus.subscribe::<Signal>(filter::SIGNALS).await?;
        let mut records = bus.subscribe::<Record>(filter::ORDERS).await?;
        let own = witness.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(bar) = bars.next() => own.edit(|heard, now| heard.bar(now, &bar.body)),
                    Some(signal) = signals.next() => own.edit(|heard, now| heard.signal(now, &signal.body)),
                    Some(record) = records.next() => own.edit(|heard, now| heard.record(now, record.body)),
                    else => return,
                }
            }
        });
        Ok(witness)
    }

    fn edit(&self, change: impl FnOnce(&mut Heard, u128)) {
        let now = nanos();
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), now);
    }

    /// Lengths of what was heard, once an order followed from a bar.
    pub fn sizes(&self) -> Option<Messages> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Messages {
            bar: heard.bar_bytes,
            signal: heard.signal_bytes,
            intent: heard.intent.clone()?,
        })
    }

    /// The symbols of the newest bars in their order, and whether an order followed.
    pub fn last_burst(&self) -> Vec<(Symbol, bool)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signals = heard
            .intents
            .values()
            .filter_map(|(signal, _)| heard.signals.get(signal));
        let decided: BTreeSet<&Id> = signals.map(|(bar, _)| bar).collect();
        let symbols = heard
            .burst
            .iter()
            .map(|(bar, symbol)| (*symbol, decided.contains(bar)));
        symbols.collect()
    }

    /// How many orders that a bar decided were heard.
    pub fn orders(&self) -> usize {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.intents.len()
    }

    /// All that was heard.
    pub fn heard(&self) -> Heard {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Heard {
    fn bar(&mut self, now: u128, bar: &Bar) {
        if !bar.complete || bar.warm_up || bar.size != BarSize::FIVE_SECONDS {
            return;
        }
        if bar.start > self.newest {
            self.newest = bar.start;
            self.burst.clear();
        }
        self.burst.push((bar.id.clone(), bar.symbol));
        self.bars.insert(bar.id.clone(), now);
        self.bar_bytes = length(bar);
    }

    fn signal(&mut self, now: u128, signal: &Signal) {
        self.signals
            .insert(signal.id.clone(), (signal.cause.clone(), now));
        self.signal_bytes = length(signal);
    }

    fn record(&mut self, now: u128, record: Record) {
        let Entry::Intent(intent) = &record.entry else {
            return;
        };
        if !matches!(intent.reason, Reason::Entry | Reason::Signal | Reason::Regime) {
            return;
        }
        let Some(signal) = record.cause.clone() else {
            return;
        };
        self.intents.insert(record.id.clone(), (signal, now));
        self.intent = Some(record);
    }
}

/// The gateway's trace.
#[derive(Debug, Clone, Default)]
pub struct Traced {
    /// When the bytes of a bar were written, by the id of the bar it is on the bus.
    pub bars: BTreeMap<Id, u128>,
    /// When the bytes of an order were read, by its reference; in their order.
    pub orders: Vec<(Id, u128)>,
    bar_bytes: Option<usize>,
    order_bytes: Option<usize>,
}

impl Traced {
    /// Reads what is in the file so far.
    ///
    /// # Errors
    /// When it is not there, or a whole line is not as `paper-gateway --trace` writes it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let mut traced = Self::default();
        // The last line may be in the middle of being written.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            traced
                .line(line.trim_end())
                .with_context(|| format!("`{}` in the gateway's trace", line.trim_end()))?;
        }
        Ok(traced)
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let mut words = line.split(' ');
        let mut word = || words.next().context("a word is missing");
        let (kind, at) = (word()?, word()?.parse::<u128>()?);
        let (symbol, what, bytes) = (word()?.parse::<Symbol>()?, word()?, word()?.parse()?);
        if kind == "bar" {
            let start = Timestamp::from_second(what.parse()?)?;
            // The first time counts: a client that comes again is told nothing twice.
            self.bars
                .entry(Bar::id_of(symbol, BarSize::FIVE_SECONDS, start))
                .or_insert(at);
            self.bar_bytes = Some(bytes);
        } else if let Ok(id) = what.parse() {
            self.orders.push((id, at));
            self.order_bytes = Some(bytes);
        }
        Ok(())
    }

    /// Lengths of the last frames, once there was one of each.
    pub fn frames(&self) -> Option<Frames> {
        Some(Frames {
            bar: self.bar_bytes?,
            order: self.order_bytes?,
        })
    }
}

/// The way of one order: the instants in nanoseconds of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Second of the bar's start, which names the burst.
    pub burst: i64,
    /// The bar's bytes were written at the gateway.
    pub written: u128,
    /// The bar, the signal and the intent were heard on the bus.
    pub heard: [u128; 3],
    /// The order's bytes were read at the gateway.
    pub read: u128,
}

/// The ways of all orders that followed from bars written since `begin`, in the order of their arrival.
pub fn ways(heard: &Heard, traced: &Traced, begin: u128) -> Vec<Way> {
    let way = |(order, read): &(Id, u128)| {
        let (signal, intended) = heard.intents.get(order)?;
        let (bar, opined) = heard.signals.get(signal)?;
        let written = *traced.bars.get(bar)?;
        let burst = bar.as_str().rsplit('-').next()?.parse().ok()?;
        let closed = *heard.bars.get(bar)?;
        Some(Way {
            burst,
            written,
            heard: [closed, *opined, *intended],
            read: *read,
        })
    };
    let ways = traced.orders.iter().filter_map(way);
    ways.filter(|way| way.written >= begin).collect()
}

/// The wall clock in nanoseconds since 1970, as in the gateway's trace.
#[must_use]
pub fn nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}

fn length(message: &impl serde::Serialize) -> usize {
    serde_json::to_vec(message).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    #[test]
    fn an_order_is_joined_with_the_bar_it_follows_from_and_others_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace");
        let text = "bar 1000 AAPL 100 61\nbar 2000 AAPL 105 62\norder 5000 AAPL later 180\norder 5500 AAPL stop 181\nbar 60";
        std::fs::write(&file, text).unwrap();
        let traced = Traced::read(&file).unwrap();
        let frames = traced.frames().unwrap();
        assert_eq!((frames.bar, frames.order), (62, 181));
        let mut heard = Heard::default();
        heard.bars.insert(id("AAPL-5s-105"), 2500);
        heard.signals.insert(id("s"), (id("AAPL-5s-105"), 3000));
        heard.intents.insert(id("later"), (id("s"), 4000));
        let way = Way {
            burst: 105,
            written: 2000,
            heard: [2500, 3000, 4000],
            read: 5000,
        };
        assert_eq!(ways(&heard, &traced, 1500), [way]);
        assert_eq!(ways(&heard, &traced, 2001), []);
    }
}
