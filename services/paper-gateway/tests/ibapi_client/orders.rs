//! Orders from the request to the commission.

use ibapi::orders::{
    Action, ExecutionFilter, Executions, Order, OrderData, OrderUpdate, Orders, order_builder,
};
use ibapi::prelude::*;
use ibapi::subscriptions::Subscription;

use crate::harness::{all, connect, notice, synthetic, until};

/// The statuses, errors and fills of orders, in the order in which they came.
pub async fn story(updates: &mut Subscription<OrderUpdate>, last: &str) -> Vec<String> {
    let seen = until(last, updates, |update| line(update) == last).await;
    seen.iter().map(line).collect()
}

pub fn line(update: &OrderUpdate) -> String {
    match update {
        OrderUpdate::OrderStatus(status) => {
            format!("{} {}/{}", status.status, status.filled, status.remaining)
        }
        OrderUpdate::OpenOrder(open) => format!("open {}", open.order_state.status),
        OrderUpdate::ExecutionData(data) => format!("fill {}", data.execution.shares),
        OrderUpdate::CommissionReport(_) => "fee".into(),
        OrderUpdate::OrderBound(_) => "bound".into(),
    }
}

/// The first order of an answer.
pub fn order_data(orders: &[Orders]) -> &OrderData {
    let found = orders.iter().find_map(|item| match item {
        Orders::OrderData(data) => Some(data),
        Orders::OrderStatus(_) => None,
    });
    found.unwrap_or_else(|| panic!("no order in {orders:?}"))
}

pub fn tagged(order: Order, reference: &str) -> Order {
    Order {
        order_ref: reference.into(),
        ..order
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_order_is_filled_and_charged() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    let order = tagged(order_builder::market_order(Action::Buy, 10.0), "tw-1:a/b");
    client.submit_order(1, &contract, &order).await.unwrap();
    let seen = until("commission", &mut updates, |update| {
        matches!(update, OrderUpdate::CommissionReport(_))
    })
    .await;
    let told: Vec<String> = seen.iter().map(line).collect();
    let expected = [
        "open PreSubmitted",
        "PreSubmitted 0/10",
        "open Submitted",
        "Submitted 0/10",
        "fill 10",
        "open Filled",
        "Filled 10/0",
        "fee",
    ];
    assert_eq!(told, expected);
    let fill = seen.iter().find_map(|update| match update {
        OrderUpdate::ExecutionData(data) => Some(data.execution.clone()),
        _ => None,
    });
    let fill = fill.unwrap();
    assert_eq!(
        (fill.order_reference.as_str(), fill.order_id, fill.client_id),
        ("tw-1:a/b", 1, 11)
    );
    let Some(OrderUpdate::CommissionReport(fee)) = seen.last() else {
        panic!()
    };
    assert_eq!(
        (fee.execution_id.as_str(), fee.commission, fee.realized_pnl),
        (fill.execution_id.as_str(), 0.35, None)
    );
    assert_eq!(client.next_valid_order_id().await.unwrap(), 2);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_order_fills_in_parts() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("SOFI").build();
    client
        .submit_order(1, &contract, &order_builder::market_order(Action::Buy, 3000.0))
        .await
        .unwrap();
    let told = story(&mut updates, "Filled 3000/0").await;
    let fills: Vec<f64> = told
        .iter()
        .filter_map(|line| line.strip_prefix("fill ")?.parse().ok())
        .collect();
    assert!(fills.len() > 1, "{told:?}");
    assert_eq!(fills.iter().sum::<f64>(), 3000.0);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_order_rests_is_changed_and_is_cancelled() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    client
        .submit_order(
            1,
            &contract,
            &tagged(order_builder::limit_order(Action::Buy, 5.0, 10.0), "r"),
        )
        .await
        .unwrap();
    story(&mut updates, "Submitted 0/5").await;
    client
        .submit_order(
            1,
            &contract,
            &tagged(order_builder::limit_order(Action::Buy, 7.0, 11.0), "r"),
        )
        .await
        .unwrap();
    story(&mut updates, "Submitted 0/7").await;

    let open = all("open orders", client.all_open_orders().await.unwrap()).await;
    let data = order_data(&open);
    assert_eq!(
        (
            data.order.limit_price,
            data.order.total_quantity,
            data.order.order_ref.as_str()
        ),
        (Some(11.0), 7.0, "r")
    );
    let perm_id = data.order.perm_id;

    // Another client can't cancel it, but sees it.
    let other = connect(&gateway, 12).await;
    let seen = all("open orders", other.all_open_orders().await.unwrap()).await;
    assert_eq!(order_data(&seen).order.perm_id, perm_id);
    assert!(
        all("open orders", other.open_orders().await.unwrap())
            .await
            .is_empty()
    );

    drop(client.cancel_order(1, "").await.unwrap());
    story(&mut updates, "Cancelled 0/7").await;
    drop(client.cancel_order(1, "").await.unwrap());
    drop(client.cancel_order(77, "").await.unwrap());
    for code in [202, 10148, 10147] {
        while notice(&mut updates).await.code != code {}
    }
    let completed = all("completed orders", client.completed_orders(false).await.unwrap()).await;
    let data = order_data(&completed);
    assert_eq!(
        (data.order.perm_id, data.order.order_ref.as_str()),
        (perm_id, "r")
    );
    assert_eq!(data.order_state.status.to_string(), "Cancelled");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_orders_get_their_code() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    let market = |quantity| order_builder::market_order(Action::Buy, quantity);
    let nothing = Contract::stock("ZZZZ").build();
    for (id, contract, order, code) in [
        (1, &contract, market(1_000_000.0), 201),
        (2, &nothing, market(1.0), 200),
        (3, &contract, market(0.0), 434),
        (
            4,
            &contract,
            order_builder::limit_order(Action::Buy, 1.0, 10.001),
            110,
        ),
        (1, &contract, market(1.0), 103),
        (
            5,
            &contract,
            order_builder::market_to_limit(Action::Buy, 1.0),
            387,
        ),
    ] {
        client.submit_order(id, contract, &order).await.unwrap();
        let refused = notice(&mut updates).await;
        assert_eq!(
            (refused.code, refused.request_id),
            (code, Some(id)),
            "{refused:?}"
        );
    }
    assert!(
        all("open orders", client.all_open_orders().await.unwrap())
            .await
            .is_empty()
    );
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_are_told_on_request_with_their_commissions() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    for (id, action) in [(1, Action::Buy), (2, Action::Sell)] {
        client
            .submit_order(id, &contract, &order_builder::market_order(action, 1.0))
            .await
            .unwrap();
        story(&mut updates, "fee").await;
    }
    let other = connect(&gateway, 12).await;
    let filter = ExecutionFilter {
        last_n_days: 2,
        ..ExecutionFilter::default()
    };
    let told = all("executions", other.executions(filter).await.unwrap()).await;
    let kinds: Vec<&str> = told
        .iter()
        .map(|item| match item {
            Executions::ExecutionData(_) => "fill",
            Executions::CommissionReport(report) if report.realized_pnl.is_some() => "fee and gain",
            Executions::CommissionReport(_) => "fee",
        })
        .collect();
    assert_eq!(kinds, ["fill", "fee", "fill", "fee and gain"]);
    let mine = ExecutionFilter {
        client_id: Some(12),
        ..ExecutionFilter::default()
    };
    assert!(
        all("executions", other.executions(mine).await.unwrap())
            .await
            .is_empty()
    );
    gateway.stop().await.unwrap();
}
