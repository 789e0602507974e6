//! Orders of others at the broker: a person placed them, or another program. What they may still trade is not sold a
//! second time, and counts as bought.

use engine::others::Others;
use engine::reconcile::{self, BrokerExecution, BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::{Heard, Input, News, Output};
use protocol::decision::{Check, Level};
use protocol::ledger::{Entry, Fill, Reason, Side};
use protocol::operator::{Command, Verb};
use protocol::{Id, Price, Quantity};

use crate::world::{World, evening, number, shown, symbol, told};

/// An order that a person placed.
pub fn placed(name: &str, side: Side, quantity: &str) -> BrokerOrder {
    BrokerOrder {
        limit_price: None,
        order_ref: String::new(),
        order_id: 0,
        permanent_id: 4711,
        symbol: symbol(name),
        side,
        quantity: number(quantity),
        status: BrokerStatus::Working,
        text: String::new(),
    }
}

fn sale(quantity: &str) -> BrokerOrder {
    placed("AAPL", Side::Sell, quantity)
}

/// The broker is read: these orders are open, and it holds what the ledger does.
fn truth(world: &World, open: &[BrokerOrder]) -> Truth {
    let names = ["AAPL", "NVDA"];
    let held: Vec<_> = names.iter().map(|name| (*name, world.held(name))).collect();
    Truth {
        open: open.to_vec(),
        ..world.truth(&held)
    }
}

fn read(world: &mut World, open: &[BrokerOrder]) {
    let truth = truth(world, open);
    world.step(Input::Truth(truth, Pass::Running));
}

/// 50 shares of AAPL that cost $100 each, and what others have open.
fn holding(open: &[BrokerOrder]) -> World {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "100");
    read(&mut world, open);
    world
}

fn answer(world: &mut World, verb: Verb) -> (bool, String) {
    let symbol = (verb != Verb::Flatten).then(|| symbol("AAPL"));
    let command = Command {
        symbol,
        ..Command::default()
    };
    let reply = world.command(verb, command);
    (reply.accepted, reply.text.clone())
}

/// The shares of each exit that went out.
fn exits(world: &World) -> Vec<Quantity> {
    let exits = world.intents.iter().map(|(_, intent)| intent);
    let exits = exits.filter(|intent| intent.reason != Reason::Entry);
    exits.map(|intent| intent.quantity).collect()
}

#[test]
fn what_others_have_on_sale_is_not_sold_again_until_they_cancel_it() {
    let mut world = holding(&[sale("50")]);
    for _ in 0..3 {
        world.quote("AAPL", "80");
        world.step(Input::Tick);
        world.later(1);
    }
    assert!(exits(&world).is_empty(), "both would sell the same shares");
    assert_eq!(world.refused, [(symbol("AAPL"), Check::Working)]);
    let alerts = told(&world, "exit-held-back");
    assert_eq!((alerts.len(), alerts[0].level), (1, Level::Critical));
    for word in ["AAPL", "50", "4711", "cancel", "broker's own program"] {
        assert!(alerts[0].text.contains(word), "{}", alerts[0].text);
    }
    read(&mut world, &[sale("50")]);
    world.quote("AAPL", "79");
    assert_eq!(told(&world, "exit-held-back").len(), 1, "once an order");

    read(&mut world, &[]);
    world.quote("AAPL", "79");
    assert_eq!(exits(&world), [number("50")]);
}

#[test]
fn of_what_others_have_on_sale_in_part_the_rest_is_sold() {
    let mut world = holding(&[sale("30")]);
    world.quote("AAPL", "80");
    world.quote("AAPL", "80");
    assert_eq!(exits(&world), [number("20")]);
    let alerts = told(&world, "exit-reduced");
    assert_eq!((alerts.len(), alerts[0].level), (1, Level::Warning));
    assert!(alerts[0].text.contains("20 shares only"), "{}", alerts[0].text);
    world.fill_last("80");
    world.quote("AAPL", "80");
    assert_eq!(exits(&world).len(), 1, "the other 30 are on sale already");
    assert_eq!(told(&world, "exit-held-back").len(), 1);
    read(&mut world, &[]);
    world.quote("AAPL", "80");
    assert_eq!(exits(&world), [number("20"), number("30")]);
}

#[test]
fn what_is_filled_of_an_order_of_others_is_not_on_sale_any_more() {
    let mut world = holding(&[]);
    let execution = |revision: u32, shares: &str| BrokerExecution {
        order_ref: String::new(),
        symbol: symbol("AAPL"),
        fill: Fill {
            execution_id: format!("0000e0d5.67a5d6c8.01.0{revision}"),
            side: Side::Sell,
            quantity: number(shares),
            price: number("100"),
            commission: Some(Price::ONE),
            executed_at: world.now,
            permanent_id: 4711,
        },
    };
    let mut truth = truth(&world, &[sale("30"), sale("30")]);
    truth.executions = vec![execution(1, "10"), execution(2, "20")];
    truth.positions.get_mut(&symbol("AAPL")).unwrap().quantity = number("30");
    world.step(Input::Truth(truth, Pass::Running));
    world.quote("AAPL", "80");
    assert_eq!(world.held("AAPL"), number("30"));
    assert_eq!(exits(&world), [number("20")], "told twice it is one order");
}

#[test]
fn an_operator_is_told_what_is_in_the_way_of_an_exit() {
    for verb in [Verb::Close, Verb::EmergencyExit] {
        let mut world = holding(&[sale("50")]);
        if verb == Verb::EmergencyExit {
            world.ask(Verb::Kill, None);
        }
        let (accepted, text) = answer(&mut world, verb);
        assert!(
            !accepted && text.contains("4711") && text.contains("held back"),
            "{text}"
        );
        assert!(exits(&world).is_empty());
        assert_eq!(told(&world, "exit-held-back").len(), 1);
        read(&mut world, &[sale("30")]);
        for asked in [true, false] {
            let (accepted, text) = answer(&mut world, verb);
            let told = "20 shares only";
            assert_eq!((accepted, text.contains(told)), (asked, asked), "{text}");
            assert!(text.contains("4711"), "{text}");
        }
        assert_eq!(exits(&world), [number("20")]);
    }
}

#[test]
fn an_account_is_not_flat_while_an_order_of_others_works() {
    let buy = placed("NVDA", Side::Buy, "10");
    let mut world = holding(std::slice::from_ref(&buy));
    let (accepted, text) = answer(&mut world, Verb::Flatten);
    assert!(
        accepted && text.contains("to buy 10 NVDA") && text.contains("4711"),
        "{text}"
    );
    world.fill_last("100");
    for _ in 0..3 {
        read(&mut world, std::slice::from_ref(&buy));
        world.step(Input::Tick);
    }
    assert_eq!(told(&world, "flat").len(), 0);
    let alerts = told(&world, "not-flat");
    assert!(alerts.len() == 1 && alerts[0].text.contains("4711"), "{alerts:?}");
    read(&mut world, &[]);
    world.step(Input::Tick);
    assert_eq!(told(&world, "flat").len(), 1);
}

#[test]
fn what_others_buy_counts_in_the_limits_and_no_entry_is_made_that_others_may_sell() {
    let refused = |other: BrokerOrder, known: Option<&str>| {
        let mut world = World::new(&[]);
        world.quote("AAPL", "100");
        if let Some(price) = known {
            world.quote(other.symbol.as_str(), price);
        }
        read(&mut world, &[other]);
        world.bullish("AAPL");
        assert_eq!(world.refused.len() + world.bought(), 1);
        world.refused.first().map(|(_, check)| *check)
    };
    let buy = |name: &str, quantity: &str| placed(name, Side::Buy, quantity);
    let limited = |name: &str, quantity: &str, limit: &str| BrokerOrder {
        limit_price: Some(number(limit)),
        ..buy(name, quantity)
    };
    assert_eq!(refused(buy("AAPL", "1"), None), None);
    assert_eq!(
        refused(buy("AAPL", "1000000"), None),
        Some(Check::SharesPerSymbol)
    );
    assert_eq!(refused(buy("NVDA", "10"), Some("100")), None);
    assert_eq!(
        refused(buy("NVDA", "10000"), Some("100")),
        Some(Check::GrossExposure)
    );
    assert_eq!(refused(limited("KO", "10", "60"), None), None);
    assert_eq!(
        refused(limited("KO", "10000", "60"), None),
        Some(Check::GrossExposure)
    );
    assert_eq!(
        refused(buy("KO", "10"), None),
        Some(Check::GrossExposure),
        "nobody knows its price"
    );
    assert_eq!(refused(sale("1"), None), Some(Check::Working));
    assert_eq!(refused(placed("NVDA", Side::Sell, "1"), None), None);
}

#[test]
fn an_exit_that_rests_is_cancelled_when_others_put_the_same_shares_on_sale() {
    let mut world = evening("80");
    let order_id = world.intents[0].1.order_id;
    assert!(world.cancels.is_empty());
    read(&mut world, &[sale("10")]);
    world.step(Input::Tick);
    assert!(world.cancels.contains(&order_id), "60 of 50 shares are on sale");
    assert_eq!(told(&world, "exit-excess").len(), 1);
}

#[test]
fn each_order_of_others_is_told_once_by_each_incarnation() {
    let mut world = holding(&[]);
    assert!(told(&world, "order-of-others").is_empty());
    let of_a_program = BrokerOrder {
        order_id: 5,
        permanent_id: 4712,
        ..placed("NVDA", Side::Buy, "7")
    };
    for _ in 0..3 {
        read(&mut world, &[sale("5"), of_a_program.clone()]);
    }
    let alerts = told(&world, "order-of-others");
    assert_eq!(alerts.len(), 2);
    assert!(alerts.iter().all(|alert| alert.level == Level::Warning));
    assert!(
        alerts[0]
            .text
            .contains("to sell 5 AAPL with the permanent id 4711"),
        "{alerts:?}"
    );
    assert!(alerts[1].text.contains("4712 and order id 5"), "{alerts:?}");
    let mut world = world.restart();
    read(&mut world, &[sale("5")]);
    assert_eq!(told(&world, "order-of-others").len(), 1);
}

#[test]
fn an_inactive_order_of_others_counts_and_one_that_is_over_does_not() {
    let world = holding(&[]);
    let portfolio = &world.trader.portfolio;
    let on_sale = |order: BrokerOrder, completed: &[BrokerOrder]| {
        let mut truth = truth(&world, &[order]);
        truth.completed = completed.to_vec();
        Others::of(portfolio, &truth).rest(symbol("AAPL"), Side::Sell)
    };
    let is = |status| BrokerOrder { status, ..sale("5") };
    assert_eq!(on_sale(is(BrokerStatus::Inactive), &[]), number("5"));
    for over in [
        BrokerStatus::Filled,
        BrokerStatus::Cancelled,
        BrokerStatus::Rejected,
    ] {
        assert_eq!(on_sale(is(over), &[]), Quantity::ZERO);
        assert_eq!(on_sale(sale("5"), &[is(over)]), Quantity::ZERO);
    }
}

#[test]
fn no_order_of_this_ledger_is_one_of_others_whatever_became_of_it() {
    let mut world = holding(&[]);
    world.quote("AAPL", "80");
    let (id, intent) = world.intents[0].clone();
    let at_broker = |order_ref: &str| BrokerOrder {
        order_ref: order_ref.to_owned(),
        order_id: intent.order_id,
        ..sale("50")
    };
    let ours = at_broker(id.as_str());
    let none = |world: &World, order: &BrokerOrder| {
        let others = Others::of(
            &world.trader.portfolio,
            &truth(world, std::slice::from_ref(order)),
        );
        assert_eq!(
            others,
            Others::default(),
            "{:?}",
            world.trader.portfolio.orders[&id].state
        );
    };
    none(&world, &ours);
    // Another incarnation misses it twice, and then it is there, by its permanent id alone, too.
    let mut world = world.restart();
    for pass in [Pass::First, Pass::Second] {
        let missed = truth(&world, &[]);
        world.step(Input::Truth(missed, pass));
        none(&world, &ours);
    }
    read(&mut world, std::slice::from_ref(&ours));
    none(&world, &ours);
    none(&world, &at_broker(""));
    world.fill(&id, &intent.quantity.to_string(), "80");
    none(&world, &ours);
    assert!(told(&world, "order-of-others").is_empty());
    // So long over that its id alone is known.
    let mut portfolio = world.trader.portfolio.clone();
    portfolio.orders.remove(&id);
    portfolio.past_orders.push_back(id.clone());
    let truth = truth(&world, &[ours]);
    assert_eq!(Others::of(&portfolio, &truth), Others::default());
}

#[test]
fn an_order_of_an_earlier_ledger_is_one_of_others() {
    let earlier = BrokerOrder {
        order_ref: Id::derive(&["earlier"]).to_string(),
        ..sale("50")
    };
    let mut world = World::new(&[]);
    let mut before = truth(&world, std::slice::from_ref(&earlier));
    before.cash = Some(number("100000"));
    before.positions = World::new(&[("AAPL", "50")])
        .truth(&[("AAPL", number("50"))])
        .positions;
    world.append(Entry::Opening(reconcile::opening(&before).unwrap()));
    let mut world = world.restart();
    world.quote("AAPL", "100");
    read(&mut world, &[earlier]);
    world.quote("AAPL", "80");
    assert!(exits(&world).is_empty());
    assert_eq!(told(&world, "exit-held-back").len(), 1);
}

#[test]
fn a_short_position_is_covered_less_what_others_buy() {
    let mut world = World::new(&[("AAPL", "-50")]);
    world.quote("AAPL", "100");
    let sale = BrokerOrder {
        permanent_id: 4712,
        ..sale("50")
    };
    read(&mut world, &[placed("AAPL", Side::Buy, "30"), sale]);
    let (accepted, _) = answer(&mut world, Verb::Close);
    assert!(accepted);
    assert_eq!((exits(&world), world.bought()), (vec![number("20")], 1));
}

#[test]
fn nothing_but_a_reading_changes_what_is_known_of_others() {
    let mut world = holding(&[sale("50")]);
    for input in [
        Input::Tick,
        Input::Gate(Some("the link is down".into())),
        Input::Gate(None),
    ] {
        world.step(input);
        world.later(60);
    }
    let outputs = world.trader.step(world.now, Input::Tick);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Append(_))));
    assert_eq!(
        world.trader.others().rest(symbol("AAPL"), Side::Sell),
        number("50")
    );
}

#[test]
fn a_second_order_that_the_broker_made_of_an_exit_is_nobody_s_and_leaves_it_no_shares() {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "90");
    let (id, intent) = world.intents[0].clone();
    for _ in 0..2 {
        let open = [7, 8].map(|permanent_id| shown(&id, &intent, permanent_id));
        let truth = Truth {
            open: open.into(),
            ..world.truth(&[("AAPL", number("50"))])
        };
        world.step(Input::Truth(truth, Pass::Running));
        world.step(Input::Tick);
        world.later(2);
    }
    assert_eq!(
        world.cancels,
        [intent.order_id],
        "both would sell the same shares"
    );
    assert!(world.trader.portfolio.symbol_states.contains_key(&intent.symbol));
    // What becomes of the second says nothing of the first.
    world.step(Input::Broker(Heard {
        order_ref: String::new(),
        order_id: intent.order_id,
        permanent_id: 8,
        news: News::Status(BrokerStatus::Cancelled, Some(number("0")), String::new()),
    }));
    assert!(world.trader.portfolio.orders[&id].state.may_fill());
    let over = BrokerOrder {
        status: BrokerStatus::Cancelled,
        ..shown(&id, &intent, 8)
    };
    let truth = Truth {
        open: vec![shown(&id, &intent, 7)],
        completed: vec![over],
        ..world.truth(&[("AAPL", number("50"))])
    };
    world.step(Input::Truth(truth, Pass::Running));
    assert!(world.trader.portfolio.orders[&id].state.may_fill());
}
