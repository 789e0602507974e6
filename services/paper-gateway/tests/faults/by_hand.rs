//! Orders that a person placed at the broker's own screen, and client 0, which alone can have them for its own.

use crate::harness::{Stage, options};
use wire_client::{Body, Message, Raw, numbered};

/// Asks for the client's open orders, and for orders by hand to be bound.
const OPEN_ORDERS: i32 = 5;
const AUTO_OPEN_ORDERS: i32 = 15;

/// A person's order that rests, without a number.
const RESTS: &str = r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"10","limit":"10"}"#;

/// The order ids of all messages of a kind.
fn ids(told: &[Message], number: i32) -> Vec<i64> {
    let field = if number == 100 { 3 } else { 1 };
    let of = told.iter().filter(|message| message.number == number);
    of.map(|message| message.int(field).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn client_0_changes_and_cancels_what_was_placed_by_hand_once_it_has_asked() {
    let mut stage = Stage::new().await;
    let mut first = stage.client(0).await;
    for _ in 0..2 {
        stage.order(RESTS).await;
    }
    assert!(first.sync().await.is_empty(), "they are nobody's");
    assert_eq!(first.codes(4, &numbered(0)).await, [10147]);
    let mut other = stage.client(1).await;
    let told = other.ask(16, &Body::new()).await;
    assert_eq!(ids(&told, 5), [0, 0]);

    let told = first.ask(OPEN_ORDERS, &Body::new()).await;
    assert_eq!((ids(&told, 100), ids(&told, 5)), (vec![-2, -3], vec![-2, -3]));
    let bound = told.iter().filter(|message| message.number == 100);
    let bound: Vec<_> = bound.map(|bound| bound.int(1)).collect();
    let open = told.iter().filter(|message| message.number == 5);
    let shown: Vec<_> = open.map(|open| open.part(3).int(3)).collect();
    assert_eq!(bound, shown, "permIds");
    assert_eq!(
        ids(&first.ask(OPEN_ORDERS, &Body::new()).await, 100),
        [0; 0],
        "once"
    );

    first.buy(-2, "AAPL", 20, Some(11.0)).await;
    first.story("Submitted 0/20").await;
    assert_eq!(first.codes(4, &numbered(-3)).await, [202]);
    assert_eq!(first.codes(4, &numbered(-3)).await, [10148]);
    let change = Raw::order(-2, "AAPL", 30, Some(11.0));
    assert_eq!(other.codes(3, &change).await, [321], "it is client 0's");
    let unknown = Raw::order(-7, "AAPL", 30, Some(11.0));
    assert_eq!(first.codes(3, &unknown).await, [321]);

    stage.gateway.stop().await.unwrap();
    let gateway = paper_gateway::Gateway::start(&options(stage.state.path(), &[]))
        .await
        .unwrap();
    let mut first = Raw::connect(gateway.address(), 0).await;
    let told = first.ask(OPEN_ORDERS, &Body::new()).await;
    assert_eq!((ids(&told, 100), ids(&told, 5)), (vec![], vec![-2]));
    assert_eq!(told[1].line(), "Submitted 0/20");
    assert_eq!(first.codes(4, &numbered(-2)).await, [202]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_binds_orders_by_hand_as_they_come_is_told_of_them() {
    let mut stage = Stage::new().await;
    let mut first = stage.client(0).await;
    let binds = |whether| Body::new().int(1, whether);
    stage.order(RESTS).await;
    let told = first.ask(AUTO_OPEN_ORDERS, &binds(1)).await;
    assert_eq!((ids(&told, 100), ids(&told, 5)), (vec![-2], vec![-2]));
    stage.order(RESTS).await;
    let told = first.story("Submitted 0/10").await;
    assert_eq!(told[..2], ["message 100", "open PreSubmitted"], "{told:?}");
    stage
        .order(r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"30"}"#)
        .await;
    let told = first
        .all_until("the fee", |message| message.line() == "fee")
        .await;
    assert_eq!(ids(&told, 100), [-4]);
    let fill = told.iter().find(|message| message.number == 11).unwrap().part(3);
    assert_eq!((fill.int(1), fill.int(10)), (Some(-4), Some(0)));

    let told = first.ask(AUTO_OPEN_ORDERS, &binds(0)).await;
    assert_eq!((ids(&told, 100), ids(&told, 5)), (vec![], vec![-2, -3]));
    stage.order(RESTS).await;
    assert!(first.sync().await.is_empty());
    let told = first.ask(AUTO_OPEN_ORDERS, &binds(0)).await;
    assert_eq!((ids(&told, 100), ids(&told, 5)), (vec![], vec![-2, -3, 0]));
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_by_hand_of_an_outage_get_a_number_each() {
    let mut stage = Stage::new().await;
    let mut first = stage.client(0).await;
    first.ask(AUTO_OPEN_ORDERS, &Body::new().int(1, 1)).await;
    stage.order(r#"{"fault":"link","state":"lost"}"#).await;
    for _ in 0..2 {
        stage.order(RESTS).await;
    }
    assert_eq!(first.sync().await, ["error 1100"]);
    stage.order(r#"{"fault":"link","state":"restored"}"#).await;
    let told = first.told().await;
    assert_eq!(ids(&told, 100), [-2, -3]);
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_about_an_order_by_hand_is_one_about_that_order() {
    let mut stage = Stage::new().await;
    let mut first = stage.client(0).await;
    stage.order(RESTS).await;
    first.ask(OPEN_ORDERS, &Body::new()).await;
    stage
        .order(r#"{"fault":"swallow","when":{"out":"error","order_id":-2,"client":0}}"#)
        .await;
    first.cancel(-2).await;
    assert_eq!(first.told().await.len(), 1, "a status and no error");
    stage.gateway.stop().await.unwrap();
}
