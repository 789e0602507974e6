//! What broker and ledger say differently, and what an operator makes of it.

use engine::reconcile::{Pass, Truth};
use engine::trader::{Ask, Heard, Input, News};
use protocol::decision::Check;
use protocol::ledger::{Choice, Entry, Fill, Holding, Reason, Settled, Side};
use protocol::operator::{Command, Verb};
use protocol::{Id, Quantity};

use crate::world::{World, number, symbol};

/// The broker has so many shares of AAPL, whatever the ledger says.
fn read(world: &mut World, held: &str) {
    read_since(world, held, world.trader.portfolio.sequence);
}

/// The same by a reading that began when the ledger had so many records.
fn read_since(world: &mut World, held: &str, folded: u64) {
    let holding = Holding {
        quantity: number(held),
        average_cost: number("100"),
    };
    let truth = Truth {
        positions: [(symbol("AAPL"), holding)].into(),
        folded,
        ..Truth::default()
    };
    world.step(Input::Truth(truth, Pass::Running));
}

fn settle(world: &mut World, choice: Option<Choice>) -> bool {
    let id = Id::derive(&["settle", &world.records.len().to_string()]);
    let command = Command {
        symbol: Some(symbol("AAPL")),
        choice,
        note: "I called the broker".into(),
        ..Command::default()
    };
    world.step(Input::Ask(Ask {
        id: id.clone(),
        verb: Verb::Settle,
        by: "operator".into(),
        command,
    }));
    world
        .replies
        .iter()
        .find(|reply| reply.id == id)
        .unwrap()
        .accepted
}

fn audited(world: &World) -> Vec<&Settled> {
    let records = world.records.iter().map(|(_, _, record)| &record.entry);
    records
        .filter_map(|entry| match entry {
            Entry::Settled(settled) => Some(settled),
            _ => None,
        })
        .collect()
}

/// A flat ledger of a broker who has so many shares.
fn differing(held: &str) -> World {
    let mut world = World::new(&[]);
    read(&mut world, held);
    assert!(!settle(&mut world, None), "one reading may be of two moments");
    read(&mut world, held);
    assert_eq!(world.trader.portfolio.differences.len(), 1);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.refused, [(symbol("AAPL"), Check::Unsettled)]);
    world
}

#[test]
fn what_is_accepted_is_taken_over_and_audited() {
    for choice in [None, Some(Choice::Accept)] {
        let mut world = differing("30");
        assert!(settle(&mut world, choice));
        assert_eq!(world.held("AAPL"), number("30"));
        assert!(world.trader.portfolio.differences.is_empty());
        let [settled] = audited(&world)[..] else {
            panic!("one record")
        };
        let said = (settled.choice, settled.ours, settled.broker, settled.by.as_str());
        assert_eq!(said, (Choice::Accept, Quantity::ZERO, number("30"), "operator"));
        assert_eq!(settled.text, "I called the broker");
        assert!(!settle(&mut world, choice), "nothing differs any more");
    }
}

#[test]
fn what_is_kept_waits_until_the_broker_agrees() {
    let mut world = differing("30");
    assert!(settle(&mut world, Some(Choice::Keep)));
    assert_eq!(audited(&world)[0].choice, Choice::Keep);
    assert_eq!(world.held("AAPL"), Quantity::ZERO);
    let mut world = world.restart();
    read(&mut world, "30");
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 0);
    read(&mut world, "0");
    assert!(world.trader.portfolio.settled.is_empty());
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
}

#[test]
fn what_is_ignored_holds_nothing_back_while_it_is_as_large() {
    let mut world = differing("3");
    assert!(settle(&mut world, Some(Choice::Ignore)));
    let mut world = world.restart();
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1, "it is known");
    world.fill_last("100");
    let critical = |world: &World| {
        let alerts = world.alerts.iter();
        alerts
            .filter(|alert| alert.level == protocol::decision::Level::Critical)
            .count()
    };
    read(&mut world, "53");
    assert_eq!(critical(&world), 0, "it moved with the position");
    world.bearish("AAPL");
    assert_eq!(world.intents.last().unwrap().1.quantity, number("50"));
    world.fill_last("100");
    read(&mut world, "4");
    assert_eq!(critical(&world), 1, "it grew");
    world.later(60);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.refused.last(), Some(&(symbol("AAPL"), Check::Unsettled)));
    assert_eq!(world.bought(), 1);
}

/// A stop whose position is 100 shares in the ledger and 10 at the broker, as after a reverse split.
fn stopped() -> World {
    let mut world = World::new(&[("AAPL", "100")]);
    read(&mut world, "10");
    world.quote("AAPL", "90");
    assert_eq!(world.intents.last().unwrap().1.quantity, number("10"));
    world
}

fn ask_for_more(world: &mut World) -> usize {
    world.later(20);
    world.quote("AAPL", "90");
    world.ask(Verb::Close, Some("AAPL"));
    world.intents.len()
}

#[test]
fn what_the_broker_had_is_sold_once() {
    let mut world = stopped();
    world.fill_last("90");
    assert_eq!(world.held("AAPL"), number("90"));
    assert_eq!(ask_for_more(&mut world), 1, "the broker has none left");
    read(&mut world, "0");
    assert_eq!(ask_for_more(&mut world), 1);
    assert!(settle(&mut world, Some(Choice::Keep)));
    assert_eq!(ask_for_more(&mut world), 1);
}

#[test]
fn what_was_not_compared_does_not_agree() {
    let mut world = stopped();
    let id = world.intents.last().unwrap().0.clone();
    assert!(settle(&mut world, Some(Choice::Ignore)));
    world.fill(&id, "5", "90");
    let begun = world.trader.portfolio.sequence;
    world.fill(&id, "5", "90");
    read_since(&mut world, "5", begun);
    assert_eq!(world.trader.portfolio.differences.len(), 1);
    assert_eq!(
        world.trader.portfolio.settled.len(),
        1,
        "what was chosen still counts"
    );
    assert_eq!(ask_for_more(&mut world), 1);
    read(&mut world, "90");
    assert!(world.trader.portfolio.differences.is_empty());
    assert_eq!(ask_for_more(&mut world), 2);
}

#[test]
fn a_manual_trade_is_recognised_and_folded_in_and_what_it_bought_is_watched() {
    let mut world = World::new(&[]);
    let by_hand = Fill {
        execution_id: "0000e0d5.1.01.01".into(),
        side: Side::Buy,
        quantity: number("7"),
        price: number("100"),
        commission: Some(number("1")),
        executed_at: world.now,
        permanent_id: 99,
    };
    world.step(Input::Broker(Heard {
        order_ref: String::new(),
        order_id: 0,
        permanent_id: 99,
        news: News::Execution(symbol("AAPL"), by_hand),
    }));
    let orders: Vec<_> = world.trader.portfolio.orders.values().collect();
    assert_eq!((orders.len(), orders[0].reason), (1, Reason::Foreign));
    assert_eq!(world.held("AAPL"), number("7"));
    read(&mut world, "7");
    assert!(world.trader.portfolio.differences.is_empty());
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert!(world.intents.is_empty(), "it is not bought again");
    world.quote("AAPL", "90");
    assert_eq!(world.intents.last().unwrap().1.quantity, number("7"));
}
