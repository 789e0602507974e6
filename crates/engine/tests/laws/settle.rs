//! What broker and ledger say differently, and what an operator makes of it.

use engine::reconcile::{self, BrokerExecution, BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::{Heard, Input, News};
use protocol::decision::{Check, Level};
use protocol::ledger::{Choice, Entry, Fill, Reason, Settled, Side};
use protocol::operator::{Command, Verb};
use protocol::{Id, Money, Quantity, Symbol};

use crate::world::{World, number, symbol};

/// The broker has so many shares of AAPL, whatever the ledger says.
pub fn read(world: &mut World, held: &str) {
    read_since(world, held, world.trader.portfolio.sequence);
}

/// The same by a reading that began when the ledger had so many records.
fn read_since(world: &mut World, held: &str, folded: u64) {
    let truth = Truth {
        folded,
        ..world.truth(&[("AAPL", number(held))])
    };
    world.step(Input::Truth(truth, Pass::Running));
}

/// The broker has so many dollars and no shares.
fn read_cash(world: &mut World, cash: Money) {
    let truth = Truth {
        cash: Some(cash),
        ..world.truth(&[])
    };
    world.step(Input::Truth(truth, Pass::Running));
}

pub fn settle(world: &mut World, choice: Option<Choice>) -> bool {
    settle_of(world, Some(symbol("AAPL")), choice)
}

fn settle_of(world: &mut World, symbol: Option<Symbol>, choice: Option<Choice>) -> bool {
    let command = Command {
        symbol,
        choice,
        note: "I called the broker".into(),
        ..Command::default()
    };
    world.command(Verb::Settle, command).accepted
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

fn critical(world: &World) -> usize {
    let alerts = world.alerts.iter();
    alerts.filter(|alert| alert.level == Level::Critical).count()
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

pub fn ask_for_more(world: &mut World) -> usize {
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
    let news = News::Execution(symbol("AAPL"), by_hand("", &world).fill);
    world.step(Input::Broker(Heard {
        order_ref: String::new(),
        order_id: 0,
        permanent_id: 99,
        news,
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

#[test]
fn interest_of_a_cent_does_not_make_a_difference_of_cash_another_one() {
    let mut world = World::new(&[]);
    let cents = |cents: i64| Money::new(10_050_000 + cents, 2);
    read_cash(&mut world, cents(0));
    assert!(!settle_of(&mut world, None, None), "seen once");
    read_cash(&mut world, cents(1));
    assert_eq!(critical(&world), 1, "told once");
    assert!(settle_of(&mut world, None, None), "seen twice");
    assert_eq!(
        world.trader.portfolio.cash,
        cents(1),
        "the latest figure is taken over"
    );
    assert!(world.trader.portfolio.differences.is_empty());
}

#[test]
fn what_is_ignored_of_cash_may_move_by_a_dollar_in_all_and_no_further() {
    let mut world = World::new(&[]);
    let cents = |cents: i64| Money::new(10_050_000 + cents, 2);
    read_cash(&mut world, cents(0));
    assert!(settle_of(&mut world, None, Some(Choice::Ignore)));
    let mut world = world.restart();
    for more in (-100..=100).step_by(10) {
        read_cash(&mut world, cents(more));
        assert_eq!(world.trader.portfolio.settled.len(), 1, "at {more} cents");
    }
    assert_eq!(critical(&world), 0);
    read_cash(&mut world, cents(101));
    assert_eq!(
        critical(&world),
        1,
        "cent by cent it grew beyond what a person looked at"
    );
    assert!(world.trader.portfolio.settled.is_empty());
}

#[test]
fn a_difference_that_a_later_reading_explains_is_not_taken_over() {
    let mut world = World::new(&[]);
    for _ in 0..2 {
        read_cash(&mut world, number("99299"));
    }
    // The execution that explains it is told only now.
    let mut truth = Truth {
        cash: Some(number("99299")),
        ..world.truth(&[])
    };
    truth.executions.push(by_hand("", &world));
    world.step(Input::Truth(truth, Pass::Running));
    assert_eq!(world.trader.portfolio.cash, number("99299"));
    assert!(!settle_of(&mut world, None, None), "it would be counted twice");
}

/// Seven shares of AAPL that were bought for $701 by the order with this reference.
pub fn by_hand(order_ref: &str, world: &World) -> BrokerExecution {
    BrokerExecution {
        order_ref: order_ref.to_owned(),
        symbol: symbol("AAPL"),
        fill: Fill {
            execution_id: "0000e0d5.1.01.01".into(),
            side: Side::Buy,
            quantity: number("7"),
            price: number("100"),
            commission: Some(number("1")),
            executed_at: world.now,
            permanent_id: 99,
        },
    }
}

#[test]
fn what_an_order_of_an_earlier_ledger_fills_is_taken_over_as_traded_by_hand() {
    let (known, unknown) = (Id::derive(&["known"]), Id::derive(&["unknown"]));
    let mut world = World::new(&[]);
    let mut truth = Truth {
        cash: Some(number("100000")),
        open: vec![BrokerOrder {
            limit_price: None,
            order_ref: known.to_string(),
            order_id: 5,
            permanent_id: 99,
            symbol: symbol("AAPL"),
            side: Side::Buy,
            quantity: number("10"),
            status: BrokerStatus::Working,
            text: String::new(),
        }],
        ..Truth::default()
    };
    world.append(Entry::Opening(reconcile::opening(&truth).unwrap()));
    let mut world = world.restart();
    let other = Truth {
        executions: vec![by_hand(unknown.as_str(), &world)],
        ..Truth::default()
    };
    assert_eq!(
        reconcile::unwritten(&world.trader.portfolio, &other),
        Some(unknown.as_str()),
        "another copy of the ledger trades on"
    );

    truth.executions.push(by_hand(known.as_str(), &world));
    assert_eq!(reconcile::unwritten(&world.trader.portfolio, &truth), None);
    world.step(Input::Truth(truth, Pass::Running));
    let orders: Vec<_> = world.trader.portfolio.orders.values().collect();
    assert_eq!((orders.len(), orders[0].reason), (1, Reason::Foreign));
    assert_eq!(world.held("AAPL"), number("7"));
}
