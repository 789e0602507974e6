//! What becomes of an order on its way through the gateway to the exchange.

use engine::trader::News;
use engine::venue::Input as Deed;
use engine::venue::desk::Desk;
use engine::venue::order::{Kind, Side as VenueSide, Ticket};
use protocol::ledger::{Intent, OrderType, Side};
use protocol::{Id, Quantity};

use crate::broker::{CLIENT, heard};
use crate::chance::Chance;
use crate::world::{Event, World};

/// Codes of an error that the order may follow all the same, such as those that ask a person in the gateway's window.
const UNCLEAR: [i32; 4] = [109, 163, 382, 383];
/// Codes that the order never follows.
const REFUSES: [i32; 6] = [110, 200, 203, 321, 434, 10289];

impl World {
    pub fn on_order(&mut self, id: Id, intent: Intent) {
        // A stream of its own: what an error says of one order changes no other one's story.
        let mut odd = Chance::new(self.seed.rotate_left(32) ^ intent.order_id.unsigned_abs() as u64);
        if self.troubled() && odd.one_in(40) {
            return self.on_odd(odd, id, intent);
        }
        let late = self.mishap(60);
        if self.broker.stale.is_some() {
            if self.chance.one_in(2) {
                self.count("order held in an outage");
                self.broker.held.push((id, intent));
            } else {
                self.count("order lost in an outage");
            }
        } else if late {
            self.count("order appeared late");
            self.evidence.late.push(id.clone());
            let ms = self.chance.between(5_000, 40_000);
            self.after(ms, Event::Appear(id, intent));
        } else if self.mishap(50) {
            self.count("order swallowed by the gateway");
        } else {
            self.take_in(&id, &intent);
        }
    }

    /// One error is all that is heard of an order at first: it may come to the exchange after it, or never.
    fn on_odd(&mut self, mut odd: Chance, id: Id, intent: Intent) {
        let refused = odd.one_in(3);
        let codes = if refused { &REFUSES[..] } else { &UNCLEAR[..] };
        let error = News::Error(*odd.pick(codes), "by chance".to_owned());
        self.say(heard("", intent.order_id, 0, error));
        if refused {
            self.count("order refused by an error alone");
        } else if odd.one_in(3) {
            self.count("order that an error ended");
        } else {
            self.count("order that an error came before");
            self.evidence.late.push(id.clone());
            self.after(odd.between(0, 8_000), Event::Appear(id, intent));
        }
    }

    /// The exchange gets an order.
    pub fn take_in(&mut self, id: &Id, intent: &Intent) {
        let side = match intent.side {
            Side::Buy => VenueSide::Buy,
            Side::Sell => VenueSide::Sell,
        };
        let kind = match (intent.order_type, intent.limit_price) {
            (OrderType::Limit, Some(limit)) => Kind::Limit(limit),
            _ => Kind::Market,
        };
        let mut ticket = Ticket::new(intent.symbol, side, kind, intent.quantity);
        ticket.reference = id.to_string();
        let (ticket, client, order_id) = (Box::new(ticket), CLIENT, intent.order_id);
        let in_parts = !self.plan.crashes.is_empty() && intent.order_id % 2 == 0;
        if in_parts || self.mishap(12) {
            self.count("partial fill");
            let shares = Some((intent.quantity / Quantity::from(3)).floor());
            self.exchange(Deed::Desk(Desk::Limit {
                client,
                order_id,
                shares,
            }));
            if self.troubled() {
                self.heal_after(crate::faults::Trouble::Limits, 15_000);
            }
        }
        if self.mishap(25) {
            self.count("order rejected");
            let reason = "margin, by chance".to_owned();
            self.exchange(Deed::Desk(Desk::Refuse {
                client,
                order_id,
                ticket,
                reason,
            }));
        } else {
            let again = self.mishap(200).then(|| ticket.clone());
            self.exchange(Deed::Place {
                client,
                order_id,
                ticket,
            });
            if let Some(ticket) = again {
                self.make_again(ticket);
            }
        }
    }
}
