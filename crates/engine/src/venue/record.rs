//! What happens to the account, one record each: the account is the fold of its records, and nothing else
//! changes it. Whoever keeps the records keeps the account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use protocol::{Money, Price, Quantity, Symbol};
use serde::{Deserialize, Serialize};

use super::order::{Order, Side, Status, Ticket};

/// One fact about the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The account exists and holds this much cash. The first record, once.
    Opened {
        /// Starting cash.
        cash: Money,
        /// When.
        at: Timestamp,
    },
    /// A new trading day began; gains of the day count from here.
    Day {
        /// The New York date.
        date: Date,
        /// Cash and positions at the first prices of the day.
        equity: Money,
        /// Gain or loss of each position's shares at those prices.
        #[serde(default)]
        gains: BTreeMap<Symbol, Money>,
    },
    /// An order was taken, or refused with a status that says so.
    Accepted {
        /// The order as it stands.
        order: Box<Order>,
    },
    /// A trade of another order of its group has taken shares of an order away.
    Reduced {
        /// Which.
        perm_id: i64,
        /// Shares that are left of it. Only whole ones can trade; the next reduction takes of all.
        left: Quantity,
        /// When.
        at: Timestamp,
    },
    /// A working order has new terms.
    Modified {
        /// Which.
        perm_id: i64,
        /// Its new terms.
        ticket: Box<Ticket>,
        /// When.
        at: Timestamp,
    },
    /// An order went into the book: its stop was reached or its session began.
    Working {
        /// Which.
        perm_id: i64,
        /// Whether its stop was reached.
        triggered: bool,
        /// When.
        at: Timestamp,
    },
    /// An order waits: it was transmitted, has new terms, or outlives the session that ended.
    Held {
        /// Which.
        perm_id: i64,
        /// When.
        at: Timestamp,
    },
    /// A trailing stop followed the market.
    Trailed {
        /// Which.
        perm_id: i64,
        /// Where it stands now.
        stop: Price,
        /// When.
        at: Timestamp,
    },
    /// Shares changed hands.
    Filled {
        /// The trade.
        fill: Fill,
    },
    /// An order ended without trading all of its shares.
    Ended {
        /// Which.
        perm_id: i64,
        /// Cancelled or rejected.
        status: Status,
        /// Why, for people.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// An order that a person placed has a number from now on.
    Bound {
        /// Which.
        perm_id: i64,
        /// Its number, below zero.
        order_id: i32,
        /// When.
        at: Timestamp,
    },
    /// A trade had another price than was told.
    Corrected {
        /// The trade's number.
        number: u64,
        /// The right price.
        price: Price,
        /// When.
        at: Timestamp,
    },
    /// A client's order ids begin anew.
    RolledBack {
        /// The client.
        client: i32,
        /// Its next order id.
        next_order_id: i32,
        /// When.
        at: Timestamp,
    },
}

impl Record {
    /// The order whose state it changes, if it changes one.
    #[must_use]
    pub fn order(&self) -> Option<i64> {
        match self {
            Self::Accepted { order } => Some(order.perm_id),
            Self::Filled { fill } => Some(fill.perm_id),
            Self::Reduced { perm_id, .. }
            | Self::Modified { perm_id, .. }
            | Self::Working { perm_id, .. }
            | Self::Held { perm_id, .. }
            | Self::Trailed { perm_id, .. }
            | Self::Ended { perm_id, .. }
            | Self::Bound { perm_id, .. } => Some(*perm_id),
            Self::Opened { .. } | Self::Day { .. } | Self::Corrected { .. } | Self::RolledBack { .. } => None,
        }
    }
}

/// A trade of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Counts all trades of the account from 1.
    pub number: u64,
    /// The order.
    pub perm_id: i64,
    /// Its owner.
    pub client: i32,
    /// The owner's number for it.
    pub order_id: i32,
    /// The owner's tag.
    pub reference: String,
    /// The stock.
    pub symbol: Symbol,
    /// Bought or sold.
    pub side: Side,
    /// Shares.
    pub quantity: Quantity,
    /// Price of a share.
    pub price: Price,
    /// Shares of the order traded with this one.
    pub filled: Quantity,
    /// Average price of those.
    pub average_price: Price,
    /// What the broker takes for it.
    pub commission: Money,
    /// Gain or loss, after commission, where a position became smaller.
    pub realized: Option<Money>,
    /// Whether the order was resting in the book.
    pub added_liquidity: bool,
    /// How often it was corrected.
    #[serde(default)]
    pub corrections: u32,
    /// When.
    pub at: Timestamp,
}

impl Fill {
    /// Shares, below zero where they were sold.
    #[must_use]
    pub fn signed(&self) -> Quantity {
        self.side.sign() * self.quantity
    }

    /// Lowers the gain, where there is one, and returns by how much.
    pub(super) fn lose(&mut self, less: Money) -> Money {
        self.realized = self.realized.map(|gain| (gain - less).normalize());
        less
    }

    /// The order's trades up to this one are worth so much more.
    pub(super) fn average(&mut self, turnover: Money) {
        let average = (self.average_price * self.filled + turnover) / self.filled;
        self.average_price = average.round_dp(6).normalize();
    }
}
