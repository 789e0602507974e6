//! The whole gateway in trouble: its link, its farms, its port, its limits.

use std::time::Duration;

use ibapi::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Stage, hear};
use wire_client::{Body, DEADLINE, GREETING, Message, about, framed, lines};

fn is_price(frame: &Message) -> bool {
    matches!(frame.number, 1 | 2 | 46)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_link_holds_orders_and_prices_and_comes_back() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.quotes(9, "AAPL").await;
    client.all_until("a price", is_price).await;
    stage.order(r#"{"fault":"link","state":"lost"}"#).await;
    client.story("error 1100").await;
    client.buy(1, "AAPL", 5, None).await;
    assert!(hear(&mut client, 300).await.is_empty(), "no prices, no answer");
    assert!(client.open_orders().await.is_empty());
    stage.order(r#"{"fault":"link","state":"restored"}"#).await;
    let told = client.all_until("the fee", |frame| frame.line() == "fee").await;
    assert_eq!(told[0].line(), "error 1102");
    client.all_until("prices flow again", is_price).await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_sent_into_a_lost_link_outlives_its_client() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"link","state":"lost","code":2110}"#)
        .await;
    client.story("error 2110").await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.sync().await;
    drop(client);
    let mut other = stage.client(2).await;
    assert_eq!(lines(&other.notices), ["error 2110"], "a newcomer is told of it");
    stage.order(r#"{"fault":"link","state":"restored"}"#).await;
    other.story("error 1102").await;
    assert_eq!(other.open_orders().await, ["open Submitted", "Submitted 0/5"]);
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_the_link_has_used_its_number() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage.order(r#"{"fault":"link","state":"lost"}"#).await;
    client.story("error 1100").await;
    for order_id in [1, 7] {
        client.buy(order_id, "AAPL", 5, Some(10.0)).await;
    }
    let told = client.ask(8, &Body::new()).await;
    let next = told.iter().find(|message| message.number == 9).unwrap();
    assert_eq!(next.int(1), Some(8));
    client.socket.shutdown().await.unwrap();
    assert!(client.rest().await.is_empty());
    let again = stage.client(1).await;
    assert_eq!(again.next_id, 8, "nor is it told to who connects again");
    assert_eq!(stage.client(2).await.next_id, 1);
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_back_with_its_data_lost() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.quotes(9, "AAPL").await;
    client.all_until("a price", is_price).await;
    stage.order(r#"{"fault":"link","state":"lost"}"#).await;
    stage
        .order(r#"{"fault":"link","state":"restored-data-lost"}"#)
        .await;
    client.story("error 1101").await;
    assert!(
        hear(&mut client, 300).await.is_empty(),
        "the subscription is gone"
    );
    client.quotes(9, "AAPL").await;
    client.all_until("a price", is_price).await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn farms_break_and_come_back() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.quotes(9, "AAPL").await;
    client.all_until("a price", is_price).await;
    stage
        .order(r#"{"fault":"farm","farm":"market-data","state":"begins"}"#)
        .await;
    client.story("error 2103").await;
    assert!(hear(&mut client, 300).await.is_empty(), "prices stop");
    stage
        .order(r#"{"fault":"farm","farm":"history","state":"begins"}"#)
        .await;
    client.story("error 2105").await;
    client.send(20, &history(3)).await;
    assert_eq!(client.story("error 162").await, ["error 162"]);
    let late = stage.client(2).await;
    assert_eq!(lines(&late.notices), ["error 2103", "error 2105", "error 2158"]);
    stage
        .order(r#"{"fault":"farm","farm":"history","state":"ends"}"#)
        .await;
    client.story("error 2106").await;
    client.send(20, &history(4)).await;
    client.story("message 17").await;
    stage.order(r#"{"clear":"all"}"#).await;
    client.story("error 2104").await;
    client.all_until("a price", is_price).await;
    stage.gateway.stop().await.unwrap();
}

fn history(id: i64) -> Body {
    about(id, "AAPL")
        .text(4, "1 min")
        .text(5, "600 S")
        .text(7, "TRADES")
}

#[tokio::test(flavor = "multi_thread")]
async fn any_notice_is_told_to_the_real_client() {
    let mut stage = Stage::new().await;
    let (client, mut notices) = Client::builder()
        .address(stage.gateway.address().to_string())
        .client_id(3)
        .connect_with_notice_stream()
        .await
        .unwrap();
    for (line, code) in [
        (r#"{"fault":"link","state":"lost"}"#, 1100),
        (r#"{"fault":"link","state":"restored"}"#, 1102),
        (r#"{"fault":"notice","code":2110,"client":3}"#, 2110),
    ] {
        stage.order(line).await;
        let told = async {
            loop {
                let notice = notices.next().await.unwrap();
                if notice.code == code {
                    return notice;
                }
            }
        };
        let notice = tokio::time::timeout(DEADLINE, told).await.expect("a notice");
        assert!(notice.message.contains("onnectivity"), "{notice:?}");
    }
    assert_eq!(client.managed_accounts().await.unwrap(), ["DU1000001"]);
    stage.gateway.stop().await.unwrap();
}

/// More than the real client keeps for an ear that does not listen: 1,024.
const BURST: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_notices_that_nobody_heard_is_told_as_a_loss_to_each_ear_of_the_real_client() {
    let mut stage = Stage::new().await;
    let (client, first) = Client::builder()
        .address(stage.gateway.address().to_string())
        .client_id(3)
        .connect_with_notice_stream()
        .await
        .unwrap();
    let second = client.notice_stream().unwrap();
    stage.order(r#"{"fault":"notice","code":1100,"client":3}"#).await;
    for _ in 1..BURST {
        stage.order(r#"{"fault":"notice","code":2104,"client":3}"#).await;
    }
    // An answer comes after all of them.
    client.server_time().await.unwrap();
    for mut ear in [first, second] {
        let heard = tokio::time::timeout(DEADLINE, ear.next())
            .await
            .expect("a notice");
        assert_eq!(heard.unwrap().code, ibapi::NOTICE_STREAM_LAG_CODE);
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_reset() {
    let mut stage = Stage::new().await;
    let (mut one, mut two) = (stage.client(1).await, stage.client(2).await);
    stage.order(r#"{"fault":"port-reset"}"#).await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.rest().await, ["error 1300"]);
    }
    stage.client(1).await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_takes_the_market_data() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.quotes(9, "AAPL").await;
    client.all_until("a price", is_price).await;
    stage
        .order(r#"{"fault":"competing-session","state":"begins"}"#)
        .await;
    let told = client.all_until("the error", |frame| frame.number == 4).await;
    let error = told.last().unwrap();
    assert_eq!((error.int(1), error.code()), (Some(9), Some(10197)));
    client.quotes(10, "TSLA").await;
    let told = client.all_until("the error", |frame| frame.number == 4).await;
    assert!(!told.iter().any(is_price), "{:?}", lines(&told));
    assert!(hear(&mut client, 300).await.is_empty());
    stage
        .order(r#"{"fault":"competing-session","state":"ends"}"#)
        .await;
    client.all_until("a price", is_price).await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ghost_keeps_a_client_id() {
    let mut stage = Stage::new().await;
    stage
        .order(r#"{"fault":"ghost","client":11,"seconds":3600}"#)
        .await;
    let address = stage.gateway.address().to_string();
    let connect = async || {
        let builder = Client::builder().address(&address).client_id(11);
        builder.max_reconnect_attempts(0).connect().await
    };
    match connect().await {
        Err(Error::ClientIdInUse { client_id: 11 }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the id is in use"),
    }
    stage
        .order(r#"{"fault":"ghost","client":11,"seconds":0.2}"#)
        .await;
    let end = tokio::time::Instant::now() + DEADLINE;
    while let Err(error) = connect().await {
        assert!(tokio::time::Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_restarts_at_night() {
    let mut stage = Stage::new().await;
    for port in ["closed", "refuses"] {
        let mut client = stage.client(1).await;
        let order_id = client.next_id;
        client.buy(order_id, "AAPL", 5, Some(10.0)).await;
        client.story("Submitted 0/5").await;
        let line = format!(r#"{{"fault":"restart","seconds":1,"port":"{port}"}}"#);
        stage.order(&line).await;
        assert!(client.rest().await.is_empty());
        let end = tokio::time::Instant::now() + DEADLINE;
        let (mut refused, mut closed) = (0, 0);
        loop {
            match TcpStream::connect(stage.gateway.address()).await {
                Err(_) => refused += 1,
                Ok(mut socket) => {
                    socket.write_all(GREETING).await.ok();
                    if socket.read_u8().await.is_ok() {
                        break;
                    }
                    closed += 1;
                }
            }
            assert!(tokio::time::Instant::now() < end, "the gateway stays away");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match port {
            "closed" => assert!(refused > 0, "{refused} {closed}"),
            _ => assert!(closed > 0, "{refused} {closed}"),
        }
    }
    let mut client = stage.client(1).await;
    assert_eq!(client.open_orders().await.len(), 4, "the account is there again");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_restarts_the_longer_one_says_when_the_port_opens() {
    let mut stage = Stage::new().await;
    let address = stage.gateway.address();
    stage.order(r#"{"fault":"restart","seconds":3600}"#).await;
    let closed = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, closed)
        .await
        .expect("nobody listens");
    stage.order(r#"{"fault":"restart","seconds":0.05}"#).await;
    // What is due after the end of the shorter one has happened.
    stage
        .order(r#"{"at_seconds":0.3,"fault":"ghost","client":5,"seconds":3600}"#)
        .await;
    let end = tokio::time::Instant::now() + DEADLINE;
    while stage.say(r#"{"ask":"faults"}"#).await["lasting"]["ghosts"][0] != 5 {
        assert!(tokio::time::Instant::now() < end, "the ghost does not come");
    }
    assert!(TcpStream::connect(address).await.is_err(), "the port is open");
    stage.order(r#"{"clear":"all"}"#).await;
    stage.client(1).await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_messages_a_second_are_refused_and_then_cut() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let mut other = stage.client(2).await;
    stage.order(r#"{"fault":"pacing","messages":5}"#).await;
    // All at once, and far more than a slow machine could spread over seconds.
    let many = framed(49, &[]).repeat(500);
    client.socket.write_all(&many).await.ok();
    let told = client.rest().await;
    assert_eq!(told[..5], vec!["message 49"; 5]);
    let errors = told.iter().filter(|line| *line == "error 100").count();
    assert_eq!(
        (errors, told.last().unwrap().as_str()),
        (3, "error 100"),
        "and then the end"
    );
    assert!(other.sync().await.is_empty());
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_for_history_are_refused() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    stage
        .order(r#"{"fault":"history-pacing","requests":1,"seconds":600}"#)
        .await;
    client.send(20, &history(1)).await;
    client.story("message 108").await;
    for id in 2..6 {
        client.send(20, &history(id)).await;
        let told = client.all_until("the error", |frame| frame.number == 4).await;
        let error = told.last().unwrap();
        assert_eq!((error.int(1), error.code()), (Some(id), Some(162)));
        assert!(error.text(4).unwrap().contains("pacing violation"));
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn market_data_changes_its_type_in_mid_stream() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.quotes(9, "AAPL").await;
    client.all_until("a price", is_price).await;
    let kind_of = |frame: &Message| frame.int(2);
    stage.order(r#"{"fault":"data-type","type":"frozen"}"#).await;
    let told = client.all_until("the type", |frame| frame.number == 58).await;
    assert_eq!(kind_of(told.last().unwrap()), Some(2));
    assert!(!hear(&mut client, 200).await.iter().any(is_price));
    stage.order(r#"{"fault":"data-type","type":"delayed"}"#).await;
    let told = client.all_until("the type", |frame| frame.number == 58).await;
    assert_eq!(kind_of(told.last().unwrap()), Some(3));
    let told = client
        .all_until("delayed prices", |frame| kind_of(frame) == Some(68))
        .await;
    assert!(told.iter().all(|frame| kind_of(frame) >= Some(66)));
    client.quotes(10, "TSLA").await;
    let told = client.all_until("the type", |frame| frame.number == 58).await;
    assert_eq!(kind_of(told.last().unwrap()), Some(3));
    stage.order(r#"{"fault":"data-type","type":"live"}"#).await;
    client
        .all_until("live prices", |frame| {
            is_price(frame) && kind_of(frame) == Some(4)
        })
        .await;
    stage.gateway.stop().await.unwrap();
}
