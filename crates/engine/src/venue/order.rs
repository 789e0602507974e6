//! An order at the exchange: what was asked, and what became of it.

use std::mem::discriminant;

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
    /// A stop that follows the market where it goes the right way.
    Trail {
        /// How far behind.
        by: Trail,
        /// Where the stop begins; without it the first trade decides.
        start: Option<Price>,
        /// Woken, it is a limit order this far beyond the stop; without it a market order.
        limit_offset: Option<Price>,
    },
    /// Woken as soon as a trade is as good as this price: the opposite of a stop.
    Touch {
        /// The price that wakes it.
        price: Price,
        /// The price it then asks for; without it any.
        limit: Option<Price>,
    },
    /// In the regular session's closing trade or not at all.
    OnClose {
        /// The price that the close must not be worse than.
        limit: Option<Price>,
    },
}

impl Kind {
    /// Where a trailing stop begins, if the client says.
    pub(super) fn start(&self) -> Option<Price> {
        match self {
            Self::Trail { start, .. } => *start,
            _ => None,
        }
    }
}

/// How far a trailing stop stays behind the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trail {
    /// So many dollars.
    Amount(Price),
    /// So many hundredths of the price.
    Percent(Decimal),
}

/// How long an order lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Until the session ends.
    Day,
    /// Until it is cancelled.
    GoodTillCancelled,
    /// Until an instant.
    GoodTillDate(Timestamp),
    /// What can't trade at once is cancelled.
    ImmediateOrCancel,
    /// All of it trades at once, or nothing.
    FillOrKill,
}

impl Lifetime {
    /// Whether nothing of it may rest in the book.
    #[must_use]
    pub fn is_immediate(self) -> bool {
        matches!(self, Self::ImmediateOrCancel | Self::FillOrKill)
    }
}

/// Orders of a client of which one cancels the others: a group's name and how it does that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What a trade of one does to the others.
    pub effect: GroupEffect,
}

/// What a trade of one order does to the others of its group. Here orders trade one after the other, so none ever
/// trades too much and "with block" needs no more care than without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupEffect {
    /// Any trade cancels the others.
    CancelWithBlock,
    /// A trade takes the same part of the others away, all of it cancels them.
    ReduceWithBlock,
    /// The same, at a broker that lets several be at an exchange at a time.
    ReduceWithoutBlock,
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
    /// The client's order that must have traded before this one may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<i32>,
    /// Whether the order and the family that it belongs to go to the exchange now.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub transmit: bool,
    /// The group of which one cancels the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
}

// Records from before a field existed mean what was then the only way.
fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field over by reference"
)]
fn is_yes(transmit: &bool) -> bool {
    *transmit
}

impl Ticket {
    /// An order for today's regular session, with nothing special about it.
    #[must_use]
    pub fn new(symbol: Symbol, side: Side, kind: Kind, quantity: Quantity) -> Self {
        Self {
            symbol,
            side,
            kind,
            quantity,
            lifetime: Lifetime::Day,
            outside_regular: false,
            reference: String::new(),
            parent: None,
            transmit: true,
            group: None,
        }
    }
}

/// The number of an order that a person placed, until it is bound to another one.
pub const UNBOUND: i32 = 0;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Known to the broker only: its client has not let it go yet.
    Untransmitted,
    /// Accepted, and waiting for its parent, its trigger or the session.
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
    /// Where a trailing stop stands, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail_stop: Option<Price>,
    /// The exchange's number of the parent order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_perm_id: Option<i64>,
    /// Shares traded.
    pub filled: Quantity,
    /// Price times shares traded.
    pub turnover: Money,
    /// Commissions charged.
    pub commission: Money,
    /// Part of a share that trades of its group have left it besides its whole shares.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub part_left: Quantity,
    /// Price of the last trade, zero before the first.
    pub last_price: Price,
    /// When it was accepted.
    pub placed_at: Timestamp,
    /// When and why it ended.
    pub end: Option<End>,
}

/// The whole shares of what is left of an order: what only a division lacks of one counts as one.
pub(super) fn whole(left: Quantity) -> Quantity {
    left.round_dp(6).floor()
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
    /// Whether a client means this order by a number. Nobody means one that has none, of which there can be several.
    #[must_use]
    pub fn is_meant_by(&self, client: i32, order_id: i32) -> bool {
        order_id != UNBOUND && (self.client, self.order_id) == (client, order_id)
    }

    /// Takes new terms. Of other price conditions, what has been reached so far says nothing.
    pub(super) fn change(&mut self, ticket: &Ticket) {
        if discriminant(&self.ticket.kind) != discriminant(&ticket.kind) {
            self.triggered = false;
        }
        if self.ticket.kind != ticket.kind && !self.triggered {
            self.trail_stop = ticket.kind.start();
        }
        if self.ticket.quantity != ticket.quantity {
            self.part_left = Quantity::ZERO;
        }
        self.ticket = ticket.clone();
    }

    /// Leaves it so many shares, of which only whole ones can trade.
    pub(super) fn reduce(&mut self, left: Quantity) {
        let whole = whole(left);
        self.ticket.quantity = self.filled + whole;
        self.part_left = left - whole;
    }

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
            Kind::Touch { limit, .. } | Kind::OnClose { limit } => limit,
            Kind::Trail { limit_offset, .. } => {
                let offset = self.ticket.side.sign() * limit_offset?;
                Some(self.trail_stop? + offset)
            }
            Kind::Market | Kind::Stop(_) => None,
        }
    }

    /// The price whose trade wakes it or woke it.
    #[must_use]
    pub fn trigger(&self) -> Option<Price> {
        match self.ticket.kind {
            Kind::Stop(stop) | Kind::StopLimit { stop, .. } => Some(stop),
            Kind::Touch { price, .. } => Some(price),
            Kind::Trail { .. } => self.trail_stop,
            Kind::Market | Kind::Limit(_) | Kind::OnClose { .. } => None,
        }
    }

    /// Whether it sleeps until a trade at some price.
    #[must_use]
    pub fn awaits_trigger(&self) -> bool {
        let never = matches!(
            self.ticket.kind,
            Kind::Market | Kind::Limit(_) | Kind::OnClose { .. }
        );
        !never && !self.triggered
    }

    /// Whether it waits for the closing trade.
    #[must_use]
    pub fn awaits_close(&self) -> bool {
        matches!(self.ticket.kind, Kind::OnClose { .. })
    }

    /// Whether a trade at a price wakes it.
    #[must_use]
    pub fn wakes_at(&self, price: Price) -> bool {
        let Some(trigger) = self.trigger().filter(|_| self.awaits_trigger()) else {
            return false;
        };
        let touches = matches!(self.ticket.kind, Kind::Touch { .. });
        match (self.ticket.side, touches) {
            (Side::Buy, false) | (Side::Sell, true) => price >= trigger,
            (Side::Sell, false) | (Side::Buy, true) => price <= trigger,
        }
    }

    /// Where a trade moves its trailing stop to; `None` where it stays. The stop is never nearer to the market than it
    /// was asked to be, and never goes back.
    #[must_use]
    pub fn trailed(&self, price: Price, step: Price) -> Option<Price> {
        let Kind::Trail { by, .. } = self.ticket.kind else {
            return None;
        };
        let distance = match by {
            Trail::Amount(amount) => amount,
            Trail::Percent(percent) => price * percent / Decimal::ONE_HUNDRED,
        };
        let steps = (price + self.ticket.side.sign() * distance) / step;
        let steps = match self.ticket.side {
            Side::Buy => steps.ceil(),
            Side::Sell => steps.floor().max(Decimal::ONE),
        };
        let stop = (steps * step).normalize();
        let moved = match (self.trail_stop, self.ticket.side) {
            (None, _) => true,
            (Some(present), Side::Buy) => stop < present,
            (Some(present), Side::Sell) => stop > present,
        };
        (moved && !self.triggered).then_some(stop)
    }
}
