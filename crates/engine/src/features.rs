//! Bars in, numbers that a model understands out: incremental, causal, free of scale.
//!
//! [`FEATURES`] is the one ordered list; a model's card must name the same. Moves are measured in units of the
//! stock's own recent volatility, so that one model serves a penny stock at five seconds and an index fund at
//! one minute. Every feature is finite and lies within [`LIMIT`] of zero.

use std::collections::VecDeque;

use protocol::market::Bar;
use protocol::units::approximate;

/// The features in the order in which a model gets them.
pub const FEATURES: [&str; 17] = [
    "return_1",
    "return_3",
    "return_5",
    "return_10",
    "return_20",
    "ema_5_distance",
    "ema_20_distance",
    "ema_5_20_spread",
    "rsi_14",
    "efficiency_10",
    "up_share_10",
    "volatility_ratio",
    "range_ratio",
    "volume_ratio",
    "range_position_20",
    "body",
    "close_location",
];

/// Number of features.
pub const COUNT: usize = FEATURES.len();
/// Bars of a symbol before its features are told.
pub const WARM_BARS: u32 = 30;
/// No feature is further from zero.
pub const LIMIT: f64 = 8.0;

/// Bars over which volatility is averaged.
const VOLATILITY_SPAN: f64 = 30.0;
/// Least volatility of one bar, so that a stock that stands still has finite features.
const VOLATILITY_MIN: f64 = 1e-5;
/// Closes kept: the longest return needs one more than its length.
const CLOSES_MAX: usize = 21;
/// Bars over which the place in the range is told.
const RANGE_BARS: usize = 20;

/// The features after one bar, in the order of [`FEATURES`].
pub type Row = [f32; COUNT];

/// The features of one symbol, bar by bar.
#[derive(Debug, Clone, Default)]
pub struct Features {
    bars: u32,
    /// Closes, oldest first.
    closes: VecDeque<f64>,
    /// Highs and lows, oldest first.
    ranges: VecDeque<(f64, f64)>,
    ema_fast: Ema,
    ema_slow: Ema,
    variance: Ema,
    variance_fast: Ema,
    range: Ema,
    volume: Ema,
    gain: Ema,
    loss: Ema,
}

/// An exponential average that begins with its first value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ema(Option<f64>);

impl Ema {
    /// Takes in a value with the weight that an average over `span` values gives the newest, and tells the average.
    pub(crate) fn take(&mut self, value: f64, span: f64) -> f64 {
        self.weigh(value, 2.0 / (span + 1.0))
    }

    fn weigh(&mut self, value: f64, weight: f64) -> f64 {
        let average = self
            .0
            .map_or(value, |average| average + weight * (value - average));
        self.0 = Some(average);
        average
    }
}

/// A bar as floats.
#[derive(Debug, Clone, Copy)]
struct Candle {
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
}

impl Features {
    /// Takes in the next complete bar of the symbol; tells its features once enough bars came.
    pub fn take(&mut self, bar: &Bar) -> Option<Row> {
        let [open, high, low, close, volume] =
            [bar.open, bar.high, bar.low, bar.close, bar.volume].map(approximate);
        let candle = Candle {
            open,
            high,
            low,
            close,
            volume,
        };
        // Exact prices are finite and market-data tells none at or below zero; what is odd all the same is left out.
        if [open, high, low, close]
            .iter()
            .any(|price| !price.is_finite() || *price <= 0.0)
        {
            return None;
        }
        let row = self.row(&candle);
        self.bars = self.bars.saturating_add(1);
        (self.bars >= WARM_BARS).then(|| {
            row.map(|value| {
                if value.is_finite() {
                    value.clamp(-LIMIT, LIMIT) as f32
                } else {
                    0.0
                }
            })
        })
    }

    fn row(&mut self, candle: &Candle) -> [f64; COUNT] {
        let close = candle.close;
        let change = self.closes.back().map_or(0.0, |before| (close / before).ln());
        self.closes.push_back(close);
        if self.closes.len() > CLOSES_MAX {
            self.closes.pop_front();
        }
        self.ranges.push_back((candle.high, candle.low));
        if self.ranges.len() > RANGE_BARS {
            self.ranges.pop_front();
        }
        let volatility = self
            .variance
            .take(change * change, VOLATILITY_SPAN)
            .sqrt()
            .max(VOLATILITY_MIN);
        let volatility_fast = self
            .variance_fast
            .take(change * change, 6.0)
            .sqrt()
            .max(VOLATILITY_MIN);
        let fast = self.ema_fast.take(close, 5.0);
        let slow = self.ema_slow.take(close, 20.0);
        let reach = ((candle.high - candle.low) / close).max(VOLATILITY_MIN);
        let reach_usual = self.range.take(reach, 20.0);
        let volume_usual = self.volume.take(candle.volume, 20.0);
        let gain = self.gain.weigh(change.max(0.0), 1.0 / 14.0);
        let loss = self.loss.weigh((-change).max(0.0), 1.0 / 14.0);
        let (position, efficiency, up_share) = (self.position(close), self.efficiency(), self.up_share());
        let over = |bars: usize| self.change_over(bars) / (volatility * (bars as f64).sqrt());
        [
            over(1),
            over(3),
            over(5),
            over(10),
            over(20),
            (close / fast).ln() / volatility,
            (close / slow).ln() / (volatility * 2.0),
            (fast / slow).ln() / (volatility * 2.0),
            ratio(gain - loss, gain + loss) * 2.0,
            efficiency * 2.0,
            up_share * 2.0,
            (volatility_fast / volatility).ln() * 2.0,
            (reach / reach_usual).ln(),
            ((candle.volume + 1.0) / (volume_usual + 1.0)).ln(),
            position * 2.0,
            ratio(close - candle.open, candle.high - candle.low) * 2.0,
            ratio(2.0 * close - candle.high - candle.low, candle.high - candle.low) * 2.0,
        ]
    }

    /// The return over so many bars; as far back as there are bars.
    fn change_over(&self, bars: usize) -> f64 {
        let newest = self.closes.len() - 1;
        (self.closes[newest] / self.closes[newest.saturating_sub(bars)]).ln()
    }

    /// Where the close lies in the range of the last bars: -1 at the low, 1 at the high.
    fn position(&self, close: f64) -> f64 {
        let high = self.ranges.iter().map(|(high, _)| *high).fold(f64::MIN, f64::max);
        let low = self.ranges.iter().map(|(_, low)| *low).fold(f64::MAX, f64::min);
        ratio(2.0 * close - high - low, high - low)
    }

    /// The way made over ten bars by the way gone: 1 is straight up, -1 straight down.
    fn efficiency(&self) -> f64 {
        let closes = self.last_ten();
        let gone: f64 = closes.windows(2).map(|pair| (pair[1] / pair[0]).ln().abs()).sum();
        let made = (closes[closes.len() - 1] / closes[0]).ln();
        ratio(made, gone)
    }

    /// Rises less falls among the last ten bars, as a share.
    fn up_share(&self) -> f64 {
        let closes = self.last_ten();
        let signs = closes.windows(2).map(|pair| {
            if pair[1] > pair[0] {
                1.0
            } else if pair[1] < pair[0] {
                -1.0
            } else {
                0.0
            }
        });
        signs.sum::<f64>() / 10.0
    }

    fn last_ten(&self) -> Vec<f64> {
        let from = self.closes.len().saturating_sub(11);
        self.closes.iter().skip(from).copied().collect()
    }
}

/// A fraction; zero when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
