//! What comes after it was given up, and what should be over and is not.

use engine::order::OrderState;
use engine::reconcile::{BrokerStatus, Pass, Truth};
use engine::trader::{Heard, Input, News, Output};
use protocol::decision::{Alert, Level};
use protocol::ledger::{Entry, Intent, Side};
use protocol::operator::Verb;
use protocol::{Id, Quantity};

use crate::world::{World, number, shown, symbol};

/// What the broker says when it is read: these orders work, this many shares of AAPL are there.
fn truth(world: &World, working: &[&(Id, Intent)], held: &str) -> Truth {
    let open = working
        .iter()
        .map(|(id, intent)| shown(id, intent, i64::from(intent.order_id)));
    Truth {
        open: open.collect(),
        ..world.truth(&[("AAPL", number(held))])
    }
}

fn read(world: &mut World, working: &[&(Id, Intent)], held: &str, pass: Pass) {
    let truth = truth(world, working, held);
    world.step(Input::Truth(truth, pass));
    world.later(1);
}

fn state(world: &World, id: &Id) -> OrderState {
    world.trader.portfolio.orders[id].state
}

/// A world whose only exit of 50 shares was called absent, with that exit.
fn absent_exit() -> (World, (Id, Intent)) {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "90");
    let exit = world.intents[0].clone();
    let mut world = world.restart();
    read(&mut world, &[], "50", Pass::First);
    read(&mut world, &[], "50", Pass::Second);
    assert_eq!(state(&world, &exit.0), OrderState::Absent);
    (world, exit)
}

/// Shares that working exits would sell, but those whose cancellation is asked for.
fn would_sell(world: &World) -> Quantity {
    let portfolio = &world.trader.portfolio;
    let exits = portfolio.open_orders().filter(|order| {
        order.side == Side::Sell && order.state != OrderState::Absent && !order.cancel_requested()
    });
    exits.map(engine::order::Order::rest).sum()
}

#[test]
fn an_exit_that_appears_after_its_position_is_gone_is_cancelled() {
    let (mut world, lost) = absent_exit();
    world.later(20);
    world.quote("AAPL", "90");
    assert_eq!(world.intents.len(), 1, "an absent exit does not block the next");
    assert_eq!(
        world.cancels,
        [lost.1.order_id],
        "but is cancelled before it, should the broker have it after all"
    );
    world.cancels.clear();
    world.fill_last("90");
    assert_eq!(world.held("AAPL"), Quantity::ZERO);
    read(&mut world, &[&lost], "0", Pass::Running);
    assert_eq!(state(&world, &lost.0), OrderState::Working);
    assert_eq!(world.cancels, [lost.1.order_id]);
    assert_eq!(would_sell(&world), Quantity::ZERO);
    for _ in 0..3 {
        world.step(Input::Tick);
    }
    assert_eq!(world.cancels.len(), 1, "asked once");
}

#[test]
fn an_exit_that_appears_beside_the_next_one_is_cancelled_and_the_next_one_works_on() {
    let (mut world, lost) = absent_exit();
    world.later(20);
    world.quote("AAPL", "90");
    let next = world.intents[0].clone();
    world.cancels.clear();
    world.step(Input::Broker(Heard {
        order_ref: lost.0.to_string(),
        order_id: lost.1.order_id,
        permanent_id: 7,
        news: News::Status(BrokerStatus::Working, None, String::new()),
    }));
    assert_eq!(world.cancels, [lost.1.order_id]);
    assert_eq!(would_sell(&world), world.held("AAPL"));
    assert!(!world.trader.portfolio.orders[&next.0].cancel_requested());
}

#[test]
fn an_absent_exit_is_cancelled_before_the_next_one_is_decided() {
    let (mut world, lost) = absent_exit();
    world.later(20);
    let quote = world.quote_of("AAPL", "90");
    let outputs = world.trader.step(world.now, Input::Quote(quote));
    let cancel = Output::Cancel(lost.1.order_id);
    let cancelled = outputs.iter().position(|output| *output == cancel);
    let is_intent =
        |output: &Output| matches!(output, Output::Append(draft) if matches!(draft.entry, Entry::Intent(_)));
    let decided = outputs.iter().position(is_intent);
    assert!(cancelled.is_some() && cancelled < decided, "{outputs:?}");
}

#[test]
fn an_absent_exit_that_fills_takes_the_next_one_off_the_market() {
    let (mut world, lost) = absent_exit();
    world.later(20);
    world.quote("AAPL", "90");
    let next = world.intents[0].clone();
    world.cancels.clear();
    world.fill(&lost.0, "50", "90");
    world.step(Input::Tick);
    assert_eq!(world.cancels, [next.1.order_id], "nothing is left to sell");
    assert_eq!(would_sell(&world), Quantity::ZERO);
}

#[test]
fn a_short_by_an_absent_exit_that_fills_beside_the_next_one_is_told_and_can_be_closed() {
    let (mut world, lost) = absent_exit();
    world.later(20);
    world.quote("AAPL", "90");
    world.fill_last("90");
    world.fill(&lost.0, "50", "90");
    assert_eq!(world.held("AAPL"), number("-50"));
    let told = |alert: &&Alert| alert.level == Level::Critical && alert.kind == "order-late";
    assert_eq!(world.alerts.iter().filter(told).count(), 1);
    world.later(60);
    world.quote("AAPL", "90");
    world.bullish("AAPL");
    assert_eq!(world.intents.len(), 1, "no opinion buys it: {:?}", world.refused);
    assert!(world.ask(Verb::Close, Some("AAPL")));
    let (_, cover) = world.intents.last().unwrap();
    assert_eq!((cover.side, cover.quantity), (Side::Buy, number("50")));
}

#[test]
fn working_exits_shrink_with_the_position_whoever_sells_it() {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "90");
    let exit = world.intents[0].clone();
    let sold_by_hand = protocol::ledger::Fill {
        execution_id: "by-hand".into(),
        side: Side::Sell,
        quantity: number("20"),
        price: number("90"),
        commission: None,
        executed_at: world.now,
        permanent_id: 99,
    };
    world.step(Input::Broker(Heard {
        order_ref: String::new(),
        order_id: 0,
        permanent_id: 99,
        news: News::Execution(symbol("AAPL"), sold_by_hand),
    }));
    world.step(Input::Tick);
    assert_eq!(world.cancels, [exit.1.order_id], "50 of 30 would make a short");
    assert!(would_sell(&world) <= world.held("AAPL"));
}

#[test]
fn an_order_whose_day_is_over_counts_no_more_and_two_readings_end_it() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let entry = world.intents[0].clone();
    // Lost, found late, and lost again: no kind of doubt can be recorded a second time.
    let mut world = world.restart();
    read(&mut world, &[], "0", Pass::First);
    read(&mut world, &[], "0", Pass::Second);
    read(&mut world, &[&entry], "0", Pass::Running);
    assert_eq!(state(&world, &entry.0), OrderState::Working);
    let mut world = world.restart();
    read(&mut world, &[], "0", Pass::First);
    read(&mut world, &[], "0", Pass::Second);
    assert_eq!(
        state(&world, &entry.0),
        OrderState::Working,
        "nothing says that it is gone"
    );

    assert!(world.ask(Verb::Resume, Some("AAPL")));
    world.later(86_400);
    world.quote("NVDA", "100");
    read(&mut world, &[], "0", Pass::Running);
    assert!(state(&world, &entry.0).may_fill(), "one reading is not enough");
    read(&mut world, &[], "0", Pass::Running);
    assert!(state(&world, &entry.0).may_fill(), "nor are two of one moment");
    world.later(30);
    read(&mut world, &[], "0", Pass::Running);
    assert_eq!(state(&world, &entry.0), OrderState::Cancelled);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1, "the next day is a new one");
}

#[test]
fn an_exit_that_the_broker_works_is_not_doubled_when_its_day_ends() {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "90");
    let exit = world.intents[0].clone();
    read(&mut world, &[&exit], "50", Pass::Running);
    assert_eq!(state(&world, &exit.0), OrderState::Working);
    world.later(86_400);
    world.quote("AAPL", "90");
    let close = Verb::Close;
    world.ask(close, Some("AAPL"));
    assert_eq!(world.intents.len(), 1, "the broker may have kept it");
    for _ in 0..3 {
        read(&mut world, &[&exit], "50", Pass::Running);
    }
    let symbols = &world.trader.portfolio.symbol_states;
    assert!(
        world.cancels.is_empty() && symbols.is_empty(),
        "it waits there for the session"
    );
    read(&mut world, &[], "50", Pass::Running);
    world.later(30);
    read(&mut world, &[], "50", Pass::Running);
    world.ask(close, Some("AAPL"));
    assert_eq!(world.intents.len(), 2, "it is gone");
}

#[test]
fn an_order_that_outlives_its_day_at_the_broker_is_cancelled_and_halts_its_symbol() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let entry = world.intents[0].clone();
    read(&mut world, &[&entry], "0", Pass::Running);
    world.later(86_400);
    world.quote("NVDA", "100");
    read(&mut world, &[&entry], "0", Pass::Running);
    assert!(world.cancels.is_empty(), "one reading is not enough");
    read(&mut world, &[&entry], "0", Pass::Running);
    assert!(world.cancels.contains(&entry.1.order_id));
    assert!(world.trader.portfolio.symbol_states.contains_key(&symbol("AAPL")));
}

#[test]
fn an_exit_that_was_late_and_vanishes_again_is_told_and_can_be_settled() {
    let (mut world, exit) = absent_exit();
    read(&mut world, &[&exit], "50", Pass::Running);
    assert_eq!(state(&world, &exit.0), OrderState::Working);
    let mut world = world.restart();
    let told = |world: &World| {
        let alerts = world.alerts.iter();
        alerts.filter(|alert| alert.kind == "order-vanished").count()
    };
    read(&mut world, &[], "50", Pass::First);
    assert_eq!(told(&world), 0, "one reading is not enough");
    for _ in 0..3 {
        read(&mut world, &[], "50", Pass::Second);
    }
    assert_eq!((told(&world), state(&world, &exit.0)), (1, OrderState::Working));
    world.quote("AAPL", "100");
    assert!(
        !world.ask(Verb::Close, Some("AAPL")),
        "it may be there all the same"
    );
    let text = &world.replies.last().unwrap().text;
    assert!(
        text.contains("command.settle") && text.contains(exit.0.as_str()),
        "{text}"
    );
    let settle = protocol::operator::Command {
        order: Some(exit.0.clone()),
        note: "I looked".into(),
        ..Default::default()
    };
    assert!(world.command(Verb::Settle, settle).accepted);
    assert_eq!(state(&world, &exit.0), OrderState::Cancelled);
    assert!(world.ask(Verb::Close, Some("AAPL")));
    assert_eq!(world.intents.len(), 1);
    // One that is there again says nothing of that.
    let (mut world, exit) = absent_exit();
    read(&mut world, &[&exit], "50", Pass::Running);
    for _ in 0..3 {
        read(&mut world, &[&exit], "50", Pass::Running);
    }
    assert_eq!(told(&world), 0);
}
