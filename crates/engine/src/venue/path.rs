//! The path of a made-up price: a pure function of seed, symbol and the number of a trade.
//!
//! A price is an anchor times slow smooth noise, times the path of the present regime, times fast noise whose
//! size clusters. Each quarter of an hour of a stock holds every regime once, in seeded order, each for two to
//! five minutes; what a bull wins the bear of the same quarter gives back, so no stock wanders off for ever.
//!
//! Whole minutes and hours are known without looking at all of their trades. An hour's prices stay between the lowest and
//! the highest at which its minutes begin, those of five minutes between the ones of every thirtieth second, a minute's
//! between the ones of every sixth, the last trade included; and the shares of trades are differences of a function that
//! says how many were traded before. So a bar is the same whatever is asked for, and longer bars are exactly what shorter
//! ones join to.

use jiff::Timestamp;
use protocol::{Price, Quantity, Symbol};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::bars::Bar;
use super::market::Tick;
use super::noise::{self, Lattice};

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
/// Seconds of the noise that makes the fast noise's size cluster.
const CLUSTER_SECONDS: f64 = 170.0;
/// Seconds over which the noise of two regimes is blended.
const BLEND_SECONDS: f64 = 6.0;
/// The stretches of time that are known as a whole, the longest first: an hour, five minutes, a minute. Each begins with
/// one before it and goes in smaller steps, so that it knows all trades by which those are known.
pub(super) const SPANS: [Span; 3] = [Span::new(3_600, 60), Span::new(300, 30), Span::new(60, 6)];
/// How many lots a trade has on average.
const LOTS: f64 = 3.0;
/// How many lots a trade can have more or less, and the trades over which that changes. Together less than two, so that no
/// trade is empty.
const LOTS_MORE: [(f64, i64); 4] = [(0.9, 1), (0.5, 60), (0.3, 900), (0.2, 7_200)];

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

/// A quarter of an hour of one stock: every regime once.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    number: i64,
    /// Each regime and the second at which it ends.
    legs: [(Regime, f64); 4],
    /// How far a bull or a bear moves the price in this cycle, as a fraction.
    reach: f64,
    /// The second within the cycle.
    second: f64,
}

impl Cycle {
    /// The cycle of a number, at its begin.
    fn of(seed: u64, number: i64) -> Self {
        let hash = noise::at(seed ^ 0x000C_7C1E, number);
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
        Self {
            number,
            legs,
            reach: DRIFT * trending / 2.0,
            second: 0.0,
        }
    }

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

/// Stretches of time of one length, whose prices stay between those of some of their trades.
#[derive(Debug)]
pub(super) struct Span {
    /// Milliseconds.
    pub(super) length: i64,
    /// Milliseconds between those trades.
    step: i64,
}

impl Span {
    const fn new(seconds: i64, step: i64) -> Self {
        Self {
            length: seconds * 1000,
            step: step * 1000,
        }
    }
}

/// What is known of a stretch, in steps of the price.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// When it begins, in milliseconds.
    start: i64,
    low: i64,
    high: i64,
    /// The sum and the count of the prices that it is known by.
    sum: i64,
    count: i64,
}

/// A trade's price and quote, in steps of the price.
#[derive(Debug, Clone, Copy)]
struct Quote {
    bid: i64,
    ask: i64,
    price: i64,
}

impl Quote {
    /// The same around another price.
    fn moved(self, price: i64) -> Self {
        if self.price == self.bid {
            let ask = price + (self.ask - self.bid);
            return Self {
                bid: price,
                ask,
                price,
            };
        }
        let bid = (price - (self.ask - self.bid)).max(1);
        Self {
            bid,
            ask: price,
            price,
        }
    }
}

/// One stock's trades. It remembers what it has computed last, which changes no answer.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) symbol: Symbol,
    seed: u64,
    anchor: f64,
    /// Decimal places of a price.
    pub(super) places: u32,
    /// Milliseconds between two trades, and from the full period to a trade.
    period: i64,
    phase: i64,
    slow: Vec<(f64, Lattice)>,
    fast: Vec<(f64, Lattice)>,
    cluster: Lattice,
    cycle: Option<Cycle>,
    known: [Option<Known>; SPANS.len()],
}

impl Path {
    /// The path of a stock around a price, with a trade in each period at its phase, both in milliseconds.
    pub(super) fn new(symbol: Symbol, seed: u64, anchor: f64, period: i64, phase: i64) -> Self {
        let slow = (0..SLOW_OCTAVES).map(|octave| {
            let period = 900.0 * f64::from(1u32 << octave);
            let size = NOISE_SLOW_DAY * (period / 86_400.0).sqrt();
            (size, Lattice::new(seed ^ (0x100 + u64::from(octave)), period))
        });
        let fast = (0..FAST_OCTAVES).map(|octave| {
            let period = 2.0 * f64::from(1u32 << octave);
            (
                period.sqrt(),
                Lattice::new(seed ^ (0x200 + u64::from(octave)), period),
            )
        });
        Self {
            symbol,
            seed,
            anchor,
            places: if anchor < 1.0 { 4 } else { 2 },
            period,
            phase,
            slow: slow.collect(),
            fast: fast.collect(),
            cluster: Lattice::new(seed ^ 0x51, CLUSTER_SECONDS),
            cycle: None,
            known: [None; SPANS.len()],
        }
    }

    /// Milliseconds between two trades.
    pub(super) fn period(&self) -> i64 {
        self.period
    }

    /// The number of the first trade at or after an instant in milliseconds.
    pub(super) fn number(&self, ms: i64) -> i64 {
        (ms - self.phase + self.period - 1).div_euclid(self.period)
    }

    /// When the trade of a number happens, in milliseconds.
    pub(super) fn ms(&self, number: i64) -> i64 {
        number * self.period + self.phase
    }

    /// What the stock is doing.
    pub(super) fn regime(&mut self, ms: i64) -> Regime {
        self.cycle(ms).leg().0
    }

    /// The trade of a number.
    pub(super) fn tick(&mut self, number: i64) -> Option<Tick> {
        let quote = self.quote(number, SPANS.len() - 1);
        self.told(number, quote)
    }

    /// The trades by which a whole stretch of a place in [`SPANS`] is known.
    pub(super) fn ticks_of(&mut self, place: usize, start: i64) -> Vec<Tick> {
        let numbers = self.numbers(place, start).into_iter();
        let tick = |number| {
            let quote = self.quote(number, place);
            self.told(number, quote)
        };
        numbers.filter_map(tick).collect()
    }

    /// The bar of a whole stretch of a place in [`SPANS`]. Its average price is that of the trades by which it is known.
    pub(super) fn bar(&mut self, place: usize, start: i64) -> Option<Bar> {
        let known = self.known(place, start);
        let (first, next) = (self.number(start), self.number(start + SPANS[place].length));
        let (open, close) = (self.quote(first, place).price, self.quote(next - 1, place).price);
        let price = |steps| Decimal::new(steps, self.places);
        let volume = self.volume(first, next);
        let average = price(known.sum) / Decimal::from(known.count);
        Some(Bar {
            start: Timestamp::from_millisecond(self.ms(first)).ok()?,
            open: price(open),
            high: price(known.high),
            low: price(known.low),
            close: price(close),
            volume,
            turnover: (average * volume).round_dp(6),
            count: i32::try_from(next - first).unwrap_or(i32::MAX),
        })
    }

    fn told(&self, number: i64, quote: Quote) -> Option<Tick> {
        let hash = noise::at(self.seed ^ 0x71C, number);
        let price = |steps: i64| Price::new(steps, self.places);
        let lots = |shift: u32| Quantity::from(self.lot() * (1 + (hash >> shift) % 9));
        Some(Tick {
            symbol: self.symbol,
            at: Timestamp::from_millisecond(self.ms(number)).ok()?,
            price: price(quote.price),
            size: self.volume(number, number + 1),
            bid: price(quote.bid),
            ask: price(quote.ask),
            bid_size: lots(16),
            ask_size: lots(24),
            opens_row: false,
            row_end: None,
        })
    }

    /// Shares in a lot: cheap stocks trade in larger ones.
    fn lot(&self) -> u64 {
        if self.anchor < 1.0 {
            1000
        } else if self.anchor < 10.0 {
            300
        } else {
            100
        }
    }

    /// Shares traded from one trade up to another.
    fn volume(&self, first: i64, next: i64) -> Quantity {
        Quantity::from(self.lot()) * Quantity::from(self.lots_before(next) - self.lots_before(first))
    }

    /// Lots traded before a trade, counted from some beginning.
    fn lots_before(&self, number: i64) -> i64 {
        let mut lots = LOTS * number as f64;
        for (place, (more, trades)) in (0x300..).zip(LOTS_MORE) {
            let most = more * trades as f64 / 2.0;
            lots += most * noise::straight(self.seed ^ place, number, trades);
        }
        lots.floor() as i64
    }

    /// The trades by which a stretch is known: one in each step, the first and the last one.
    fn numbers(&self, place: usize, start: i64) -> Vec<i64> {
        let Span { length, step } = SPANS[place];
        let steps = (0..length / step).map(|count| self.number(start + count * step));
        let last = self.number(start + length) - 1;
        steps.chain([last]).collect()
    }

    /// What is known of the stretch that holds an instant.
    fn known(&mut self, place: usize, ms: i64) -> Known {
        let start = ms - ms.rem_euclid(SPANS[place].length);
        if let Some(known) = self.known[place].filter(|known| known.start == start) {
            return known;
        }
        let mut known = Known {
            start,
            low: i64::MAX,
            high: i64::MIN,
            sum: 0,
            count: 0,
        };
        for number in self.numbers(place, start) {
            let price = match place.checked_sub(1) {
                Some(longer) => self.quote(number, longer).price,
                None => self.free(number).price,
            };
            (known.low, known.high) = (known.low.min(price), known.high.max(price));
            (known.sum, known.count) = (known.sum + price, known.count + 1);
        }
        self.known[place] = Some(known);
        known
    }

    /// The trade of a number, held within its stretch of a place. A trade by which that stretch is known is not held
    /// further by shorter ones.
    fn quote(&mut self, number: i64, place: usize) -> Quote {
        let Known { low, high, .. } = self.known(place, self.ms(number));
        let free = self.free(number);
        free.moved(free.price.clamp(low, high))
    }

    /// The trade of a number as if nothing held it.
    fn free(&mut self, number: i64) -> Quote {
        let hash = noise::at(self.seed ^ 0x71C, number);
        let scale = if self.places == 4 { 10_000.0 } else { 100.0 };
        let steps = self.middle(self.ms(number)) * scale;
        // A spread of one step, or two hundredths of a percent where that is more.
        let spread = ((steps * 0.000_2).round() as i64).max(1);
        let bid = ((steps - spread as f64 / 2.0).round() as i64).max(1);
        let ask = bid + spread;
        let price = if hash & 1 == 0 { bid } else { ask };
        Quote { bid, ask, price }
    }

    /// The cycle at an instant. Stocks begin their cycles at different times.
    fn cycle(&mut self, ms: i64) -> Cycle {
        let shifted = ms + i64::try_from(self.seed % 900_000).unwrap_or(0);
        let number = shifted.div_euclid(CYCLE_SECONDS * 1000);
        let known = self.cycle.filter(|cycle| cycle.number == number);
        let cycle = known.unwrap_or_else(|| Cycle::of(self.seed, number));
        self.cycle = Some(cycle);
        let second = shifted.rem_euclid(CYCLE_SECONDS * 1000) as f64 / 1000.0;
        Cycle { second, ..cycle }
    }

    /// The price between bid and ask, if nothing held it.
    fn middle(&mut self, ms: i64) -> f64 {
        let cycle = self.cycle(ms);
        let second = ms as f64 / 1000.0;
        let sum = |octaves: &mut [(f64, Lattice)]| {
            let of = |(size, lattice): &mut (f64, Lattice)| *size * lattice.at(second);
            octaves.iter_mut().map(of).sum::<f64>()
        };
        let (slow, fast) = (sum(&mut self.slow), sum(&mut self.fast));
        let loudness = self.loudness(&cycle, second);
        self.anchor * (1.0 + slow) * (1.0 + cycle.trend()) * (1.0 + fast * loudness)
    }

    /// Size of the fast noise at an instant.
    fn loudness(&mut self, cycle: &Cycle, second: f64) -> f64 {
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
        let cluster = self.cluster.at(second);
        own * (1.0 + 0.5 * cluster)
    }
}
