//! An order that the broker calls inactive may trade yet, so it is not over before the broker has it no more.

use engine::order::OrderState;
use engine::reconcile::{BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::{Heard, Input, News};
use protocol::Quantity;
use protocol::decision::Check;

use crate::world::{World, shown, symbol};

/// A world in which AAPL was bought once and the broker has the order.
fn buying() -> World {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
    hear(
        &mut world,
        News::Status(BrokerStatus::Working, None, "Submitted".into()),
    );
    world
}

fn hear(world: &mut World, news: News) {
    let order_ref = world.intents[0].0.to_string();
    world.step(Input::Broker(Heard {
        order_ref,
        order_id: 0,
        permanent_id: 7,
        news,
    }));
}

fn becomes_inactive(world: &mut World) {
    hear(world, News::Status(BrokerStatus::Inactive, None, "held".into()));
}

fn state(world: &World) -> OrderState {
    world.trader.portfolio.orders[&world.intents[0].0].state
}

/// The broker is read: it has the order so, or not at all.
fn read(world: &mut World, status: Option<BrokerStatus>) {
    let (id, intent) = &world.intents[0];
    let order = status.map(|status| BrokerOrder {
        status,
        text: "held".into(),
        ..shown(id, intent, 7)
    });
    let truth = Truth {
        open: order.into_iter().collect(),
        ..world.truth(&[("AAPL", world.held("AAPL"))])
    };
    world.step(Input::Truth(truth, Pass::Running));
}

#[test]
fn an_inactive_order_is_in_doubt_and_cancelled_and_holds_entries_back() {
    let mut world = buying();
    becomes_inactive(&mut world);
    assert_eq!(state(&world), OrderState::Unresolved);
    let order_id = world.intents[0].1.order_id;
    assert_eq!(world.cancels, [order_id]);
    world.later(600);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
    assert!(matches!(world.refused.last(), Some((name, Check::Unsettled)) if *name == symbol("AAPL")));
    // It works again after all: what it fills counts, and it is still to go.
    hear(
        &mut world,
        News::Status(BrokerStatus::Working, None, "Submitted".into()),
    );
    assert!(world.cancels[1..].contains(&order_id), "{:?}", world.cancels);
    world.fill_last("100");
    assert_eq!(state(&world), OrderState::Filled);
    assert_eq!(world.held("AAPL"), world.intents[0].1.quantity);
}

#[test]
fn it_is_over_when_two_readings_no_longer_show_it() {
    let mut world = buying();
    becomes_inactive(&mut world);
    world.later(2);
    read(&mut world, Some(BrokerStatus::Inactive));
    read(&mut world, None);
    assert_eq!(
        state(&world),
        OrderState::Unresolved,
        "one reading may be of another moment"
    );
    world.later(2);
    read(&mut world, None);
    assert_eq!(state(&world), OrderState::Cancelled);
    let mut early = buying();
    becomes_inactive(&mut early);
    for _ in 0..3 {
        read(&mut early, None);
        assert_eq!(state(&early), OrderState::Unresolved, "readings of one moment");
    }
}

#[test]
fn a_reading_that_shows_it_inactive_says_the_same() {
    let mut world = buying();
    for _ in 0..3 {
        world.later(60);
        read(&mut world, Some(BrokerStatus::Inactive));
        assert_eq!(state(&world), OrderState::Unresolved);
    }
    assert_eq!(world.cancels.len(), 3, "asked for until it goes");
    hear(
        &mut world,
        News::Status(BrokerStatus::Cancelled, Some(Quantity::ZERO), "by trader".into()),
    );
    assert_eq!(state(&world), OrderState::Cancelled);
}

#[test]
fn a_refusal_ends_it_whether_told_before_or_after() {
    for inactive_first in [true, false] {
        let mut world = buying();
        if inactive_first {
            becomes_inactive(&mut world);
        }
        hear(&mut world, News::Error(201, "margin".into()));
        becomes_inactive(&mut world);
        assert_eq!(state(&world), OrderState::Rejected);
    }
}
