//! What trading costs and what the account may afford: commission, worth and margin.

use std::collections::BTreeMap;

use protocol::{Money, Price, Quantity, Symbol};
use rust_decimal::{Decimal, RoundingStrategy};

use super::account::{Account, Position};
use super::order::{Order, Side};

/// Commission of a share, 0.0035 dollars.
const COMMISSION_SHARE: Decimal = Decimal::from_parts(35, 0, 0, false, 4);
/// Least commission of an order, 0.35 dollars.
const COMMISSION_MIN: Decimal = Decimal::from_parts(35, 0, 0, false, 2);
/// Greatest commission, as a fraction of an order's value: 1 %.
const COMMISSION_VALUE_MAX: Decimal = Decimal::from_parts(1, 0, 0, false, 2);
/// Part of a position's value that must be there as equity: a quarter, which gives fourfold buying power.
pub const MARGIN: Decimal = Decimal::from_parts(25, 0, 0, false, 2);

/// Commission of an order that has traded so many shares for so much in all.
#[must_use]
pub fn commission(filled: Quantity, turnover: Money) -> Money {
    let tiered = (filled * COMMISSION_SHARE).max(COMMISSION_MIN);
    let most = turnover * COMMISSION_VALUE_MAX;
    tiered
        .min(most)
        .round_dp_with_strategy(6, RoundingStrategy::MidpointNearestEven)
        .normalize()
}

/// The account at present prices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Valuation {
    /// Cash.
    pub cash: Money,
    /// Worth of all long positions.
    pub long: Money,
    /// Worth of all short positions, zero or below.
    pub short: Money,
    /// Gain or loss of open positions.
    pub unrealized: Money,
    /// Gain or loss made real today.
    pub realized: Money,
    /// Gain or loss since the day began.
    pub daily: Money,
    /// Equity that the positions need.
    pub margin: Money,
}

impl Valuation {
    /// Values an account with a price for each stock that it holds.
    #[must_use]
    pub fn of(account: &Account, price: impl Fn(Symbol, &Position) -> Price) -> Self {
        let mut sum = Self {
            cash: account.cash,
            ..Self::default()
        };
        for (symbol, position) in &account.positions {
            let price = price(*symbol, position);
            let value = position.quantity * price;
            if value >= Decimal::ZERO {
                sum.long += value
            } else {
                sum.short += value
            }
            sum.unrealized += position.unrealized(price);
            sum.realized += position.realized;
            sum.margin += value.abs() * MARGIN;
        }
        sum.daily = sum.equity() - account.day_equity;
        sum
    }

    /// Cash and positions.
    #[must_use]
    pub fn equity(&self) -> Money {
        self.cash + self.long + self.short
    }

    /// Worth of all positions, long and short.
    #[must_use]
    pub fn gross(&self) -> Money {
        self.long - self.short
    }

    /// Equity that is not needed as margin.
    #[must_use]
    pub fn available(&self) -> Money {
        self.equity() - self.margin
    }

    /// Value that could still be bought.
    #[must_use]
    pub fn buying_power(&self) -> Money {
        (self.available() / MARGIN).max(Decimal::ZERO)
    }
}

/// Margin of a stock if the worse side of its position and working orders came true: shares that are held count at
/// `mark`, those of each order at the price given with it.
#[must_use]
pub fn worst_margin(shares: Quantity, mark: Price, orders: &[(&Order, Price)]) -> Money {
    let side = |side| worth_of_side(shares, mark, side, orders);
    side(Side::Buy).max(side(Side::Sell)) * MARGIN
}

/// What a position is worth once all orders of a side have traded. Orders that only close what is held on the other side
/// add nothing; the cheapest are taken to be those.
fn worth_of_side(shares: Quantity, mark: Price, side: Side, orders: &[(&Order, Price)]) -> Money {
    // Of a group in which one cancels the others only the greatest value counts, spread over the most shares.
    let mut groups: BTreeMap<(i32, &str), (Quantity, Money)> = BTreeMap::new();
    let mut wanted: Vec<(Price, Quantity)> = Vec::new();
    for (order, price) in orders.iter().filter(|(order, _)| order.ticket.side == side) {
        let left = order.remaining();
        if let Some(group) = &order.ticket.group {
            let most = groups.entry((order.client, group.name.as_str())).or_default();
            *most = (most.0.max(left), most.1.max(left * price));
        } else {
            wanted.push((*price, left));
        }
    }
    let in_groups = groups.into_values().filter(|(most, _)| !most.is_zero());
    wanted.extend(in_groups.map(|(most, value)| (value / most, most)));
    wanted.sort_unstable_by(|one, other| other.cmp(one));
    let held = side.sign() * shares;
    let all: Quantity = wanted.iter().map(|(_, left)| *left).sum();
    let mut opens = (all + held.min(Quantity::ZERO)).max(Quantity::ZERO);
    let mut worth = held.max(Quantity::ZERO) * mark;
    for (price, left) in wanted {
        let counts = left.min(opens);
        opens -= counts;
        worth += counts * price;
    }
    worth
}

/// The most and the fewest shares that a position can come to if orders trade. Of a group in which one cancels the
/// others only the greatest counts.
#[must_use]
pub fn reach<'a>(shares: Quantity, orders: impl Iterator<Item = &'a Order>) -> (Quantity, Quantity) {
    let (mut long, mut short) = (shares, shares);
    let mut groups: BTreeMap<(i32, &str, bool), Quantity> = BTreeMap::new();
    for order in orders {
        let buys = order.ticket.side == Side::Buy;
        match &order.ticket.group {
            Some(group) => {
                let most = groups
                    .entry((order.client, group.name.as_str(), buys))
                    .or_default();
                *most = (*most).max(order.remaining());
            }
            None if buys => long += order.remaining(),
            None => short -= order.remaining(),
        }
    }
    for ((_, _, buys), most) in groups {
        if buys { long += most } else { short -= most }
    }
    (long, short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commission_is_tiered_with_a_floor_and_a_ceiling() {
        for (filled, turnover, fee) in [
            ("10", "1000", "0.35"),
            ("1000", "50000", "3.5"),
            ("100", "1", "0.01"),
            ("500", "40", "0.4"),
        ] {
            let of = |text: &str| text.parse::<Decimal>().unwrap();
            assert_eq!(commission(of(filled), of(turnover)), of(fee));
        }
    }
}
