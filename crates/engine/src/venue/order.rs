//! An order at the exchange: what was asked, and what became of it.

use jiff::Timestamp;
use protocol::{Money, Price, Quantity, Symbol};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Adds shares.
    Buy,
    /// Takes shares away; below zero it is a short sale.
    Sell,
}

impl Side {
    /// 1 for a buy, -1 for a sell.
    #[must_use]
    pub fn sign(self) -> Decimal {
        match self {
            Self::Buy => Decimal::ONE,
            Self::Sell => Decimal::NEGATIVE_ONE,
        }
    }
}

/// How an order wants its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// At once, at the market's price.
    Market,
    /// At this price or better.
    Limit(Price),
    /// A market order as soon as a trade reaches this price.
    Stop(Price),
    /// A limit order as soon as a trade reaches the stop.
    StopLimit {
        /// The price that wakes it.
        stop: Price,
        /// The price it then asks for.
        limit: Price,
    },
}

/// How long an order lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Until the session ends.
    Day,
    /// Until it is cancelled.
    GoodTillCancelled,
    /// What can't trade at once is cancelled.
    ImmediateOrCancel,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The stock.
    pub symbol: Symbol,
    /// Buy or sell.
    pub side: Side,
    /// Price conditions.
    pub kind: Kind,
    /// Shares, above zero.
    pub quantity: Quantity,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// Whether it may trade before and after the regular session.
    pub outside_regular: bool,
    /// The client's own tag, kept verbatim.
    pub reference: String,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Accepted, and waiting for its trigger or for the session.
    Held,
    /// In the book.
    Working,
    /// Ended: all shares traded.
    Filled,
    /// Ended: cancelled by a person, a lifetime or the session.
    Cancelled,
    /// Ended: refused before it could work.
    Rejected,
}

/// An order and its history so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The exchange's number, unique for ever within the account.
    pub perm_id: i64,
    /// The client that owns it.
    pub client: i32,
    /// The client's number for it.
    pub order_id: i32,
    /// What was asked, in its latest version.
    pub ticket: Ticket,
    /// Where it stands.
    pub status: Status,
    /// Whether a stop has been reached.
    pub triggered: bool,
    /// Shares traded.
    pub filled: Quantity,
    /// Price times shares traded.
    pub turnover: Money,
    /// Commissions charged.
    pub commission: Money,
    /// Price of the last trade, zero before the first.
    pub last_price: Price,
    /// When it was accepted.
    pub placed_at: Timestamp,
    /// When and why it ended.
    pub end: Option<End>,
}

/// The end of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// Why, for people.
    pub reason: String,
}

impl Order {
    /// Shares still to trade.
    #[must_use]
    pub fn remaining(&self) -> Quantity {
        self.ticket.quantity - self.filled
    }

    /// Average price of what traded, to six decimals; zero before the first trade.
    #[must_use]
    pub fn average_price(&self) -> Price {
        if self.filled.is_zero() {
            return Price::ZERO;
        }
        (self.turnover / self.filled).round_dp(6).normalize()
    }

    /// The price it must not be worse than, once working. `None` takes any.
    #[must_use]
    pub fn limit(&self) -> Option<Price> {
        match self.ticket.kind {
            Kind::Limit(limit) | Kind::StopLimit { limit, .. } => Some(limit),
            Kind::Market | Kind::Stop(_) => None,
        }
    }

    /// The price whose trade wakes it, while it still sleeps.
    #[must_use]
    pub fn pending_stop(&self) -> Option<Price> {
        match self.ticket.kind {
            Kind::Stop(stop) | Kind::StopLimit { stop, .. } if !self.triggered => Some(stop),
            _ => None,
        }
    }

    /// Whether a trade at a price wakes it.
    #[must_use]
    pub fn wakes_at(&self, price: Price) -> bool {
        self.pending_stop().is_some_and(|stop| match self.ticket.side {
            Side::Buy => price >= stop,
            Side::Sell => price <= stop,
        })
    }
}
