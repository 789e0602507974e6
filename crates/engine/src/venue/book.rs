//! What a stock shows: its quote with the shares still to be had, the day so far, and the five seconds so far.

use jiff::Timestamp;
use protocol::{Price, Quantity};

use super::bars::{self, Bar, PUSHED_SECONDS};
use super::market::Tick;
use super::order::Side;

/// One stock's public face.
#[derive(Debug, Clone)]
pub struct Book {
    /// The last trade and the quote after it, less what was taken from the quote since.
    pub tick: Tick,
    /// Shares traded today.
    pub volume: Quantity,
    /// First, highest and lowest price of today.
    pub open: Price,
    /// Highest price of today.
    pub high: Price,
    /// Lowest price of today.
    pub low: Price,
    /// Last price of the day before, once known.
    pub previous_close: Option<Price>,
    /// Lowest and highest price that the present source bar has shown, where fills are limited to that.
    pub shown: Option<(Price, Price)>,
    /// The five seconds in progress.
    pub bar: Option<Bar>,
}

impl Book {
    /// The book after a first trade. `limited` says that fills must stay within what source bars showed.
    #[must_use]
    pub fn new(tick: Tick, limited: bool, day: Option<&Bar>, previous_close: Option<Price>) -> Self {
        let shown = limited.then_some((tick.price, tick.price));
        let before = day.map_or(Quantity::ZERO, |bar| bar.volume);
        Self {
            volume: before + tick.size,
            open: day.map_or(tick.price, |bar| bar.open),
            high: day.map_or(tick.price, |bar| bar.high.max(tick.price)),
            low: day.map_or(tick.price, |bar| bar.low.min(tick.price)),
            previous_close,
            shown,
            bar: Some(five_seconds(&tick)),
            tick,
        }
    }

    /// Takes in the next trade.
    pub fn trade(&mut self, tick: Tick) {
        self.volume += tick.size;
        self.high = self.high.max(tick.price);
        self.low = self.low.min(tick.price);
        if let Some((low, high)) = &mut self.shown {
            if tick.opens_row {
                (*low, *high) = (tick.price, tick.price);
            } else {
                (*low, *high) = ((*low).min(tick.price), (*high).max(tick.price));
            }
        }
        let next = five_seconds(&tick);
        match &mut self.bar {
            Some(bar) => bar.absorb(&next),
            empty => *empty = Some(next),
        }
        self.tick = tick;
    }

    /// Begins a new trading day.
    pub fn begin_day(&mut self) {
        self.previous_close = Some(self.tick.price);
        self.volume = Quantity::ZERO;
        (self.open, self.high, self.low) = (self.tick.price, self.tick.price, self.tick.price);
    }

    /// The price at which a market order of a side trades now: the other side's quote, but never a price
    /// that a source bar has not shown.
    #[must_use]
    pub fn touch(&self, side: Side) -> Price {
        let quote = match side {
            Side::Buy => self.tick.ask,
            Side::Sell => self.tick.bid,
        };
        self.within_shown(quote)
    }

    /// A price, moved to the nearest one that may be traded at.
    #[must_use]
    pub fn within_shown(&self, price: Price) -> Price {
        self.shown.map_or(price, |(low, high)| price.clamp(low, high))
    }

    /// Shares that an order of a side can have now.
    #[must_use]
    pub fn available(&self, side: Side) -> Quantity {
        match side {
            Side::Buy => self.tick.ask_size,
            Side::Sell => self.tick.bid_size,
        }
    }

    /// Takes shares out of the quote.
    pub fn consume(&mut self, side: Side, quantity: Quantity) {
        match side {
            Side::Buy => self.tick.ask_size -= quantity,
            Side::Sell => self.tick.bid_size -= quantity,
        }
    }

    /// When the five seconds in progress end.
    #[must_use]
    pub fn bar_end(&self) -> Option<Timestamp> {
        let bar = self.bar.as_ref()?;
        Timestamp::from_second(bar.start.as_second() + PUSHED_SECONDS).ok()
    }
}

fn five_seconds(tick: &Tick) -> Bar {
    Bar::of(bars::floor(tick.at, PUSHED_SECONDS), tick.price, tick.size)
}
