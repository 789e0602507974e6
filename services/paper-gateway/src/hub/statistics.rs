//! Highest and lowest prices of a stock's last weeks, and its average volume: made of a year of bars.

use engine::venue::bars::BarSize;
use engine::venue::calendar;
use engine::venue::market::Market;
use jiff::ToSpan;
use protocol::{Quantity, Symbol, Timestamp};

/// Weeks of the high and low prices that IB tells, and the kinds of the low and the high price.
const WEEKS: [(i64, i32, i32); 3] = [(13, 15, 16), (26, 17, 18), (52, 19, 20)];
/// Kind of the average volume of a day, in the first of those weeks.
pub(super) const AVERAGE_VOLUME: i32 = 21;

/// IB's kinds of what is known at an instant, and their values in dollars a share or shares.
pub(super) fn statistics(market: &Market, symbol: Symbol, now: Timestamp) -> Vec<(i32, Quantity)> {
    let today = calendar::local(now).date();
    let mut values = Vec::new();
    for (weeks, low, high) in WEEKS {
        let first = today.checked_sub(weeks.weeks()).unwrap_or(today);
        let from = calendar::midnight(first);
        // The longest bars are the fewest.
        let bars = market.bars(symbol, from, now, BarSize::Month);
        let lowest = bars.iter().map(|bar| bar.low).min();
        let highest = bars.iter().map(|bar| bar.high).max();
        values.extend(lowest.map(|price| (low, price)));
        values.extend(highest.map(|price| (high, price)));
        if weeks == WEEKS[0].0 && !bars.is_empty() {
            let volume: Quantity = bars.iter().map(|bar| bar.volume).sum();
            let begin = market
                .first(symbol)
                .map_or(first, |first| calendar::local(first).date())
                .max(first);
            let days = (0..=weeks * 7).filter_map(|ahead| begin.checked_add(ahead.days()).ok());
            let days = days
                .filter(|day| *day <= today && market.calendar().trades_on(*day))
                .count();
            values.push((AVERAGE_VOLUME, (volume / Quantity::from(days.max(1))).round()));
        }
    }
    values
}
