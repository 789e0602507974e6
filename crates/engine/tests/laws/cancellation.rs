//! The broker's messages may overtake each other: a cancellation that comes before the executions of its order must not
//! make its symbol look free.

use engine::desk::{Deed, Desk, Input as Said};
use engine::order::OrderState;
use engine::reconcile::{BrokerExecution, BrokerOrder, BrokerStatus, Pass, Truth};
use engine::testing::settings;
use engine::trader::{Heard, Input, News};
use protocol::ledger::Fill;
use protocol::{Quantity, Timestamp};

use crate::desk::append;
use crate::world::{World, number, shown, symbol};

/// A world in which AAPL was bought; at the broker 3 shares of it are filled and the rest is cancelled.
fn buying() -> World {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
    world
}

fn cancelled(world: &World, filled: Option<Quantity>) -> Heard {
    Heard {
        order_ref: world.intents[0].0.to_string(),
        order_id: 0,
        permanent_id: 7,
        news: News::Status(BrokerStatus::Cancelled, filled, "Cancelled".into()),
    }
}

fn execution(world: &World) -> BrokerExecution {
    let (id, intent) = &world.intents[0];
    BrokerExecution {
        order_ref: id.to_string(),
        symbol: intent.symbol,
        fill: Fill {
            execution_id: "0000e0d5.00000001.01.01".into(),
            side: intent.side,
            quantity: number("3"),
            price: number("100"),
            commission: None,
            executed_at: now(),
            permanent_id: 7,
        },
    }
}

fn now() -> Timestamp {
    "2026-11-23T15:00:00Z".parse().unwrap()
}

/// What the broker says when it is asked.
fn truth(world: &World) -> Truth {
    let (id, intent) = &world.intents[0];
    let order = BrokerOrder {
        order_id: 0,
        status: BrokerStatus::Cancelled,
        text: "Cancelled".into(),
        ..shown(id, intent, 7)
    };
    Truth {
        completed: vec![order],
        executions: vec![execution(world)],
        ..world.truth(&[("AAPL", number("3"))])
    }
}

fn state(world: &World) -> OrderState {
    world.trader.portfolio.orders[&world.intents[0].0].state
}

#[test]
fn a_cancellation_that_overtakes_an_execution_waits_for_it() {
    for filled in [Some(number("3")), None] {
        let mut world = buying();
        let heard = cancelled(&world, filled);
        world.step(Input::Broker(heard));
        assert!(!state(&world).is_terminal(), "{filled:?}");
        world.later(60);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        assert_eq!(world.bought(), 1, "{filled:?}");
        let truth = truth(&world);
        world.step(Input::Truth(truth, Pass::Running));
        assert_eq!(state(&world), OrderState::Cancelled);
        assert_eq!(world.held("AAPL"), number("3"));
    }
}

#[test]
fn a_cancellation_counts_at_once_when_every_share_it_tells_of_is_known() {
    let mut world = buying();
    let one = execution(&world);
    world.step(Input::Broker(Heard {
        order_ref: one.order_ref.clone(),
        order_id: 0,
        permanent_id: 7,
        news: News::Execution(symbol("AAPL"), one.fill),
    }));
    let heard = cancelled(&world, Some(number("3")));
    world.step(Input::Broker(heard));
    assert_eq!(state(&world), OrderState::Cancelled);
}

#[test]
fn a_cancellation_asks_for_a_reading_and_for_another_when_one_is_under_way() {
    let world = World::new(&[]);
    let portfolio = &world.trader.portfolio;
    let mut desk = Desk::new(settings(), portfolio.clone(), 0, 1);
    let mut deeds = desk.begin(now(), portfolio.identity.clone().unwrap(), "test", "0");
    append(&mut desk, &deeds);
    let nothing = || Truth {
        folded: portfolio.sequence,
        ..world.truth(&[])
    };
    deeds = desk.step(now(), false, Said::Truth(Ok(nothing()), Pass::First));
    assert!(deeds.contains(&Deed::Trade), "{deeds:?}");
    append(&mut desk, &deeds);
    let heard = Said::Order(Heard {
        order_ref: String::new(),
        ..cancelled(&buying(), Some(number("3")))
    });
    let looks_again = |deeds: &[Deed]| {
        let mut deeds = deeds.iter();
        deeds.any(|deed| matches!(deed, Deed::Look(Pass::Running, ms) if *ms < 5_000))
    };
    deeds = desk.step(now(), false, heard.clone());
    assert!(deeds.contains(&Deed::Read(Pass::Running)), "{deeds:?}");
    deeds = desk.step(now(), false, heard);
    assert!(!deeds.contains(&Deed::Read(Pass::Running)), "{deeds:?}");
    deeds = desk.step(now(), false, Said::Truth(Ok(nothing()), Pass::Running));
    assert!(looks_again(&deeds), "{deeds:?}");
    append(&mut desk, &deeds);
    desk.step(now(), false, Said::Look(Pass::Running));
    deeds = desk.step(now(), false, Said::Truth(Ok(nothing()), Pass::Running));
    assert!(!looks_again(&deeds), "{deeds:?}");
}
