//! What a stock shows: its quote with the shares still to be had, the day so far, and the five seconds so far.

use jiff::Timestamp;
use protocol::{Price, Quantity};

use super::bars::{self, Bar, PUSHED_SECONDS};
use super::depth::{self, Depth, Level};
use super::market::Tick;
use super::order::Side;

/// One stock's public face.
#[derive(Debug, Clone)]
pub struct Book {
    /// The last trade and the quote after it, less what was taken from the quote since.
    pub tick: Tick,
    /// Shares traded today.
    pub volume: Quantity,
    /// Price times shares, summed over today.
    pub turnover: Price,
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
    /// Whether the next trade is the day's first: until then the prices of the day are the last of the day before.
    is_new_day: bool,
    /// The smallest step of its price.
    step: Price,
    /// The last trade with its whole quote, from which the depth follows.
    whole: Tick,
    /// Bid and ask that stood when it came.
    before: (Price, Price),
    /// Shares taken since then by sellers and by buyers.
    sold: Quantity,
    bought: Quantity,
}

impl Book {
    /// The book after a first trade.
    #[must_use]
    pub fn new(tick: Tick, step: Price, day: Option<&Bar>, previous_close: Option<Price>) -> Self {
        let shown = tick.row_end.map(|_| (tick.price, tick.price));
        let before = day.map_or(Quantity::ZERO, |bar| bar.volume);
        Self {
            volume: before + tick.size,
            turnover: day.map_or(Quantity::ZERO, |bar| bar.turnover) + tick.price * tick.size,
            open: day.map_or(tick.price, |bar| bar.open),
            high: day.map_or(tick.price, |bar| bar.high.max(tick.price)),
            low: day.map_or(tick.price, |bar| bar.low.min(tick.price)),
            previous_close,
            shown,
            bar: Some(five_seconds(&tick)),
            is_new_day: false,
            step,
            whole: tick.clone(),
            before: (tick.bid, tick.ask),
            sold: Quantity::ZERO,
            bought: Quantity::ZERO,
            tick,
        }
    }

    /// Takes in the next trade.
    pub fn trade(&mut self, tick: Tick) {
        self.volume += tick.size;
        self.turnover += tick.price * tick.size;
        if std::mem::take(&mut self.is_new_day) {
            (self.open, self.high, self.low) = (tick.price, tick.price, tick.price);
        }
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
        self.before = (self.tick.bid, self.tick.ask);
        self.whole = tick.clone();
        (self.sold, self.bought) = (Quantity::ZERO, Quantity::ZERO);
        self.tick = tick;
    }

    /// Begins a new trading day.
    pub fn begin_day(&mut self) {
        self.previous_close = Some(self.tick.price);
        self.volume = Quantity::ZERO;
        self.turnover = Quantity::ZERO;
        (self.open, self.high, self.low) = (self.tick.price, self.tick.price, self.tick.price);
        self.is_new_day = true;
    }

    /// Today's average price weighted by shares, to six decimals; the last price where nothing traded.
    #[must_use]
    pub fn average(&self) -> Price {
        if self.volume.is_zero() {
            return self.tick.price;
        }
        (self.turnover / self.volume).round_dp(6).normalize()
    }

    /// A price, moved to the nearest one that may be traded at.
    #[must_use]
    pub fn within_shown(&self, price: Price) -> Price {
        self.shown.map_or(price, |(low, high)| price.clamp(low, high))
    }

    /// Whether the last trade brought the market to an order that rests: it could not have traded at `limit` before.
    #[must_use]
    pub fn came_to(&self, side: Side, limit: Price) -> bool {
        let (bid, ask) = self.before;
        match side {
            Side::Buy => ask > limit,
            Side::Sell => bid < limit,
        }
    }

    /// Both sides of the book as they are shown.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let left = |side| self.left(side).into_iter().map(|(_, level)| level).collect();
        Depth {
            bids: left(Side::Sell),
            asks: left(Side::Buy),
        }
    }

    /// Whether its prices can be traded at an instant: the source bar that shows them is not over.
    #[must_use]
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.tick.row_end.is_none_or(|end| at < end)
    }

    /// What an order of a side can trade at `now`, best price first. Where source bars limit the fills, the quote counts
    /// at the nearest price that the bar has shown, deeper levels only at their own, and nothing once the bar is over.
    #[must_use]
    pub fn offers(&self, side: Side, now: Timestamp) -> Vec<Level> {
        let mut offers = Vec::new();
        if !self.is_live(now) {
            return offers;
        }
        for (place, level) in self.left(side) {
            let price = self.within_shown(level.price);
            if place == 0 || price == level.price {
                offers.push(Level { price, ..level });
            }
        }
        offers
    }

    /// Takes shares out of the levels that an order of a side meets, the best first.
    pub fn consume(&mut self, side: Side, quantity: Quantity) {
        match side {
            Side::Buy => self.bought += quantity,
            Side::Sell => self.sold += quantity,
        }
        let best = self.left(side).first().map(|(_, level)| *level);
        let (price, size) = match side {
            Side::Buy => (&mut self.tick.ask, &mut self.tick.ask_size),
            Side::Sell => (&mut self.tick.bid, &mut self.tick.bid_size),
        };
        match best {
            Some(level) => (*price, *size) = (level.price, level.size),
            None => *size = Quantity::ZERO,
        }
    }

    /// The levels less what was taken since the last trade, with their places.
    fn left(&self, side: Side) -> Vec<(usize, Level)> {
        let mut taken = match side {
            Side::Buy => self.bought,
            Side::Sell => self.sold,
        };
        let mut left = Vec::new();
        for (place, mut level) in depth::levels(&self.whole, self.step, side)
            .into_iter()
            .enumerate()
        {
            let gone = taken.min(level.size);
            taken -= gone;
            level.size -= gone;
            if level.size > Quantity::ZERO {
                left.push((place, level));
            }
        }
        left
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
