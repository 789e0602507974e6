//! What a symbol's market is like, from its complete bars alone and without looking ahead.
//!
//! Trend is the average return in units of what a market without trend would show; volatility is that of late
//! against that of long. A label is kept until its cause has clearly faded, so that it does not flicker.

use protocol::decision::Regime;
use protocol::market::Bar;
use protocol::units::approximate;

use crate::features::Ema;

/// Bars over which the trend is averaged.
const TREND_SPAN: f64 = 16.0;
/// Bars over which usual volatility is averaged, and that of late.
const USUAL_SPAN: f64 = 120.0;
const LATE_SPAN: f64 = 8.0;
/// A move counts at most so many times the usual one into what is usual: unrest does not become it at once.
const UNUSUAL: f64 = 2.0;
/// Bars after which it is known what is usual.
const SETTLED_BARS: u32 = 20;
/// A trend begins beyond the first and ends within the second.
const TREND_BEGINS: f64 = 1.3;
const TREND_ENDS: f64 = 0.4;
/// Unrest begins above the first and ends below the second: volatility of late against the usual one.
const UNREST_BEGINS: f64 = 1.9;
const UNREST_ENDS: f64 = 1.3;
/// So strong a trend is one though the market is in unrest.
const TREND_REGARDLESS: f64 = 2.6;
/// Least volatility of one bar.
const VOLATILITY_MIN: f64 = 1e-6;

/// The regime of one symbol, bar by bar.
#[derive(Debug, Clone, Default)]
pub struct Regimes {
    close: Option<f64>,
    drift: Ema,
    bars: u32,
    usual: Ema,
    usual_variance: Option<f64>,
    late: Ema,
    label: Option<Regime>,
}

impl Regimes {
    /// Takes in the next complete bar and tells the regime after it.
    pub fn take(&mut self, bar: &Bar) -> Regime {
        let close = approximate(bar.close);
        let change = self
            .close
            .filter(|before| *before > 0.0 && close > 0.0)
            .map_or(0.0, |before| (close / before).ln());
        self.close = Some(close);
        let square = change * change;
        let most = self
            .usual_variance
            .filter(|_| self.bars >= SETTLED_BARS)
            .map_or(f64::MAX, |usual| usual * UNUSUAL * UNUSUAL);
        self.bars = self.bars.saturating_add(1);
        let variance = self
            .usual
            .take(square.min(most), USUAL_SPAN.min(f64::from(self.bars)));
        self.usual_variance = Some(variance);
        let usual = variance.sqrt().max(VOLATILITY_MIN);
        let late = self.late.take(square, LATE_SPAN).sqrt().max(VOLATILITY_MIN);
        // The deviation of an exponential average of independent returns: sqrt(weight / (2 - weight)).
        let weight = 2.0 / (TREND_SPAN + 1.0);
        let trend =
            self.drift.take(change, TREND_SPAN) / (usual.max(late * 0.7) * (weight / (2.0 - weight)).sqrt());
        let label = next(self.label.unwrap_or(Regime::Sideways), trend, late / usual);
        self.label = Some(label);
        label
    }
}

/// The label that follows a label.
fn next(label: Regime, trend: f64, unrest: f64) -> Regime {
    let unrest_from = if label == Regime::Volatile {
        UNREST_ENDS
    } else {
        UNREST_BEGINS
    };
    if unrest > unrest_from && trend.abs() < TREND_REGARDLESS {
        return Regime::Volatile;
    }
    let bull_from = if label == Regime::Bull {
        TREND_ENDS
    } else {
        TREND_BEGINS
    };
    let bear_from = if label == Regime::Bear {
        TREND_ENDS
    } else {
        TREND_BEGINS
    };
    match trend {
        trend if trend > bull_from => Regime::Bull,
        trend if trend < -bear_from => Regime::Bear,
        _ => Regime::Sideways,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_kept_until_its_cause_has_faded() {
        let table = [
            (Regime::Sideways, 1.2, 1.0, Regime::Sideways),
            (Regime::Sideways, 1.4, 1.0, Regime::Bull),
            (Regime::Bull, 0.5, 1.0, Regime::Bull),
            (Regime::Bull, 0.3, 1.0, Regime::Sideways),
            (Regime::Bull, -1.4, 1.0, Regime::Bear),
            (Regime::Bear, -0.5, 1.8, Regime::Bear),
            (Regime::Bear, -0.5, 2.0, Regime::Volatile),
            (Regime::Volatile, 0.0, 1.4, Regime::Volatile),
            (Regime::Volatile, 0.0, 1.2, Regime::Sideways),
            (Regime::Volatile, 2.7, 2.5, Regime::Bull),
        ];
        for (before, trend, unrest, after) in table {
            assert_eq!(next(before, trend, unrest), after, "{before:?} {trend} {unrest}");
        }
    }
}
