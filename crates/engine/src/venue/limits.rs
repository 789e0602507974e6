//! What the account remembers is bounded, whatever it lives through; and the latest is what it remembers.

use jiff::Timestamp;

use super::account::{Account, COMPLETED_KEPT_MAX, FILLS_KEPT_MAX};
use super::market::Market;
use super::order::{Kind, Lifetime, Order, Side, Status, Ticket};
use super::record::{Fill, Record};
use super::synthetic::Synthetic;
use super::trading::{CLIENT_ORDERS_MAX, OPEN_ORDERS_MAX};
use super::{Input, Output, Venue};

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(1_709_650_800 + number).unwrap()
}

fn venue(account: Account) -> Venue {
    let symbols = ["AAPL".parse().unwrap()];
    Venue::new(
        Market::Synthetic(Synthetic::new(&symbols, 1, 1, second(0))),
        account,
        second(0),
    )
}

fn opened() -> Account {
    let mut account = Account::default();
    account.apply(&Venue::opening(1_000_000.into(), second(0)));
    account
}

/// A day of GTC buys: so many shares at a dollar, where nothing trades, or at the market.
fn buy(order_id: i32, kind: Kind) -> Input {
    let symbol = "AAPL".parse().unwrap();
    let ticket = Ticket {
        lifetime: Lifetime::GoodTillCancelled,
        ..Ticket::new(symbol, Side::Buy, kind, 1.into())
    };
    Input::Place {
        client: 1,
        order_id,
        ticket: Box::new(ticket),
    }
}

fn records(outputs: Vec<Output>) -> Vec<Record> {
    let record = |output| match output {
        Output::Record(record) => Some(record),
        _ => None,
    };
    outputs.into_iter().filter_map(record).collect()
}

/// An order as accepted and its one trade.
fn order_and_fill() -> (Order, Fill) {
    let (mut order, mut fill) = (None, None);
    for record in records(venue(opened()).step(second(1), buy(1, Kind::Market))) {
        match record {
            Record::Accepted { order: accepted } => order = Some(*accepted),
            Record::Filled { fill: filled } => fill = Some(filled),
            _ => {}
        }
    }
    (order.unwrap(), fill.unwrap())
}

#[test]
fn the_latest_trades_and_ended_orders_are_kept() {
    let (order, fill) = order_and_fill();
    let mut account = opened();
    let first = order.perm_id;
    // The first order outlives all the others, and is the last one to end.
    account.apply(&Record::Accepted {
        order: Box::new(order.clone()),
    });
    let count = 2 * FILLS_KEPT_MAX as i64;
    for number in 1..=count {
        let perm_id = first + number;
        let order = Order {
            perm_id,
            ..order.clone()
        };
        account.apply(&Record::Accepted {
            order: Box::new(order),
        });
        let fill = Fill {
            number: number as u64,
            perm_id,
            at: second(number),
            ..fill.clone()
        };
        account.apply(&Record::Filled { fill });
        assert!(account.fills.len() <= FILLS_KEPT_MAX && account.completed.len() <= COMPLETED_KEPT_MAX);
    }
    account.apply(&Record::Ended {
        perm_id: first,
        status: Status::Cancelled,
        reason: String::new(),
        at: second(count + 1),
    });
    assert!(account.open.is_empty() && account.completed.contains_key(&first));
    assert!(account.fills.len() > FILLS_KEPT_MAX * 9 / 10);
    assert!(account.completed.len() > COMPLETED_KEPT_MAX * 8 / 10);
    let numbers: Vec<u64> = account.fills.iter().map(|fill| fill.number).collect();
    let expected: Vec<u64> = (count as u64 + 1 - numbers.len() as u64..=count as u64).collect();
    assert_eq!(numbers, expected);
    let oldest = account.completed.keys().nth(1).unwrap();
    assert_eq!(
        *oldest,
        first + count - account.completed.len() as i64 + 2,
        "no gap"
    );
    assert_eq!(account.last_fill, count as u64);
}

/// An account with so many open orders of each of some clients.
fn crowded(clients: &[(i32, usize)]) -> Account {
    let (order, _) = order_and_fill();
    let mut account = opened();
    for &(client, count) in clients {
        for order_id in (1..).take(count) {
            let mut order = order.clone();
            (order.client, order.order_id) = (client, order_id);
            order.perm_id = account.next_perm_id();
            order.ticket.kind = Kind::Limit(1.into());
            account.apply(&Record::Accepted {
                order: Box::new(order),
            });
        }
    }
    account
}

/// Why an order of client 1 that never trades is rejected, if it is.
fn rejection(venue: &mut Venue, order_id: i32) -> Option<String> {
    let outputs = venue.step(second(1), buy(order_id, Kind::Limit(1.into())));
    records(outputs).into_iter().find_map(|record| match record {
        Record::Accepted { order } => order.end.map(|end| end.reason),
        _ => None,
    })
}

#[test]
fn open_orders_have_a_limit() {
    let half = OPEN_ORDERS_MAX / 2;
    let full = [
        (
            &[(1, half - 1), (2, half), (3, 1)][..],
            "2000 open orders, which is the most",
        ),
        (
            &[(1, CLIENT_ORDERS_MAX)],
            "the client has 1000 open orders, which is the most",
        ),
    ];
    for (clients, told) in full {
        let mut venue = venue(crowded(clients));
        let count = venue.account().open.len();
        let reason = rejection(&mut venue, 2_001).unwrap();
        assert!(reason.contains(told), "{reason}");
        venue.step(
            second(1),
            Input::Cancel {
                client: 1,
                order_id: 1,
            },
        );
        assert_eq!(rejection(&mut venue, 2_002), None);
        assert_eq!(venue.account().open.len(), count);
    }
    let mut venue = venue(crowded(&[(2, CLIENT_ORDERS_MAX)]));
    assert_eq!(rejection(&mut venue, 1), None, "another client has its own share");
}
