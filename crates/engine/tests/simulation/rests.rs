//! Orders that a person places by hand and that rest at the broker: they may fill later, or the person takes them back.

use std::collections::{BTreeMap, BTreeSet};

use engine::venue::Input as Deed;
use engine::venue::desk::{self, Desk};
use engine::venue::order::{Kind, Order, Side, Ticket};
use engine::venue::record::Record;
use protocol::{Price, Quantity, Symbol};

use crate::broker::CLIENT;
use crate::chance::Chance;
use crate::checks::Judges;
use crate::world::{Event, World, symbol};

/// One world in so many has such a person, who trades the symbol before the last.
const RESTS_IN: u64 = 4;
/// By how much their price is away from the market's, in thousandths.
const AWAY: i64 = 2;

fn of_person() -> Symbol {
    symbol(2)
}

/// True for an order that rests by hand: all others that no client of the gateway placed trade at once.
pub fn is_at_rest(order: &Order) -> bool {
    order.client == desk::CLIENT && order.ticket.reference.is_empty() && order.ticket.kind != Kind::Market
}

impl World {
    /// Lets a person rest orders by hand in some worlds.
    pub fn plan_rests(&mut self) {
        if self.seed % RESTS_IN == 1 {
            self.after(7_000, Event::Rest);
        }
    }

    /// A person puts what is held on sale, or wants to buy, beside the market's price.
    pub fn rest_by_hand(&mut self) {
        if !self.troubled() {
            return;
        }
        self.broker.by_hand -= 1;
        let order_id = self.broker.by_hand;
        // A stream of its own: the story of the other worlds stays as it is.
        let mut chance = Chance::new(self.seed.rotate_left(16) ^ u64::from(order_id.unsigned_abs()));
        self.after(chance.between(3_000, 12_000), Event::Rest);
        let (symbol, account) = (of_person(), self.broker.venue.account());
        let Some(price) = self.broker.venue.mark(symbol) else {
            return;
        };
        let resting = account.open.values().filter(|order| is_at_rest(order));
        let resting: Quantity = resting.map(|order| order.ticket.quantity - order.filled).sum();
        let held = account.shares(symbol) - resting;
        let beside = |thousandths: i64| (price * (Price::ONE + Price::new(thousandths, 3))).round_dp(2);
        let whole = chance.one_in(2);
        let (side, kind, quantity) = if held > Quantity::ZERO && !chance.one_in(5) {
            let part = (held / Quantity::from(2)).ceil();
            let quantity = if whole { held } else { part };
            let away = if chance.one_in(2) {
                Kind::Stop(beside(-AWAY))
            } else {
                Kind::Limit(beside(AWAY))
            };
            (Side::Sell, away, quantity)
        } else {
            (Side::Buy, Kind::Limit(beside(-AWAY)), 10.into())
        };
        self.count(match side {
            Side::Buy => "purchase that rests by hand",
            Side::Sell => "sale that rests by hand",
        });
        let ticket = Box::new(Ticket::new(symbol, side, kind, quantity));
        self.exchange(Deed::Desk(Desk::Trade { order_id, ticket }));
        self.after(chance.between(2_000, 30_000), Event::TakeBack(order_id));
    }

    /// The person takes an order back that did not fill.
    pub fn take_back(&mut self, order_id: i32) {
        let client = desk::CLIENT;
        self.exchange(Deed::Cancel { client, order_id });
    }
}

impl Judges<'_> {
    /// Symbols of which orders rested by hand.
    pub fn rested(&self) -> BTreeSet<String> {
        let facts = self.world.broker.facts.iter();
        let rested = facts.filter_map(|fact| match &fact.record {
            Record::Accepted { order } if is_at_rest(order) => Some(order.ticket.symbol.to_string()),
            _ => None,
        });
        rested.collect()
    }

    /// Sales that rested by hand and that an exit, on its way then or until later, could not know of: the broker had told
    /// its open orders before, for the last time before that exit left.
    pub fn unforeseen(&self) -> BTreeSet<i64> {
        let facts = &self.world.broker.facts;
        let mut ends: BTreeMap<i64, u64> = BTreeMap::new();
        for fact in facts {
            match &fact.record {
                Record::Ended { perm_id, .. } => drop(ends.insert(*perm_id, fact.beat)),
                Record::Filled { fill } => drop(ends.insert(fill.perm_id, fact.beat)),
                _ => {}
            }
        }
        let mut exits = Vec::new();
        for fact in facts {
            let Record::Accepted { order } = &fact.record else {
                continue;
            };
            if order.client == CLIENT && order.ticket.side == Side::Sell {
                let rest = self
                    .world
                    .broker
                    .venue
                    .account()
                    .open
                    .contains_key(&order.perm_id);
                let end = ends.get(&order.perm_id).filter(|_| !rest).copied();
                let known = self.known_before(&order.ticket.reference);
                exits.push((order.ticket.symbol, known, end.unwrap_or(u64::MAX)));
            }
        }
        let sales = facts.iter().filter_map(|fact| match &fact.record {
            Record::Accepted { order } if is_at_rest(order) && order.ticket.side == Side::Sell => {
                let unknown = |exit: &(Symbol, u64, u64)| {
                    exit.0 == order.ticket.symbol && exit.1 < fact.beat && fact.beat < exit.2
                };
                exits.iter().any(unknown).then_some(order.perm_id)
            }
            _ => None,
        });
        sales.collect()
    }

    /// When the broker told its open orders in the last reading that was compared before an order left.
    fn known_before(&self, id: &str) -> u64 {
        let evidence = &self.world.evidence;
        let Some(sent) = evidence.sent.iter().find(|sent| sent.id.as_str() == id) else {
            return 0;
        };
        let compared = evidence.readings.iter().filter(|reading| {
            reading.run == sent.run && reading.compared.is_some_and(|beat| beat < sent.beat)
        });
        compared
            .map(|reading| reading.told_open)
            .max()
            .unwrap_or_default()
    }
}
