//! What the broker's own people and machines do to an account, unasked by any client: a trade by hand, a refusal
//! out of the blue, a fill that stops short, a corrected price, order ids that begin anew.

use std::collections::BTreeMap;

use protocol::{Price, Quantity};

use super::matching::Match;
use super::order::{Order, Ticket};
use super::record::Record;
use super::{Output, Refusal, Venue};

/// The client that owns what a person trades at the broker's own screen.
pub const CLIENT: i32 = 0;

/// One intervention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desk {
    /// A person places an order at the broker's own screen.
    Trade {
        /// Its number: zero or below.
        order_id: i32,
        /// What is asked for.
        ticket: Box<Ticket>,
    },
    /// A client's order is taken and refused at once.
    Refuse {
        /// The client.
        client: i32,
        /// Its number for the order.
        order_id: i32,
        /// What it asked for.
        ticket: Box<Ticket>,
        /// Why, for people.
        reason: String,
    },
    /// A client's order, present or to come, trades no more than so many shares in all.
    Limit {
        /// The client.
        client: i32,
        /// Its number for the order.
        order_id: i32,
        /// Shares.
        shares: Quantity,
    },
    /// No order is limited any more.
    Unlimit,
    /// A trade had another price.
    Correct {
        /// The trade's number.
        number: u64,
        /// The right price.
        price: Price,
    },
    /// A client's next order id goes back.
    RollBack {
        /// The client.
        client: i32,
        /// Its next order id.
        next_order_id: i32,
    },
}

/// What the desk wants of orders to come. Not kept: it is gone when the exchange is started again.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Why the next order is refused.
    pub(super) refusal: Option<String>,
    limits: BTreeMap<(i32, i32), Quantity>,
}

impl Wishes {
    /// Of what an order could trade, what it may.
    pub(super) fn allowed(&self, order: &Order, found: Vec<Match>) -> Vec<Match> {
        let Some(limit) = self.limits.get(&(order.client, order.order_id)) else {
            return found;
        };
        let mut left = (limit - order.filled).max(Quantity::ZERO);
        let mut allowed = Vec::new();
        for one in found {
            let quantity = one.quantity.min(left);
            left -= quantity;
            if quantity > Quantity::ZERO {
                allowed.push(Match { quantity, ..one });
            }
        }
        allowed
    }
}

impl Venue {
    pub(super) fn intervene(&mut self, desk: Desk, outputs: &mut Vec<Output>) {
        match desk {
            Desk::Trade { order_id, ticket } => self.trade_by_hand(order_id, *ticket, outputs),
            Desk::Refuse {
                client,
                order_id,
                ticket,
                reason,
            } => {
                self.desk.refusal = Some(reason);
                self.place(client, order_id, *ticket, outputs);
                self.desk.refusal = None;
            }
            Desk::Limit {
                client,
                order_id,
                shares,
            } => {
                let open = &self.account.open;
                let working =
                    |of: &(i32, i32)| open.values().any(|order| (order.client, order.order_id) == *of);
                self.desk.limits.retain(|of, _| working(of));
                self.desk.limits.insert((client, order_id), shares);
            }
            Desk::Unlimit => self.desk.limits.clear(),
            Desk::Correct { number, price } => {
                if self.account.fills.iter().any(|fill| fill.number == number) {
                    let at = self.now;
                    self.record(Record::Corrected { number, price, at }, outputs);
                }
            }
            Desk::RollBack {
                client,
                next_order_id,
            } => {
                let at = self.now;
                let record = Record::RolledBack {
                    client,
                    next_order_id,
                    at,
                };
                self.record(record, outputs);
            }
        }
    }

    fn trade_by_hand(&mut self, order_id: i32, ticket: Ticket, outputs: &mut Vec<Output>) {
        // Whatever number it gets, the order has to be one that a client could place as a new one.
        let refused = if self.account.find_open(CLIENT, order_id).is_some() {
            Some(Refusal::UsedId)
        } else {
            self.check(CLIENT, self.account.next_order_id(CLIENT), &ticket)
                .err()
        };
        if let Some(why) = refused {
            outputs.push(Output::Refused {
                client: CLIENT,
                order_id,
                why,
            });
            return;
        }
        let symbol = ticket.symbol;
        let perm_id = self.accept(CLIENT, order_id, ticket, outputs);
        self.enter(perm_id, symbol, outputs);
    }
}
