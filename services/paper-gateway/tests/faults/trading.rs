//! What the broker and its other users do to the account.

use ibapi::accounts::PositionUpdate;
use ibapi::orders::{ExecutionFilter, Executions};
use ibapi::prelude::*;
use ibapi::subscriptions::SubscriptionItem;

use futures::StreamExt;

use crate::harness::Stage;
use wire_client::{Body, DEADLINE, Message};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_trades_at_the_broker_s_own_screen() {
    let mut stage = Stage::new().await;
    let client = Client::builder()
        .address(stage.gateway.address().to_string())
        .client_id(11)
        .connect()
        .await
        .unwrap();
    let mut positions = client.positions().await.unwrap();
    let mut held = async |wanted: f64| {
        let found = async {
            while let Some(item) = positions.next().await {
                if let SubscriptionItem::Data(PositionUpdate::Position(position)) = item.unwrap()
                    && position.position == wanted
                {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("the position");
    };
    let bought = r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"30"}"#;
    stage.order(bought).await;
    held(30.0).await;
    let rests = r#"{"fault":"manual-trade","symbol":"AAPL","side":"sell","quantity":"30","limit":"9000","order_id":-3}"#;
    stage.order(rests).await;

    let mut told = client.executions(ExecutionFilter::default()).await.unwrap();
    let item = tokio::time::timeout(DEADLINE, told.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let SubscriptionItem::Data(Executions::ExecutionData(data)) = item else {
        panic!("{item:?}")
    };
    let execution = &data.execution;
    assert_eq!((execution.client_id, execution.order_id), (0, 0));
    assert!(execution.perm_id > 0);

    let mut raw = stage.client(2).await;
    raw.send(16, &Body::new()).await;
    let open = raw.all_until("the end", |frame| frame.number == 53).await;
    let order = open[0].part(3);
    assert_eq!((open[0].int(1), order.int(1)), (Some(-3), Some(0)));
    assert!(order.int(3).unwrap() > execution.perm_id);
    let refused = stage.say(&bought.replace("AAPL", "ZZZZ")).await;
    assert_eq!(refused["error"], "ZZZZ is not traded here");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_corrected() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.buy(1, "AAPL", 1, None).await;
    let told = client.all_until("the fee", |frame| frame.line() == "fee").await;
    let execution_of = |told: &[Message]| {
        let frame = told.iter().find(|frame| frame.number == 11).unwrap();
        frame.part(3)
    };
    let first = execution_of(&told);
    let id_of = |execution: &Message| execution.text(2).unwrap();
    assert!(id_of(&first).ends_with(".01"));
    stage
        .order(r#"{"fault":"correct-execution","order_id":1,"price":"1.25"}"#)
        .await;
    let told = client.all_until("the fee", |frame| frame.line() == "fee").await;
    let second = execution_of(&told);
    let root = |execution: &Message| id_of(execution).rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(root(&first), root(&second));
    assert!(id_of(&second).ends_with(".02"));
    assert_eq!((second.double(8), second.int(9)), (Some(1.25), first.int(9)));
    // Who asks is told of the corrected one, once.
    client.send(7, &Body::new()).await;
    let told = client.all_until("the end", |frame| frame.number == 55).await;
    assert_eq!(told.iter().filter(|frame| frame.number == 11).count(), 1);
    assert_eq!(id_of(&execution_of(&told)), id_of(&second));
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn completed_orders_of_the_api_alone_are_those_that_no_person_placed() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.buy(1, "AAPL", 1, None).await;
    client.until("the fee", |frame| frame.line() == "fee").await;
    stage
        .order(r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"30"}"#)
        .await;
    let mut completed = async |api_only: i64, count: usize| {
        // A trade by hand takes until the market's next trade.
        let found = async {
            loop {
                client.send(99, &Body::new().int(1, api_only)).await;
                let told = client.all_until("the end", |frame| frame.number == 102).await;
                let orders = told.iter().filter(|frame| frame.number == 101);
                let clients: Vec<_> = orders.map(|frame| frame.part(2).int(1).unwrap()).collect();
                if clients.len() == count {
                    return clients;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("the orders")
    };
    assert_eq!(completed(0, 2).await, [1, 0]);
    assert_eq!(completed(1, 1).await, [1]);
    stage.gateway.stop().await.unwrap();
}
