//! The synthetic market: prices that are a pure function of seed, symbol and time.
//!
//! A price is an anchor times slow smooth noise, times the path of the present regime, times fast noise whose
//! size clusters. Each quarter of an hour of a stock holds every regime once, in seeded order, each for two to
//! five minutes; what a bull wins the bear of the same quarter gives back, so no stock wanders off for ever.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use protocol::{Price, Quantity, Symbol};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::bars::{Bar, BarSize, Joiner};
use super::history::{Piece, Query};
use super::market::Tick;
use super::noise;

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
/// Seconds that hold each regime once.
const CYCLE_SECONDS: i64 = 900;
/// What a bull adds and a bear takes each second, as a fraction of the price.
const DRIFT: f64 = 0.000_15;
/// Fast noise per square root of a second: ordinary, sideways and volatile.
const NOISE: f64 = 0.000_16;
const NOISE_SIDEWAYS: f64 = 0.000_12;
const NOISE_VOLATILE: f64 = 0.000_85;
/// Slow noise for each square root of a day.
const NOISE_SLOW_DAY: f64 = 0.015;
/// Doublings of the slow noise: from a quarter of an hour to three weeks.
const SLOW_OCTAVES: u32 = 12;
/// Doublings of the fast noise: from two seconds to a minute.
const FAST_OCTAVES: u32 = 6;
/// Seconds over which the noise of two regimes is blended.
const BLEND_SECONDS: f64 = 6.0;
/// Most trades looked at to build one answer of history; above that only every so many-th is.
const HISTORY_TRADES_MAX: i64 = 400_000;
/// Most trades looked at to build one bar; a bar of half an hour is exact at one trade a second.
const BAR_TRADES_MAX: i64 = 1800;
/// The first instant of its history: 2020-01-01.
const FIRST_SECOND: i64 = 1_577_836_800;

/// What a stock is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regime {
    /// Rising.
    Bull,
    /// Falling.
    Bear,
    /// Going nowhere, quietly.
    Sideways,
    /// Going nowhere, wildly.
    Volatile,
}

#[derive(Debug, Clone)]
struct Stock {
    symbol: Symbol,
    seed: u64,
    anchor: f64,
    /// Decimal places of a price.
    places: u32,
    /// Milliseconds after the full period at which it trades.
    phase_ms: i64,
    /// Number of the next trade.
    next: i64,
}

/// The market and where its clock stands.
#[derive(Debug, Clone)]
pub struct Synthetic {
    stocks: Vec<Stock>,
    index: BTreeMap<Symbol, usize>,
    queue: BTreeSet<(i64, usize)>,
    period_ms: i64,
}

/// A quarter of an hour of one stock: every regime once.
struct Cycle {
    /// Each regime and the second at which it ends.
    legs: [(Regime, f64); 4],
    /// How far a bull or a bear moves the price in this cycle, as a fraction.
    reach: f64,
    /// The second within the cycle.
    second: f64,
}

impl Cycle {
    /// The present leg: its regime, its first and its last second, and the regime before it in this cycle.
    fn leg(&self) -> (Regime, f64, f64, Option<Regime>) {
        let (mut start, mut before) = (0.0, None);
        for (regime, end) in self.legs {
            if self.second < end {
                return (regime, start, end, before);
            }
            (start, before) = (end, Some(regime));
        }
        // Only rounding leads here: the last leg ends with the cycle.
        (
            self.legs[3].0,
            self.legs[2].1,
            CYCLE_SECONDS as f64,
            Some(self.legs[2].0),
        )
    }

    /// How far the regimes have moved the price since the cycle began, as a fraction.
    fn trend(&self) -> f64 {
        let (mut moved, mut start) = (0.0, 0.0);
        for (regime, end) in self.legs {
            let part = ((self.second - start) / (end - start)).clamp(0.0, 1.0);
            moved += match regime {
                Regime::Bull => part,
                Regime::Bear => -part,
                Regime::Sideways | Regime::Volatile => 0.0,
            };
            start = end;
        }
        moved * self.reach
    }
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
            period_ms,
        };
        for (position, symbol) in unique.into_iter().enumerate() {
            let seed = noise::seed_of(seed, symbol.as_str());
            let other = ANCHOR_OTHER * (0.2 + 3.0 * noise::fraction(noise::mix(seed)));
            let anchor = known.get(symbol.as_str()).copied().unwrap_or(other);
            // Spread evenly, so that there is always one about to trade.
            let phase_ms = period_ms * i64::try_from(position).unwrap_or(0) / count;
            let next = (start.as_millisecond() - phase_ms + period_ms - 1).div_euclid(period_ms);
            let places = if anchor < 1.0 { 4 } else { 2 };
            market.queue.insert((next * period_ms + phase_ms, position));
            market.index.insert(symbol, position);
            market.stocks.push(Stock {
                symbol,
                seed,
                anchor,
                places,
                phase_ms,
                next,
            });
        }
        market
    }

    pub(super) fn symbols(&self) -> Vec<Symbol> {
        self.stocks.iter().map(|stock| stock.symbol).collect()
    }

    pub(super) fn price_step(&self, symbol: Symbol) -> Option<Price> {
        self.stock(symbol).map(|stock| Decimal::new(1, stock.places))
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.queue
            .first()
            .and_then(|(ms, _)| Timestamp::from_millisecond(*ms).ok())
    }

    pub(super) fn take(&mut self) -> Option<Tick> {
        let (ms, position) = self.queue.pop_first()?;
        let stock = self.stocks.get_mut(position)?;
        let tick = stock.tick(stock.next, ms);
        stock.next += 1;
        self.queue
            .insert((stock.next * self.period_ms + stock.phase_ms, position));
        tick
    }

    /// Leaves out all trades before an instant, for a clock that leapt (a laptop that slept).
    pub fn skip_to(&mut self, at: Timestamp) {
        self.queue.clear();
        for (position, stock) in self.stocks.iter_mut().enumerate() {
            stock.next =
                (at.as_millisecond() - stock.phase_ms + self.period_ms - 1).div_euclid(self.period_ms);
            self.queue
                .insert((stock.next * self.period_ms + stock.phase_ms, position));
        }
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        Timestamp::from_second(FIRST_SECOND).ok()
    }

    pub(super) fn bars(&self, symbol: Symbol, from: Timestamp, to: Timestamp, size: BarSize) -> Vec<Bar> {
        let mut joiner = Joiner::new(size);
        self.sample(symbol, from, to, size, |tick, times| {
            joiner.push(Bar::of(tick.at, tick.price, tick.size * Decimal::from(times)));
        });
        joiner.finish()
    }

    /// The trades that bars of a size are made of, and how many each stands for.
    fn sample(
        &self,
        symbol: Symbol,
        from: Timestamp,
        to: Timestamp,
        size: BarSize,
        mut each: impl FnMut(Tick, i64),
    ) {
        let Some(stock) = self.stock(symbol) else {
            return;
        };
        let (first, last) = self.numbers(stock, from, to);
        // Longer bars look at fewer trades each, and count each for as many as it stands for.
        let in_a_bar = size.seconds() * 1000 / self.period_ms;
        let in_all = (last - first).max(0);
        let stride = (in_a_bar / BAR_TRADES_MAX)
            .max(in_all / HISTORY_TRADES_MAX)
            .max(1);
        let mut number = first;
        while number <= last {
            let ms = number * self.period_ms + stock.phase_ms;
            let Some(tick) = stock.tick(number, ms) else {
                break;
            };
            each(tick, stride);
            number += stride;
        }
    }

    pub(super) fn walk(&self, query: &Query, each: &mut impl FnMut(Piece)) {
        self.sample(query.symbol, query.from, query.to, query.size, |tick, times| {
            each(Piece::Tick(tick, times));
        });
    }

    /// Numbers of the first and the last trade from `from` up to `to`.
    fn numbers(&self, stock: &Stock, from: Timestamp, to: Timestamp) -> (i64, i64) {
        // Trades fall on whole milliseconds: the first one at or after an instant within one is the next.
        let whole_ms = |at: Timestamp| (at.as_nanosecond() + 999_999).div_euclid(1_000_000) as i64;
        let from_ms = whole_ms(from).max(FIRST_SECOND * 1000);
        let first = (from_ms - stock.phase_ms + self.period_ms - 1).div_euclid(self.period_ms);
        let last = (whole_ms(to) - stock.phase_ms - 1).div_euclid(self.period_ms);
        (first, last)
    }

    pub(super) fn ticks(&self, symbol: Symbol, from: Timestamp, to: Timestamp, most: usize) -> Vec<Tick> {
        let Some(stock) = self.stock(symbol) else {
            return Vec::new();
        };
        let (first, last) = self.numbers(stock, from, to);
        let tick = |number: i64| stock.tick(number, number * self.period_ms + stock.phase_ms);
        (first..=last).map_while(tick).take(most).collect()
    }

    pub(super) fn ticks_before(&self, symbol: Symbol, to: Timestamp, most: usize) -> Vec<Tick> {
        let most_ms = i64::try_from(most)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.period_ms);
        let from = Timestamp::from_nanosecond(to.as_nanosecond() - i128::from(most_ms) * 1_000_000);
        self.ticks(symbol, from.unwrap_or(Timestamp::UNIX_EPOCH), to, most)
    }

    pub(super) fn regime(&self, symbol: Symbol, at: Timestamp) -> Option<Regime> {
        self.stock(symbol)
            .map(|stock| stock.cycle(at.as_millisecond()).leg().0)
    }

    fn stock(&self, symbol: Symbol) -> Option<&Stock> {
        self.index
            .get(&symbol)
            .and_then(|position| self.stocks.get(*position))
    }
}

impl Stock {
    /// The cycle at an instant.
    fn cycle(&self, ms: i64) -> Cycle {
        // Stocks begin their cycles at different times.
        let shifted = ms + i64::try_from(self.seed % 900_000).unwrap_or(0);
        let number = shifted.div_euclid(CYCLE_SECONDS * 1000);
        let second = shifted.rem_euclid(CYCLE_SECONDS * 1000) as f64 / 1000.0;
        let hash = noise::at(self.seed ^ 0x000C_7C1E, number);
        let mut order = [Regime::Bull, Regime::Bear, Regime::Sideways, Regime::Volatile];
        for slot in (1..4usize).rev() {
            order.swap(slot, (noise::at(hash, slot as i64) % (slot as u64 + 1)) as usize);
        }
        let weights = [10, 11, 12, 13].map(|slot| 0.75 + 0.5 * noise::fraction(noise::at(hash, slot)));
        let scale = CYCLE_SECONDS as f64 / weights.iter().sum::<f64>();
        let (mut end, mut trending) = (0.0, 0.0);
        let mut legs = [(Regime::Sideways, 0.0); 4];
        for ((leg, regime), weight) in legs.iter_mut().zip(order).zip(weights) {
            end += weight * scale;
            *leg = (regime, end);
            if matches!(regime, Regime::Bull | Regime::Bear) {
                trending += weight * scale;
            }
        }
        Cycle {
            legs,
            reach: DRIFT * trending / 2.0,
            second,
        }
    }

    /// Size of the fast noise at an instant.
    fn loudness(&self, cycle: &Cycle, ms: i64) -> f64 {
        let of = |regime| match regime {
            Regime::Volatile => NOISE_VOLATILE,
            Regime::Sideways => NOISE_SIDEWAYS,
            Regime::Bull | Regime::Bear => NOISE,
        };
        let (regime, start, end, before) = cycle.leg();
        // Each leg rises from the loudness before it, and the last sinks to the ordinary one, with which
        // every cycle begins.
        let from = before.map_or(NOISE, of);
        let rise = ((cycle.second - start) / BLEND_SECONDS).min(1.0);
        let mut own = from + (of(regime) - from) * rise;
        if end > CYCLE_SECONDS as f64 - 0.01 {
            let fall = ((end - cycle.second) / BLEND_SECONDS).min(1.0);
            own = NOISE + (own - NOISE) * fall;
        }
        let cluster = noise::smooth(self.seed ^ 0x51, ms as f64 / 1000.0, 170.0);
        own * (1.0 + 0.5 * cluster)
    }

    /// The price between bid and ask.
    fn middle(&self, ms: i64) -> f64 {
        let cycle = self.cycle(ms);
        let second = ms as f64 / 1000.0;
        let mut slow = 0.0;
        for octave in 0..SLOW_OCTAVES {
            let period = 900.0 * f64::from(1u32 << octave);
            let size = NOISE_SLOW_DAY * (period / 86_400.0).sqrt();
            slow += size * noise::smooth(self.seed ^ (0x100 + u64::from(octave)), second, period);
        }
        let mut fast = 0.0;
        for octave in 0..FAST_OCTAVES {
            let period = 2.0 * f64::from(1u32 << octave);
            fast += period.sqrt() * noise::smooth(self.seed ^ (0x200 + u64::from(octave)), second, period);
        }
        self.anchor * (1.0 + slow) * (1.0 + cycle.trend()) * (1.0 + fast * self.loudness(&cycle, ms))
    }

    /// The trade of a number, which happens at `ms`.
    fn tick(&self, number: i64, ms: i64) -> Option<Tick> {
        let at = Timestamp::from_millisecond(ms).ok()?;
        let hash = noise::at(self.seed ^ 0x71C, number);
        let steps = self.middle(ms) * 10f64.powi(i32::try_from(self.places).ok()?);
        // A spread of one step, or two hundredths of a percent where that is more.
        let spread = ((steps * 0.000_2).round() as i64).max(1);
        let bid = ((steps - spread as f64 / 2.0).round() as i64).max(1);
        let ask = bid + spread;
        let price = if hash & 1 == 0 { bid } else { ask };
        let lot = if self.anchor < 1.0 {
            1000
        } else if self.anchor < 10.0 {
            300
        } else {
            100
        };
        let lots = |shift: u32, most: u64| Quantity::from(lot * (1 + (hash >> shift) % most));
        Some(Tick {
            symbol: self.symbol,
            at,
            price: Decimal::new(price, self.places),
            size: lots(8, 5),
            bid: Decimal::new(bid, self.places),
            ask: Decimal::new(ask, self.places),
            bid_size: lots(16, 9),
            ask_size: lots(24, 9),
            opens_row: false,
            row_end: None,
        })
    }
}
