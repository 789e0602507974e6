//! What the broker says of orders as it happens, turned into records. Told twice, or in another order, it is the same.

use protocol::decision::Level;
use protocol::ledger::{Entry, Fill, OrderChange, OrderEvent};
use protocol::{Id, Timestamp};

use super::incident::UNDEAD;
use super::{Heard, News, Output, Trader};
use crate::order::{Order, OrderState};
use crate::reconcile::{self, BrokerStatus};

/// Codes that are said about an order without ending it: cancellation told (202), order held or warned about (399, 404,
/// 10349), and what only speaks of a cancel request (135, 161, 10147, 10148).
const NOT_AN_END: [i32; 8] = [135, 161, 202, 399, 404, 10147, 10148, 10349];
/// Warnings of any kind.
const WARNINGS: std::ops::Range<i32> = 2100..2200;
/// Codes that refuse an order the broker has not spoken of: price off its tick (110), no such stock (200), refused (201),
/// not allowed for the account (203), a field that is not valid (321), size zero (434), no such order by API (10289,
/// 10293). Others, such as those that ask a person in the gateway's window (109, 163, 382, 383), may be followed by a
/// working order.
const REFUSES: [i32; 8] = [110, 200, REFUSED, 203, 321, 434, 10289, 10293];
/// The broker refuses an order, whatever it said before.
const REFUSED: i32 = 201;
/// Duplicate order id (103) and modification of what is filled (104): an order with this id exists, so nothing ended.
const NEEDS_A_LOOK: [i32; 3] = [100, 103, 104];

impl Trader {
    pub(super) fn on_heard(&mut self, wall: Timestamp, heard: &Heard) -> Vec<Output> {
        let news = self.news(wall, heard);
        let events = news.iter().filter_map(|output| match output {
            Output::Append(draft) => match &draft.entry {
                Entry::Order(event) => Some(event.clone()),
                _ => None,
            },
            _ => None,
        });
        let events: Vec<_> = events.collect();
        let mut outputs = self.doubled(wall, heard);
        outputs.extend(self.incidents_of(wall, &events));
        outputs.extend(news);
        outputs
    }

    fn news(&mut self, wall: Timestamp, heard: &Heard) -> Vec<Output> {
        let at = self.now_or(wall);
        match &heard.news {
            News::Execution(symbol, fill) => {
                if self.portfolio.counted(fill) {
                    return Vec::new();
                }
                let known = self.find(heard).map(|order| order.id.clone());
                let order = known.unwrap_or_else(|| {
                    reconcile::order_of(&self.portfolio, &heard.order_ref, heard.permanent_id)
                });
                vec![self.event(
                    self.heard_at(wall, fill),
                    OrderEvent {
                        order,
                        symbol: *symbol,
                        change: OrderChange::Fill(fill.clone()),
                    },
                )]
            }
            News::Commission(execution_id, commission) => {
                let Some(trade) = self
                    .portfolio
                    .trades
                    .iter()
                    .rev()
                    .find(|trade| trade.execution_id == *execution_id)
                else {
                    return Vec::new();
                };
                if trade.commission.is_some() {
                    return Vec::new();
                }
                let change = OrderChange::Commission {
                    execution_id: execution_id.clone(),
                    commission: *commission,
                };
                vec![self.event(
                    at,
                    OrderEvent {
                        order: trade.order.clone(),
                        symbol: trade.symbol,
                        change,
                    },
                )]
            }
            News::Status(status, filled, text) => {
                let Some(order) = self.find(heard).cloned() else {
                    return Vec::new();
                };
                let change = match status {
                    BrokerStatus::Inactive => return self.on_inactive(wall, &order.id, text),
                    BrokerStatus::Working => {
                        let mut outputs = self.on_active(&order.id);
                        let change = acknowledged(&order, heard.permanent_id);
                        outputs.extend(self.change(at, &order, change));
                        return outputs;
                    }
                    // It may overtake executions of its order. Without them the symbol would look free, and be entered
                    // again; so the reading that follows says what became of it.
                    BrokerStatus::Cancelled if filled.is_none_or(|filled| order.filled < filled) => None,
                    BrokerStatus::Cancelled => Some(OrderChange::Cancelled { text: text.clone() }),
                    BrokerStatus::Rejected => Some(OrderChange::Rejected {
                        code: REFUSED,
                        text: text.clone(),
                    }),
                    // Executions are the truth about fills; a status only repeats them.
                    BrokerStatus::Filled => acknowledged(&order, heard.permanent_id),
                };
                self.change(at, &order, change)
            }
            News::Error(code, text) => self.on_order_error(wall, heard, *code, text),
        }
    }

    /// When an execution is recorded. The market's clock may stand where the last decision was made, days ago; what was
    /// executed since is of its own day, but of none that no clock has reached.
    pub(super) fn heard_at(&self, wall: Timestamp, fill: &Fill) -> Timestamp {
        let clock = self.now_or(wall);
        fill.executed_at.min(clock.max(wall)).max(clock)
    }

    fn on_order_error(&self, wall: Timestamp, heard: &Heard, code: i32, text: &str) -> Vec<Output> {
        let Some(order) = self.find(heard) else {
            return Vec::new();
        };
        if NOT_AN_END.contains(&code) || WARNINGS.contains(&code) {
            return Vec::new();
        }
        let change = self.meaning(order, code, text);
        let said = match change {
            Some(OrderChange::Rejected { .. }) => "the broker refuses order",
            _ => "the broker says of order",
        };
        let alert = format!("{said} {} of {}: {code} {text}", order.id, order.symbol);
        let mut outputs = self.change(self.now_or(wall), order, change);
        outputs.push(self.alert(wall, "order-error", Level::Warning, Some(order.symbol), alert));
        outputs
    }

    /// What an error, which is no mere warning, makes of an order. One message ends it only if its code always does: what
    /// is over frees its symbol, and an order that works all the same would be a second one.
    fn meaning(&self, order: &Order, code: i32, text: &str) -> Option<OrderChange> {
        let in_doubt = matches!(order.state, OrderState::Sent | OrderState::Unresolved);
        let was_seen = order.kinds.contains("acknowledged") || self.noticed.inactive.contains(&order.id);
        if code == REFUSED || (in_doubt && !was_seen && REFUSES.contains(&code)) {
            let text = text.to_owned();
            return Some(OrderChange::Rejected { code, text });
        }
        // After a status an order lives on whatever an error says; the next comparison with the broker decides.
        (in_doubt || NEEDS_A_LOOK.contains(&code)).then(|| OrderChange::Unresolved {
            evidence: format!("the broker says {code}: {text}"),
        })
    }

    /// True when a reading must follow at once what the broker says of an order: the ledger and it, or one message and
    /// the next, may not agree.
    #[must_use]
    pub fn needs_reading(&self, heard: &Heard) -> bool {
        match &heard.news {
            News::Execution(..) | News::Status(BrokerStatus::Cancelled, ..) => true,
            // It works although it was refused. Once that is told the readings go on at their own pace.
            News::Status(BrokerStatus::Working, ..) => self.find(heard).is_some_and(|order| {
                let told = || self.noticed.told.contains(&(UNDEAD, order.id.clone()));
                order.state == OrderState::Rejected && heard.permanent_id != 0 && !told()
            }),
            News::Error(code, text) if !NOT_AN_END.contains(code) && !WARNINGS.contains(code) => {
                let change = self
                    .find(heard)
                    .and_then(|order| self.meaning(order, *code, text));
                matches!(change, Some(OrderChange::Unresolved { .. }))
            }
            _ => false,
        }
    }

    pub(super) fn change(&self, at: Timestamp, order: &Order, change: Option<OrderChange>) -> Vec<Output> {
        let over = order.state.is_terminal();
        match change.filter(|change| !over && order.can_record(change)) {
            Some(change) => vec![self.event(
                at,
                OrderEvent {
                    order: order.id.clone(),
                    symbol: order.symbol,
                    change,
                },
            )],
            None => Vec::new(),
        }
    }

    /// The order a message speaks of: by our id, then by the broker's permanent id, then by its order id.
    fn find(&self, heard: &Heard) -> Option<&Order> {
        let orders = &self.portfolio.orders;
        let by_ref = heard.order_ref.parse::<Id>().ok().and_then(|id| orders.get(&id));
        let by_permanent_id = || {
            orders
                .values()
                .find(|order| heard.permanent_id != 0 && order.permanent_id == heard.permanent_id)
        };
        let by_order_id = || {
            orders
                .values()
                .find(|order| heard.order_id != 0 && order.order_id == heard.order_id)
        };
        let order = by_ref.or_else(by_permanent_id).or_else(by_order_id)?;
        // What becomes of a second order that the broker made of one says nothing of the first.
        (!order.is_doubled_by(heard.permanent_id)).then_some(order)
    }
}

/// The broker has it: news for an order it had not spoken of, or that was given up.
fn acknowledged(order: &Order, permanent_id: i64) -> Option<OrderChange> {
    match order.state {
        OrderState::Sent => Some(OrderChange::Acknowledged { permanent_id }),
        OrderState::Unresolved if !order.kinds.contains("acknowledged") => {
            Some(OrderChange::Acknowledged { permanent_id })
        }
        OrderState::Unresolved | OrderState::Absent => Some(OrderChange::Late { permanent_id }),
        _ => None,
    }
}
