//! Cancellations. One is asked for again until the broker says that the order is over: the first may be lost with the
//! link, or never have been sent by an incarnation that recorded it, or what it follows from, and died.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use protocol::Timestamp;
use protocol::decision::Level;
use protocol::ledger::{OrderChange, OrderEvent, Reason, TradingState};
use protocol::{Id, Symbol};

use super::{Output, Trader};
use crate::order::{Order, OrderState};

/// Seconds of wall time after which a cancellation that has no end yet is asked for again.
const AGAIN_SECONDS: i64 = 5;
/// Requests without an end after which a person is told.
const REQUESTS_MAX: u32 = 3;
/// An order that does not end though its cancellation was asked for.
const NOT_CANCELLED: &str = "order-not-cancelled";

/// What this incarnation asked the broker to cancel, by order id.
pub(super) type Requests = BTreeMap<i32, Request>;

/// How often a cancellation was asked for, and when last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    at: Timestamp,
    times: u32,
}

impl Trader {
    /// Cancellations of our working orders that `which` picks, recorded before they are asked for.
    pub(super) fn cancels(&self, why: &str, which: impl Fn(&Order) -> bool) -> Vec<Output> {
        let mut outputs = Vec::new();
        for order in self
            .portfolio
            .open_orders()
            .filter(|order| order.order_id != 0 && which(order))
        {
            let change = OrderChange::CancelRequested { text: why.to_owned() };
            // With the bus down a kill switch must still cancel, so the local one is not recorded first.
            if order.can_record(&change) && !self.killed_here {
                outputs.push(self.event(
                    self.now,
                    OrderEvent {
                        order: order.id.clone(),
                        symbol: order.symbol,
                        change,
                    },
                ));
            }
            outputs.push(Output::Cancel(order.order_id));
        }
        outputs
    }

    /// Cancellations of all that works, when nothing is to go out any more: exits that wait for their turn neither.
    pub(super) fn cancel_all(&mut self, why: &str) -> Vec<Output> {
        self.standing.forget();
        self.cancels(why, |_| true)
    }

    /// Cancellations of entries: of a symbol, or of all.
    pub(super) fn cancel_entries(&self, symbol: Option<Symbol>) -> Vec<Output> {
        self.cancels("no entries", |order| {
            order.reason == Reason::Entry && symbol.is_none_or(|symbol| symbol == order.symbol)
        })
    }

    /// True once this incarnation asked the broker to cancel it.
    pub(super) fn is_asked_for(&self, order: &Order) -> bool {
        self.requests.contains_key(&order.order_id)
    }

    /// Takes down what is about to be asked.
    pub(super) fn note_requests(&mut self, wall: Timestamp, outputs: &[Output]) {
        for output in outputs {
            let Output::Cancel(order_id) = output else {
                continue;
            };
            let request = self
                .requests
                .entry(*order_id)
                .or_insert(Request { at: wall, times: 0 });
            request.at = wall;
            request.times += 1;
        }
    }

    /// Asks for what should be cancelled and is not: at once where this incarnation never did, else again after a while.
    /// `asked_now` is what this step asks for already.
    pub(super) fn cancel_again(&mut self, wall: Timestamp, asked_now: &[Output]) -> Vec<Output> {
        let portfolio = &self.portfolio;
        let open: BTreeMap<i32, &Order> = portfolio
            .open_orders()
            .map(|order| (order.order_id, order))
            .collect();
        self.requests.retain(|order_id, request| {
            // A wall clock that was set back must not put it off for as long.
            request.at = request.at.min(wall);
            open.contains_key(order_id)
        });
        let is_due = |order: &Order| {
            self.requests.get(&order.order_id).is_none_or(|request| {
                wall.duration_since(request.at) >= SignedDuration::from_secs(AGAIN_SECONDS)
            })
        };
        let due: Vec<Id> = portfolio
            .open_orders()
            .filter(|order| self.is_unwanted(order) && is_due(order))
            .filter(|order| !asked_now.contains(&Output::Cancel(order.order_id)))
            .map(|order| order.id.clone())
            .collect();
        let mut outputs = self.cancels("it is to be over", |order| due.contains(&order.id));
        for id in due {
            outputs.extend(self.tell_not_cancelled(wall, &id));
        }
        outputs
    }

    /// True for an order that should be over. One that the broker does not have is asked for once, as is whatever works
    /// when the kill switch is thrown.
    fn is_unwanted(&self, order: &Order) -> bool {
        let asked = order.cancel_requested() || self.is_asked_for(order);
        let may_work = order.order_id != 0 && order.state != OrderState::Absent;
        let killed = self.killed() && order.reason != Reason::EmergencyExit;
        let held_back = self.portfolio.state != TradingState::Active
            || self.portfolio.symbol_states.contains_key(&order.symbol);
        may_work && (asked || killed || (held_back && order.reason == Reason::Entry))
    }

    fn tell_not_cancelled(&mut self, wall: Timestamp, id: &Id) -> Option<Output> {
        let order = self.portfolio.orders.get(id)?;
        let times = self.requests.get(&order.order_id)?.times;
        if times < REQUESTS_MAX || !self.noticed.told.insert((NOT_CANCELLED, id.clone())) {
            return None;
        }
        let symbol = order.symbol;
        let text = format!(
            "order {id} of {symbol} is not over, though its cancellation was asked for {times} times, and is asked for every {AGAIN_SECONDS} s: look at the broker, and if it is over there say so with `command.settle` and {{\"order\":\"{id}\",\"note\":\"why\"}}"
        );
        Some(self.alert(wall, NOT_CANCELLED, Level::Critical, Some(symbol), text))
    }
}
