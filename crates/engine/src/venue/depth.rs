//! How deep a stock's book is: made-up levels behind the best bid and the best offer.
//!
//! A level keeps its size for some seconds as long as its price stays in the book, so that a book does not
//! flicker as a whole with each trade.

use jiff::Timestamp;
use protocol::{Price, Quantity};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::market::Tick;
use super::noise;
use super::order::Side;

/// Levels on each side, the best one included.
pub const LEVELS: usize = 10;
/// Seconds for which a level keeps its size.
const SIZE_SECONDS: i64 = 8;

/// Shares to be had at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Price of a share.
    pub price: Price,
    /// Shares.
    pub size: Quantity,
}

/// Both sides of a book, the best level first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// What others would buy at.
    pub bids: Vec<Level>,
    /// What others would sell at.
    pub asks: Vec<Level>,
}

/// The levels that a buyer or a seller meets right after a trade. The first is the quote of the trade.
#[must_use]
pub fn levels(tick: &Tick, step: Price, side: Side) -> Vec<Level> {
    let (best, size, outwards) = match side {
        Side::Buy => (tick.ask, tick.ask_size, step),
        Side::Sell => (tick.bid, tick.bid_size, -step),
    };
    let half = ((tick.ask - tick.bid) / step / Decimal::TWO).floor();
    let gap = half.max(Decimal::ONE) * outwards;
    let seed = noise::seed_of(u64::from(side == Side::Buy), tick.symbol.as_str());
    let mut levels = vec![Level { price: best, size }];
    for place in 1..LEVELS {
        let price = best + gap * Decimal::from(place);
        if price <= Decimal::ZERO {
            break;
        }
        let size = size_at(seed, price, step, tick.at, place);
        levels.push(Level { price, size });
    }
    levels
}

/// Shares at a level: whole lots, more of them further out.
fn size_at(seed: u64, price: Price, step: Price, at: Timestamp, place: usize) -> Quantity {
    let steps = (price / step).to_i64().unwrap_or(0);
    let moment = noise::mix(at.as_second().div_euclid(SIZE_SECONDS) as u64);
    let hash = noise::at(seed ^ moment, steps);
    let lots = 1 + hash % (6 + 3 * place as u64);
    Decimal::from(lot(price) * lots)
}

/// Shares in a lot of a stock at a price: cheap stocks trade in greater ones.
pub(super) fn lot(price: Price) -> u64 {
    if price < Decimal::ONE {
        1000
    } else if price < Decimal::TEN {
        300
    } else {
        100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(bid: &str, ask: &str, second: i64) -> Tick {
        let price = |text: &str| text.parse::<Decimal>().unwrap();
        Tick {
            symbol: "AAPL".parse().unwrap(),
            at: Timestamp::from_second(second).unwrap(),
            price: price(bid),
            size: Decimal::ONE,
            bid: price(bid),
            ask: price(ask),
            bid_size: Decimal::ONE_HUNDRED,
            ask_size: Decimal::TWO,
            opens_row: false,
            row_end: None,
        }
    }

    #[test]
    fn a_book_is_deep_on_both_sides_and_keeps_its_sizes_for_a_while() {
        let step = Decimal::new(1, 2);
        let now = tick("268.10", "268.14", 800);
        let asks = levels(&now, step, Side::Buy);
        let bids = levels(&now, step, Side::Sell);
        assert_eq!((asks.len(), bids.len()), (LEVELS, LEVELS));
        assert_eq!((asks[0].price, asks[0].size), (now.ask, now.ask_size));
        assert!(asks.windows(2).all(|pair| pair[0].price < pair[1].price));
        assert!(bids.windows(2).all(|pair| pair[0].price > pair[1].price));
        assert!(
            asks.iter()
                .all(|level| level.size > Decimal::ZERO && (level.price % step).is_zero())
        );
        let soon = levels(&tick("268.10", "268.14", 807), step, Side::Buy);
        assert_eq!(asks, soon);
        // Nothing is offered for nothing.
        let penny = levels(&tick("0.0003", "0.0004", 800), Decimal::new(1, 4), Side::Sell);
        assert_eq!(penny.len(), 3);
    }
}
