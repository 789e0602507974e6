//! Prices, gains and books while they do not get through, and afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::harness::{Stage, hear};
use wire_client::{Body, DEADLINE, Message, Raw, about, lines, numbered};

/// Messages with prices of the market, and with gains.
const PRICES: [i32; 9] = [1, 2, 12, 13, 45, 46, 50, 90, 99];
const GAINS: [i32; 2] = [94, 95];

/// Asks for everything that carries prices, under the numbers from `first` on.
async fn ask_for_all(client: &mut Raw, first: i64) {
    client.send(9, &about(first, "AAPL")).await;
    let details = client.until("contract", |frame| frame.number == 10).await;
    let con_id = details.part(2).int(1).unwrap();
    let stock = |id: i64| about(first + id, "AAPL");
    let requests = [
        (1, stock(1)),
        (1, stock(2).int(4, 1)),
        (10, stock(3).int(3, 5)),
        (97, stock(4).text(3, "AllLast")),
        (50, stock(5).int(3, 5).text(4, "TRADES")),
        (92, numbered(first + 6).text(2, "DU1000001")),
        (94, numbered(first + 7).text(2, "DU1000001").int(4, con_id)),
    ];
    for (number, body) in requests {
        client.send(number, &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_in_an_outage_gets_no_prices_and_no_silence() {
    let mut stage = Stage::new().await;
    for (client, begins, ends) in [
        (
            1,
            r#"{"fault":"link","state":"lost"}"#,
            r#"{"fault":"link","state":"restored"}"#,
        ),
        (
            2,
            r#"{"fault":"farm","farm":"market-data","state":"begins"}"#,
            r#"{"fault":"farm","farm":"market-data","state":"ends"}"#,
        ),
    ] {
        stage.order(begins).await;
        let mut client = stage.client(client).await;
        ask_for_all(&mut client, 100).await;
        let told = hear(&mut client, 300).await;
        let numbers: BTreeSet<i32> = told.iter().map(|frame| frame.number).collect();
        let shows = |number: &i32| PRICES.contains(number) || GAINS.contains(number);
        assert!(!numbers.iter().any(shows), "{begins}: {numbers:?}");
        let ends_of_snapshots = told.iter().filter(|frame| frame.number == 57);
        let ids: Vec<_> = ends_of_snapshots.map(|frame| frame.int(1)).collect();
        assert_eq!(ids, [Some(102)], "the snapshot ends");
        assert!(numbers.contains(&58), "{numbers:?}");

        stage.order(ends).await;
        let mut missing = BTreeSet::from([1, 12, 50, 94, 95, 99]);
        while !missing.is_empty() {
            let frame = client.next().await.unwrap();
            missing.remove(&frame.number);
        }
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_refused_in_an_outage_though_it_was_asked_for_before() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    // Questions that take longer together than it takes to lose the link.
    let days = |id: i64| {
        about(id, "AAPL")
            .text(4, "1 min")
            .text(5, "2 D")
            .text(7, "TRADES")
    };
    for id in 1..=20 {
        client.send(20, &days(id)).await;
    }
    client.sync().await;
    stage.order(r#"{"fault":"link","state":"lost"}"#).await;
    client.story("error 1100").await;
    client.send(88, &about(99, "AAPL").text(4, "1 day")).await;
    let mut refused = BTreeSet::new();
    while !refused.is_superset(&BTreeSet::from([20, 99])) {
        let frame = client.next().await.unwrap();
        assert_eq!(frame.code(), Some(162), "{frame:?}");
        refused.insert(frame.int(1).unwrap());
    }
    stage.gateway.stop().await.unwrap();
}

/// The account's values by name.
async fn values(client: &mut Raw) -> BTreeMap<String, String> {
    client.send(6, &Body::new().int(1, 1)).await;
    let told = client.all_until("the end", |frame| frame.number == 54).await;
    let values = told.iter().filter(|frame| frame.number == 6);
    values
        .map(|frame| (frame.text(1).unwrap(), frame.text(2).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_stands_still_while_the_link_is_lost() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    client.buy(1, "AAPL", 3, None).await;
    client.story("fee").await;
    stage
        .order(r#"{"fault":"inactive","seconds":0.5,"when":{"in":"place-order"}}"#)
        .await;
    stage.order(r#"{"fault":"link","state":"lost"}"#).await;
    client.story("error 1100").await;
    let before = values(&mut client).await;
    client.send(61, &Body::new()).await;
    client.story("message 62").await;

    // The broker has the order, and trades it; nobody here hears of it, not even who asks.
    client.buy(2, "AAPL", 5, None).await;
    let traded = async {
        client.sync().await;
        while stage.order(r#"{"ask":"orders"}"#).await["orders"] != json!([]) {}
    };
    tokio::time::timeout(DEADLINE, traded).await.expect("a trade");
    let told = hear(&mut client, 300).await;
    assert!(told.is_empty(), "{:?}", lines(&told));
    assert!(client.open_orders().await.is_empty());
    client.send(7, &numbered(9)).await;
    assert_eq!(client.story("message 55").await, ["fill 3", "fee", "message 55"]);
    client.send(61, &Body::new()).await;
    let held = client.all_until("the end", |frame| frame.number == 62).await;
    let shares = |frame: &Message| (frame.number == 61).then(|| frame.text(3).unwrap());
    assert_eq!(held.iter().find_map(shares).as_deref(), Some("3"));
    assert_eq!(values(&mut client).await, before);

    stage.order(r#"{"fault":"link","state":"restored"}"#).await;
    let told = client
        .all_until("the position", |frame| shares(frame).as_deref() == Some("8"))
        .await;
    let told = lines(&told);
    let part = ["open Filled", "Filled 5/0", "fee", "message 61"];
    assert_eq!(told[0], "error 1102");
    assert_eq!(told[told.len() - 4..], part, "{told:?}");
    assert_ne!(values(&mut client).await, before);
    stage.gateway.stop().await.unwrap();
}

/// What a client keeps of the books that it follows: levels by request and side.
#[derive(Default)]
struct Books(BTreeMap<(i64, i64), Vec<f64>>);

impl Books {
    /// Takes a change in. Each must name a level that the client has.
    fn apply(&mut self, frame: &Message) {
        let change = frame.part(2);
        let of = (frame.int(1).unwrap(), change.int(3).unwrap());
        let levels = self.0.entry(of).or_default();
        let place = usize::try_from(change.int(1).unwrap()).unwrap();
        let price = change.double(4).unwrap();
        match change.int(2).unwrap() {
            0 => levels.insert(place, price),
            1 => levels[place] = price,
            _ => drop(levels.remove(place)),
        }
    }

    /// Whether every book of five levels is in order: bids go down, asks go up, and no bid reaches an ask.
    fn are_whole(&self) -> bool {
        let of = |id: i64, side: i64| &self.0[&(id, side)];
        let ids: BTreeSet<i64> = self.0.keys().map(|(id, _)| *id).collect();
        ids.into_iter().all(|id| {
            let (asks, bids) = (of(id, 0), of(id, 1));
            let depth = (asks.len(), bids.len()) == (5, 5);
            let (up, down) = (asks.is_sorted(), bids.iter().rev().is_sorted());
            depth && up && down && bids[0] < asks[0]
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_takes_every_price_and_leaves_gains_and_books_whole() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(1).await;
    let depth = |id: i64| about(id, "AAPL").int(3, 5);
    let history = |id: i64| {
        let ask = about(id, "AAPL").text(4, "5 secs").text(5, "60 S");
        ask.text(7, "TRADES").int(9, 1)
    };
    let mut books = Books::default();
    client.send(10, &depth(1)).await;
    client.send(92, &numbered(3).text(2, "DU1000001")).await;
    client.send(20, &history(2)).await;
    let told = client.all_until("history", |frame| frame.number == 108).await;
    let is_level = |frame: &&Message| frame.number == 12;
    told.iter().filter(is_level).for_each(|frame| books.apply(frame));
    assert!(!books.0.is_empty(), "{:?}", lines(&told));

    stage
        .order(r#"{"fault":"competing-session","state":"begins"}"#)
        .await;
    client.send(10, &depth(4)).await;
    client
        .send(50, &about(5, "AAPL").int(3, 5).text(4, "TRADES"))
        .await;
    client.send(20, &history(6)).await;
    let mut refused = BTreeSet::new();
    while refused.len() < 5 {
        let frame = client.next().await.unwrap();
        if frame.code() == Some(10197) {
            refused.insert(frame.int(1).unwrap());
        } else if refused.is_empty() && is_level(&&frame) {
            books.apply(&frame);
        }
    }
    assert_eq!(refused, BTreeSet::from([1, 2, 4, 5, 6]));
    let told = client.all_until("gains", |frame| frame.number == 94).await;
    let more = hear(&mut client, 300).await;
    let is_price = |frame: &Message| PRICES.contains(&frame.number);
    assert!(!told.iter().chain(&more).any(is_price), "{:?}", lines(&told));

    stage
        .order(r#"{"fault":"competing-session","state":"ends"}"#)
        .await;
    // Both are told of the market's next trades: what changed meanwhile, and what changes now.
    let mut last = 0;
    for _ in 0..200 {
        let frame = client.until("a level", |frame| frame.number == 12).await;
        let id = frame.int(1).unwrap();
        if last > id {
            assert!(books.are_whole(), "{:?}", books.0);
        }
        last = id;
        books.apply(&frame);
    }
    let ids: BTreeSet<i64> = books.0.keys().map(|(id, _)| *id).collect();
    assert_eq!(ids, BTreeSet::from([1, 4]));
    stage.gateway.stop().await.unwrap();
}
