//! What an operator took over from the broker is not counted again by the executions that it came from.

use engine::reconcile::{BrokerExecution, Pass, Truth};
use engine::trader::{Heard, Input, News};
use proptest::prelude::*;
use protocol::ledger::{Fill, Side};
use protocol::{Money, Quantity};

use crate::settle::{ask_for_more, by_hand, read, settle};
use crate::world::{World, number, symbol};

/// The broker tells of an execution by itself.
fn told(world: &mut World, fill: Fill) {
    let permanent_id = fill.permanent_id;
    let news = News::Execution(symbol("AAPL"), fill);
    world.step(Input::Broker(Heard {
        order_ref: String::new(),
        order_id: 0,
        permanent_id,
        news,
    }));
}

/// A person bought seven shares, and nobody was told. They were taken over, sold by their stop, and that filled.
fn taken_over_and_sold() -> (World, Fill) {
    let mut world = World::new(&[]);
    let bought = by_hand("", &world).fill;
    world.later(60);
    world.quote("AAPL", "100");
    for _ in 0..2 {
        read(&mut world, "7");
    }
    assert!(settle(&mut world, None));
    world.later(60);
    world.quote("AAPL", "90");
    assert_eq!(world.intents.last().unwrap().1.quantity, number("7"));
    world.fill_last("90");
    assert_eq!(world.held("AAPL"), Quantity::ZERO);
    world.later(60);
    (world, bought)
}

#[test]
fn an_execution_that_is_told_after_its_shares_were_taken_over_is_not_counted_again() {
    for by_reading in [false, true] {
        let (mut world, bought) = taken_over_and_sold();
        if by_reading {
            let execution = BrokerExecution {
                fill: bought,
                ..by_hand("", &world)
            };
            let truth = Truth {
                executions: vec![execution],
                ..world.truth(&[])
            };
            world.step(Input::Truth(truth, Pass::Running));
        } else {
            told(&mut world, bought);
        }
        assert_eq!(ask_for_more(&mut world), 1, "the broker has none");
        assert_eq!(world.held("AAPL"), Quantity::ZERO);
        let mut world = world.restart();
        assert_eq!(ask_for_more(&mut world), 0);
        read(&mut world, "0");
        assert!(world.trader.portfolio.differences.is_empty());
    }
}

#[test]
fn a_reading_that_brings_trades_is_compared_with_them_in_the_same_step() {
    let mut world = World::new(&[]);
    let truth = Truth {
        executions: vec![by_hand("", &world)],
        ..world.truth(&[])
    };
    world.step(Input::Truth(truth, Pass::Running));
    assert_eq!(world.held("AAPL"), number("7"));
    assert_eq!(ask_for_more(&mut world), 0, "the broker says that it has none");
    assert!(world.trader.wants_another_look());
    let differences = &world.trader.portfolio.differences;
    let [difference] = &differences[..] else {
        panic!("one difference: {differences:?}")
    };
    assert_eq!(
        (difference.ours, difference.broker),
        (number("7"), Quantity::ZERO)
    );
}

#[test]
fn what_was_traded_after_the_figure_was_read_counts_and_a_moment_that_clocks_cannot_tell_never_leaves_too_much()
 {
    // Seconds from the settlement to the trade; whether a purchase and a sale count.
    for (seconds, purchase, sale) in [
        (-60, false, false),
        (-5, false, true),
        (5, false, true),
        (60, true, true),
    ] {
        for side in [Side::Buy, Side::Sell] {
            let mut world = World::new(&[("AAPL", "20")]);
            world.quote("AAPL", "100");
            for _ in 0..2 {
                read(&mut world, "30");
            }
            assert!(settle(&mut world, None));
            let mut fill = Fill {
                side,
                ..by_hand("", &world).fill
            };
            fill.executed_at += jiff::SignedDuration::from_secs(seconds);
            for _ in 0..3 {
                told(&mut world, fill.clone());
            }
            let (counts, change) = match side {
                Side::Buy => (purchase, number("7")),
                Side::Sell => (sale, number("-7")),
            };
            let change = if counts { change } else { Quantity::ZERO };
            assert_eq!(
                world.held("AAPL"),
                number("30") + change,
                "{side:?} after {seconds} s"
            );
            assert_eq!(world.restart().held("AAPL"), number("30") + change);
        }
    }
}

#[test]
fn an_order_of_before_whose_shares_were_taken_over_is_filled_without_them_and_a_later_one_counts() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let (entry, intent) = world.intents[0].clone();
    for _ in 0..2 {
        read(&mut world, &intent.quantity.to_string());
    }
    assert!(settle(&mut world, None));
    world.fill(&entry, &intent.quantity.to_string(), "100");
    assert_eq!(world.trader.portfolio.orders[&entry].rest(), Quantity::ZERO);
    assert_eq!(world.held("AAPL"), intent.quantity);
    // The next order is of after, whatever the clocks say.
    world.quote("AAPL", "90");
    world.fill_last("90");
    assert_eq!(world.held("AAPL"), Quantity::ZERO);
    world.later(600);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    world.fill_last("100");
    assert_eq!(world.held("AAPL"), intent.quantity);
}

#[test]
fn what_is_taken_over_keeps_the_cost_of_what_was_known_and_is_never_free() {
    // Shares held at $100 each; shares of the broker; the price, if one is known; the cost.
    let cases = [
        ("10", "30", Some("90"), "2800"),
        ("10", "30", None, "3000"),
        ("10", "4", Some("90"), "400"),
        ("10", "0", None, "0"),
        ("0", "30", None, "3000"),
        ("10", "-5", Some("90"), "-450"),
    ];
    for (ours, broker, price, cost) in cases {
        let mut world = World::new(&[("AAPL", ours)]);
        if let Some(price) = price {
            // Told as old, so that no stop follows.
            world.step(Input::Quote(protocol::market::Quote {
                tradable: false,
                ..world.quote_of("AAPL", price)
            }));
        }
        for _ in 0..2 {
            read(&mut world, broker);
        }
        assert!(settle(&mut world, None));
        let position = &world.trader.portfolio.positions[&symbol("AAPL")];
        assert_eq!(position.quantity, number(broker));
        assert_eq!(position.cost, number(cost), "{ours} and {broker} at {price:?}");
    }
}

#[test]
fn shares_without_any_price_are_not_taken_over_until_one_is_known() {
    let mut world = World::new(&[]);
    for _ in 0..2 {
        let mut truth = world.truth(&[("AAPL", number("5"))]);
        truth.positions.get_mut(&symbol("AAPL")).unwrap().average_cost = Money::ZERO;
        world.step(Input::Truth(truth, Pass::Running));
    }
    assert!(!settle(&mut world, None));
    world.quote("AAPL", "100");
    assert!(settle(&mut world, None));
    assert_eq!(
        world.trader.portfolio.positions[&symbol("AAPL")].cost,
        number("500")
    );
}

/// A fill: of the order that was sent or by hand, bought, shares, before the figure was read, and told before that too.
type Part = (bool, bool, u32, bool, bool);

/// A world with an entry on its way and a fill of each part, at $100 each. They are told to it in this order, those that
/// are told before the figure is taken over first. Whether it was taken over.
fn told_around_an_accept(parts: &[Part], first: &[usize], then: &[usize]) -> (World, bool) {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let (entry, started) = (world.intents[0].0.clone(), world.now);
    let heard = |number: usize| {
        let (own, buys, quantity, before, _) = parts[number];
        let permanent_id = if own {
            7
        } else {
            100 + i64::try_from(number).unwrap()
        };
        let seconds = if before { 60 } else { 1_200 } + i64::try_from(number).unwrap();
        let fill = Fill {
            execution_id: format!("x{number}"),
            side: if own || buys { Side::Buy } else { Side::Sell },
            quantity: quantity.into(),
            price: Money::ONE_HUNDRED,
            commission: Some(Money::ONE),
            executed_at: started + jiff::SignedDuration::from_secs(seconds),
            permanent_id,
        };
        Heard {
            order_ref: if own { entry.to_string() } else { String::new() },
            order_id: 0,
            permanent_id,
            news: News::Execution(symbol("AAPL"), fill),
        }
    };
    let numbers = |wanted: &dyn Fn(&Part) -> bool, order: &[usize]| -> Vec<usize> {
        let all = order.iter().copied().chain(0..parts.len());
        all.filter(|number| parts.get(*number).is_some_and(wanted))
            .collect()
    };
    world.later(300);
    for number in numbers(&|(.., before, early)| *before && *early, first) {
        world.step(Input::Broker(heard(number)));
    }
    world.later(300);
    world.quote("AAPL", "100");
    let figure = sum(parts, |(.., before, _)| *before).to_string();
    for _ in 0..2 {
        read(&mut world, &figure);
    }
    let accepted = settle(&mut world, None);
    world.later(900);
    for number in numbers(&|_| true, then) {
        world.step(Input::Broker(heard(number)));
    }
    (world, accepted)
}

/// Shares of the parts that `which` picks, signed.
fn sum(parts: &[Part], which: impl Fn(&Part) -> bool) -> Quantity {
    let picked = parts.iter().filter(|part| which(part));
    let signed = picked.map(|(own, buys, quantity, ..)| {
        let sign = if *own || *buys {
            Quantity::ONE
        } else {
            -Quantity::ONE
        };
        sign * Quantity::from(*quantity)
    });
    signed.sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fills_in_any_order_and_number_around_a_figure_that_is_taken_over_come_to_the_same(
        parts in prop::collection::vec((any::<bool>(), any::<bool>(), 1u32..10, any::<bool>(), any::<bool>()), 1..6),
        first in prop::collection::vec(0usize..6, 0..10),
        then in prop::collection::vec(0usize..6, 0..20),
    ) {
        let (mut world, accepted) = told_around_an_accept(&parts, &first, &then);
        let early = |(.., before, early): &Part| *before && *early;
        let figure = sum(&parts, |(.., before, _)| *before);
        prop_assert_eq!(accepted, figure != sum(&parts, early));
        let all = sum(&parts, |_| true);
        prop_assert_eq!(world.held("AAPL"), all);
        // What was taken over is paid already.
        let counts = |part: &Part| !accepted || !part.3 || early(part);
        let commissions = Money::from(parts.iter().filter(|part| counts(part)).count());
        let cash = Money::from(100_000) - sum(&parts, counts) * Money::ONE_HUNDRED - commissions;
        prop_assert_eq!(world.trader.portfolio.cash, cash);
        let entry = &world.trader.portfolio.orders[&world.intents[0].0];
        prop_assert_eq!(entry.filled, sum(&parts, |(own, ..)| *own));
        read(&mut world, &all.to_string());
        prop_assert!(world.trader.portfolio.differences.is_empty());
        prop_assert_eq!(world.restart().held("AAPL"), all);
    }
}
