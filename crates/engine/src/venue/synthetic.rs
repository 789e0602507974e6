//! The synthetic market: prices made up from a seed, around the clock, each stock on a `path` of its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use protocol::{Price, Symbol};
use rust_decimal::Decimal;

use super::bars::{Bar, BarSize, Joiner};
use super::history::{Piece, Query, Show};
use super::market::Tick;
use super::noise;
pub use super::path::Regime;
use super::path::{Path, SPANS};

/// The stocks of the demo and the prices around which they move.
pub const STOCKS: [(&str, f64); 19] = [
    ("AAPL", 268.0),
    ("NVDA", 182.0),
    ("TSLA", 402.0),
    ("IXHL", 0.42),
    ("NUAI", 4.1),
    ("BZAI", 5.2),
    ("ELTP", 0.58),
    ("OPEN", 7.4),
    ("CEG", 348.0),
    ("VRT", 172.0),
    ("PLTR", 168.0),
    ("UPST", 41.5),
    ("TEM", 72.0),
    ("HTFL", 31.0),
    ("SDGR", 18.6),
    ("APLD", 23.5),
    ("SOFI", 26.4),
    ("CORZ", 15.8),
    ("WULF", 12.7),
];

/// Price of a stock that is not in [`STOCKS`], before its own hash moves it.
const ANCHOR_OTHER: f64 = 50.0;
const MINUTE_MS: i64 = 60_000;
/// The first instant of its history: 2020-01-01.
const FIRST_SECOND: i64 = 1_577_836_800;

#[derive(Debug, Clone)]
struct Stock {
    path: Path,
    /// Number of the next trade.
    next: i64,
}

/// The market and where its clock stands.
#[derive(Debug, Clone)]
pub struct Synthetic {
    stocks: Vec<Stock>,
    index: BTreeMap<Symbol, usize>,
    queue: BTreeSet<(i64, usize)>,
}

impl Synthetic {
    /// A market of some stocks from a seed, each trading so many times a second (1 to 1000), whose clock
    /// begins at `start`.
    #[must_use]
    pub fn new(symbols: &[Symbol], seed: u64, trades_per_second: u32, start: Timestamp) -> Self {
        let period_ms = 1000 / i64::from(trades_per_second.clamp(1, 1000));
        let known: BTreeMap<&str, f64> = STOCKS.into_iter().collect();
        let unique: BTreeSet<Symbol> = symbols.iter().copied().collect();
        let count = i64::try_from(unique.len()).unwrap_or(1).max(1);
        let mut market = Self {
            stocks: Vec::new(),
            index: BTreeMap::new(),
            queue: BTreeSet::new(),
        };
        for (position, symbol) in unique.into_iter().enumerate() {
            let seed = noise::seed_of(seed, symbol.as_str());
            let other = ANCHOR_OTHER * (0.2 + 3.0 * noise::fraction(noise::mix(seed)));
            let anchor = known.get(symbol.as_str()).copied().unwrap_or(other);
            // Spread evenly, so that there is always one about to trade.
            let phase_ms = period_ms * i64::try_from(position).unwrap_or(0) / count;
            let path = Path::new(symbol, seed, anchor, period_ms, phase_ms);
            let next = path.number(start.as_millisecond());
            market.queue.insert((path.ms(next), position));
            market.index.insert(symbol, position);
            market.stocks.push(Stock { path, next });
        }
        market
    }

    pub(super) fn symbols(&self) -> Vec<Symbol> {
        self.stocks.iter().map(|stock| stock.path.symbol).collect()
    }

    pub(super) fn price_step(&self, symbol: Symbol) -> Option<Price> {
        self.stock(symbol).map(|stock| Decimal::new(1, stock.path.places))
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.queue
            .first()
            .and_then(|(ms, _)| Timestamp::from_millisecond(*ms).ok())
    }

    pub(super) fn take(&mut self) -> Option<Tick> {
        let (_, position) = self.queue.pop_first()?;
        let stock = self.stocks.get_mut(position)?;
        let tick = stock.path.tick(stock.next);
        stock.next += 1;
        self.queue.insert((stock.path.ms(stock.next), position));
        tick
    }

    /// Leaves out all trades before an instant, for a clock that leapt (a laptop that slept).
    pub fn skip_to(&mut self, at: Timestamp) {
        self.queue.clear();
        for (position, stock) in self.stocks.iter_mut().enumerate() {
            stock.next = stock.path.number(at.as_millisecond());
            self.queue.insert((stock.path.ms(stock.next), position));
        }
    }

    /// How many trades have to be looked at for bars of a size over so many seconds; none where whole minutes tell.
    #[must_use]
    pub fn trades_in(&self, seconds: i64, size: BarSize) -> i64 {
        let period = self.stocks.first().map_or(1000, |stock| stock.path.period());
        if size.seconds() * 1000 < MINUTE_MS {
            seconds.saturating_mul(1000) / period
        } else {
            0
        }
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        Timestamp::from_second(FIRST_SECOND).ok()
    }

    pub(super) fn bars(&self, symbol: Symbol, from: Timestamp, to: Timestamp, size: BarSize) -> Vec<Bar> {
        let mut joiner = Joiner::new(size);
        let query = Query {
            symbol,
            from,
            to,
            size,
            show: Show::Trades,
            regular_only: false,
        };
        self.walk(&query, &mut |piece| match piece {
            Piece::Tick(tick) => joiner.push(Bar::of(tick.at, tick.price, tick.size)),
            Piece::Row { bar, .. } => joiner.push(bar),
        });
        joiner.finish()
    }

    /// What bars are made of: whole hours and minutes where those fit into one, else trades. Of quotes, a whole stretch
    /// shows those of the trades by which it is known, at most a spread from those of all.
    pub(super) fn walk(&self, query: &Query, each: &mut impl FnMut(Piece)) {
        let Some(stock) = self.stock(query.symbol) else {
            return;
        };
        let mut path = stock.path.clone();
        let size = query.size.seconds() * 1000;
        let (mut at, end) = (whole_ms(query.from).max(FIRST_SECOND * 1000), whole_ms(query.to));
        while at < end {
            let fits = |length: i64| size >= length && at % length == 0 && at + length <= end;
            let Some(place) = SPANS.iter().position(|span| fits(span.length)) else {
                let next = (at - at.rem_euclid(MINUTE_MS) + MINUTE_MS).min(end);
                let ticks = path.number(at)..path.number(next);
                ticks
                    .filter_map(|number| path.tick(number))
                    .map(Piece::Tick)
                    .for_each(&mut *each);
                at = next;
                continue;
            };
            if query.show == Show::Trades {
                let row = |bar| Piece::Row {
                    bar,
                    is_own: false,
                    is_day: false,
                };
                path.bar(place, at).map(row).into_iter().for_each(&mut *each);
            } else {
                path.ticks_of(place, at)
                    .into_iter()
                    .map(Piece::Tick)
                    .for_each(&mut *each);
            }
            at += SPANS[place].length;
        }
    }

    pub(super) fn ticks(&self, symbol: Symbol, from: Timestamp, to: Timestamp, most: usize) -> Vec<Tick> {
        let Some(stock) = self.stock(symbol) else {
            return Vec::new();
        };
        let mut path = stock.path.clone();
        let (first, next) = (
            path.number(whole_ms(from).max(FIRST_SECOND * 1000)),
            path.number(whole_ms(to)),
        );
        (first..next)
            .map_while(|number| path.tick(number))
            .take(most)
            .collect()
    }

    pub(super) fn ticks_before(&self, symbol: Symbol, to: Timestamp, most: usize) -> Vec<Tick> {
        let Some(stock) = self.stock(symbol) else {
            return Vec::new();
        };
        let mut path = stock.path.clone();
        let next = path.number(whole_ms(to));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let first = next.saturating_sub(most).max(path.number(FIRST_SECOND * 1000));
        (first..next).filter_map(|number| path.tick(number)).collect()
    }

    pub(super) fn regime(&self, symbol: Symbol, at: Timestamp) -> Option<Regime> {
        let stock = self.stock(symbol)?;
        Some(stock.path.clone().regime(at.as_millisecond()))
    }

    fn stock(&self, symbol: Symbol) -> Option<&Stock> {
        self.index
            .get(&symbol)
            .and_then(|position| self.stocks.get(*position))
    }
}

/// The first whole millisecond at or after an instant: trades fall on whole ones.
fn whole_ms(at: Timestamp) -> i64 {
    (at.as_nanosecond() + 999_999).div_euclid(1_000_000) as i64
}
