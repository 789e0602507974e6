//! A position: what is held of a symbol, what it cost and what it gained. Cost is moved, never made.

use protocol::ledger::Fill;
use protocol::{Id, Money, Price, Quantity, Symbol, Timestamp};
use serde::{Deserialize, Serialize};

use crate::portfolio::Trade;

/// What is held of a symbol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Which.
    pub symbol: Symbol,
    /// Shares, signed.
    pub quantity: Quantity,
    /// Dollars paid for what is held, signed like the shares, without commission.
    pub cost: Money,
    /// Dollars gained by what was closed, without commission, ever.
    pub realized: Money,
    /// Dollars gained by what was closed today, without commission.
    pub realized_today: Money,
    /// Dollars the broker took, ever.
    pub commission: Money,
    /// When it was last opened from flat, market clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Timestamp>,
    /// When it was last closed to flat, market clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The decision that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<Id>,
}

impl Position {
    /// Nothing held.
    pub(crate) fn flat(symbol: Symbol) -> Self {
        Self {
            symbol,
            quantity: Quantity::ZERO,
            cost: Money::ZERO,
            realized: Money::ZERO,
            realized_today: Money::ZERO,
            commission: Money::ZERO,
            opened_at: None,
            closed_at: None,
            opened_by: None,
        }
    }

    /// Dollars a share paid on average, without commission; zero when flat.
    #[must_use]
    pub fn average_cost(&self) -> Price {
        if self.quantity.is_zero() {
            Price::ZERO
        } else {
            (self.cost / self.quantity).round_dp(8).normalize()
        }
    }

    /// Takes a fill over; returns the gain of what it closed. Cost is moved, never made: what leaves the position's
    /// cost is exactly what the gain is reckoned from.
    pub(crate) fn trade(&mut self, fill: &Fill, order: &Id) -> Option<Money> {
        let change = fill.side.signed(fill.quantity);
        let closes =
            !self.quantity.is_zero() && self.quantity.is_sign_negative() != change.is_sign_negative();
        let mut realized = None;
        let mut rest = change;
        if closes {
            let closed = if change.abs() < self.quantity.abs() {
                change
            } else {
                -self.quantity
            };
            let cost_of_closed = if closed == -self.quantity {
                self.cost
            } else {
                (self.cost * (-closed) / self.quantity).round_dp(8)
            };
            let gain = -closed * fill.price - cost_of_closed;
            self.quantity += closed;
            self.cost -= cost_of_closed;
            self.realized += gain;
            self.realized_today += gain;
            realized = Some(gain);
            rest = change - closed;
            if self.quantity.is_zero() {
                self.closed_at = Some(fill.executed_at);
                self.opened_at = None;
                self.opened_by = None;
            }
        }
        if !rest.is_zero() {
            if self.quantity.is_zero() {
                self.opened_at = Some(fill.executed_at);
                self.opened_by = Some(order.clone());
            }
            self.quantity += rest;
            self.cost += rest * fill.price;
        }
        realized
    }

    /// Takes over shares that no trade explains: what is still held keeps its cost, what is new counts at a price. Nothing
    /// is gained by it.
    pub(crate) fn adjust(&mut self, change: Quantity, price: Price) {
        let after = self.quantity + change;
        let grows = self.quantity.is_zero() || self.quantity.is_sign_negative() == change.is_sign_negative();
        self.cost = if grows {
            self.cost + change * price
        } else if change.abs() < self.quantity.abs() {
            (self.cost * after / self.quantity).round_dp(8)
        } else {
            after * price
        };
        self.quantity = after;
    }

    /// Moves back what a trade moved, because the broker corrected it. Cost and gain keep their sum, so what was made
    /// since then is reckoned again from here.
    pub(crate) fn take_back(&mut self, trade: &Trade) {
        let change = trade.side.signed(trade.quantity);
        let before = trade.position_after - change;
        let gain = trade.realized.unwrap_or_default();
        let closed = match trade.realized {
            None => Quantity::ZERO,
            Some(_) if change.abs() < before.abs() => change,
            Some(_) => -before,
        };
        let cost_of_closed = -closed * trade.price - gain;
        self.quantity -= change;
        self.cost += cost_of_closed - (change - closed) * trade.price;
        self.realized -= gain;
        self.realized_today -= gain;
    }

    /// A flat position costs nothing: what a correction left of its cost is a gain or a loss, which is returned.
    pub(crate) fn settle(&mut self) -> Money {
        if !self.quantity.is_zero() {
            return Money::ZERO;
        }
        let gain = -std::mem::take(&mut self.cost);
        self.realized += gain;
        self.realized_today += gain;
        gain
    }
}
