//! Market data lines: live, delayed or refused, how many at a time, and what they carry.

use crate::harness::{FINE, gateway};
use wire_client::{Body, Message, Raw, about, numbered};

/// Switches the kind of prices.
const DATA_TYPE: i32 = 59;

fn price(kind: i64) -> impl Fn(&Message) -> bool {
    move |message| message.number == 1 && message.int(2) == Some(kind)
}

fn seconds() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_prices_are_late_and_only_for_who_asks_for_them() {
    let (gateway, _state) = gateway(&["--data", "delayed", "--delay-seconds", "600"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    assert_eq!(client.codes(1, &about(5, "AAPL")).await, [354]);
    client.send(DATA_TYPE, &numbered(3)).await;
    client.send(1, &about(6, "AAPL")).await;
    let told = client.all_until("the last of the quote", price(73)).await;
    assert_eq!(told[0].code(), Some(10167));
    assert_eq!((told[1].number, told[1].int(2)), (58, Some(3)));
    assert!(told.iter().any(price(66)) && told.iter().any(price(67)));
    assert!(!told.iter().any(|message| price(1)(message) || price(4)(message)));
    let stamp = |message: &Message| {
        let is_time = message.number == 46 && message.int(2) == Some(88);
        is_time.then(|| message.text(3).unwrap().parse::<i64>().unwrap())
    };
    let first = told.iter().find_map(stamp).unwrap();
    assert!((seconds() - 600 - first).abs() < 20, "{first}");
    // It goes on, still late.
    let later = client.until("later price", |message| {
        stamp(message).is_some_and(|at| at > first)
    });
    let later = stamp(&later.await).unwrap();
    assert!((seconds() - 600 - later).abs() < 20, "{later}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_market_data_every_request_for_prices_is_refused() {
    let (gateway, _state) = gateway(&["--data", "none"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    assert_eq!(client.codes(1, &about(5, "AAPL")).await, [354]);
    assert_eq!(client.codes(97, &about(6, "AAPL").text(3, "Last")).await, [10189]);
    assert_eq!(client.codes(50, &about(7, "AAPL")).await, [420]);
    client.send(DATA_TYPE, &numbered(4)).await;
    assert_eq!(client.codes(1, &about(5, "AAPL")).await, [10168]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_limited_for_all_clients_together_and_free_again_afterwards() {
    let (gateway, _state) = gateway(&["--lines", "2"]).await;
    let mut first = Raw::connect(gateway.address(), 1).await;
    let mut other = Raw::connect(gateway.address(), 2).await;
    assert_eq!(first.codes(1, &about(1, "AAPL")).await, FINE);
    assert_eq!(other.codes(50, &about(1, "NVDA")).await, FINE);
    assert_eq!(first.codes(1, &about(2, "TSLA")).await, [101]);
    assert_eq!(other.codes(50, &about(2, "TSLA")).await, [101]);
    // A stock that somebody follows costs no second line, and a snapshot none at all.
    assert_eq!(first.codes(1, &about(2, "NVDA")).await, FINE);
    let snapshot = first.ask(1, &about(3, "TSLA").int(4, 1)).await;
    assert!(
        snapshot
            .iter()
            .any(|message| message.number == 57 && message.int(1) == Some(3))
    );
    // A cancel frees a line, and so does a client that leaves.
    assert_eq!(first.codes(2, &numbered(1)).await, FINE);
    assert_eq!(first.codes(1, &about(4, "TSLA")).await, FINE);
    drop(first);
    let freed = async {
        while other.codes(1, &about(9, "SOFI")).await == [101] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(wire_client::DEADLINE, freed).await.unwrap();
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn few_stocks_can_be_followed_closely_and_no_id_is_used_twice() {
    let (gateway, _state) = gateway(&[]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let ticks = Body::new().text(3, "AllLast");
    let depth = Body::new().int(3, 3);
    for (number, how, full) in [(97, ticks, 10190), (10, depth, 309)] {
        for (id, symbol, codes) in [
            (1, "AAPL", &[][..]),
            (2, "NVDA", &[]),
            (3, "TSLA", &[]),
            (4, "SOFI", &[full]),
            (5, "TSLA", &[]),
            (5, "TSLA", &[322]),
        ] {
            let mut body = about(id, symbol);
            body.0.extend(&how.0);
            assert_eq!(client.codes(number, &body).await, codes, "{number} {id} {symbol}");
        }
    }
    assert_eq!(client.codes(98, &numbered(1)).await, FINE);
    assert_eq!(client.codes(97, &about(6, "SOFI").text(3, "BidAsk")).await, FINE);
    assert_eq!(client.codes(97, &about(7, "SOFI").text(3, "Often")).await, [321]);
    for number in [1, 50] {
        assert_eq!(client.codes(number, &about(5, "AAPL")).await, FINE);
        assert_eq!(client.codes(number, &about(5, "AAPL")).await, [322]);
    }
    gateway.stop().await.unwrap();
}

/// Whether a message tells trades or quotes one by one, of the past or as they come, of a request.
fn is_tick_of(id: i64) -> impl Fn(&Message) -> bool {
    move |message| matches!(message.number, 96..=99) && message.int(1) == Some(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_the_past_come_first_and_none_is_left_out_before_those_that_follow() {
    let (gateway, _state) = gateway(&["--trades-per-second", "50"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let ticks = |id, kind, count| about(id, "AAPL").text(3, kind).int(4, count);
    for (id, kind, number, field) in [(1, "Last", 98, 3), (2, "BidAsk", 97, 4), (3, "MidPoint", 96, 5)] {
        client.send(97, &ticks(id, kind, 10)).await;
        let first = client.until("ticks of the past", is_tick_of(id)).await;
        assert_eq!(first.number, number, "{kind}");
        let past = first.parts(2);
        assert_eq!(past.len(), 10, "{kind}");
        let next = client.until("a tick", is_tick_of(id)).await;
        assert_eq!(next.number, 99, "{kind}");
        assert!(next.part(field).int(1) >= past[9].int(1), "{kind}");
    }
    // All of the trades, each once and in order.
    client.send(97, &ticks(4, "AllLast", 5)).await;
    let trade = |tick: &Message| (tick.int(1), tick.double(3).map(f64::to_bits), tick.text(4));
    let mut told: Vec<_> = client
        .until("ticks of the past", is_tick_of(4))
        .await
        .parts(2)
        .iter()
        .map(trade)
        .collect();
    while told.len() < 30 {
        told.push(trade(&client.until("a tick", is_tick_of(4)).await.part(3)));
    }
    let since = told[0].0.unwrap();
    let since = time::OffsetDateTime::from_unix_timestamp(since).unwrap();
    let format = time::macros::format_description!("[year][month][day]-[hour]:[minute]:[second]");
    let asked = about(5, "AAPL")
        .text(3, &since.format(format).unwrap())
        .int(5, 200)
        .text(6, "TRADES");
    client.send(96, &asked).await;
    let all = client.until("all ticks", is_tick_of(5)).await.parts(2);
    let all: Vec<_> = all.iter().map(trade).collect();
    assert!(
        all.windows(told.len()).any(|part| part == told),
        "{told:?} in {all:?}"
    );
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_the_past_that_wait_hold_their_number_and_can_be_cancelled() {
    let (gateway, _state) = gateway(&["--trades-per-second", "50"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    // What takes a while, so that the next question waits.
    let costly = |id| about(id, "AAPL").text(4, "1 min").text(5, "60 D");
    for id in 1..=3 {
        client.send(20, &costly(id)).await;
    }
    let ticks = about(7, "AAPL").text(3, "Last").int(4, 10);
    client.send(97, &ticks).await;
    assert_eq!(client.codes(97, &ticks).await, [322]);
    client.send(98, &numbered(7)).await;
    client.send(20, &costly(4)).await;
    let last = |message: &Message| message.number == 108 && message.int(1) == Some(4);
    let told = client.all_until("the last answer", last).await;
    assert!(!told.iter().any(is_tick_of(7)));
    // The number is free again.
    client.send(97, &ticks).await;
    assert_eq!(client.until("ticks of the past", is_tick_of(7)).await.number, 98);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_ticks_are_told_or_refused() {
    let (gateway, _state) = gateway(&["--trades-per-second", "20"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    client
        .send(1, &about(1, "AAPL").text(3, "233,236,165,221,100"))
        .await;
    let told = client.all_until("the last of the weeks", price(20)).await;
    assert!(told.iter().all(|message| message.code().is_none()));
    assert!(
        told.iter()
            .any(|message| message.number == 45 && message.int(2) == Some(46))
    );
    for kind in 15..=20 {
        assert!(told.iter().any(price(kind)), "weekly price {kind}");
    }
    assert!(told.iter().any(price(37)), "the mark");
    let trade = |message: &Message| message.number == 46 && message.int(2) == Some(48);
    let text = client.until("trade", trade).await.text(3).unwrap();
    let parts: Vec<&str> = text.split(';').collect();
    let numbers: Vec<f64> = parts[..5].iter().map(|part| part.parse().unwrap()).collect();
    assert_eq!((parts.len(), parts[5]), (6, "true"));
    assert!(
        numbers[3] >= numbers[1] && (numbers[4] - numbers[0]).abs() < numbers[0] / 5.0,
        "{text}"
    );

    assert_eq!(client.codes(1, &about(2, "AAPL").text(3, "999")).await, [321]);
    assert_eq!(
        client.codes(1, &about(2, "AAPL").text(3, "233").int(4, 1)).await,
        [321]
    );
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_market_is_frozen_for_who_knows_frozen_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    for day in ["2013-10-07", "2013-10-08"] {
        text += &format!("{day}T13:30:00Z,100,101,99,100.5,1000\n{day}T13:31:00Z,100.5,102,99,101,500\n");
    }
    std::fs::write(folder.path().join("SPY.csv"), text).unwrap();
    let market = folder.path().to_str().unwrap();
    // The market opens four seconds after the start: a client that is slow asks before that, too.
    let start = [
        "--start",
        "2013-10-08T07:00:00Z",
        "--speed",
        "6000",
        "--market",
        market,
    ];
    let (gateway, _state) = gateway(&start).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let type_of = |told: &[Message]| told.iter().find(|message| message.number == 58).unwrap().int(2);
    assert_eq!(type_of(&client.ask(1, &about(1, "SPY")).await), Some(1));
    client.send(DATA_TYPE, &numbered(2)).await;
    let told = client.ask(1, &about(2, "SPY")).await;
    assert_eq!(type_of(&told), Some(2));
    let last = told.iter().find(|message| price(4)(message)).unwrap();
    assert_eq!(last.double(3), Some(101.0), "the last price before the close");
    // When the market opens, the line is live, and at its end it is frozen again.
    for kind in [1, 2] {
        let changed = |message: &Message| message.number == 58 && message.int(2) == Some(kind);
        assert_eq!(client.until("change of type", changed).await.int(1), Some(2));
    }
    gateway.stop().await.unwrap();
}
