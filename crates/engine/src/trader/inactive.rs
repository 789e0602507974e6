//! Orders that the broker has and does not trade. It calls an order inactive that it refused, and one that it will work
//! yet: so none of them is over. It is in doubt, a cancellation is asked for, and it is over once two readings no longer
//! show it.

use protocol::decision::Level;
use protocol::ledger::{OrderChange, Reason};
use protocol::{Id, Timestamp};

use super::{Output, Trader};
use crate::order::Order;
use crate::reconcile::{self, Truth};

impl Trader {
    /// The broker says that an order of ours is inactive.
    pub(super) fn on_inactive(&mut self, wall: Timestamp, id: &Id, text: &str) -> Vec<Output> {
        let open = self
            .portfolio
            .orders
            .get(id)
            .filter(|order| order.state.may_fill());
        let Some(order) = open.cloned() else {
            return Vec::new();
        };
        let is_news = self.noticed.inactive.insert(id.clone());
        let evidence = format!("the broker has it as inactive: {text}");
        let doubt = OrderChange::Unresolved {
            evidence: evidence.clone(),
        };
        let (then, level) = match order.reason {
            Reason::Entry => ("entries of it wait until it is over", Level::Warning),
            _ if is_news => (self.wish_again(&order), Level::Critical),
            _ => ("", Level::Critical),
        };
        let mut outputs = self.change(self.now_or(wall), &order, Some(doubt));
        outputs.extend(self.cancels("the broker has it as inactive", |other| other.id == *id));
        if is_news {
            let symbol = order.symbol;
            let text = format!("order {id} of {symbol} is unresolved and is cancelled: {evidence}; {then}");
            outputs.push(self.alert(wall, "order-inactive", level, Some(symbol), text));
        }
        outputs
    }

    /// The broker works an order. One that was inactive is to be cancelled still.
    pub(super) fn on_active(&mut self, id: &Id) -> Vec<Output> {
        if self.noticed.inactive.remove(id) {
            self.cancels("the broker had it as inactive", |order| order.id == *id)
        } else {
            Vec::new()
        }
    }

    /// What follows from the orders that a reading shows as inactive.
    pub(super) fn inactive_at_broker(&mut self, wall: Timestamp, truth: &Truth) -> Vec<Output> {
        let orders = &self.portfolio.orders;
        let is_open = |id: &Id| orders.get(id).is_some_and(|order| order.state.may_fill());
        self.noticed.inactive.retain(is_open);
        let found: Vec<(Id, String)> = reconcile::inactive(&self.portfolio, truth)
            .map(|(order, theirs)| (order.id.clone(), theirs.text.clone()))
            .collect();
        let told = found.iter();
        told.flat_map(|(id, text)| self.on_inactive(wall, id, text))
            .collect()
    }

    /// Orders that were inactive and that a reading does not tell of any more.
    pub(super) fn gone(&self, truth: &Truth, now: Timestamp) -> Vec<Order> {
        let open = self.portfolio.open_orders();
        let inactive = open.filter(|order| self.noticed.inactive.contains(&order.id));
        inactive
            .filter(|order| !reconcile::tells_of(truth, order) && !order.day_is_over(now))
            .cloned()
            .collect()
    }
}
