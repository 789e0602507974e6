//! What goes wrong between an order and its owner.

use std::time::Duration;

use futures::StreamExt;
use ibapi::orders::{Action, Orders, order_builder};
use ibapi::prelude::*;

use crate::harness::Stage;
use wire_client::{Body, DEADLINE, Raw, lines};

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_is_accepted_and_never_answered() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"silence","when":{"in":"place-order","order_ref":"ref-1"}}"#)
        .await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.cancel(99).await;
    assert_eq!(client.story("error 10147").await, ["error 10147"]);
    assert_eq!(
        client.open_orders().await,
        ["open Submitted", "Submitted 0/5"],
        "who asks is told the truth"
    );
    client.cancel(1).await;
    assert!(client.sync().await.is_empty());
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_refused_with_any_code() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"reject","code":10289,"text":"Not today","when":{"in":"place-order","nth":2}}"#)
        .await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.story("Submitted 0/5").await;
    client.buy(2, "AAPL", 5, Some(10.0)).await;
    let told = client.all_until("the refusal", |frame| frame.number == 4).await;
    let refused = told.last().unwrap();
    assert_eq!(
        (refused.int(1), refused.code(), refused.text(4).as_deref()),
        (Some(2), Some(10289), Some("Not today"))
    );
    client.buy(2, "AAPL", 5, Some(10.0)).await;
    client.story("Submitted 0/5").await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_becomes_inactive() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"reject","code":201,"text":"Margin","inactive":true,"when":{"in":"place-order"}}"#)
        .await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    let told = client.story("Inactive 0/5").await;
    assert_eq!(told, ["error 201", "open Inactive", "Inactive 0/5"]);
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.story("error 103").await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_inactive_for_a_while_and_trades_then() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let inactive = r#"{"fault":"inactive","seconds":1000,"when":{"in":"place-order","times":2}}"#;
    stage.order(inactive).await;
    for order_id in [1, 2] {
        client.buy(order_id, "AAPL", 5, None).await;
        client.story("Inactive 0/5").await;
    }
    // Trades pass by, and whoever asks is told the same.
    client.quotes(9, "AAPL").await;
    for _ in 0..3 {
        client.until("trade", |frame| frame.number == 46).await;
    }
    let open = client.open_orders().await;
    assert_eq!(
        open.iter().filter(|line| *line == "Inactive 0/5").count(),
        2,
        "{open:?}"
    );
    client.cancel(1).await;
    client.story("error 202").await;
    stage.order(r#"{"clear":"all"}"#).await;
    let told = client.story("Filled 5/0").await;
    assert!(told.contains(&"Submitted 0/5".to_owned()), "{told:?}");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_fills_in_part_and_then_nothing() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"partial-fill","shares":"4","when":{"in":"place-order"}}"#)
        .await;
    stage
        .order(
            r#"{"fault":"silence","when":{"out":"order-status","order_id":1,"status":"Submitted","nth":2}}"#,
        )
        .await;
    client.buy(1, "AAPL", 10, None).await;
    let told = client.story("Submitted 4/6").await;
    assert_eq!(told[4..], ["fill 4", "Submitted 4/6"], "{told:?}");
    client.cancel(1).await;
    assert!(client.sync().await.is_empty(), "nothing more, not even the fee");
    client.send(99, &Body::new()).await;
    assert_eq!(client.story("message 102").await, ["message 101", "message 102"]);
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_shares_ends_with_its_order() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"partial-fill","shares":"4","when":{"in":"place-order"}}"#)
        .await;
    client.buy(1, "AAPL", 10, None).await;
    client.story("Submitted 4/6").await;
    client.cancel(1).await;
    client.story("error 202").await;
    stage
        .order(r#"{"fault":"roll-back-ids","client":1,"next":1}"#)
        .await;
    client.buy(1, "AAPL", 10, None).await;
    client.story("Filled 10/0").await;
    // Nor does it outlive an order that was never taken.
    stage
        .order(r#"{"fault":"partial-fill","shares":"4","when":{"in":"place-order"}}"#)
        .await;
    client.buy(2, "NONE", 10, None).await;
    client.story("error 200").await;
    client.buy(2, "AAPL", 10, None).await;
    client.story("Filled 10/0").await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_of_an_order_that_was_inactive_trade_in_full() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"inactive","seconds":0.1,"when":{"in":"place-order"}}"#)
        .await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.story("Inactive 0/5").await;
    client.story("Submitted 0/5").await;
    client.buy(1, "AAPL", 10, None).await;
    client.story("Filled 10/0").await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_works_is_warned_of_and_refused() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let mut other = stage.client(2).await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.story("Submitted 0/5").await;
    let warning = r#""code":399,"text":"Warning: not before the open","order_id":1"#;
    stage
        .order(&format!(r#"{{"fault":"notice","client":1,{warning}}}"#))
        .await;
    let told = client.told().await;
    assert_eq!(lines(&told), ["error 399"]);
    let text = told[0].text(4);
    assert_eq!(
        (told[0].int(1), text.as_deref()),
        (Some(1), Some("Warning: not before the open"))
    );
    // Of the next order's first shares, the broker says that it is refused.
    stage
        .order(r#"{"fault":"partial-fill","shares":"4","when":{"in":"place-order"}}"#)
        .await;
    stage
        .order(r#"{"fault":"notice","code":201,"text":"Order rejected","order_id":2,"when":{"client":1,"out":"execution"}}"#)
        .await;
    client.buy(2, "AAPL", 10, None).await;
    let told = client.all_until("the refusal", |frame| frame.number == 4).await;
    let refused = told.last().unwrap();
    assert_eq!((refused.int(1), refused.code()), (Some(2), Some(201)));
    assert!(lines(&told).contains(&"fill 4".to_owned()), "{:?}", lines(&told));
    assert_eq!(client.open_orders().await.len(), 4, "both orders work");
    assert!(other.sync().await.is_empty(), "the order of another client");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_comes_behind_its_status_and_the_fee_late() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.buy(1, "AAPL", 1, None).await;
    let told = client.story("fee").await;
    assert_eq!(told[4..], ["fill 1", "open Filled", "Filled 1/0", "fee"]);
    stage
        .order(r#"{"fault":"delay","until":"order-status","when":{"out":"execution"}}"#)
        .await;
    stage
        .order(r#"{"fault":"delay","seconds":0.2,"when":{"out":"commission-report","order_id":2}}"#)
        .await;
    let begin = std::time::Instant::now();
    client.buy(2, "AAPL", 1, None).await;
    let told = client.story("fee").await;
    assert_eq!(
        told[4..],
        ["open Filled", "Filled 1/0", "fill 1", "fee"],
        "{told:?}"
    );
    assert!(begin.elapsed() >= Duration::from_millis(200));
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_ids_begin_anew_after_a_restart() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    for order_id in [1, 2] {
        client.buy(order_id, "AAPL", 5, Some(10.0)).await;
        client.story("Submitted 0/5").await;
    }
    client.cancel(1).await;
    client.story("error 202").await;
    stage
        .order(r#"{"fault":"roll-back-ids","client":1,"next":1}"#)
        .await;
    stage.gateway.stop().await.unwrap();

    // The gateway's account remembers it, as the broker does.
    let gateway = paper_gateway::Gateway::start(&crate::harness::options(stage.state.path(), &[]))
        .await
        .unwrap();
    let mut client = Raw::connect(gateway.address(), 1).await;
    assert_eq!(client.next_id, 1);
    client.buy(1, "AAPL", 7, Some(10.0)).await;
    client.story("Submitted 0/7").await;
    // The trap: an id whose order still works changes that order.
    client.buy(2, "AAPL", 8, Some(10.0)).await;
    client.story("Submitted 0/8").await;
    client.send(16, &Body::new()).await;
    let open = client.all_until("the end", |frame| frame.number == 53).await;
    let ids = open.iter().filter(|frame| frame.number == 5);
    let ids: Vec<i64> = ids.map(|frame| frame.int(1).unwrap()).collect();
    assert_eq!(ids, [2, 1]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_client_finds_the_order_whose_acknowledgement_was_cut() {
    let mut stage = Stage::new().await;
    let address = stage.gateway.address().to_string();
    let connect = async || {
        let builder = Client::builder().address(&address).client_id(11);
        builder.max_reconnect_attempts(0).connect().await
    };
    let client = connect().await.unwrap();
    let mut updates = client.order_update_stream().await.unwrap();
    stage
        .order(r#"{"fault":"cut","at":"after","when":{"client":11,"in":"place-order"}}"#)
        .await;
    let contract = Contract::stock("AAPL").build();
    let order = ibapi::orders::Order {
        order_ref: "unknown fate".into(),
        ..order_builder::limit_order(Action::Buy, 5.0, 10.0)
    };
    client.submit_order(1, &contract, &order).await.unwrap();
    let ended = async { while let Some(Ok(_)) = updates.next().await {} };
    tokio::time::timeout(DEADLINE, ended)
        .await
        .expect("the stream ends");
    drop(client);

    // The gateway may still be letting go of the first connection.
    let end = tokio::time::Instant::now() + DEADLINE;
    let again = loop {
        match connect().await {
            Ok(client) => break client,
            Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
        }
    };
    let mut open = again.all_open_orders().await.unwrap();
    let found = async {
        loop {
            if let Some(Ok(SubscriptionItem::Data(Orders::OrderData(data)))) = open.next().await {
                return data;
            }
        }
    };
    let data = tokio::time::timeout(DEADLINE, found).await.expect("the order");
    assert_eq!(
        (data.order_id, data.order.order_ref.as_str()),
        (1, "unknown fate")
    );
    stage.gateway.stop().await.unwrap();
}
