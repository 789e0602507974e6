//! Another copy of the pipeline that trades on the account, and what only looks like one.

use engine::desk::{Deed, Desk, End, Input, Notice};
use engine::portfolio::ORDERS_KEPT_MAX;
use engine::reconcile::{self, BrokerExecution, BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::{Draft, Heard, News};
use protocol::Id;
use protocol::ledger::{Entry, Intent, OrderChange, OrderEvent, OrderType, Reason, Side, TimeInForce};

use crate::desk::{append, begin, bought, contradiction, now};
use crate::settle::by_hand;
use crate::world::{World, number, symbol};

/// A desk that trades on a ledger.
fn trading(world: &World) -> Desk {
    let (mut desk, _) = begin(&world.trader.portfolio, |_| ());
    let truth = Truth {
        folded: desk.trader.portfolio.sequence,
        ..world.truth(&[("AAPL", world.held("AAPL"))])
    };
    let deeds = desk.step(now(), false, Input::Truth(Ok(truth), Pass::First));
    assert!(deeds.contains(&Deed::Trade));
    append(&mut desk, &deeds);
    desk
}

fn order(order_ref: &str, status: BrokerStatus) -> BrokerOrder {
    BrokerOrder {
        limit_price: None,
        order_ref: order_ref.to_owned(),
        order_id: 0,
        permanent_id: 99,
        symbol: symbol("AAPL"),
        side: Side::Buy,
        quantity: number("7"),
        status,
        text: String::new(),
    }
}

/// All ways in which the broker may tell of an order.
fn tellings(order_ref: &str, execution: &BrokerExecution) -> [Input; 5] {
    let reading = |truth| Input::Truth(Ok(truth), Pass::Running);
    let live = |news| {
        Input::Order(Heard {
            order_ref: order_ref.to_owned(),
            order_id: 40,
            permanent_id: 99,
            news,
        })
    };
    [
        reading(Truth {
            open: vec![order(order_ref, BrokerStatus::Working)],
            ..Truth::default()
        }),
        reading(Truth {
            completed: vec![order(order_ref, BrokerStatus::Cancelled)],
            ..Truth::default()
        }),
        reading(Truth {
            executions: vec![execution.clone()],
            ..Truth::default()
        }),
        live(News::Execution(execution.symbol, execution.fill.clone())),
        live(News::Status(BrokerStatus::Working, None, "Submitted".into())),
    ]
}

fn intent(order_id: i32) -> Entry {
    Entry::Intent(Intent {
        symbol: symbol("AAPL"),
        side: Side::Buy,
        quantity: number("7"),
        order_type: OrderType::Market,
        limit_price: None,
        time_in_force: TimeInForce::Day,
        outside_regular_hours: false,
        reason: Reason::Entry,
        target: number("7"),
        basis: number("0"),
        order_id,
        reference_price: None,
    })
}

#[test]
fn what_only_another_copy_can_have_sent_stops_a_running_execution() {
    let (world, _) = bought();
    let unknown = Id::derive(&["another copy"]).to_string();
    for input in tellings(&unknown, &by_hand(&unknown, &world)) {
        let told = format!("{input:?}");
        let deeds = trading(&world).step(now(), false, input);
        let text = contradiction(&deeds).unwrap_or_else(|| panic!("not noticed: {told}"));
        assert!(
            text.contains(&unknown) && text.contains("LEDGER does not have"),
            "{text}"
        );
        assert_eq!(deeds.len(), 1, "nothing is recorded before a person looked");
    }
}

#[test]
fn orders_of_a_person_of_an_earlier_ledger_and_long_forgotten_are_no_other_copys() {
    let (mut world, ours) = bought();
    let [open, executed] = ["open", "executed"].map(|name| Id::derive(&["earlier", name]).to_string());
    let before = Truth {
        cash: Some(number("100000")),
        open: vec![order(&open, BrokerStatus::Working)],
        executions: vec![by_hand(&executed, &world)],
        ..Truth::default()
    };
    world.append(Entry::Opening(reconcile::opening(&before).unwrap()));
    for order_id in 100..=100 + i32::try_from(ORDERS_KEPT_MAX).unwrap() {
        world.later(1);
        world.append(intent(order_id));
        let mut orders = world.trader.portfolio.orders.values();
        let order = orders
            .find(|order| order.order_id == order_id)
            .unwrap()
            .id
            .clone();
        let change = OrderChange::Cancelled { text: String::new() };
        world.append(Entry::Order(OrderEvent {
            order,
            symbol: symbol("AAPL"),
            change,
        }));
    }
    let portfolio = &world.trader.portfolio;
    assert!(
        !portfolio.orders.contains_key(&ours),
        "the bounded fold forgot it"
    );
    let kept = portfolio.orders.keys().next().unwrap().to_string();
    for order_ref in [
        &String::new(),
        &"my-own".to_owned(),
        &open,
        &executed,
        &ours.to_string(),
        &kept,
    ] {
        let mut execution = by_hand(order_ref, &world);
        execution.fill.execution_id = "0000e0d5.9.01.01".into();
        for input in tellings(order_ref, &execution) {
            let told = format!("{input:?}");
            let deeds = trading(&world).step(now(), false, input);
            assert_eq!(contradiction(&deeds), None, "{told}");
        }
    }
}

#[test]
fn an_order_id_that_the_broker_knows_already_ends_the_incarnation_that_used_it() {
    let (world, _) = bought();
    let mut desk = trading(&world);
    let epoch = desk.trader.portfolio.epoch;
    let draft = Draft {
        id: Id::derive(&["mine"]),
        at: now(),
        cause: None,
        entry: intent(41),
    };
    append(&mut desk, &[Deed::Append(epoch, draft)]);
    let before = world.intents[0].1.order_id;
    let mut say = |code, order_id| {
        desk.hear(Notice {
            code,
            text: "Duplicate order id".into(),
            order_id,
        });
        desk.step(now(), false, Input::Heard)
    };
    let ends = |deeds: &[Deed]| matches!(deeds.last(), Some(Deed::End(End::Again(_))));
    assert!(!ends(&say(103, before)), "an earlier incarnation sent that");
    assert!(!ends(&say(103, 7)), "nobody here sent that");
    assert!(!ends(&say(399, 41)));
    let deeds = say(103, 41);
    assert!(ends(&deeds));
    let unresolved = |deed: &Deed| matches!(deed, Deed::Append(_, draft) if matches!(&draft.entry, Entry::Order(event) if matches!(event.change, OrderChange::Unresolved { .. })));
    assert!(deeds.iter().any(unresolved), "first it is written down");
}

#[test]
fn without_a_ledger_the_kill_switch_cancels_what_a_pipeline_decided_and_that_may_trade() {
    use BrokerStatus::{Cancelled, Filled, Inactive, Rejected, Working};
    let decision = Id::derive(&["somewhere"]).to_string();
    let all = [Working, Inactive, Filled, Cancelled, Rejected].map(|status| (decision.as_str(), status));
    let others = ["", "by hand", "an id"].map(|reference| (reference, Working));
    let open: Vec<BrokerOrder> = (1..)
        .zip(all.into_iter().chain(others))
        .map(|(order_id, (reference, status))| BrokerOrder {
            limit_price: None,
            order_id,
            ..order(reference, status)
        })
        .collect();
    assert_eq!(reconcile::decided(&open), [1, 2]);
}
