//! The quote of one symbol, put together from single ticks, told at most so often.

use jiff::{SignedDuration, Timestamp};
use protocol::market::Quote;
use protocol::units::{exact, is_price};
use protocol::{Id, Price, Quantity, Symbol};

/// Wall time that ticks which belong together need to arrive: a new bid, its size, the new ask. Told at once,
/// every move would look crossed for a moment.
const SETTLE_MS: i64 = 5;
/// A price this far from the one before, in hundredths of it, may be an error: exchanges pause a stock that moves by less.
const LEAP_PERCENT: i64 = 25;
/// Market time for which prices must have been about there before such a price is believed.
pub(super) const LEAP_SECONDS: i64 = 5;

/// What a price or size tick is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Best price somebody pays.
    Bid,
    /// Best price somebody asks.
    Ask,
    /// The last trade.
    Last,
    /// Close of the session before; has no size.
    PreviousClose,
}

/// A tick as the broker sends it: floats that may be anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tick {
    /// A price, perhaps with its size. -1 and 0 mean that there is none.
    Price {
        /// Which.
        field: Field,
        /// Dollars a share.
        price: f64,
        /// Shares, if they came with it.
        size: Option<f64>,
        /// True for data that comes late on purpose.
        delayed: bool,
    },
    /// A size.
    Size {
        /// Which.
        field: Field,
        /// Shares.
        size: f64,
    },
    /// When the last trade was, tick 45.
    LastTime(Timestamp),
    /// Whether the data of this symbol is live, or else frozen or delayed.
    Live(bool),
    /// Whether trading of this symbol is halted.
    Halted(bool),
}

/// The quote of one symbol and when it may be told next.
#[derive(Debug, Clone)]
pub struct QuoteBook {
    quote: Quote,
    live: bool,
    delayed: bool,
    halted: bool,
    /// True while the link carries this symbol's data.
    fed: bool,
    stale: bool,
    /// True while what comes may be older than the clock says.
    doubted: bool,
    /// The latest mark that is believed.
    believed: Option<Price>,
    /// The latest mark that is not, and the market time since when marks have been about there.
    leapt: Option<(Price, Timestamp)>,
    /// Market time of the last trade.
    traded_at: Option<Timestamp>,
    /// Wall time of the last tick.
    heard: Option<Timestamp>,
    /// Market time of the last one told over this link.
    instant: Option<Timestamp>,
    /// Wall time of the last one told.
    told: Option<Timestamp>,
    /// Wall time of the first change that is not told yet.
    changed: Option<Timestamp>,
}

impl QuoteBook {
    /// An empty quote.
    #[must_use]
    pub fn new(symbol: Symbol) -> Self {
        let quote = Quote {
            id: Id::derive(&["quote", symbol.as_str()]),
            at: Timestamp::UNIX_EPOCH,
            symbol,
            bid: None,
            ask: None,
            last: None,
            bid_size: None,
            ask_size: None,
            previous_close: None,
            tradable: false,
        };
        Self {
            quote,
            live: true,
            delayed: false,
            halted: false,
            fed: false,
            stale: false,
            doubted: false,
            believed: None,
            leapt: None,
            traded_at: None,
            heard: None,
            instant: None,
            told: None,
            changed: None,
        }
    }

    /// Takes in a tick at a wall time and a market time.
    ///
    /// # Errors
    /// What is wrong with its number, for people; the side is then unknown.
    pub fn take(&mut self, now: Timestamp, at: Timestamp, tick: &Tick) -> Result<(), String> {
        if !std::mem::replace(&mut self.fed, true) {
            // The clock of another link may be behind.
            self.instant = None;
        }
        self.quote.at = at;
        self.heard = Some(now);
        self.changed.get_or_insert(now);
        self.stale = false;
        match *tick {
            Tick::Price {
                field,
                price,
                size,
                delayed,
            } => {
                self.delayed = delayed;
                let price = self.price(field, price);
                if let Some(size) = size {
                    self.size(field, size)?;
                }
                price
            }
            Tick::Size { field, size } => self.size(field, size),
            Tick::LastTime(traded_at) => match self.traded_at.replace(traded_at) {
                Some(before) if traded_at < before => {
                    self.traded_at = Some(before);
                    Err(format!("last trade at {traded_at} after one at {before}"))
                }
                _ => Ok(()),
            },
            Tick::Live(live) => {
                self.live = live;
                Ok(())
            }
            Tick::Halted(halted) => {
                self.halted = halted;
                Ok(())
            }
        }
    }

    fn price(&mut self, field: Field, value: f64) -> Result<(), String> {
        let none = value == -1.0 || value == 0.0;
        let price = if none {
            None
        } else {
            exact(value).filter(|price| is_price(*price))
        };
        let slot = match field {
            Field::Bid => &mut self.quote.bid,
            Field::Ask => &mut self.quote.ask,
            Field::Last => &mut self.quote.last,
            Field::PreviousClose => &mut self.quote.previous_close,
        };
        *slot = price;
        if none || price.is_some() {
            Ok(())
        } else {
            Err(format!("{field:?} price {value}"))
        }
    }

    fn size(&mut self, field: Field, value: f64) -> Result<(), String> {
        let size = exact(value).filter(|size| *size >= Quantity::ZERO);
        match field {
            Field::Bid => self.quote.bid_size = size,
            Field::Ask => self.quote.ask_size = size,
            Field::Last | Field::PreviousClose => {}
        }
        if size.is_some() {
            Ok(())
        } else {
            Err(format!("{field:?} size {value}"))
        }
    }

    /// The link no longer carries this symbol's data.
    pub fn cut(&mut self) {
        if std::mem::take(&mut self.fed) {
            // Old enough to be told at once.
            self.changed = Some(Timestamp::UNIX_EPOCH);
        }
        // The next link says anew whether its data is live.
        self.live = true;
        self.delayed = false;
        self.traded_at = None;
        self.told = None;
        // Two errors with nothing in between are no price that stood there.
        self.leapt = None;
    }

    /// Marks the quote as stale when nothing came for so long in market time: by the clock, and by what passed on the wall
    /// at the market's speed, should the clock stand still.
    pub fn age(&mut self, now: Timestamp, at: Timestamp, speed: f64, most: SignedDuration) {
        let passed = self
            .heard
            .map_or(0.0, |heard| now.duration_since(heard).as_secs_f64());
        let silent = at.duration_since(self.quote.at) > most || passed * speed > most.as_secs_f64();
        if self.fed && !self.stale && silent {
            self.stale = true;
            self.changed = Some(Timestamp::UNIX_EPOCH);
        }
    }

    /// Forgets instants of a wall clock that was set back.
    pub fn begin_pace(&mut self, now: Timestamp) {
        self.told = None;
        self.heard = self.heard.map(|_| now);
        self.changed = self.changed.map(|changed| changed.min(now));
    }

    /// Sets whether what comes may be older than the clock says.
    pub fn doubt(&mut self, now: Timestamp, doubted: bool) {
        if std::mem::replace(&mut self.doubted, doubted) != doubted && self.fed {
            self.changed.get_or_insert(now);
        }
    }

    /// Whether somebody asks less than another pays.
    #[must_use]
    pub fn crossed(&self) -> bool {
        matches!((self.quote.bid, self.quote.ask), (Some(bid), Some(ask)) if bid > ask)
    }

    /// The mark that is believed and the present one, where that is too far from it to be believed yet.
    #[must_use]
    pub fn leapt(&self) -> Option<(Price, Price)> {
        let believed = self.believed.or(self.quote.previous_close)?;
        self.leapt.map(|(mark, _)| (believed, mark))
    }

    /// Tells the book what the price was before its first one.
    pub fn remember(&mut self, price: Price) {
        self.believed.get_or_insert(price);
    }

    /// Believes a mark near the one before, or near where marks have been for a while.
    fn judge_mark(&mut self) {
        let Some(mark) = self.quote.mark() else { return };
        let is_near =
            |other: Price| (mark - other).abs() * Price::ONE_HUNDRED <= other * Price::from(LEAP_PERCENT);
        let believed = self.believed.or(self.quote.previous_close);
        if believed.is_none_or(is_near) {
            (self.believed, self.leapt) = (Some(mark), None);
            return;
        }
        let at = self.quote.at;
        let since = self
            .leapt
            .filter(|(there, _)| is_near(*there))
            .map_or(at, |(_, since)| since);
        if at.duration_since(since) < SignedDuration::from_secs(LEAP_SECONDS) {
            self.leapt = Some((mark, since));
        } else {
            (self.believed, self.leapt) = (Some(mark), None);
        }
    }

    /// Whether nothing came for too long, or the link is down.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.stale || !self.fed
    }

    /// Whether the data comes late or is frozen.
    #[must_use]
    pub fn delayed(&self) -> bool {
        self.delayed || !self.live
    }

    /// The quote, if it changed and is due at the wall time `now`.
    pub fn told(&mut self, now: Timestamp, interval: SignedDuration) -> Option<Quote> {
        if self.next(interval).is_none_or(|due| now < due) {
            return None;
        }
        self.changed = None;
        self.told = Some(now);
        if !self.silent() {
            self.judge_mark();
        }
        let unfit = self.silent() || self.delayed() || self.halted || self.crossed();
        self.quote.tradable = !(unfit || self.doubted || self.leapt.is_some());
        self.name();
        Some(self.quote.clone())
    }

    /// Gives the quote an instant and an id of its own: a clock that stands still tells several, and two quotes that
    /// shared an id would be one cause.
    fn name(&mut self) {
        let next = self.instant.map(|last| last + SignedDuration::from_nanos(1));
        let quote = &mut self.quote;
        quote.at = next.map_or(quote.at, |next| quote.at.max(next));
        self.instant = Some(quote.at);
        // A clock that another process or link set back may come to an instant again, with another quote.
        let prices = [quote.bid, quote.ask, quote.last, quote.previous_close];
        let shown = format!(
            "{prices:?} {:?} {:?} {}",
            quote.bid_size, quote.ask_size, quote.tradable
        );
        quote.id = Id::derive(&["quote", quote.symbol.as_str(), &quote.at.to_string(), &shown]);
    }

    /// The wall time at which the quote is due: when its change has settled, and the interval since the one
    /// before is over. `None` when there is nothing to tell.
    #[must_use]
    pub fn next(&self, interval: SignedDuration) -> Option<Timestamp> {
        let changed = self.changed.filter(|_| self.quote.mark().is_some())?;
        let settled = changed + SignedDuration::from_millis(SETTLE_MS);
        Some(self.told.map_or(settled, |told| settled.max(told + interval)))
    }
}
