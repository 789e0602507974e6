//! One symbol's own trading state, and what halts it without being asked.

use engine::order::OrderState;
use engine::reconcile::{BrokerExecution, BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::{Heard, Input, News, Output};
use protocol::ledger::{Entry, Fill, Side};
use protocol::operator::Verb;

use crate::world::{World, number, symbol};

/// A world in which AAPL was bought once and the order is on its way.
fn buying() -> World {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.quote("NVDA", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
    world
}

fn hear(world: &mut World, permanent_id: i64, status: BrokerStatus) {
    let order_ref = world.intents[0].0.to_string();
    world.step(Input::Broker(Heard {
        order_ref,
        order_id: 0,
        permanent_id,
        news: News::Status(status, Some(protocol::Quantity::ZERO), String::new()),
    }));
}

fn open_at_broker(world: &World, permanent_id: i64) -> Truth {
    let ours = world.trader.portfolio.orders.values().next().unwrap();
    let order = BrokerOrder {
        limit_price: None,
        order_ref: ours.id.to_string(),
        order_id: ours.order_id,
        permanent_id,
        symbol: symbol("AAPL"),
        side: Side::Buy,
        quantity: ours.quantity,
        status: BrokerStatus::Working,
        text: String::new(),
    };
    Truth {
        open: vec![order],
        ..world.truth(&[])
    }
}

fn is_halted(world: &World) -> bool {
    world.trader.portfolio.symbol_states.contains_key(&symbol("AAPL"))
}

#[test]
fn a_halted_symbol_waits_while_the_others_trade_and_its_exits_pass() {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "100");
    world.quote("NVDA", "100");
    world.quote("IXHL", "100");
    assert!(world.ask(Verb::Halt, Some("NVDA")) && world.ask(Verb::Reduce, Some("AAPL")));
    let mut world = world.restart();
    for name in ["AAPL", "NVDA", "IXHL"] {
        world.quote(name, "100");
    }
    world.bullish("NVDA");
    assert_eq!(world.bought(), 0, "halted through a restart");
    world.bullish("IXHL");
    assert_eq!(world.bought(), 1, "the others trade");
    world.bearish("AAPL");
    assert_eq!(
        world.intents.last().unwrap().1.side,
        Side::Sell,
        "its exit passes"
    );
    assert!(world.ask(Verb::Resume, Some("NVDA")));
    world.bullish("NVDA");
    assert_eq!(world.bought(), 2);
    assert!(world.ask(Verb::Halt, None) && world.ask(Verb::Resume, None));
    assert_eq!(
        world.trader.portfolio.symbol_states.len(),
        1,
        "the account's state is another"
    );
}

#[test]
fn an_order_that_appears_late_is_adopted_and_halts_its_symbol() {
    let world = buying();
    let mut world = world.restart();
    for pass in [Pass::First, Pass::Second] {
        let truth = world.truth(&[]);
        world.step(Input::Truth(truth, pass));
    }
    let state = |world: &World| world.trader.portfolio.orders.values().next().unwrap().state;
    assert_eq!(state(&world), OrderState::Absent);
    assert!(!is_halted(&world));
    let late = open_at_broker(&world, 7);
    world.step(Input::Truth(late.clone(), Pass::Running));
    assert!(is_halted(&world));
    let records = world.records.len();
    world.step(Input::Truth(
        Truth {
            folded: world.trader.portfolio.sequence,
            ..late
        },
        Pass::Running,
    ));
    let halts = world.records[records..]
        .iter()
        .filter(|(_, _, record)| matches!(record.entry, Entry::State(_)));
    assert_eq!(halts.count(), 0, "said once");
}

#[test]
fn two_orders_of_one_halt_the_symbol() {
    let mut world = buying();
    hear(&mut world, 7, BrokerStatus::Working);
    assert!(!is_halted(&world));
    hear(&mut world, 7, BrokerStatus::Working);
    assert!(!is_halted(&world), "the same one said twice is one");
    hear(&mut world, 8, BrokerStatus::Working);
    assert!(is_halted(&world));

    let mut world = buying();
    hear(&mut world, 7, BrokerStatus::Working);
    let truth = open_at_broker(&world, 9);
    world.step(Input::Truth(truth, Pass::Running));
    assert!(is_halted(&world), "also when it is read");
}

/// An execution of the order that was bought first, under one of the broker's permanent ids for it.
fn execution_of(world: &World, count: u32, permanent_id: i64) -> BrokerExecution {
    BrokerExecution {
        order_ref: world.intents[0].0.to_string(),
        symbol: symbol("AAPL"),
        fill: Fill {
            execution_id: format!("0000e0d5.{count}.01.01"),
            side: Side::Buy,
            quantity: count.into(),
            price: number("100"),
            commission: Some(number("1")),
            executed_at: world.now,
            permanent_id,
        },
    }
}

#[test]
fn executions_under_two_permanent_ids_halt_the_symbol_however_they_are_told() {
    // One after the other, as they happen.
    let mut world = buying();
    for (count, permanent_id) in [(1, 7), (2, 8)] {
        assert!(!is_halted(&world));
        let execution = execution_of(&world, count, permanent_id);
        world.step(Input::Broker(Heard {
            order_ref: execution.order_ref,
            order_id: 0,
            permanent_id: 0,
            news: News::Execution(execution.symbol, execution.fill),
        }));
    }
    assert!(is_halted(&world));
    assert_eq!(world.held("AAPL"), number("3"), "both are counted");
    // Both in one reading, before the broker ever spoke of the order.
    let mut world = buying();
    let executions = vec![execution_of(&world, 1, 7), execution_of(&world, 2, 8)];
    let truth = Truth {
        executions,
        ..world.truth(&[("AAPL", number("3"))])
    };
    world.step(Input::Truth(truth, Pass::Running));
    assert!(is_halted(&world));
    assert_eq!(world.held("AAPL"), number("3"));
}

#[test]
fn the_symbol_is_halted_before_what_halts_it_is_counted() {
    // Whoever dies in between leaves it to the next incarnation to hear of it again.
    let mut world = buying();
    hear(&mut world, 7, BrokerStatus::Working);
    let execution = execution_of(&world, 2, 8);
    let truth = Truth {
        executions: vec![execution],
        ..world.truth(&[("AAPL", number("2"))])
    };
    let outputs = world.trader.step(world.now, Input::Truth(truth, Pass::Running));
    let place = |is: fn(&Entry) -> bool| {
        let mut places = outputs.iter();
        places.position(|output| matches!(output, Output::Append(draft) if is(&draft.entry)))
    };
    let halted = place(|entry| matches!(entry, Entry::State(_))).unwrap();
    let counted = place(|entry| matches!(entry, Entry::Order(_))).unwrap();
    assert!(halted < counted);
}

#[test]
fn what_is_over_here_and_works_there_is_cancelled_and_halts_the_symbol() {
    let mut world = buying();
    hear(&mut world, 7, BrokerStatus::Working);
    let stale = open_at_broker(&world, 7);
    hear(&mut world, 7, BrokerStatus::Cancelled);
    world.step(Input::Truth(stale, Pass::Running));
    assert!(
        !is_halted(&world),
        "a reading that began before the end proves nothing"
    );
    let truth = open_at_broker(&world, 7);
    world.step(Input::Truth(truth.clone(), Pass::Running));
    assert!(!is_halted(&world), "one reading may be of another moment");
    world.step(Input::Truth(truth.clone(), Pass::Running));
    assert!(!is_halted(&world), "and a second one at once is of the same");
    assert!(world.trader.wants_another_look());
    // A clock that was set back starts the second anew.
    world.later(-3_600);
    world.step(Input::Truth(truth.clone(), Pass::Running));
    world.later(1);
    world.step(Input::Truth(truth, Pass::Running));
    assert!(is_halted(&world));
    assert!(!world.trader.wants_another_look());
    assert_eq!(world.cancels, [world.intents[0].1.order_id]);
    world.later(60);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1, "nothing is added meanwhile");
}

#[test]
fn an_order_that_shows_itself_by_its_fill_after_it_was_given_up_halts_its_symbol() {
    let mut world = buying().restart();
    for pass in [Pass::First, Pass::Second] {
        let truth = world.truth(&[]);
        world.step(Input::Truth(truth, pass));
    }
    let id = world.trader.portfolio.orders.keys().next().unwrap().clone();
    assert!(!is_halted(&world));
    world.fill(&id, "10", "100");
    assert!(is_halted(&world));
    assert_eq!(world.held("AAPL"), number("10"), "it is counted all the same");
}

#[test]
fn an_order_corrected_to_fewer_shares_is_over_when_the_broker_says_so() {
    let mut world = buying();
    let (id, intent) = world.intents[0].clone();
    assert_eq!(intent.quantity, number("50"));
    let fill = |execution: &str, quantity: &str| Fill {
        execution_id: format!("0000e0d5.{execution}"),
        side: Side::Buy,
        quantity: number(quantity),
        price: number("100"),
        commission: Some(number("1")),
        executed_at: world.now,
        permanent_id: 7,
    };
    let all = [
        fill("1.01.01", "20"),
        fill("1.01.02", "10"),
        fill("2.01.01", "30"),
    ];
    for fill in &all {
        world.step(Input::Broker(Heard {
            order_ref: id.to_string(),
            order_id: 0,
            permanent_id: 7,
            news: News::Execution(symbol("AAPL"), fill.clone()),
        }));
    }
    assert_eq!(world.held("AAPL"), number("40"));
    let mut truth = open_at_broker(&world, 7);
    truth.completed = std::mem::take(&mut truth.open);
    truth.completed[0].status = BrokerStatus::Filled;
    truth.positions = world.truth(&[("AAPL", number("40"))]).positions;
    // The broker may tell what it corrected beside the correction.
    truth.executions = all
        .into_iter()
        .map(|fill| BrokerExecution {
            order_ref: id.to_string(),
            symbol: symbol("AAPL"),
            fill,
        })
        .collect();
    world.step(Input::Truth(truth, Pass::Running));
    assert_eq!(
        world.trader.portfolio.open_orders().count(),
        0,
        "nothing of it blocks an exit"
    );
    assert_eq!(world.held("AAPL"), number("40"));
    world.bearish("AAPL");
    assert_eq!(world.intents.last().unwrap().1.quantity, number("40"));
}

#[test]
fn a_second_incident_of_a_halted_symbol_is_said_too_once_an_order() {
    let mut world = buying();
    hear(&mut world, 7, BrokerStatus::Working);
    assert!(world.ask(Verb::Halt, Some("AAPL")));
    let said = |world: &World| {
        world
            .alerts
            .iter()
            .filter(|alert| alert.kind == "order-doubled")
            .count()
    };
    hear(&mut world, 8, BrokerStatus::Working);
    assert_eq!(said(&world), 1, "though it is halted already");
    hear(&mut world, 8, BrokerStatus::Working);
    assert_eq!(said(&world), 1, "once");
}

#[test]
fn a_symbol_that_is_none_of_ours_has_no_state_of_its_own() {
    let mut world = World::new(&[("TSLA", "5")]);
    assert!(!world.ask(Verb::Halt, Some("ZZZZ")), "neither watched nor held");
    assert!(world.trader.portfolio.symbol_states.is_empty());
    assert!(world.ask(Verb::Halt, Some("TSLA")), "held, though not watched");
    assert!(world.ask(Verb::Resume, Some("TSLA")));
}

#[test]
fn to_resume_a_symbol_says_what_holds_back_the_account() {
    let mut world = World::new(&[]);
    let answer = |world: &World| world.replies.last().unwrap().text.clone();
    assert!(world.ask(Verb::Halt, None) && world.ask(Verb::Halt, Some("AAPL")));
    assert!(world.ask(Verb::Resume, Some("AAPL")));
    assert!(
        answer(&world).contains("the account is still halted"),
        "{}",
        answer(&world)
    );
    assert!(world.ask(Verb::Halt, Some("AAPL")) && world.ask(Verb::Resume, None));
    assert!(
        answer(&world).contains("AAPL"),
        "symbols that wait are named: {}",
        answer(&world)
    );
    assert!(world.ask(Verb::Resume, Some("AAPL")));
    assert!(!answer(&world).contains("still"), "{}", answer(&world));
}

#[test]
fn the_brokers_figure_is_taken_over_only_when_it_was_seen_twice() {
    let mut world = World::new(&[]);
    let richer = |world: &World| Truth {
        cash: Some(number("100500")),
        ..world.truth(&[])
    };
    world.step(Input::Truth(richer(&world), Pass::Running));
    assert_eq!(world.trader.portfolio.differences.len(), 1);
    assert!(
        !world.ask(Verb::Settle, None),
        "a trade between two of the broker's answers looks the same"
    );
    world.step(Input::Truth(richer(&world), Pass::Running));
    assert!(world.ask(Verb::Settle, None));
    assert_eq!(world.trader.portfolio.cash, number("100500"));
    assert!(world.trader.portfolio.differences.is_empty());
}

#[test]
fn a_clock_that_is_set_back_does_not_put_off_that_the_broker_is_silent() {
    let mut world = buying();
    let state = |world: &World| world.trader.portfolio.orders.values().next().unwrap().state;
    world.later(-3_600);
    world.step(Input::Tick);
    assert_eq!(state(&world), OrderState::Sent);
    world.later(10);
    world.step(Input::Tick);
    assert_eq!(state(&world), OrderState::Unresolved);
}
