//! One bar of the past, unfolded into trades: open, then the extremes in a plausible seeded order, then close.
//!
//! The trades lie within the bar's interval, never leave its range, and add up to its volume to the last
//! share. The close always falls into the last five seconds, so that whoever joins five-second bars knows
//! the bar to be complete at its very end.

use jiff::Timestamp;
use protocol::{Price, Quantity};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::bars::PUSHED_SECONDS;
use super::calendar;
use super::noise;
use super::rows::Row;

/// Most trades made of one bar.
const TRADES_MAX: i64 = 120;
/// Shares in an ordinary trade; a bar with few shares unfolds into few trades.
const LOT: i64 = 100;

/// A trade of an unfolded bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Print {
    /// When.
    pub at: Timestamp,
    /// At which price.
    pub price: Price,
    /// How many shares.
    pub size: Quantity,
}

/// The trades of a bar that lasts so many seconds.
#[must_use]
pub fn unfold(row: &Row, seconds: i64, seed: u64) -> Vec<Print> {
    let (start, seconds) = interval(row, seconds);
    let hash = noise::at(seed, row.start.as_second());
    let path = prices(row, wanted(row, seconds), hash);
    let sizes = sizes(row.volume, path.len(), hash);
    let times = times(start, seconds, path.len(), hash);
    let prints = path.into_iter().zip(sizes).zip(times);
    prints
        .map(|((price, size), at)| Print { at, price, size })
        .collect()
}

/// When a bar's trades begin, and for how many seconds they go on. A day's trade in the regular session; a shorter
/// bar's in all of it.
pub(super) fn interval(row: &Row, seconds: i64) -> (Timestamp, i64) {
    if seconds < 86_400 {
        return (row.start, seconds);
    }
    calendar::regular_hours(calendar::local(row.start).date())
}

/// How many trades a bar unfolds into, as far as its extremes allow.
fn wanted(row: &Row, seconds: i64) -> i64 {
    let slots = (seconds / PUSHED_SECONDS).max(1);
    let shares = row.volume.to_i64().unwrap_or(i64::MAX);
    (2 * slots).min(TRADES_MAX).min((shares / LOT).max(1))
}

/// The prices in order, all within the bar, in steps of the bar's finest decimal.
fn prices(row: &Row, wanted: i64, hash: u64) -> Vec<Price> {
    let places = [row.open, row.high, row.low, row.close]
        .iter()
        .map(Decimal::scale)
        .max()
        .unwrap_or(0);
    let unit = Decimal::new(1, places);
    let steps = |price: Price| (price / unit).to_i64().unwrap_or(0);
    let (open, high, low, close) = (steps(row.open), steps(row.high), steps(row.low), steps(row.close));
    // A bar that closes higher more often made its low first.
    let low_first = noise::fraction(noise::mix(hash ^ 1)) < if close >= open { 0.7 } else { 0.3 };
    let extremes = if low_first { [low, high] } else { [high, low] };
    let mut anchors = vec![open];
    for extreme in extremes {
        // An extreme that is the open or the close is shown there.
        if extreme != open && extreme != close {
            anchors.push(extreme);
        }
    }
    if anchors.len() > 1 || close != open || wanted > 1 {
        anchors.push(close);
    }
    let legs = anchors.len() as i64 - 1;
    let between = if legs == 0 {
        0
    } else {
        ((wanted - 1) / legs - 1).max(0)
    };
    let mut path = vec![anchors[0]];
    for (leg, pair) in anchors.windows(2).enumerate() {
        for step in 1..=between {
            let straight = pair[0] + (pair[1] - pair[0]) * step / (between + 1);
            let wobble = (high - low) / 8;
            let place = leg as i64 * 1000 + step;
            let shake = if wobble == 0 {
                0
            } else {
                (noise::at(hash, place) % (2 * wobble as u64 + 1)) as i64 - wobble
            };
            path.push((straight + shake).clamp(low, high));
        }
        path.push(pair[1]);
    }
    path.into_iter()
        .map(|price| Decimal::new(price, places).normalize())
        .collect()
}

/// Shares of each trade, with the rest on the last. No trade is empty unless the whole bar is: a bar of few
/// shares has trades of parts of one.
fn sizes(volume: Quantity, count: usize, hash: u64) -> Vec<Quantity> {
    let trades = Decimal::from(count);
    let mut unit = Decimal::ONE;
    while !volume.is_zero() && volume / unit < trades {
        unit *= Decimal::new(1, 1);
    }
    let weights: Vec<u64> = (0..count)
        .map(|i| 1 + noise::at(hash ^ 2, i as i64) % 8)
        .collect();
    let total = Decimal::from(weights.iter().sum::<u64>());
    let spread = if volume.is_zero() {
        Decimal::ZERO
    } else {
        volume / unit - trades
    };
    let mut left = volume;
    let mut sizes = Vec::with_capacity(count);
    for (index, weight) in weights.into_iter().enumerate() {
        let units = if volume.is_zero() {
            Decimal::ZERO
        } else {
            Decimal::ONE + (spread * Decimal::from(weight) / total).floor()
        };
        let size = if index + 1 == count { left } else { units * unit };
        left -= size;
        sizes.push(size);
    }
    sizes
}

/// When each trade happens: the first at once, the last within the last five seconds, the others evenly between.
fn times(start: Timestamp, seconds: i64, count: usize, hash: u64) -> Vec<Timestamp> {
    let (count, length) = (count as i64, seconds * 1000);
    let last = length - (PUSHED_SECONDS * 1000).min(length) / 2;
    let cell = if count > 1 { last / (count - 1) } else { 0 };
    let at = |index: i64| match index {
        _ if index == count - 1 => last,
        0 => 0,
        _ => index * cell + (noise::at(hash ^ 3, index) % (cell as u64 / 2 + 1)) as i64,
    };
    let start = start.as_millisecond();
    (0..count)
        .map(|index| Timestamp::from_millisecond(start + at(index)).unwrap_or_default())
        .collect()
}
