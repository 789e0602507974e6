//! Orders from the request to the commission.

use ibapi::orders::{Action, OrderUpdate, order_builder};
use ibapi::prelude::*;

use crate::harness::{connect, synthetic, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_market_order_is_filled_and_charged() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 11).await;
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("AAPL").build();
    let mut order = order_builder::market_order(Action::Buy, 10.0);
    order.order_ref = "tw-1".into();
    client.submit_order(1, &contract, &order).await.unwrap();
    let seen = until("commission", &mut updates, |update| matches!(update, OrderUpdate::CommissionReport(_))).await;
    eprintln!("{seen:#?}");
    gateway.stop().await.unwrap();
}
