//! Orders that a person placed at the broker's own screen, and the numbers by which client 0 knows them once it asks.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::account::Account;
use super::desk;
use super::order::{Order, UNBOUND};
use super::record::Record;
use super::{Output, Venue};

/// The highest number that is given: on the wire, -1 means no request.
const HIGHEST: i32 = -2;

impl Order {
    /// Whether a person placed it.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        self.client == desk::CLIENT && self.order_id <= UNBOUND
    }
}

impl Account {
    /// Numbers for orders that a person placed, the highest first: no order or trade that the account knows of has one.
    pub fn free_numbers(&self) -> impl Iterator<Item = i32> + use<> {
        let orders = self.open.values().chain(self.completed.values());
        let used = orders.map(|order| (order.client, order.order_id));
        let used = used.chain(self.fills.iter().map(|fill| (fill.client, fill.order_id)));
        let below = used.filter(|(client, order_id)| *client == desk::CLIENT && *order_id < UNBOUND);
        let used: BTreeSet<i32> = below.map(|(_, order_id)| order_id).collect();
        (i32::MIN..=HIGHEST)
            .rev()
            .filter(move |number| !used.contains(number))
    }

    /// Gives an order its number, and its trades so far.
    pub(super) fn bind(&mut self, perm_id: i64, order_id: i32, at: Timestamp) {
        if let Some(order) = self.open.get_mut(&perm_id) {
            order.order_id = order_id;
        }
        for fill in self.fills.iter_mut().filter(|fill| fill.perm_id == perm_id) {
            fill.order_id = order_id;
        }
        self.see(at);
    }
}

impl Venue {
    /// Gives the open orders that a person placed their numbers, those that have none.
    pub(super) fn bind(&mut self, outputs: &mut Vec<Output>) {
        let unbound = |order: &&Order| order.is_by_hand() && order.order_id == UNBOUND;
        let orders = self.account.open.values().filter(unbound);
        let bound: Vec<_> = orders
            .map(|order| order.perm_id)
            .zip(self.account.free_numbers())
            .collect();
        for (perm_id, order_id) in bound {
            let at = self.now;
            self.record(
                Record::Bound {
                    perm_id,
                    order_id,
                    at,
                },
                outputs,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Symbol;

    use super::super::desk::Desk;
    use super::super::market::Market;
    use super::super::order::{Kind, Side, Ticket};
    use super::super::synthetic::Synthetic;
    use super::super::{Input, Refusal};
    use super::*;

    /// A person places a limit order that rests.
    fn by_hand(symbol: Symbol, order_id: i32) -> Input {
        let ticket = Box::new(Ticket::new(symbol, Side::Buy, Kind::Limit(1.into()), 10.into()));
        Input::Desk(Desk::Trade { order_id, ticket })
    }

    fn numbers(account: &Account) -> Vec<i32> {
        account.open.values().map(|order| order.order_id).collect()
    }

    #[test]
    fn orders_by_hand_rest_without_a_number_until_they_are_bound() {
        let (symbol, start): (Symbol, Timestamp) =
            ("AAPL".parse().unwrap(), "2026-11-02T15:00:00Z".parse().unwrap());
        let market = Market::Synthetic(Synthetic::new(&[symbol], 1, 20, start));
        let mut kept = Account::default();
        kept.apply(&Venue::opening(100_000.into(), start));
        let mut venue = Venue::new(market, kept.clone(), start);
        let mut step = |input| {
            let outputs = venue.step(start, input);
            for output in &outputs {
                if let Output::Record(record) = output {
                    kept.apply(record);
                }
            }
            assert_eq!(&kept, venue.account(), "the records are the account");
            (numbers(&kept), outputs)
        };
        let cancel = |order_id| Input::Cancel {
            client: desk::CLIENT,
            order_id,
        };
        step(by_hand(symbol, 0));
        step(by_hand(symbol, -2));
        assert_eq!(step(by_hand(symbol, 0)).0, [0, -2, 0]);
        let (_, refused) = step(cancel(0));
        let unknown =
            |output: &Output| matches!(output, Output::Refused { why, .. } if *why == Refusal::UnknownOrder);
        assert!(refused.iter().any(unknown), "which one is meant?");
        assert_eq!(
            step(Input::Bind).0,
            [-3, -2, -4],
            "-1 means no request on the wire"
        );
        assert_eq!(step(cancel(-3)).0, [-2, -4]);
        step(by_hand(symbol, 0));
        assert_eq!(step(Input::Bind).0, [-2, -4, -5], "a number is given once");
    }
}
