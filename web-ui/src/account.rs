//! The figures of the account that follow from the fold and from prices, in pure functions.

use engine::day::trading_day;
use engine::order::{Order, OrderState};
use engine::portfolio::{Portfolio, Position};
use protocol::market::Quote;
use protocol::settings::Exits;
use protocol::{Money, Price, Symbol, Timestamp};
use rust_decimal::Decimal;

/// What one position is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Worth {
    /// The price it is valued at.
    pub last: Price,
    /// Dollars, signed.
    pub value: Money,
    /// Gained today by shares still held, dollars: since the close before, or since an entry today.
    pub day: Money,
    /// Gained since entry, dollars.
    pub unrealised: Money,
    /// The same as a fraction of cost; zero without cost.
    pub unrealised_part: Decimal,
}

/// What all of it is worth.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Sum of the positions' values, dollars.
    pub value: Money,
    /// Sum of their absolute values, dollars.
    pub gross: Money,
    /// Sum over positions, dollars.
    pub day: Money,
    /// Sum over positions, dollars.
    pub unrealised: Money,
    /// Unrealised as a fraction of cost.
    pub unrealised_part: Decimal,
    /// What is lost when every stop is hit, dollars.
    pub at_risk: Money,
    /// The largest position and its value, dollars.
    pub largest: Option<(Symbol, Money)>,
    /// How many positions are open.
    pub open: usize,
}

/// Values one position. `entered_today` says whether yesterday's close is no baseline for it.
#[must_use]
pub fn worth(position: &Position, quote: &Quote, entered_today: bool) -> Option<Worth> {
    let last = quote.mark()?;
    let value = last * position.quantity;
    let close = quote.previous_close.filter(|_| !entered_today);
    let unrealised = value - position.cost;
    let day = close.map_or(unrealised, |close| (last - close) * position.quantity);
    Some(Worth {
        last,
        value,
        day,
        unrealised,
        unrealised_part: part(unrealised, position.cost.abs()),
    })
}

/// `value` as a fraction of `whole`; zero when there is no whole.
#[must_use]
pub fn part(value: Decimal, whole: Decimal) -> Decimal {
    value.checked_div(whole).unwrap_or_default()
}

/// The price at which a loss closes a position, and the one at which a profit does.
#[must_use]
pub fn exit_prices(position: &Position, exits: &Exits) -> (Price, Price) {
    let entry = position.average_cost();
    let side = if position.quantity.is_sign_negative() {
        -Decimal::ONE
    } else {
        Decimal::ONE
    };
    let away = |fraction: Decimal| entry * fraction * side;
    (entry - away(exits.stop_loss), entry + away(exits.profit_target))
}

/// Adds every open position up.
pub fn totals(
    portfolio: &Portfolio,
    exits: Option<&Exits>,
    mut worth_of: impl FnMut(&Position) -> Option<Worth>,
) -> Totals {
    let mut sum = Totals::default();
    let mut cost = Decimal::ZERO;
    for position in portfolio.open_positions() {
        sum.open += 1;
        let Some(worth) = worth_of(position) else {
            sum.value += position.cost;
            sum.gross += position.cost.abs();
            continue;
        };
        sum.value += worth.value;
        sum.gross += worth.value.abs();
        sum.day += worth.day;
        sum.unrealised += worth.unrealised;
        cost += (worth.value - worth.unrealised).abs();
        if let Some(exits) = exits {
            let (stop, _) = exit_prices(position, exits);
            sum.at_risk += ((worth.last - stop) * position.quantity).max(Decimal::ZERO);
        }
        if sum
            .largest
            .as_ref()
            .is_none_or(|(_, most)| worth.value.abs() > *most)
        {
            sum.largest = Some((position.symbol, worth.value.abs()));
        }
    }
    sum.unrealised_part = part(sum.unrealised, cost);
    sum
}

/// Dollars gained today by what was closed, after commissions. Zero on a day without a trade.
#[must_use]
pub fn realised_today(portfolio: &Portfolio, now: Timestamp) -> Money {
    let is_today = portfolio.day.date == Some(trading_day(now));
    if is_today {
        portfolio.day.realized - portfolio.day.commission
    } else {
        Money::ZERO
    }
}

/// Where an order stands for a person: it needs somebody, it is out, or it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Its fate is unknown.
    NeedsYou,
    /// The market or the broker has it.
    Working,
    /// Nothing more comes.
    Done,
}

/// Where an order stands.
#[must_use]
pub fn standing(order: &Order) -> Standing {
    match order.state {
        OrderState::Unresolved | OrderState::Absent => Standing::NeedsYou,
        OrderState::Sent | OrderState::Working | OrderState::PartlyFilled => Standing::Working,
        OrderState::Filled | OrderState::Cancelled | OrderState::Rejected => Standing::Done,
    }
}

/// Slippage in basis points against the price when it was decided; positive is worse.
#[must_use]
pub fn slippage(order: &Order) -> Option<Decimal> {
    let reference = order.reference_price.filter(|price| !price.is_zero())?;
    let paid = order.average_price()?;
    let worse = match order.side {
        protocol::ledger::Side::Buy => paid - reference,
        protocol::ledger::Side::Sell => reference - paid,
    };
    Some(worse / reference * Decimal::from(10_000))
}
