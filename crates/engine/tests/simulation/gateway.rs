//! What happens at the broker and its gateway without any client's doing: trades by hand, corrections, ids that go back,
//! restarts, and outages of the gateway's own link.

use engine::venue::Input as Deed;
use engine::venue::desk::Desk;
use engine::venue::order::{Kind, Side, Ticket};
use protocol::{Money, Quantity};

use crate::broker::{CLIENT, Told};
use crate::chance::Chance;
use crate::world::{Event, World, symbol};

/// Longest that the gateway takes to hand over what it held, once its link is back.
const HELD_MS: u64 = 5_000;

impl World {
    /// A person trades the last symbol at the broker's own screen.
    pub fn trade_by_hand(&mut self) {
        self.count("manual trade");
        self.broker.by_hand -= 1;
        let order_id = self.broker.by_hand;
        let held = self.broker.venue.account().shares(symbol(3));
        let sells = held > 0.into() && self.chance.one_in(2);
        let side = if sells { Side::Sell } else { Side::Buy };
        let ticket = Box::new(Ticket::new(symbol(3), side, Kind::Market, 10.into()));
        self.exchange(Deed::Desk(Desk::Trade { order_id, ticket }));
    }

    /// Shares of the last symbol, or dollars, come without a trade.
    pub fn book(&mut self) {
        self.count("booked without a trade");
        if self.chance.one_in(2) {
            let shares = self.chance.between(1, 10);
            *self.broker.booked.entry(symbol(3)).or_default() += Quantity::from(shares);
        } else {
            let cents = *self.chance.pick(&[1, 7, 60, 250, -250, 1_500]);
            self.broker.booked_cash += Money::new(cents, 2);
        }
        self.tell(|| "the broker books something without a trade".to_owned());
    }

    /// The broker makes two of one order: another one with our reference, which we can't cancel.
    pub fn make_again(&mut self, ticket: Box<Ticket>) {
        self.count("order made twice");
        self.broker.by_hand -= 1;
        let order_id = self.broker.by_hand;
        self.exchange(Deed::Desk(Desk::Trade { order_id, ticket }));
    }

    /// The price of our last trade is corrected.
    pub fn correct_a_trade(&mut self) {
        let fills = &self.broker.venue.account().fills;
        let Some(fill) = fills.iter().rfind(|fill| fill.client == CLIENT) else {
            return;
        };
        let (number, price) = (fill.number, fill.price + protocol::Price::new(1, 2));
        self.count("corrected trade");
        self.exchange(Deed::Desk(Desk::Correct { number, price }));
    }

    /// The gateway forgets how far order ids went.
    pub fn roll_ids_back(&mut self) {
        self.count("order ids rolled back");
        let next = self.broker.venue.account().next_order_id(CLIENT);
        let next_order_id = (next - 3).max(1);
        self.exchange(Deed::Desk(Desk::RollBack {
            client: CLIENT,
            next_order_id,
        }));
    }

    /// What limited orders so far ends.
    pub fn unlimit(&mut self) {
        self.exchange(Deed::Desk(Desk::Unlimit));
    }

    /// The gateway restarts: every session ends, what it held and was asked to limit is gone, the account is kept.
    pub fn restart_gateway(&mut self) {
        self.broker.gateway = false;
        self.broker.held.clear();
        self.broker.withheld.clear();
        for conn in 0..self.broker.links.len() {
            self.broker.links[conn].at_broker = false;
            if self.broker.links[conn].at_process {
                let ms = self.chance.between(0, 1_000);
                self.after(ms, Event::Learn(conn));
            }
        }
        self.unlimit();
    }

    /// The gateway loses its own link: it remembers, and knows no more.
    pub fn outage(&mut self) {
        self.broker.stale = Some(self.broker.venue.account().clone());
        if let Some(conn) = self.broker.session() {
            self.told(conn, Told::Notice(1100));
        }
    }

    /// The link is back, with or without what happened meanwhile.
    pub fn end_of_outage(&mut self) {
        self.broker.stale = None;
        let kept = self.chance.one_in(2);
        self.count(if kept {
            "outage ended with 1102"
        } else {
            "outage ended with 1101"
        });
        let (held, withheld) = (
            std::mem::take(&mut self.broker.held),
            std::mem::take(&mut self.broker.withheld),
        );
        for (id, intent) in held {
            // A stream of its own: when one order comes changes no other one's story.
            let mut odd = Chance::new(self.seed.rotate_left(16) ^ intent.order_id.unsigned_abs() as u64);
            self.after(odd.between(0, HELD_MS), Event::Appear(id, intent));
        }
        if let Some(conn) = self.broker.session() {
            self.told(conn, Told::Notice(if kept { 1102 } else { 1101 }));
            for told in withheld.into_iter().filter(|_| kept) {
                self.told(conn, told);
            }
        }
    }
}
