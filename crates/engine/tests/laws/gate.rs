//! What the last gate takes from the ledger: incarnations that begin anew do not multiply its limits.

use std::time::Duration;

use engine::gate::{Gate, Moment, Stopped};
use engine::others::Others;
use engine::portfolio::Portfolio;
use engine::testing::settings;
use jiff::SignedDuration;
use protocol::ledger::{Entry, Epoch, Intent, OrderType, Reason, Record, Side, TimeInForce};
use protocol::settings::Risk;
use protocol::{Hash, Id, Quantity, Timestamp};

use crate::world::symbol;

const DAY_SECONDS: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

fn id(number: i32) -> Id {
    Id::derive(&["test", &number.to_string()])
}

fn entry(order_id: i32) -> Intent {
    Intent {
        symbol: symbol("AAPL"),
        side: Side::Buy,
        quantity: 10.into(),
        order_type: OrderType::Market,
        limit_price: None,
        time_in_force: TimeInForce::Day,
        outside_regular_hours: false,
        reason: Reason::Entry,
        target: 10.into(),
        basis: Quantity::ZERO,
        order_id,
        reference_price: Some(100.into()),
    }
}

fn append(portfolio: &mut Portfolio, seconds: i64, id: Id, entry: Entry) {
    let record = Record {
        id,
        at: at(seconds),
        cause: None,
        epoch: 1,
        previous_hash: portfolio.hash.clone(),
        entry,
    };
    let sequence = portfolio.sequence + 1;
    portfolio.apply(sequence, &Hash::zero(), &record).unwrap();
}

/// A ledger that an incarnation leads.
fn ledger() -> Portfolio {
    let mut portfolio = Portfolio::default();
    let epoch = Epoch {
        instance: "test".to_owned(),
        version: "0".to_owned(),
    };
    append(&mut portfolio, 0, Id::derive(&["epoch"]), Entry::Epoch(epoch));
    portfolio
}

/// Tries the entry of this number, under its order id.
fn pass(gate: &mut Gate, portfolio: &Portfolio, seconds: i64, number: i32) -> Result<(), Stopped> {
    let moment = Moment {
        at: at(seconds),
        waited: Duration::ZERO,
        killed: false,
        closed: None,
        portfolio,
        others: &Others::default(),
    };
    gate.pass(&moment, &id(number), &entry(number))
}

/// Tries an entry every so many seconds, and begins anew before every n-th, as after a crash. How many left.
fn entries_that_leave(limits: &Risk, seconds: i64, tries: i32, anew: i32) -> usize {
    let mut portfolio = ledger();
    let mut gate = Gate::new(limits.clone(), 0, &portfolio);
    let mut left = 0;
    for number in 1..=tries {
        if number % anew == 0 {
            gate = Gate::new(limits.clone(), number - 1, &portfolio);
        }
        let now = i64::from(number) * seconds;
        append(&mut portfolio, now, id(number), Entry::Intent(entry(number)));
        left += usize::from(pass(&mut gate, &portfolio, now, number).is_ok());
    }
    left
}

#[test]
fn incarnations_that_begin_anew_do_not_multiply_the_limits() {
    let of_a_day = Risk {
        trades_per_symbol_per_day_max: 12,
        orders_per_minute_max: 1_000,
        ..settings().risk
    };
    let of_a_minute = Risk {
        trades_per_symbol_per_day_max: 1_000,
        orders_per_minute_max: 30,
        ..settings().risk
    };
    for anew in [1, 2, 3, 7, 11, 1_000] {
        let left = entries_that_leave(&of_a_day, 60, 40, anew);
        assert_eq!(left, 12, "a day, anew before each {anew}.");
        let left = entries_that_leave(&of_a_minute, 1, 59, anew);
        assert_eq!(left, 30, "a minute, anew before each {anew}.");
    }
}

#[test]
fn what_an_earlier_incarnation_decided_does_not_leave_again() {
    let mut known = ledger();
    append(&mut known, 0, id(7), Entry::Intent(entry(1)));
    let mut gate = Gate::new(settings().risk, 1, &known);
    assert_eq!(pass(&mut gate, &known, 0, 7), Err(Stopped::Repeated));
}

#[test]
fn the_day_of_the_ledger_counts_until_the_market_has_passed_it() {
    let limits = Risk {
        trades_per_symbol_per_day_max: 1,
        ..settings().risk
    };
    let mut known = ledger();
    append(&mut known, DAY_SECONDS, id(1), Entry::Intent(entry(1)));
    let mut gate = Gate::new(limits, 1, &known);
    let mut tried = |seconds, number| pass(&mut gate, &known, seconds, number);
    assert_eq!(tried(0, 2), Err(Stopped::PerDay(1)), "a clock that is behind");
    assert_eq!(tried(DAY_SECONDS, 3), Err(Stopped::PerDay(1)));
    assert_eq!(tried(2 * DAY_SECONDS, 4), Ok(()));
}
