//! What happens to single messages: cut, lost, late, twice, half open.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::harness::Stage;
use wire_client::{Body, Raw, framed};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_at_a_message_that_goes_out() {
    let mut stage = Stage::new().await;
    for (at, told) in [
        ("before", vec!["open PreSubmitted"]),
        ("after", vec!["open PreSubmitted", "PreSubmitted 0/5"]),
    ] {
        let line = format!(r#"{{"fault":"cut","at":"{at}","when":{{"client":1,"out":"order-status"}}}}"#);
        stage.order(&line).await;
        let mut client = stage.client(1).await;
        let order_id = client.next_id;
        client.buy(order_id, "AAPL", 5, Some(10.0)).await;
        assert_eq!(client.rest().await, told, "{at}");
    }
    // Both orders live on.
    let mut client = stage.client(1).await;
    assert_eq!(client.open_orders().await.len(), 4);
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_in_the_middle_of_a_frame() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let mut other = stage.client(2).await;
    stage
        .order(r#"{"fault":"cut","at":"middle","when":{"client":1,"out":"current-time"}}"#)
        .await;
    client.send(49, &Body::new()).await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.ok();
    let whole = framed(49, &[8, 0, 0, 0, 0, 0]).len();
    assert!(!rest.is_empty() && rest.len() < whole, "{rest:?}");
    assert!(other.sync().await.is_empty(), "the others notice nothing");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_at_a_message_that_comes_in() {
    let mut stage = Stage::new().await;
    for (at, orders) in [("before", 0), ("after", 2)] {
        let line =
            format!(r#"{{"fault":"cut","at":"{at}","when":{{"in":"place-order","order_ref":"ref-1"}}}}"#);
        stage.order(&line).await;
        let mut client = stage.client(1).await;
        client.buy(1, "AAPL", 5, Some(10.0)).await;
        assert!(client.rest().await.is_empty(), "no acknowledgement: {at}");
        let mut again = stage.client(1).await;
        assert_eq!(again.open_orders().await.len(), orders, "{at}");
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_swallowed_repeated_and_delayed() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"swallow","when":{"out":"order-status","order_id":1,"status":"Submitted"}}"#)
        .await;
    stage
        .order(
            r#"{"fault":"duplicate","copies":2,"when":{"out":"order-status","order_ref":"ref-2","nth":2}}"#,
        )
        .await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    let told = client.sync().await;
    assert_eq!(told, ["open PreSubmitted", "PreSubmitted 0/5", "open Submitted"]);
    client.buy(2, "AAPL", 6, Some(10.0)).await;
    let told = client.sync().await;
    let twice = told.iter().filter(|line| *line == "Submitted 0/6").count();
    assert_eq!(twice, 3, "{told:?}");

    stage
        .order(r#"{"fault":"delay","seconds":0.3,"when":{"out":"order-status","times":2}}"#)
        .await;
    let begin = std::time::Instant::now();
    client.buy(3, "AAPL", 7, Some(10.0)).await;
    let told = client.story("Submitted 0/7").await;
    let late = [
        "open PreSubmitted",
        "open Submitted",
        "PreSubmitted 0/7",
        "Submitted 0/7",
    ];
    assert_eq!(told, late);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_lost_or_late() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"swallow","when":{"in":"positions"}}"#)
        .await;
    client.send(61, &Body::new()).await;
    assert!(client.sync().await.is_empty());
    stage
        .order(r#"{"fault":"delay","seconds":0.2,"when":{"in":"place-order"}}"#)
        .await;
    let begin = std::time::Instant::now();
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.story("Submitted 0/5").await;
    assert!(begin.elapsed() >= Duration::from_millis(200));
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_are_lost_by_the_order_that_they_name() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    for order_id in [1, 2] {
        client.buy(order_id, "AAPL", 5, Some(10.0)).await;
        client.story("Submitted 0/5").await;
    }
    for named in [r#""order_ref":"ref-1""#, r#""symbol":"AAPL""#] {
        let line = format!(r#"{{"fault":"swallow","when":{{"in":"cancel-order",{named}}}}}"#);
        stage.order(&line).await;
        client.cancel(1).await;
        assert!(client.sync().await.is_empty(), "{named}");
    }
    stage
        .order(r#"{"fault":"swallow","when":{"in":"cancel-order","order_ref":"ref-1"}}"#)
        .await;
    client.cancel(2).await;
    client.story("error 202").await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_starts_late_or_into_a_connection_that_is_half_open() {
    let mut stage = Stage::new().await;
    stage
        .order(r#"{"fault":"delay","seconds":0.3,"when":{"in":"start-api"}}"#)
        .await;
    let begin = std::time::Instant::now();
    let mut client = stage.client(1).await;
    assert!(begin.elapsed() >= Duration::from_millis(300));
    client.sync().await;
    stage
        .order(r#"{"fault":"half-open","seconds":0.1,"when":{"in":"start-api"}}"#)
        .await;
    let mut frozen = Raw::on(Raw::greeted(stage.gateway.address()).await);
    frozen.send(71, &Body::new().int(1, 2)).await;
    assert!(frozen.rest().await.is_empty(), "given up when its time is over");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_neither_reads_nor_writes() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let mut other = stage.client(2).await;
    stage.order(r#"{"fault":"half-open","client":1}"#).await;
    client.send(49, &Body::new()).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), client.socket.read_u8()).await;
    assert!(silent.is_err(), "nothing comes, and the socket stays");
    assert!(other.sync().await.is_empty(), "the others notice nothing");
    // Its id stays in use until the gateway gives it up.
    let mut late = Raw::greeted(stage.gateway.address()).await;
    tokio::io::AsyncWriteExt::write_all(&mut late, &framed(71, &[8, 1]))
        .await
        .unwrap();
    let mut late = Raw::on(late);
    assert_eq!(late.rest().await, ["error 326"]);
    stage.order(r#"{"clear":"all"}"#).await;
    assert!(client.rest().await.is_empty(), "given up");
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"half-open","seconds":0.1,"when":{"in":"current-time"}}"#)
        .await;
    client.send(49, &Body::new()).await;
    assert!(client.rest().await.is_empty(), "given up when its time is over");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_sets_itself_off_ends_nothing_else() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let mut other = stage.client(2).await;
    stage
        .order(r#"{"fault":"notice","code":2108,"client":1,"when":{"client":1,"out":"error","times":"all"}}"#)
        .await;
    stage.order(r#"{"fault":"notice","code":2108,"client":1}"#).await;
    client
        .all_until("notices without end", |frame| frame.line() == "error 2108")
        .await;
    assert!(other.sync().await.is_empty());
    stage.order(r#"{"clear":"all"}"#).await;
    client.sync().await;
    stage.gateway.stop().await.unwrap();
}
