//! The account lasts: a gateway that was killed and started again has lost nothing.

use ibapi::accounts::PositionUpdate;
use ibapi::orders::{Action, ExecutionFilter, Order, OrderUpdate, Orders, TimeInForce, order_builder};
use ibapi::prelude::*;
use paper_gateway::{Gateway, Locked};

use crate::harness::{all, connect, options, until};

/// Buys 10 shares, leaves an order to sell them in the book, and returns that order's permanent number.
async fn trade(client: &Client) -> i64 {
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    client
        .submit_order(4, &contract, &order_builder::market_order(Action::Buy, 10.0))
        .await
        .unwrap();
    until("commission", &mut updates, |update| {
        matches!(update, OrderUpdate::CommissionReport(_))
    })
    .await;
    let resting = Order {
        order_ref: "rests".into(),
        tif: TimeInForce::GoodTillCanceled,
        ..order_builder::limit_order(Action::Sell, 10.0, 9000.0)
    };
    client.submit_order(5, &contract, &resting).await.unwrap();
    let seen = until("order", &mut updates, |update| {
        matches!(update, OrderUpdate::OpenOrder(_))
    })
    .await;
    let Some(OrderUpdate::OpenOrder(open)) = seen.last() else {
        panic!()
    };
    open.order.perm_id
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_orders_executions_and_ids_survive() {
    let state = tempfile::tempdir().unwrap();
    let options = options(state.path(), &[]);
    let gateway = Gateway::start(&options).await.unwrap();
    let client = connect(&gateway, 11).await;
    let perm_id = trade(&client).await;

    // As a kill would: the state folder is copied while the gateway runs and never says goodbye.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(state.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let locked = Gateway::start(&options).await.unwrap_err();
    assert!(locked.is::<Locked>(), "{locked}");
    gateway.stop().await.unwrap();

    let gateway = Gateway::start(&crate::harness::options(copy.path(), &[]))
        .await
        .unwrap();
    let client = connect(&gateway, 11).await;
    assert_eq!(client.next_valid_order_id().await.unwrap(), 6);
    let mut positions = client.positions().await.unwrap();
    let held = until("positions", &mut positions, |item| {
        matches!(item, PositionUpdate::PositionEnd)
    })
    .await;
    let PositionUpdate::Position(position) = &held[0] else {
        panic!("{held:?}")
    };
    assert_eq!(position.position, 10.0);
    let open = all("open orders", client.all_open_orders().await.unwrap()).await;
    let Orders::OrderData(data) = &open[0] else {
        panic!("{open:?}")
    };
    assert_eq!(
        (data.order.perm_id, data.order.order_ref.as_str(), data.order_id),
        (perm_id, "rests", 5)
    );
    assert_eq!(
        all(
            "executions",
            client.executions(ExecutionFilter::default()).await.unwrap()
        )
        .await
        .len(),
        2
    );
    let completed = all("completed orders", client.completed_orders(false).await.unwrap()).await;
    let Orders::OrderData(data) = &completed[0] else {
        panic!("{completed:?}")
    };
    assert_eq!((data.order.order_id, data.order.filled_quantity), (4, 10.0));
    gateway.stop().await.unwrap();
}
