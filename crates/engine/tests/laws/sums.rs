//! A judge's own sums: what is held and on order by the records alone, without any of the engine's code.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ledger::{Difference, Entry, OrderChange, OrderEvent, Record, Side};
use protocol::{Id, Quantity, Symbol, Timestamp};

/// An order by what its records say.
#[derive(Debug, Clone)]
struct Ordered {
    symbol: Symbol,
    side: Side,
    quantity: Quantity,
    filled: Quantity,
    order_id: i32,
    over: bool,
    cancel_asked: bool,
    /// What was said of its being at the broker last.
    last: &'static str,
}

impl Ordered {
    fn rest(&self) -> Quantity {
        if self.over {
            Quantity::ZERO
        } else {
            (self.quantity - self.filled).max(Quantity::ZERO)
        }
    }
}

/// Everything that the judge knows.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    held: BTreeMap<Symbol, Quantity>,
    orders: BTreeMap<Id, Ordered>,
    /// The broker's figure where it differs, less what was sold and not more for what was bought since.
    broker: BTreeMap<Symbol, Quantity>,
    executions: BTreeSet<String>,
    /// Shares that others have on sale by the latest reading.
    others: BTreeMap<Symbol, Quantity>,
    /// Since when a sale, and a purchase, is not in the broker's figure that was taken over, and the last order before.
    taken_over: BTreeMap<Symbol, (Timestamp, Timestamp, i32)>,
}

impl Sums {
    /// Takes the next record over.
    pub fn take(&mut self, record: &Record) {
        match &record.entry {
            Entry::Opening(opening) => {
                let held = opening.positions.iter();
                self.held
                    .extend(held.map(|(symbol, holding)| (*symbol, holding.quantity)));
            }
            Entry::Intent(intent) => {
                let ordered = Ordered {
                    symbol: intent.symbol,
                    side: intent.side,
                    quantity: intent.quantity,
                    filled: Quantity::ZERO,
                    order_id: intent.order_id,
                    over: false,
                    cancel_asked: false,
                    last: "sent",
                };
                self.orders.insert(record.id.clone(), ordered);
            }
            Entry::Order(event) => self.event(event),
            Entry::Reconciled(_) => self.broker.clear(),
            Entry::Difference(difference) => self.differ(difference),
            Entry::Adjusted(adjusted) => {
                if let Some(symbol) = adjusted.symbol {
                    *self.held.entry(symbol).or_default() += adjusted.quantity;
                    self.broker.remove(&symbol);
                    let (first, last) = adjusted.read_between.unwrap();
                    let orders = self.orders.values().map(|order| order.order_id);
                    self.taken_over
                        .insert(symbol, (first, last, orders.max().unwrap_or_default()));
                }
            }
            _ => {}
        }
    }

    fn differ(&mut self, difference: &Difference) {
        let Some(symbol) = difference.symbol else { return };
        if difference.ours == difference.broker {
            self.broker.remove(&symbol);
        } else {
            self.broker.insert(symbol, difference.broker);
        }
    }

    fn event(&mut self, event: &OrderEvent) {
        let last = match &event.change {
            OrderChange::Fill(fill) => {
                if !self.executions.insert(fill.execution_id.clone()) {
                    return;
                }
                let (first, last, order_id_max) = self.taken_over.get(&event.symbol).copied().unwrap_or((
                    Timestamp::MIN,
                    Timestamp::MIN,
                    0,
                ));
                let order_id = self.orders.get(&event.order).map_or(0, |order| order.order_id);
                let (signed, since) = match fill.side {
                    Side::Buy => (fill.quantity, last),
                    Side::Sell => (-fill.quantity, first),
                };
                let known = order_id <= order_id_max && fill.executed_at <= since;
                let signed = if known { Quantity::ZERO } else { signed };
                *self.held.entry(event.symbol).or_default() += signed;
                if let Some(broker) = self.broker.get_mut(&event.symbol) {
                    *broker += signed.min(Quantity::ZERO);
                }
                if let Some(order) = self.orders.get_mut(&event.order) {
                    order.filled += fill.quantity;
                    order.last = "working";
                }
                return;
            }
            OrderChange::Acknowledged { .. } | OrderChange::Late { .. } => "working",
            OrderChange::Unresolved { .. } => "unresolved",
            OrderChange::Absent { .. } => "absent",
            OrderChange::Cancelled { .. } | OrderChange::Rejected { .. } => "over",
            // What is asked of the broker is heard of by itself; a commission says nothing of the order.
            OrderChange::CancelRequested { .. } | OrderChange::Commission { .. } => return,
        };
        if let Some(order) = self.orders.get_mut(&event.order) {
            order.over |= last == "over";
            // Not to know is no news of what two fresh looks did not find.
            if (order.last, last) != ("absent", "unresolved") {
                order.last = last;
            }
        }
    }

    /// A reading shows that others have so many shares of a symbol on sale, and none of any other.
    pub fn others_sell(&mut self, symbol: Symbol, shares: Quantity) {
        self.others = [(symbol, shares)].into();
    }

    /// The broker is asked to cancel an order.
    pub fn cancel(&mut self, order_id: i32) {
        let orders = self.orders.values_mut();
        orders
            .filter(|order| order.order_id == order_id)
            .for_each(|order| order.cancel_asked = true);
    }

    /// Shares held.
    pub fn held(&self, symbol: Symbol) -> Quantity {
        self.held.get(&symbol).copied().unwrap_or_default()
    }

    /// Shares that may be sold: no more than both have, less what others have on sale.
    pub fn may_be_sold(&self, symbol: Symbol) -> Quantity {
        let held = self.held(symbol);
        let both = self.broker.get(&symbol).map_or(held, |broker| held.min(*broker));
        let others = self.others.get(&symbol).copied().unwrap_or_default();
        (both - others).max(Quantity::ZERO)
    }

    /// Shares on sale, on whatever day that was decided, absent orders left out; with `asked`, also those whose
    /// cancellation was asked for.
    pub fn on_sale(&self, symbol: Symbol, asked: bool) -> Quantity {
        let counts = |order: &&Ordered| {
            (order.symbol, order.side) == (symbol, Side::Sell)
                && order.last != "absent"
                && (asked || !order.cancel_asked)
        };
        self.orders.values().filter(counts).map(Ordered::rest).sum()
    }
}
