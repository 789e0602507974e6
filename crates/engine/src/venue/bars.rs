//! Bars of any size, made of ticks or of shorter bars; exact to the last decimal.

use jiff::Timestamp;
use protocol::{Price, Quantity};
use rust_decimal::Decimal;

use super::calendar;

/// Seconds in the bars that are pushed while the market runs.
pub const PUSHED_SECONDS: i64 = 5;

/// Open, high, low, close and volume of an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// First instant of the interval.
    pub start: Timestamp,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Shares traded.
    pub volume: Quantity,
    /// Price times shares, summed; over the volume it is the average price.
    pub turnover: Decimal,
    /// Number of trades.
    pub count: i32,
}

impl Bar {
    /// The bar of one trade.
    #[must_use]
    pub fn of(start: Timestamp, price: Price, size: Quantity) -> Self {
        let turnover = price * size;
        Self {
            start,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: size,
            turnover,
            count: 1,
        }
    }

    /// Takes in what came later, keeping its own start.
    pub fn absorb(&mut self, later: &Self) {
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.close = later.close;
        self.volume += later.volume;
        self.turnover += later.turnover;
        self.count = self.count.saturating_add(later.count);
    }

    /// Average price weighted by shares, to six decimals; the close where nothing traded.
    #[must_use]
    pub fn average(&self) -> Price {
        if self.volume.is_zero() {
            return self.close;
        }
        (self.turnover / self.volume).round_dp(6).normalize()
    }
}

/// The length of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarSize {
    /// So many seconds, at most eight hours, counted from New York's midnight.
    Seconds(i64),
    /// A New York date.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
}

impl BarSize {
    /// The start of the bar that holds an instant.
    #[must_use]
    pub fn start(self, at: Timestamp) -> Timestamp {
        match self {
            // Whole minutes and less divide every offset from UTC, which is cheaper than the calendar.
            Self::Seconds(seconds) if 1800 % seconds == 0 => floor(at, seconds),
            Self::Seconds(seconds) => calendar::bar_start(at, seconds),
            Self::Day => calendar::midnight(calendar::local(at).date()),
            Self::Week => calendar::midnight(calendar::week_start(calendar::local(at).date())),
            Self::Month => calendar::midnight(calendar::local(at).date().first_of_month()),
        }
    }

    /// Rough length in seconds, for choosing how to build it.
    #[must_use]
    pub fn seconds(self) -> i64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
        }
    }

    /// Whether bars of this size carry a date instead of an instant.
    #[must_use]
    pub fn is_dated(self) -> bool {
        !matches!(self, Self::Seconds(_))
    }
}

/// The last whole multiple of so many seconds since the epoch.
#[must_use]
pub fn floor(at: Timestamp, seconds: i64) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(seconds)).unwrap_or(at)
}

/// Joins bars, which must be in order of time, into longer ones.
#[derive(Debug)]
pub struct Joiner {
    size: BarSize,
    done: Vec<Bar>,
}

impl Joiner {
    /// Begins with nothing.
    #[must_use]
    pub fn new(size: BarSize) -> Self {
        Self {
            size,
            done: Vec::new(),
        }
    }

    /// Takes the next bar or trade.
    pub fn push(&mut self, bar: Bar) {
        self.push_into(self.size.start(bar.start), bar);
    }

    /// Takes the next bar or trade into the bar that starts at an instant of the caller's choice.
    pub fn push_into(&mut self, start: Timestamp, bar: Bar) {
        match self.done.last_mut() {
            Some(last) if last.start == start => last.absorb(&bar),
            _ => self.done.push(Bar { start, ..bar }),
        }
    }

    /// All bars, the last one possibly still in progress.
    #[must_use]
    pub fn finish(self) -> Vec<Bar> {
        self.done
    }
}
