//! Questions about the past are a lot of work: they wait for one another and hold up nothing else.

use crate::harness::{FINE, gateway};
use wire_client::{Body, Message, Raw, about, is_end_of_the_past, numbered};

/// So many questions wait that their answers take far longer than anything else here.
const MANY: i64 = 100;
/// Most questions of one client that wait.
const WAITING_MAX: i64 = 200;

/// A question whose answer takes a while: as many trades are looked at as for any.
fn costly(id: i64) -> Body {
    about(id, "AAPL").text(4, "1 min").text(5, "60 D")
}

fn cheap(id: i64) -> Body {
    about(id, "AAPL").text(4, "1 min").text(5, "600 S")
}

async fn ask_many(client: &mut Raw) {
    for id in 1..=MANY {
        client.send(20, &costly(id)).await;
    }
    client.told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_lot_of_history_holds_up_nobody() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut busy = Raw::connect(gateway.address(), 1).await;
    let mut trader = Raw::connect(gateway.address(), 2).await;
    ask_many(&mut busy).await;
    let order = Body::default()
        .text(5, "BUY")
        .text(6, "10")
        .text(8, "LMT")
        .double(9, 1.0)
        .int(66, 1);
    trader.send(3, &about(1, "AAPL").part(3, &order)).await;
    trader
        .until("acknowledgement", |message| message.number == 3)
        .await;
    // The questions of two clients take turns, so that one is answered while many of the other's wait.
    let told = trader.ask(20, &cheap(7)).await;
    assert!(told.iter().any(|message| message.number == 17), "{told:?}");
    // What still waits can be cancelled: both have come before the last of the many answers.
    busy.send(25, &numbered(MANY)).await;
    let cancelled = busy
        .until("cancellation", |message| message.int(1) == Some(MANY))
        .await;
    assert_eq!(cancelled.code(), Some(162), "{cancelled:?}");
    gateway.stop().await.unwrap();
}

/// A price of a kind, of a request.
fn price(id: i64, kind: i64) -> impl Fn(&Message) -> bool {
    move |message| message.number == 1 && (message.int(1), message.int(2)) == (Some(id), Some(kind))
}

/// The end of a snapshot.
fn end_of(id: i64) -> impl Fn(&Message) -> bool {
    move |message| message.number == 57 && message.int(1) == Some(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prices_of_weeks_are_looked_up_like_history() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for id in 1..=3 {
        client.send(20, &costly(id)).await;
    }
    let [low, high] = [15, 20].map(|kind| price(7, kind));
    client.send(1, &about(7, "AAPL").text(3, "165")).await;
    client.send(1, &about(8, "AAPL").text(3, "165")).await;
    let told = client.told().await;
    assert!(told.iter().any(price(7, 4)), "the quote comes at once: {told:?}");
    assert!(!told.iter().any(|message| low(message) || high(message)));
    client.send(2, &numbered(8)).await;
    let told = client.all_until("the prices of weeks", &high).await;
    assert!(told.iter().any(low) && told.iter().filter(|message| message.number == 108).count() == 3);
    // What is cancelled is not told.
    let told = client.ask(20, &cheap(9)).await;
    assert!(!told.iter().any(price(8, 20)), "{told:?}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_delayed_quote_begins_is_looked_up_like_history() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL", "--data", "delayed"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    client.send(59, &numbered(3)).await;
    for id in 1..=3 {
        client.send(20, &costly(id)).await;
    }
    let snapshot = |id| about(id, "AAPL").int(4, 1);
    for id in [5, 6] {
        client.send(1, &snapshot(id)).await;
    }
    client.send(1, &about(7, "AAPL")).await;
    let told = client.told().await;
    assert!(
        !told
            .iter()
            .any(|message| end_of(5)(message) || price(5, 68)(message))
    );
    // A number that waits is in use until it is cancelled.
    assert_eq!(client.codes(1, &snapshot(6)).await, [322]);
    client.send(2, &numbered(6)).await;
    let told = client.all_until("the end of the snapshot", end_of(5)).await;
    assert!(told.iter().any(price(5, 68)));
    assert_eq!(told.iter().filter(|message| message.number == 108).count(), 3);
    let told = client.all_until("a delayed price", price(7, 68)).await;
    assert!(
        told.iter()
            .all(|message| message.code().is_none() && message.int(1) != Some(6))
    );
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_can_be_cancelled_and_the_rest_is_answered_in_order() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for id in 1..=3 {
        client.send(20, &costly(id)).await;
    }
    let live = costly(4).int(9, 1);
    client.send(20, &live).await;
    client.send(20, &live).await;
    let ticks = about(5, "AAPL").text(3, "20260105-15:00:00").int(5, 3);
    client.send(96, &ticks).await;
    client.send(88, &about(6, "AAPL").text(4, "10 mins")).await;
    client.send(20, &cheap(7)).await;
    for (number, id) in [(25, 2), (25, 4), (107, 5), (89, 6)] {
        client.send(number, &numbered(id)).await;
    }
    let mut ends = Vec::new();
    while !ends.contains(&(7, 108)) {
        let end = client.until("answer", is_end_of_the_past).await;
        let id = end.int(1).unwrap();
        if let Some(code) = end.code() {
            ends.push((id, code));
            continue;
        }
        ends.push((id, i64::from(end.number)));
    }
    // The one of the same number is refused; cancels pass by what waits; ticks and histograms end in silence.
    let (refused, answered): (Vec<_>, Vec<_>) = ends.into_iter().partition(|(_, end)| *end > 108);
    assert_eq!(refused, [(4, 322), (2, 162), (4, 162)]);
    assert_eq!(answered, [(1, 108), (3, 108), (7, 108)]);
    assert_eq!(client.codes(25, &numbered(4)).await, [366]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_questions_are_refused_and_those_before_them_stand() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    // One of them may be answered already.
    for id in 1..=WAITING_MAX + 2 {
        client.send(20, &costly(id)).await;
    }
    let refused = client.until("refusal", |message| message.code().is_some()).await;
    assert_eq!(refused.code(), Some(162), "{refused:?}");
    assert!(
        refused.text(4).unwrap().contains("pacing violation"),
        "{refused:?}"
    );
    assert!(refused.int(1) > Some(WAITING_MAX), "{refused:?}");
    assert_eq!(client.codes(8, &Body::default()).await, FINE);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_stops_while_questions_wait() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    ask_many(&mut client).await;
    gateway.stop().await.unwrap();
    let mut answered = 0;
    while let Some(message) = client.next().await {
        answered += usize::from(message.number == 108);
    }
    assert!(answered < 100, "{answered} were answered before the end");
}
