//! Orders by bare frames: which are none, and which numbers they may have.

use crate::harness::{FINE, gateway};
use wire_client::{Body, Message, Raw, about, lines, numbered};

/// The next valid id.
const NEXT_ID: i32 = 8;
/// From here on an order id has to follow on the ids before it.
const CHOSEN_MAX: i64 = 1_000_000_000;

/// The terms of a limit order that never trades.
fn terms(shares: &str) -> Body {
    Body::default()
        .text(5, "BUY")
        .text(6, shares)
        .text(8, "LMT")
        .double(9, 1.0)
        .int(66, 1)
}

fn of(id: i64, terms: &Body) -> Body {
    about(id, "AAPL").part(3, terms)
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_told_in_plain_digits() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for shares in [
        "1_0", "+10", "10.", ".5", "1e1", " 10", "0x10", "１０", "-5", "0", "",
    ] {
        assert_eq!(client.codes(3, &of(1, &terms(shares))).await, [434], "`{shares}`");
    }
    for (id, shares) in [(1, "10"), (2, "10.000")] {
        assert_eq!(client.codes(3, &of(id, &terms(shares))).await, FINE, "`{shares}`");
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_trade_otherwise_than_it_says_is_refused() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let trail = Body::default()
        .text(5, "SELL")
        .text(6, "10")
        .text(8, "TRAIL LIMIT")
        .double(10, 1.0)
        .int(66, 1);
    assert_eq!(
        client.codes(3, &of(1, &trail.clone().double(99, -0.5))).await,
        [110]
    );
    assert_eq!(client.codes(3, &of(1, &trail.double(99, 0.5))).await, FINE);
    let short = Body::default()
        .text(5, "SSHORT")
        .text(6, "10")
        .text(8, "MKT")
        .int(66, 1);
    assert_eq!(client.codes(3, &of(2, &short)).await, [321]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_id_leaves_a_client_without_a_next_one() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let next = |told: &[Message]| told[0].int(1).unwrap();
    for id in [CHOSEN_MAX + 1_001, 1_499_999_998, 1_499_999_999, 0, -1] {
        assert_eq!(client.codes(3, &of(id, &terms("1"))).await, [321], "{id}");
        assert_eq!(next(&client.ask(NEXT_ID, &Body::default()).await), 1);
    }
    // Up to a billion a client chooses as it likes; from there on it counts.
    for id in [CHOSEN_MAX, CHOSEN_MAX + 1, CHOSEN_MAX + 1_000] {
        assert_eq!(client.codes(3, &of(id, &terms("1"))).await, FINE, "{id}");
        assert_eq!(next(&client.ask(NEXT_ID, &Body::default()).await), id + 1);
    }
    assert_eq!(client.codes(3, &of(CHOSEN_MAX + 3_000, &terms("1"))).await, [321]);
    // An order that is there can be changed under its number.
    assert_eq!(client.codes(3, &of(CHOSEN_MAX + 1, &terms("2"))).await, FINE);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_the_broker_s_own_screen_are_bound_to_client_0_alone() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut other = Raw::connect(gateway.address(), 1).await;
    let told = other.ask(15, &numbered(1)).await;
    let [refused] = &told[..] else { panic!("{told:?}") };
    assert_eq!((refused.int(1), refused.code()), (Some(-1), Some(321)));
    let text = refused.text(4).unwrap();
    assert!(
        text.ends_with("Only the default client (i.e 0) can auto bind orders"),
        "{text}"
    );
    let mut first = Raw::connect(gateway.address(), 0).await;
    let told = first.ask(15, &numbered(1)).await;
    assert_eq!(told.last().map(|message| message.number), Some(53));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_places_an_order_after_hours_is_warned_until_when_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let day = |date: &str| format!("{date}T00:00:00Z,100,101,99,100,50000\n");
    let days = ["2013-10-07", "2013-10-08"].map(day).concat();
    let file = folder.path().join("AAPL.csv");
    std::fs::write(file, format!("timestamp,open,high,low,close,volume\n{days}")).unwrap();
    let market = folder.path().to_str().unwrap();
    // At 18:00 in New York, where the clock stands until somebody asks for prices.
    let (gateway, _state) = gateway(&["--market", market, "--start", "2013-10-07T22:00:00Z"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let told = client.ask(3, &of(1, &terms("10"))).await;
    assert_eq!(
        lines(&told),
        ["open PreSubmitted", "PreSubmitted 0/10", "error 399"]
    );
    let warning = told.last().unwrap();
    assert_eq!(warning.int(1), Some(1));
    assert_eq!(
        warning.text(4).unwrap(),
        "Order Message:\nBUY 10 AAPL NASDAQ\n\
         Warning: your order will not be placed at the exchange until 2013-10-08 09:30:00 US/Eastern"
    );
    // Neither new terms nor what may trade now: 19 is outsideRth.
    assert_eq!(client.codes(3, &of(1, &terms("20"))).await, FINE);
    assert_eq!(client.codes(3, &of(2, &terms("10").int(19, 1))).await, FINE);
    // What is kept back is warned of when it is let go, and what waits for it too.
    assert_eq!(client.codes(3, &of(3, &terms("10").int(66, 0))).await, FINE);
    let child = client.ask(3, &of(4, &terms("10").int(4, 3))).await;
    let warned = child.iter().filter(|message| message.code() == Some(399));
    let ids: Vec<_> = warned.map(|warning| warning.int(1).unwrap()).collect();
    assert_eq!(ids, [4, 3]);
    gateway.stop().await.unwrap();
}
