//! Laws of the fold: broker events in any order and any number end in the same state; money is moved, never made.

use engine::portfolio::{LedgerFault, Portfolio};
use engine::reconcile::{BrokerExecution, Pass, Truth};
use engine::trader::{Heard, Input, News};
use proptest::prelude::*;
use protocol::ledger::{Fill, Side};
use protocol::{Hash, Quantity};
use rust_decimal::Decimal;

use crate::world::{World, number, symbol};

/// Fills of an order of 50 shares: quantities that add up to at most 50.
fn parts() -> impl Strategy<Value = Vec<(u32, i64)>> {
    prop::collection::vec((1u32..20, 9_000i64..11_000), 1..6)
}

fn fill(number: usize, quantity: u32, cents: i64) -> Fill {
    Fill {
        execution_id: format!("x{number}"),
        side: Side::Buy,
        quantity: Quantity::from(quantity),
        price: Decimal::new(cents, 2),
        commission: Some(Decimal::new(35, 2)),
        executed_at: "2026-11-23T15:00:01Z".parse().unwrap(),
        permanent_id: 7,
    }
}

fn hear(world: &mut World, fill: &Fill) {
    let order_ref = world.intents[0].0.to_string();
    let news = News::Execution(symbol("AAPL"), fill.clone());
    world.step(Input::Broker(Heard {
        order_ref,
        order_id: 0,
        permanent_id: 7,
        news,
    }));
}

fn amounts(portfolio: &Portfolio) -> (Decimal, Decimal, Decimal, String) {
    let position = &portfolio.positions[&symbol("AAPL")];
    let states: Vec<_> = portfolio
        .orders
        .values()
        .map(|order| (order.state, order.filled))
        .collect();
    (
        portfolio.cash.normalize(),
        position.quantity.normalize(),
        position.cost.normalize(),
        format!("{states:?}"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn fills_in_any_order_and_any_number_are_the_same(parts in parts(), order in prop::collection::vec(0usize..6, 0..30)) {
        let fills: Vec<_> = parts.iter().enumerate().map(|(n, (quantity, cents))| fill(n, *quantity, *cents)).collect();
        let start = || {
            let mut world = World::new(&[]);
            world.quote("AAPL", "100");
            world.bullish("AAPL");
            world
        };
        let mut straight = start();
        fills.iter().for_each(|fill| hear(&mut straight, fill));
        let mut shuffled = start();
        order.iter().filter_map(|n| fills.get(*n)).for_each(|fill| hear(&mut shuffled, fill));
        fills.iter().rev().for_each(|fill| hear(&mut shuffled, fill));
        prop_assert_eq!(amounts(&straight.trader.portfolio), amounts(&shuffled.trader.portfolio));
    }

    /// IB tells a correction under the same id with a higher last segment.
    #[test]
    fn corrected_executions_count_once_in_any_order(parts in parts(), corrections in prop::collection::vec((0usize..6, 1u32..20, 9_000i64..11_000), 0..6), order in prop::collection::vec(0usize..12, 0..40)) {
        let revised = |number: usize, revision: usize, quantity: u32, cents: i64| Fill {
            execution_id: format!("0000e0d5.{number:08x}.01.{revision:02}"),
            ..fill(number, quantity, cents)
        };
        let mut told: Vec<_> = parts.iter().enumerate().map(|(n, (quantity, cents))| revised(n, 1, *quantity, *cents)).collect();
        let mut last = told.clone();
        for (revision, (number, quantity, cents)) in corrections.iter().enumerate().filter(|(_, (number, ..))| *number < parts.len()) {
            let correction = revised(*number, revision + 2, *quantity, *cents);
            told.push(correction.clone());
            last[*number] = correction;
        }
        let start = || {
            let mut world = World::new(&[]);
            world.quote("AAPL", "100");
            world.bullish("AAPL");
            world
        };
        let (mut straight, mut shuffled) = (start(), start());
        last.iter().for_each(|fill| hear(&mut straight, fill));
        order.iter().filter_map(|n| told.get(*n)).for_each(|fill| hear(&mut shuffled, fill));
        told.iter().for_each(|fill| hear(&mut shuffled, fill));
        let money = |world: &World| {
            let position = &world.trader.portfolio.positions[&symbol("AAPL")];
            let filled: Vec<_> = world.trader.portfolio.orders.values().map(|order| order.filled).collect();
            (world.trader.portfolio.cash.normalize(), position.quantity.normalize(), position.cost.normalize(), filled)
        };
        prop_assert_eq!(money(&straight), money(&shuffled));
    }

    #[test]
    fn what_was_missed_is_found_by_reading_the_broker(parts in parts(), heard in prop::collection::vec(any::<bool>(), 6)) {
        let mut world = World::new(&[]);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        let fills: Vec<_> = parts.iter().enumerate().map(|(n, (quantity, cents))| fill(n, *quantity, *cents)).collect();
        for (fill, heard) in fills.iter().zip(heard) {
            if heard { hear(&mut world, fill); }
        }
        let order_ref = world.intents[0].0.to_string();
        let executions = fills.iter().map(|fill| BrokerExecution { order_ref: order_ref.clone(), symbol: symbol("AAPL"), fill: fill.clone() }).collect();
        let truth = Truth { executions, ..Truth::default() };
        world.step(Input::Truth(truth.clone(), Pass::Running));
        let total: u32 = parts.iter().map(|(quantity, _)| quantity).sum();
        prop_assert_eq!(world.held("AAPL"), Quantity::from(total));
        let records = world.records.len();
        world.step(Input::Truth(Truth { folded: world.trader.portfolio.sequence, ..truth }, Pass::Running));
        let told_again = world.records[records..].iter().any(|(_, _, record)| matches!(record.entry, protocol::ledger::Entry::Order(_)));
        prop_assert!(!told_again, "read twice, nothing is told twice");
    }

    #[test]
    fn money_is_moved_and_never_made(trades in prop::collection::vec((any::<bool>(), 1u32..100, 100i64..100_000), 1..40)) {
        let mut world = World::new(&[]);
        for (number, (buy, quantity, cents)) in trades.iter().enumerate() {
            let side = if *buy { Side::Buy } else { Side::Sell };
            // Every fifth is the correction of one four trades ago.
            let (root, revision) = if number % 5 == 4 { (number - 4, number) } else { (number, 1) };
            let execution_id = format!("0000e0d5.{root:08x}.01.{revision:02}");
            let fill = Fill { execution_id, side, ..fill(number, *quantity, *cents) };
            let news = News::Execution(symbol("AAPL"), fill);
            world.step(Input::Broker(Heard { order_ref: String::new(), order_id: 0, permanent_id: 9, news }));
            let portfolio = &world.trader.portfolio;
            let position = &portfolio.positions[&symbol("AAPL")];
            // Cash paid is what is held at cost, less what was gained, plus what the broker took.
            let paid = number_of("100000") - portfolio.cash;
            prop_assert_eq!(paid, position.cost - position.realized + position.commission);
            prop_assert!(!position.quantity.is_zero() || position.cost.is_zero(), "flat costs nothing");
            prop_assert_eq!(portfolio.day.realized, position.realized, "all of it was made today");
            prop_assert_eq!(position.realized_today, position.realized);
        }
    }
}

fn number_of(text: &str) -> Decimal {
    number(text)
}

#[test]
fn a_record_that_cannot_be_the_next_is_refused_with_its_place() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let (last, hash, record) = world.records.last().cloned().unwrap();
    let mut portfolio = Portfolio::default();
    for (sequence, hash, record) in &world.records[..world.records.len() - 1] {
        portfolio.apply(*sequence, hash, record).unwrap();
    }
    let before = portfolio.clone();
    let hole = portfolio.apply(last + 1, &hash, &record);
    assert_eq!(
        hole,
        Err(LedgerFault::Hole {
            expected: last,
            found: last + 1
        })
    );
    let mut forged = record.clone();
    forged.epoch += 1;
    assert!(matches!(
        portfolio.apply(last, &hash, &forged),
        Err(LedgerFault::Epoch { .. })
    ));
    let mut unchained = record.clone();
    unchained.previous_hash = Hash::of(b"something else");
    assert_eq!(
        portfolio.apply(last, &hash, &unchained),
        Err(LedgerFault::Chain { sequence: last })
    );
    assert_eq!(portfolio, before, "what is refused changes nothing");
    portfolio.apply(last, &hash, &record).unwrap();
    portfolio.apply(last, &hash, &record).unwrap();
    assert_eq!(portfolio.mark(), world.trader.portfolio.mark());
}

#[test]
fn what_was_forgotten_is_not_counted_again() {
    let mut world = World::new(&[]);
    let total = engine::portfolio::EXECUTIONS_KEPT_MAX + 20;
    let nth = |n: usize| {
        let executed_at = "2026-11-23T14:00:00Z".parse::<protocol::Timestamp>().unwrap()
            + jiff::SignedDuration::from_secs(i64::try_from(n).unwrap());
        Fill {
            executed_at,
            ..fill(n, 1, 10_000)
        }
    };
    for n in 0..total {
        let news = News::Execution(symbol("AAPL"), nth(n));
        world.step(Input::Broker(Heard {
            order_ref: String::new(),
            order_id: 0,
            permanent_id: 9,
            news,
        }));
    }
    assert_eq!(world.held("AAPL"), Quantity::from(total));
    let executions = (0..total)
        .map(|n| BrokerExecution {
            order_ref: String::new(),
            symbol: symbol("AAPL"),
            fill: nth(n),
        })
        .collect();
    world.step(Input::Truth(
        Truth {
            executions,
            ..Truth::default()
        },
        Pass::Running,
    ));
    assert_eq!(world.held("AAPL"), Quantity::from(total));
}

#[test]
fn two_readings_are_of_one_moment_when_nothing_moved() {
    let held = |quantity: &str| protocol::ledger::Holding {
        quantity: number(quantity),
        average_cost: number("100"),
    };
    let still = Truth {
        cash: Some(number("1000")),
        positions: [(symbol("AAPL"), held("10"))].into(),
        ..Truth::default()
    };
    assert!(still.clone().is_of_the_same_moment(&still));
    // A fill that came after the executions were told and before the positions were.
    let moved = Truth {
        positions: [(symbol("AAPL"), held("20"))].into(),
        ..still.clone()
    };
    assert!(!moved.is_of_the_same_moment(&still));
    let execution = BrokerExecution {
        order_ref: String::new(),
        symbol: symbol("AAPL"),
        fill: fill(1, 10, 10_000),
    };
    let told = Truth {
        executions: vec![execution],
        ..still.clone()
    };
    assert!(!told.is_of_the_same_moment(&still));
    let paid = Truth {
        cash: None,
        ..still.clone()
    };
    assert!(!paid.is_of_the_same_moment(&still));
}

#[test]
fn an_execution_dated_ahead_moves_the_day_no_further_than_it_was_heard() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let ahead = Fill {
        executed_at: world.now + jiff::SignedDuration::from_hours(400 * 24),
        ..fill(1, 50, 10_000)
    };
    hear(&mut world, &ahead);
    let today = |world: &World| {
        let day = &world.trader.portfolio.day;
        (day.date, day.commission)
    };
    let date = |world: &World| Some(engine::day::trading_day(world.now));
    assert_eq!(today(&world), (date(&world), ahead.commission.unwrap()));
    world.later(86_400);
    world.quote("AAPL", "90");
    let (_, exit) = world.intents.last().unwrap();
    assert_eq!(exit.side, Side::Sell);
    assert_eq!(
        today(&world),
        (date(&world), Decimal::ZERO),
        "the next day begins"
    );
    world.fill_last("90");
    assert_eq!(world.trader.portfolio.day.realized, Decimal::from(-500));
}

#[test]
fn what_was_traded_before_the_market_spoke_counts_to_its_day() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    hear(&mut world, &fill(1, 50, 10_000));
    let mut world = world.restart();
    // Days later; the market's clock stands where the last decision was made.
    world.later(3 * 86_400);
    let sold = BrokerExecution {
        order_ref: String::new(),
        symbol: symbol("AAPL"),
        fill: Fill {
            side: Side::Sell,
            executed_at: world.now,
            permanent_id: 99,
            ..fill(2, 50, 9_000)
        },
    };
    let truth = Truth {
        executions: vec![sold],
        ..world.truth(&[])
    };
    world.step(Input::Truth(truth, Pass::First));
    let day = &world.trader.portfolio.day;
    assert_eq!(day.date, Some(engine::day::trading_day(world.now)));
    assert_eq!(day.realized, Decimal::from(-500));
}
