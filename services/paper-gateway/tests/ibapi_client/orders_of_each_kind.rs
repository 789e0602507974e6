//! Brackets, groups and every kind of order, as the client sends and sees them.

use std::collections::BTreeMap;

use ibapi::orders::builder::BracketPrices;
use ibapi::orders::{
    Action, OcaType, Order, OrderData, OrderStatusKind, OrderUpdate, Orders, TimeInForce, order_builder,
};
use ibapi::prelude::*;

use crate::harness::{all, connect, notice, options, synthetic, until};
use crate::orders::{line, story};

/// All orders that the client's own request shows, by their numbers.
async fn open_orders(client: &Client) -> Vec<OrderData> {
    let told = all("open orders", client.open_orders().await.unwrap()).await;
    // What is told of an order meanwhile comes this way too: the last word counts.
    let orders = told.into_iter().filter_map(|item| match item {
        Orders::OrderData(data) => Some((data.order_id, data)),
        Orders::OrderStatus(_) => None,
    });
    orders.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn statuses(orders: &[OrderData]) -> Vec<(i32, String)> {
    let one = |data: &OrderData| (data.order_id, data.order_state.status.to_string());
    orders.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bracket_is_let_go_as_a_whole_and_one_exit_cancels_the_other() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    let prices = BracketPrices {
        entry: 600.0,
        take_profit: 700.0,
        stop_loss: 50.0,
    };
    let bracket = order_builder::bracket_order(1, Action::Buy, 10.0, prices).unwrap();
    for order in &bracket[..2] {
        client
            .submit_order(order.order_id, &contract, order)
            .await
            .unwrap();
    }
    let kept = open_orders(&client).await;
    let waiting = OrderStatusKind::ApiPending.to_string();
    assert_eq!(statuses(&kept), [(1, waiting.clone()), (2, waiting)]);
    assert!(!kept[0].order.transmit && kept[1].order.parent_id == 1);
    // Nobody else sees what is only prepared.
    let other = connect(&gateway, 12).await;
    let seen = all("open orders", other.all_open_orders().await.unwrap()).await;
    assert!(seen.is_empty(), "{seen:?}");

    client.submit_order(3, &contract, &bracket[2]).await.unwrap();
    until("fee", &mut updates, |update| {
        matches!(update, OrderUpdate::CommissionReport(_))
    })
    .await;
    let exits = open_orders(&client).await;
    let expected = [(2, "Submitted".to_owned()), (3, "PreSubmitted".to_owned())];
    assert_eq!(statuses(&exits), expected);
    let perm_id = exits[0].order.parent_perm_id.unwrap();
    for exit in &exits {
        assert_eq!(exit.order.oca_group, perm_id.to_string());
        assert_eq!(exit.order.oca_type, OcaType::ReduceWithoutBlock);
    }
    // The profit is taken at once: the stop goes with it.
    let mut profit = bracket[1].clone();
    (profit.limit_price, profit.transmit) = (Some(50.0), true);
    client.submit_order(2, &contract, &profit).await.unwrap();
    story(&mut updates, "Cancelled 0/10").await;
    assert_eq!(notice(&mut updates).await.code, 202);
    assert!(open_orders(&client).await.is_empty());
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_of_a_group_cancels_the_others() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    let orders = vec![
        order_builder::limit_order(Action::Buy, 10.0, 50.0),
        order_builder::limit_order(Action::Buy, 10.0, 600.0),
    ];
    let orders = order_builder::one_cancels_all("either", orders, OcaType::CancelWithBlock);
    for (id, order) in (1..).zip(&orders) {
        client.submit_order(id, &contract, order).await.unwrap();
    }
    let told = story(&mut updates, "Cancelled 0/10").await;
    assert!(told.contains(&"fill 10".to_owned()), "{told:?}");
    assert!(open_orders(&client).await.is_empty());
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_order_is_taken_and_shown_as_it_was_sent() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let contract = Contract::stock("AAPL").build();
    let far = |kind: &str, aux: Option<f64>, limit: Option<f64>| Order {
        order_type: kind.into(),
        aux_price: aux,
        limit_price: limit,
        ..order_builder::market_order(Action::Buy, 5.0)
    };
    let until = Order {
        tif: TimeInForce::GoodTillDate,
        good_till_date: "20991231 10:00:00 US/Eastern".into(),
        ..order_builder::limit_order(Action::Buy, 5.0, 50.0)
    };
    let trailing_limit = Order {
        limit_price_offset: Some(0.5),
        trail_stop_price: Some(700.0),
        ..far("TRAIL LIMIT", Some(100.0), None)
    };
    let orders = [
        order_builder::trailing_stop(Action::Buy, 5.0, 90.0, 700.0),
        trailing_limit,
        order_builder::market_on_close(Action::Buy, 5.0),
        order_builder::limit_on_close(Action::Buy, 5.0, 50.0),
        far("MIT", Some(50.0), None),
        far("LIT", Some(50.0), Some(49.0)),
        far("STP LMT", Some(700.0), Some(701.0)),
        until,
    ];
    for (id, order) in (1..).zip(&orders) {
        client.submit_order(id, &contract, order).await.unwrap();
    }
    let shown = open_orders(&client).await;
    assert_eq!(shown.len(), orders.len());
    for (sent, shown) in orders.iter().zip(&shown) {
        let shown = &shown.order;
        assert_eq!(shown.order_type, sent.order_type);
        assert_eq!(
            (&shown.tif, &shown.good_till_date),
            (&sent.tif, &sent.good_till_date)
        );
        assert_eq!(shown.trailing_percent, sent.trailing_percent);
        assert_eq!(shown.limit_price_offset, sent.limit_price_offset);
        if !sent.order_type.starts_with("TRAIL") {
            assert_eq!(
                (shown.aux_price, shown.limit_price),
                (sent.aux_price, sent.limit_price)
            );
        }
    }
    // Both follow the market from where they began.
    let stops: Vec<f64> = shown[..2]
        .iter()
        .filter_map(|data| data.order.trail_stop_price)
        .collect();
    assert!(
        stops.len() == 2 && stops.iter().all(|stop| (300.0..=700.0).contains(stop)),
        "{stops:?}"
    );
    let mut updates = client.order_update_stream().await.unwrap();
    let kill = Order {
        tif: TimeInForce::FillOrKill,
        ..order_builder::limit_order(Action::Buy, 5.0, 50.0)
    };
    client.submit_order(20, &contract, &kill).await.unwrap();
    story(&mut updates, "Cancelled 0/5").await;
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_what_if_of_each_kind_tells_its_margin_and_leaves_nothing() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    let orders = [
        order_builder::market_order(Action::Buy, 100.0),
        order_builder::limit_order(Action::Buy, 100.0, 200.0),
        order_builder::stop(Action::Buy, 100.0, 400.0),
        order_builder::trailing_stop(Action::Buy, 100.0, 5.0, 400.0),
        order_builder::market_on_close(Action::Sell, 100.0),
    ];
    for (id, order) in (1..).zip(orders) {
        let question = Order {
            what_if: true,
            ..order
        };
        client.submit_order(id, &contract, &question).await.unwrap();
        let told = until("answer", &mut updates, |update| {
            matches!(update, OrderUpdate::OpenOrder(_))
        })
        .await;
        let Some(OrderUpdate::OpenOrder(answer)) = told.last() else {
            panic!("{told:?}");
        };
        assert_eq!(told.len(), 1, "{}", line(&told[0]));
        let state = &answer.order_state;
        let change = state.initial_margin_change.unwrap();
        assert!((4_000.0..11_000.0).contains(&change), "{id}: {change}");
        assert_eq!(state.commission, Some(0.35), "{id}");
    }
    let other = connect(&gateway, 12).await;
    let left = all("open orders", other.all_open_orders().await.unwrap()).await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(client.next_valid_order_id().await.unwrap(), 1);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_is_answered_with_its_code() {
    let state = tempfile::tempdir().unwrap();
    let options = options(state.path(), &["--not-shortable", "SOFI,WULF"]);
    let gateway = paper_gateway::Gateway::start(&options).await.unwrap();
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("SOFI").build();
    let market = |action| order_builder::market_order(action, 10.0);
    client
        .submit_order(1, &contract, &market(Action::Buy))
        .await
        .unwrap();
    story(&mut updates, "fee").await;
    let low = || order_builder::limit_order(Action::Buy, 10.0, 1.0);
    client.submit_order(2, &contract, &low()).await.unwrap();
    story(&mut updates, "Submitted 0/10").await;
    let orphan = Order {
        parent_id: 77,
        ..low()
    };
    let dated = |date: &str| Order {
        tif: TimeInForce::GoodTillDate,
        good_till_date: date.into(),
        ..low()
    };
    let algorithm = Order {
        algo_strategy: "Adaptive".into(),
        ..low()
    };
    let whole = Order {
        all_or_none: true,
        ..low()
    };
    for (id, order, code) in [
        (1, market(Action::Buy), 104),
        (2, order_builder::limit_order(Action::Sell, 10.0, 1.0), 105),
        (2, order_builder::limit_order(Action::Buy, 1_000_000.0, 1.0), 201),
        (3, orphan, 10006),
        (3, dated("next week"), 391),
        (3, dated("99990101 10:00:00 US/Eastern"), 391),
        (3, algorithm, 321),
        (3, whole, 321),
        (3, order_builder::market_to_limit(Action::Buy, 1.0), 387),
        (3, order_builder::market_order(Action::Sell, 11.0), 201),
        (4, dated("20200101"), 201),
        // Numbers beyond all measure end in an error like any other.
        (5, order_builder::market_order(Action::Buy, 7e28), 434),
        (5, order_builder::limit_order(Action::Buy, 5e27, 5e27), 321),
        (5, order_builder::limit_order(Action::Buy, 1.0, 2e9), 110),
        (5, order_builder::trailing_stop(Action::Sell, 1.0, 5e8, 1.0), 110),
    ] {
        // Who asks what would be is told the same as who places it.
        let question = Order {
            what_if: true,
            ..order.clone()
        };
        for order in [question, order] {
            client.submit_order(id, &contract, &order).await.unwrap();
            let refused = notice(&mut updates).await;
            assert_eq!(
                (refused.code, refused.request_id),
                (code, Some(id)),
                "{refused:?}"
            );
        }
    }
    let left = open_orders(&client).await;
    assert_eq!((left.len(), left[0].order.total_quantity), (1, 10.0));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn families_and_trailing_stops_outlive_the_gateway() {
    let state = tempfile::tempdir().unwrap();
    let options = options(state.path(), &[]);
    let gateway = paper_gateway::Gateway::start(&options).await.unwrap();
    let client = connect(&gateway, 11).await;
    let contract = Contract::stock("AAPL").build();
    let lasting = |order: Order| Order {
        tif: TimeInForce::GoodTillCanceled,
        ..order
    };
    let parent = lasting(order_builder::limit_order(Action::Buy, 5.0, 50.0));
    let child = Order {
        parent_id: 1,
        ..lasting(order_builder::trailing_stop(Action::Sell, 5.0, 50.0, 20.0))
    };
    let kept = Order {
        transmit: false,
        ..lasting(order_builder::stop(Action::Buy, 5.0, 700.0))
    };
    let trail = lasting(order_builder::trailing_stop(Action::Buy, 5.0, 90.0, 900.0));
    for (id, order) in (1..).zip([&parent, &child, &kept, &trail]) {
        client.submit_order(id, &contract, order).await.unwrap();
    }
    let before = open_orders(&client).await;
    let expected = ["Submitted", "PreSubmitted", "ApiPending", "PreSubmitted"];
    let names: Vec<String> = before
        .iter()
        .map(|data| data.order_state.status.to_string())
        .collect();
    assert_eq!(names, expected);
    drop(client);
    gateway.stop().await.unwrap();

    let gateway = paper_gateway::Gateway::start(&options).await.unwrap();
    let client = connect(&gateway, 11).await;
    let after = open_orders(&client).await;
    assert_eq!(statuses(&after), statuses(&before));
    for (before, after) in before.iter().zip(&after) {
        let terms = |data: &OrderData| {
            let order = &data.order;
            (
                order.perm_id,
                order.parent_id,
                order.oca_group.clone(),
                order.order_type.clone(),
                order.transmit,
                order.trailing_percent,
            )
        };
        assert_eq!(terms(after), terms(before));
    }
    // The stop never goes back.
    let stop = |orders: &[OrderData]| orders[3].order.trail_stop_price.unwrap();
    assert!(stop(&after) <= stop(&before));
    gateway.stop().await.unwrap();
}
