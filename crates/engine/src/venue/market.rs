//! The two markets behind one interface: one makes its prices up, the other replays bars.

use jiff::Timestamp;
use protocol::{Price, Quantity, Symbol};

use super::bars::{Bar, BarSize};
use super::calendar::Calendar;
use super::replay::Replay;
use super::synthetic::{Regime, Synthetic};

/// A trade, and the quote that stands after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The stock.
    pub symbol: Symbol,
    /// When, on the market's clock.
    pub at: Timestamp,
    /// Price of the trade.
    pub price: Price,
    /// Shares traded.
    pub size: Quantity,
    /// Best price to sell at.
    pub bid: Price,
    /// Best price to buy at.
    pub ask: Price,
    /// Shares wanted at the bid.
    pub bid_size: Quantity,
    /// Shares offered at the ask.
    pub ask_size: Quantity,
    /// Whether a new source bar begins with this trade: what may be filled is reset to what it shows.
    /// Always false where no bar limits the fills.
    pub opens_row: bool,
    /// When the source bar ends that shows it, and with it the offers; `None` where no bar limits the fills.
    pub row_end: Option<Timestamp>,
}

/// Where prices come from. What is past in it is the same in a clone, whatever either has taken since.
#[derive(Debug, Clone)]
pub enum Market {
    /// Prices made up from a seed, around the clock.
    Synthetic(Synthetic),
    /// Prices of the past.
    Replay(Replay),
}

impl Market {
    /// All stocks, in order.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        match self {
            Self::Synthetic(market) => market.symbols(),
            Self::Replay(market) => market.symbols(),
        }
    }

    /// The smallest step of a stock's price; `None` for a stock that is not traded here.
    #[must_use]
    pub fn price_step(&self, symbol: Symbol) -> Option<Price> {
        match self {
            Self::Synthetic(market) => market.price_step(symbol),
            Self::Replay(market) => market.price_step(symbol),
        }
    }

    /// When the next trade happens; `None` when there is none any more.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        match self {
            Self::Synthetic(market) => market.next_at(),
            Self::Replay(market) => market.next_at(),
        }
    }

    /// Takes the next trade, whenever it is.
    pub fn take(&mut self) -> Option<Tick> {
        match self {
            Self::Synthetic(market) => market.take(),
            Self::Replay(market) => market.take(),
        }
    }

    /// Bars of a stock from `from` up to `to`; nothing that lies after `to` is looked at, so the last
    /// bar may be one in progress.
    #[must_use]
    pub fn bars(&self, symbol: Symbol, from: Timestamp, to: Timestamp, size: BarSize) -> Vec<Bar> {
        match self {
            Self::Synthetic(market) => market.bars(symbol, from, to, size),
            Self::Replay(market) => market.bars(symbol, from, to, size),
        }
    }

    /// The first trades of a stock from `from` up to `to`, at most so many; of the regular session only, if asked.
    #[must_use]
    pub fn ticks(
        &self,
        symbol: Symbol,
        from: Timestamp,
        to: Timestamp,
        most: usize,
        regular_only: bool,
    ) -> Vec<Tick> {
        match self {
            Self::Synthetic(market) => market.ticks(symbol, from, to, most),
            Self::Replay(market) => market.ticks(symbol, (from, to), most, regular_only),
        }
    }

    /// The last trades of a stock before an instant, at most so many, in order of time.
    #[must_use]
    pub fn ticks_before(&self, symbol: Symbol, to: Timestamp, most: usize, regular_only: bool) -> Vec<Tick> {
        match self {
            Self::Synthetic(market) => market.ticks_before(symbol, to, most),
            Self::Replay(market) => market.ticks_before(symbol, to, most, regular_only),
        }
    }

    /// The first instant of which there is data.
    #[must_use]
    pub fn first(&self, symbol: Symbol) -> Option<Timestamp> {
        match self {
            Self::Synthetic(market) => market.first(),
            Self::Replay(market) => market.first(symbol),
        }
    }

    /// The days and hours of trading.
    #[must_use]
    pub fn calendar(&self) -> &Calendar {
        match self {
            Self::Synthetic(_) => &Calendar::Always,
            Self::Replay(market) => market.calendar(),
        }
    }

    /// The regime that the prices really follow, which only the synthetic market knows.
    #[must_use]
    pub fn truth(&self, symbol: Symbol, at: Timestamp) -> Option<Regime> {
        match self {
            Self::Synthetic(market) => market.regime(symbol, at),
            Self::Replay(_) => None,
        }
    }
}
