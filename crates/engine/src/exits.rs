//! When to leave a position: stop loss and profit target by price, bearish signal and regime by opinion.

use protocol::decision::Signal;
use protocol::ledger::Reason;
use protocol::settings::Exits;
use protocol::{Price, Quantity};

use crate::position::Position;

/// The prices at which a position is left: stop loss and profit target.
#[must_use]
pub fn levels(exits: &Exits, position: &Position) -> (Price, Price) {
    let cost = position.average_cost();
    let sign = if position.quantity.is_sign_negative() {
        -Quantity::ONE
    } else {
        Quantity::ONE
    };
    (
        cost * (Price::ONE - sign * exits.stop_loss),
        cost * (Price::ONE + sign * exits.profit_target),
    )
}

/// Why a position should be left at this price, if it should.
#[must_use]
pub fn by_price(exits: &Exits, position: &Position, price: Price) -> Option<Reason> {
    if position.quantity.is_zero() || position.cost.is_zero() {
        return None;
    }
    let (stop, target) = levels(exits, position);
    let long = position.quantity.is_sign_positive();
    if (long && price <= stop) || (!long && price >= stop) {
        return Some(Reason::Stop);
    }
    ((long && price >= target) || (!long && price <= target)).then_some(Reason::Target)
}

/// Why a long position should be left on this opinion, if it should.
#[must_use]
pub fn by_signal(exits: &Exits, position: &Position, signal: &Signal) -> Option<Reason> {
    if position.quantity <= Quantity::ZERO {
        return None;
    }
    if signal.down >= exits.down_min {
        return Some(Reason::Signal);
    }
    exits.regimes.contains(&signal.regime).then_some(Reason::Regime)
}
