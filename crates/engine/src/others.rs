//! Orders at the broker that this ledger does not have: a person placed them, or another program. Nobody here changes
//! them, but what they may still trade counts: shares that they have on sale are on their way out, and what they buy
//! counts as bought.

use std::collections::BTreeMap;

use protocol::ledger::Side;
use protocol::{Id, Price, Quantity, Symbol};

use crate::order::Order;
use crate::portfolio::{Portfolio, revision_of};
use crate::reconcile::{BrokerOrder, BrokerStatus, Truth};

/// An order of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// What.
    pub symbol: Symbol,
    /// Direction.
    pub side: Side,
    /// Shares that it may still trade.
    pub rest: Quantity,
    /// Its limit, if it has one.
    pub limit_price: Option<Price>,
    /// The broker's order id, within its client; 0 where the broker does not tell it.
    pub order_id: i32,
    /// The broker's permanent id.
    pub permanent_id: i64,
}

impl Other {
    /// What names it from reading to reading.
    #[must_use]
    pub fn key(&self) -> (i64, i32) {
        (self.permanent_id, self.order_id)
    }
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = match self.side {
            Side::Buy => "to buy",
            Side::Sell => "to sell",
        };
        let (rest, symbol) = (self.rest.normalize(), self.symbol);
        write!(
            f,
            "the order {side} {rest} {symbol} with the permanent id {}",
            self.permanent_id
        )?;
        match self.order_id {
            0 => Ok(()),
            order_id => write!(f, " and order id {order_id}"),
        }
    }
}

/// All of them, as one reading tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others(Vec<Other>);

impl Others {
    /// Those that a reading shows as open, inactive ones too: they may be worked yet.
    #[must_use]
    pub fn of(portfolio: &Portfolio, truth: &Truth) -> Self {
        let filled = filled(truth);
        let mut others: Vec<Other> = Vec::new();
        for theirs in &truth.open {
            let alive = matches!(theirs.status, BrokerStatus::Working | BrokerStatus::Inactive);
            if !alive || is_ours(portfolio, theirs) || is_over(truth, theirs) {
                continue;
            }
            let permanent_id = theirs.permanent_id;
            // A broker may tell an order twice in one answer: the later row counts.
            others.retain(|known| permanent_id == 0 || known.permanent_id != permanent_id);
            let filled = filled.get(&permanent_id).copied().unwrap_or_default();
            others.push(Other {
                symbol: theirs.symbol,
                side: theirs.side,
                rest: (theirs.quantity - filled).max(Quantity::ZERO),
                limit_price: theirs.limit_price,
                order_id: theirs.order_id,
                permanent_id,
            });
        }
        others.retain(|other| !other.rest.is_zero());
        Self(others)
    }

    /// Keeps some of them.
    pub fn retain(&mut self, which: impl FnMut(&Other) -> bool) {
        self.0.retain(which);
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Other> {
        self.0.iter()
    }

    /// Those of one side of a symbol.
    pub fn on(&self, symbol: Symbol, side: Side) -> impl Iterator<Item = &Other> {
        let of_side = move |other: &&Other| (other.symbol, other.side) == (symbol, side);
        self.0.iter().filter(of_side)
    }

    /// Shares of one side of a symbol that they may still trade.
    #[must_use]
    pub fn rest(&self, symbol: Symbol, side: Side) -> Quantity {
        self.on(symbol, side).map(|other| other.rest).sum()
    }
}

/// Shares that the executions of a reading fill, by the permanent id of their order, each in its newest revision.
fn filled(truth: &Truth) -> BTreeMap<i64, Quantity> {
    let mut newest: BTreeMap<&str, (u32, i64, Quantity)> = BTreeMap::new();
    for execution in &truth.executions {
        let fill = &execution.fill;
        let (root, revision) = revision_of(&fill.execution_id);
        let told = (revision, fill.permanent_id, fill.quantity);
        let known = newest.entry(root).or_insert(told);
        if known.0 <= revision {
            *known = told;
        }
    }
    let mut filled: BTreeMap<i64, Quantity> = BTreeMap::new();
    for (_, permanent_id, quantity) in newest.into_values().filter(|(_, id, _)| *id != 0) {
        *filled.entry(permanent_id).or_default() += quantity;
    }
    filled
}

/// True for an order of this ledger, of any incarnation and however long it is over. The second of two that the broker made
/// of one is nobody's.
fn is_ours(portfolio: &Portfolio, theirs: &BrokerOrder) -> bool {
    let by_ref = theirs.order_ref.parse::<Id>().is_ok_and(|id| {
        let known = portfolio.orders.get(&id);
        let is_it = |order: &Order| order.order_id != 0 && !order.is_doubled_by(theirs.permanent_id);
        known.is_some_and(is_it) || portfolio.past_orders.contains(&id)
    });
    let by_permanent_id = || {
        let mut ours = portfolio.orders.values().filter(|order| order.order_id != 0);
        ours.any(|order| order.permanent_id != 0 && order.permanent_id == theirs.permanent_id)
    };
    by_ref || by_permanent_id()
}

/// True for an order that ended while the reading was under way.
fn is_over(truth: &Truth, theirs: &BrokerOrder) -> bool {
    let mut completed = truth.completed.iter();
    completed.any(|over| over.permanent_id != 0 && over.permanent_id == theirs.permanent_id)
}
