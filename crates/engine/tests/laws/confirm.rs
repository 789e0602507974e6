//! What is told or settled only when the broker says so too.

use engine::reconcile::{Pass, Truth};
use engine::trader::Input;
use protocol::Id;
use protocol::operator::{Command, Verb};

use crate::world::{World, number, shown};

fn read(world: &mut World, truth: Truth) {
    world.step(Input::Truth(truth, Pass::Running));
}

fn told(world: &World, kind: &str) -> usize {
    world.alerts.iter().filter(|alert| alert.kind == kind).count()
}

/// Settles an order as over: whether that was accepted, and the answer.
fn settle(world: &mut World, order: &Id) -> (bool, String) {
    let command = Command {
        order: Some(order.clone()),
        note: "I called the broker".into(),
        ..Command::default()
    };
    let reply = world.command(Verb::Settle, command);
    (reply.accepted, reply.text.clone())
}

#[test]
fn flat_is_told_once_the_broker_holds_nothing_too() {
    let mut world = World::new(&[("NVDA", "20")]);
    world.quote("NVDA", "100");
    let before = world.truth(&[("NVDA", number("20"))]);
    assert!(world.ask(Verb::Flatten, None));
    world.fill_last("100");
    world.step(Input::Tick);
    assert_eq!(told(&world, "flat"), 0, "the broker was not read since");
    read(&mut world, before);
    world.step(Input::Tick);
    assert_eq!(told(&world, "flat"), 0, "that reading began before the fill");
    let after = world.truth(&[]);
    read(&mut world, after);
    world.step(Input::Tick);
    world.step(Input::Tick);
    assert_eq!(told(&world, "flat"), 1);
}

#[test]
fn what_the_broker_holds_and_the_ledger_does_not_is_not_flat() {
    let mut world = World::new(&[]);
    let more = |world: &World| world.truth(&[("NVDA", number("10"))]);
    let truth = more(&world);
    read(&mut world, truth);
    assert!(world.ask(Verb::Flatten, None));
    for _ in 0..3 {
        world.step(Input::Tick);
        let truth = more(&world);
        read(&mut world, truth);
    }
    assert_eq!((told(&world, "flat"), told(&world, "not-flat")), (0, 1));
    let text = &world
        .alerts
        .iter()
        .find(|alert| alert.kind == "not-flat")
        .unwrap()
        .text;
    assert!(text.contains("NVDA") && text.contains("settle"), "{text}");
}

#[test]
fn an_exit_that_the_broker_has_no_shares_for_is_refused_with_that_reason() {
    let mut world = World::new(&[("NVDA", "10")]);
    world.quote("NVDA", "100");
    let none = world.truth(&[]);
    read(&mut world, none);
    assert!(!world.ask(Verb::Close, Some("NVDA")));
    let text = &world.replies.last().unwrap().text;
    assert!(
        text.contains("the broker none") && world.intents.is_empty(),
        "{text}"
    );
}

#[test]
fn an_order_that_the_broker_works_is_not_settled_and_one_that_is_in_doubt_is_cancelled_too() {
    let mut world = World::new(&[("NVDA", "20")]);
    world.quote("NVDA", "100");
    assert!(world.ask(Verb::Close, Some("NVDA")));
    let (id, intent) = world.intents[0].clone();
    let mut world = world.restart();
    let order = shown(&id, &intent, 1000 + i64::from(intent.order_id));
    let working = Truth {
        open: vec![order],
        ..world.truth(&[("NVDA", number("20"))])
    };
    world.step(Input::Truth(working, Pass::First));
    let (accepted, text) = settle(&mut world, &id);
    assert!(!accepted && text.contains("works"), "{text}");
    assert!(world.trader.portfolio.orders[&id].state.may_fill());

    let mut world = world.restart();
    let gone = world.truth(&[("NVDA", number("20"))]);
    world.step(Input::Truth(gone, Pass::First));
    world.cancels.clear();
    let (accepted, text) = settle(&mut world, &id);
    assert!(accepted, "{text}");
    assert_eq!(world.cancels, [intent.order_id]);
    assert!(world.trader.portfolio.orders[&id].state.is_terminal());

    // It was on its way all the same.
    world.fill(&id, "5", "100");
    assert_eq!(
        (told(&world, "order-late"), world.held("NVDA")),
        (1, number("15"))
    );
    assert!(world.trader.portfolio.symbol_states.contains_key(&intent.symbol));
}
