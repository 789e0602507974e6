//! What the broker's own people and machines do to an account, unasked by any client: a trade by hand, a refusal
//! out of the blue, a fill that stops short, a corrected price, order ids that begin anew.

use std::collections::BTreeMap;

use protocol::{Price, Quantity};

use super::matching::Match;
use super::order::{Order, Ticket};
use super::record::Record;
use super::{Output, Venue};

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
        /// Shares; nothing where it is limited no more.
        shares: Option<Quantity>,
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

    /// Forgets what it wanted of an order that has ended: another one may get its number.
    pub(super) fn forget(&mut self, order: &Order) {
        self.limits.remove(&(order.client, order.order_id));
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
                match shares {
                    Some(shares) => self.desk.limits.insert((client, order_id), shares),
                    None => self.desk.limits.remove(&(client, order_id)),
                };
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
            } if self.account.has_room_for(client) => {
                let at = self.now;
                let record = Record::RolledBack {
                    client,
                    next_order_id,
                    at,
                };
                self.record(record, outputs);
            }
            Desk::RollBack { .. } => {}
        }
    }

    fn trade_by_hand(&mut self, order_id: i32, ticket: Ticket, outputs: &mut Vec<Output>) {
        if let Err(why) = self.check_by_hand(order_id, &ticket) {
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

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use protocol::{Money, Symbol};

    use super::super::account::{Account, CLIENTS_MAX};
    use super::super::market::Market;
    use super::super::order::{Kind, Side, Status};
    use super::super::synthetic::Synthetic;
    use super::super::{Input, Venue};
    use super::*;

    const BEGIN: &str = "2026-11-02T15:00:00Z";

    fn venue() -> (Venue, Symbol, Timestamp) {
        let (symbol, start): (Symbol, Timestamp) = ("AAPL".parse().unwrap(), BEGIN.parse().unwrap());
        let market = Market::Synthetic(Synthetic::new(&[symbol], 1, 20, start));
        let mut account = Account::default();
        account.apply(&Venue::opening(100_000.into(), start));
        (Venue::new(market, account, start), symbol, start)
    }

    fn ticket(symbol: Symbol, side: Side, quantity: i64) -> Box<Ticket> {
        Box::new(Ticket::new(symbol, side, Kind::Market, quantity.into()))
    }

    fn place(order_id: i32, ticket: Box<Ticket>) -> Input {
        Input::Place {
            client: 7,
            order_id,
            ticket,
        }
    }

    fn limit(order_id: i32, shares: Option<i64>) -> Input {
        Input::Desk(Desk::Limit {
            client: 7,
            order_id,
            shares: shares.map(Quantity::from),
        })
    }

    #[test]
    fn a_limit_ends_with_its_order_or_when_it_is_taken_back() {
        let (mut venue, symbol, start) = venue();
        venue.step(start, limit(1, Some(4)));
        venue.step(start, place(1, ticket(symbol, Side::Buy, 10)));
        venue.step(start + SignedDuration::from_secs(10), Input::Time);
        let (client, order_id, next_order_id) = (7, 1, 1);
        venue.step(start, Input::Cancel { client, order_id });
        let back = Desk::RollBack {
            client,
            next_order_id,
        };
        venue.step(start, Input::Desk(back));
        venue.step(start, place(1, ticket(symbol, Side::Buy, 10)));
        venue.step(start + SignedDuration::from_secs(20), Input::Time);
        assert_eq!(
            venue.account().shares(symbol),
            14.into(),
            "of one number, the next order is free"
        );

        venue.step(start, limit(2, Some(0)));
        venue.step(start, place(2, ticket(symbol, Side::Buy, 5)));
        venue.step(start, limit(2, None));
        venue.step(start, place(2, ticket(symbol, Side::Buy, 10)));
        venue.step(start + SignedDuration::from_secs(30), Input::Time);
        assert_eq!(
            venue.account().shares(symbol),
            24.into(),
            "new terms are not limited"
        );
    }

    /// Cash and shares at their price are what was deposited and what was gained, made real or not.
    fn reconciles(venue: &Venue) {
        let (now, account) = (venue.valuation(), venue.account());
        let gained: Money = account.realized_total + now.unrealized;
        assert_eq!(now.equity().round_dp(6), (account.deposited + gained).round_dp(6));
    }

    #[test]
    fn a_corrected_price_reconciles_whatever_became_of_the_position() {
        let (mut venue, symbol, start) = venue();
        let mut later = start;
        let mut step = |venue: &mut Venue, input| {
            later += SignedDuration::from_secs(2);
            venue.step(later, input)
        };
        let correct = |number, cents: i64| {
            let price = Price::new(cents, 2);
            Input::Desk(Desk::Correct { number, price })
        };
        step(&mut venue, place(1, ticket(symbol, Side::Buy, 10)));
        step(&mut venue, correct(1, 10_125));
        reconciles(&venue);
        let fill = &venue.account().fills[0];
        assert_eq!(
            (fill.price, fill.average_price, fill.corrections),
            (Price::new(10_125, 2), Price::new(10_125, 2), 1)
        );
        // The gain of a sale, the cost of shares that are gone, and nothing at all.
        step(&mut venue, place(2, ticket(symbol, Side::Sell, 10)));
        for (number, cents) in [(2, 10_300), (1, 9_900), (99, 1)] {
            step(&mut venue, correct(number, cents));
            reconciles(&venue);
        }
        assert_eq!(venue.account().shares(symbol), Quantity::ZERO);
        assert_eq!(
            venue.account().realized_total,
            venue.valuation().cash - Money::from(100_000)
        );
    }

    #[test]
    fn a_limited_order_stops_short_and_a_refused_one_ends_at_once() {
        let (mut venue, symbol, start) = venue();
        let (client, shares) = (7, 4.into());
        venue.step(start, limit(1, Some(4)));
        venue.step(start, place(1, ticket(symbol, Side::Buy, 10)));
        venue.step(start + SignedDuration::from_secs(10), Input::Time);
        let order = venue.account().find_open(7, 1).unwrap();
        assert_eq!((order.filled, order.status), (shares, Status::Working));
        venue.step(start, Input::Desk(Desk::Unlimit));
        venue.step(start + SignedDuration::from_secs(20), Input::Time);
        assert!(venue.account().find_open(7, 1).is_none(), "it goes on");

        let refuse = Desk::Refuse {
            client,
            order_id: 2,
            ticket: ticket(symbol, Side::Buy, 1),
            reason: "no".into(),
        };
        venue.step(start, Input::Desk(refuse));
        let refused = venue.account().find_completed(7, 2).unwrap();
        assert_eq!(
            (refused.status, refused.end.as_ref().unwrap().reason.as_str()),
            (Status::Rejected, "no")
        );
    }

    #[test]
    fn more_clients_than_are_kept_place_no_orders() {
        let (symbol, start): (Symbol, Timestamp) = ("AAPL".parse().unwrap(), BEGIN.parse().unwrap());
        let market = Market::Synthetic(Synthetic::new(&[symbol], 1, 20, start));
        let mut account = Account::default();
        account.apply(&Venue::opening(100_000.into(), start));
        account.next_order_id = (100..).take(CLIENTS_MAX).map(|client| (client, 2)).collect();
        let mut venue = Venue::new(market, account, start);
        let mut place = |client| {
            venue.step(
                start,
                Input::Place {
                    client,
                    order_id: 2,
                    ticket: ticket(symbol, Side::Buy, 1),
                },
            );
            venue.step(
                start,
                Input::Desk(Desk::RollBack {
                    client,
                    next_order_id: 9,
                }),
            );
            let account = venue.account();
            (
                account.find_completed(client, 2).is_some(),
                account.next_order_id(client),
            )
        };
        assert_eq!(place(7), (false, 1));
        assert_eq!(place(100), (true, 9), "one of them goes on");
    }

    #[test]
    fn ids_go_back_and_a_person_s_order_has_none() {
        let (mut venue, symbol, start) = venue();
        venue.step(start, place(5, ticket(symbol, Side::Buy, 1)));
        assert_eq!(venue.account().next_order_id(7), 6);
        let (client, next_order_id) = (7, 2);
        venue.step(
            start,
            Input::Desk(Desk::RollBack {
                client,
                next_order_id,
            }),
        );
        assert_eq!(venue.account().next_order_id(7), 2);
        let by_hand = |order_id| {
            let ticket = ticket(symbol, Side::Buy, 3);
            Input::Desk(Desk::Trade { order_id, ticket })
        };
        // What is held can be offered at any price.
        let mut offer = ticket(symbol, Side::Sell, 1);
        offer.kind = Kind::Limit(1_000_000.into());
        assert_eq!(venue.check_by_hand(0, &offer), Ok(()));
        offer.quantity = 2.into();
        assert!(venue.check_by_hand(0, &offer).is_err(), "a share would be owed");
        venue.step(start, by_hand(0));
        let order = venue.account().find_completed(CLIENT, 0).unwrap();
        assert_eq!((order.status, order.filled), (Status::Filled, 3.into()));
        assert_eq!(venue.account().next_order_id(CLIENT), 1);
    }
}
