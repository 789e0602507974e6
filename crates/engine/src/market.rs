//! Ticks, five-second bars and the broker's hours in; quotes, bars, the session and alerts out.
//!
//! What is odd about the data is a value: a quote that is not tradable, a bar with a gap, a refusal with its
//! sentence. Time comes in twice: `now` is the wall clock, for pace; what is told bears the market clock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use protocol::Symbol;
use protocol::decision::Level;
use protocol::market::{Bar, BarSize, Quote, Session};

pub mod bars;
pub mod clock;
pub mod hours;
pub mod quotes;
mod steps;

use bars::{Builder, Piece, RawBar};
use clock::Clock;
use hours::Hours;
use quotes::{QuoteBook, Tick};

/// Market time after its end at which a bar is complete though its last five seconds did not come.
const GRACE_SECONDS: i64 = 3;
/// Wall time that the broker may be behind its own clock, which a fast market clock multiplies.
const GRACE_WALL_SECONDS: f64 = 0.25;
/// Seconds by which five seconds of trades may begin after both clocks of a live market: clocks differ, but what is taken
/// in as the newest makes every piece before it a repetition.
const BAR_AHEAD_SECONDS_MAX: i64 = 10;
/// Wall time between two alerts of one kind about one symbol.
const ALERT_SECONDS_MIN: i64 = 60;
/// Wall time between two sessions that say the same.
const SESSION_SECONDS: i64 = 5;
/// Wall time between two looks at what went stale.
const LOOK_MS: i64 = 250;
/// Change of speed that is worth telling at once.
const SPEED_CHANGE: f64 = 0.02;
/// Live pieces of a symbol held while its history is on its way; a day's worth.
const HELD_MAX: usize = 20_000;

/// What market-data is told to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is watched, in the operator's order.
    pub watchlist: Vec<Symbol>,
    /// Length of the bars.
    pub bar_size: BarSize,
    /// Wall time between two quotes of a symbol, at the least.
    pub quote_interval: SignedDuration,
    /// Market time without a tick after which a quote is stale.
    pub stale_after: SignedDuration,
}

/// Past bars of a symbol, asked for when the link came up.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Market time when they were asked for: what ended before it is in `bars`, the rest in `pieces`.
    pub asked_at: Timestamp,
    /// Bars of the configured size, oldest first; may end with one in progress.
    pub bars: Vec<RawBar>,
    /// Five-second bars that reach back before the start of the bar that holds `asked_at`.
    pub pieces: Vec<RawBar>,
    /// Why a part is missing, if one is.
    pub missing: Option<String>,
}

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A link to the broker stands; what came over an older one is void.
    Linked,
    /// The link, or the data behind it, is lost.
    Unlinked {
        /// Why, for people.
        reason: String,
    },
    /// The broker's own time.
    ServerTime {
        /// Wall time when it was asked for.
        asked: Timestamp,
        /// What it said.
        at: Timestamp,
    },
    /// When the market is open.
    Hours {
        /// Whose hours they are.
        symbol: Symbol,
        /// The hours.
        hours: Hours,
    },
    /// The broker will not send a symbol's data.
    Unknown {
        /// Which.
        symbol: Symbol,
        /// What it says.
        reason: String,
    },
    /// A tick.
    Tick {
        /// Of which symbol.
        symbol: Symbol,
        /// What.
        tick: Tick,
    },
    /// Five seconds of trades.
    Bar {
        /// Of which symbol.
        symbol: Symbol,
        /// What.
        bar: RawBar,
    },
    /// Five-second bars or ticks of a symbol were lost on the way.
    Lagged {
        /// Of which symbol.
        symbol: Symbol,
        /// What happened.
        reason: String,
    },
    /// Past bars.
    Past {
        /// Of which symbol.
        symbol: Symbol,
        /// What.
        past: Past,
    },
    /// Nothing but the wall clock moved on.
    Wake,
}

/// Everything that can follow.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A newer quote.
    Quote(Quote),
    /// A complete bar, or a newer state of one.
    Bar(Bar),
    /// The session, new or again.
    Session(Session),
    /// Data that was not taken, and why.
    Refused {
        /// Whose.
        symbol: Symbol,
        /// What and why.
        text: String,
    },
    /// Something a person should know.
    Alert {
        /// One legal subject token.
        kind: &'static str,
        /// How much it asks of a person.
        level: Level,
        /// One sentence.
        text: String,
    },
}

/// What is known about one symbol.
#[derive(Debug)]
struct Watch {
    quotes: QuoteBook,
    bars: Builder,
    /// Live pieces that wait for history; `None` once it came.
    held: Option<Vec<Piece>>,
    /// True when the broker knows no such stock.
    unknown: bool,
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Market {
    plan: Plan,
    watches: BTreeMap<Symbol, Watch>,
    clock: Clock,
    hours: Option<(Symbol, Hours)>,
    connected: bool,
    /// True until the first server time of a new link.
    fresh: bool,
    /// Why no quote is traded on though data comes, in one sentence.
    doubt: Option<String>,
    /// Market time when the data was lost, until it is back.
    lost_at: Option<Timestamp>,
    told: Option<Session>,
    told_at: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    stepped_at: Option<Timestamp>,
    alerts: BTreeMap<(&'static str, Option<Symbol>), Timestamp>,
}

impl Market {
    /// A machine that waits for a link.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let watch = |symbol: &Symbol| {
            let bars = Builder::new(*symbol, plan.bar_size);
            (
                *symbol,
                Watch {
                    quotes: QuoteBook::new(*symbol),
                    bars,
                    held: Some(Vec::new()),
                    unknown: false,
                },
            )
        };
        Self {
            watches: plan.watchlist.iter().map(watch).collect(),
            plan,
            clock: Clock::default(),
            hours: None,
            connected: false,
            fresh: false,
            doubt: None,
            lost_at: None,
            told: None,
            told_at: None,
            looked_at: None,
            stepped_at: None,
            alerts: BTreeMap::new(),
        }
    }

    /// Does what follows from an input at the wall time `now`.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        if self.stepped_at.replace(now).is_some_and(|last| now < last) {
            self.begin_pace(now);
        }
        let wake = input == Input::Wake;
        match input {
            Input::Linked => self.link(),
            Input::Unlinked { reason } => self.unlink(now, &reason, &mut out),
            Input::ServerTime { asked, at } => self.server_time(now, asked, at, &mut out),
            Input::Hours { symbol, hours } => self.hours = Some((symbol, hours)),
            Input::Unknown { symbol, reason } => self.refuse_symbol(now, symbol, &reason, &mut out),
            Input::Tick { symbol, tick } => self.tick(now, symbol, &tick, &mut out),
            Input::Bar { symbol, bar } => self.bar(now, symbol, &bar, &mut out),
            Input::Lagged { symbol, reason } => self.lagged(now, symbol, &reason, &mut out),
            Input::Past { symbol, past } => self.past(now, symbol, past, &mut out),
            Input::Wake => {}
        }
        self.look(now, wake, &mut out);
        self.tell_session(now, &mut out);
        out
    }

    /// The wall time at which [`Input::Wake`] is due though nothing else happens.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Timestamp {
        let look = now + SignedDuration::from_millis(LOOK_MS);
        let quotes = self
            .watches
            .values()
            .filter_map(|watch| watch.quotes.next(self.plan.quote_interval));
        quotes.fold(look, Timestamp::min)
    }

    /// The market time at the wall time `now`.
    pub fn market_time(&mut self, now: Timestamp) -> Timestamp {
        self.clock.at(now)
    }

    /// How fast the market clock runs.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.clock.speed()
    }

    /// Why no quote is traded on though data comes, in one sentence; `None` while all is well.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// How many symbols show no quote that is fresh.
    #[must_use]
    pub fn silent_count(&self) -> usize {
        self.watches
            .values()
            .filter(|watch| watch.quotes.silent())
            .count()
    }

    /// Symbols whose history did not come yet.
    #[must_use]
    pub fn cold_count(&self) -> usize {
        self.watches
            .values()
            .filter(|watch| watch.held.is_some() && !watch.unknown)
            .count()
    }

    /// Symbols that the broker does not know.
    #[must_use]
    pub fn unknown(&self) -> Vec<Symbol> {
        self.watches
            .iter()
            .filter(|(_, watch)| watch.unknown)
            .map(|(symbol, _)| *symbol)
            .collect()
    }
}
