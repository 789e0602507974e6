//! Who is let in, and who is let go.

use std::time::Duration;

use bridge::client::close;
use futures::SinkExt as _;
use protocol::feed::Say;
use protocol::ledger::Mode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::scene::{Browser, Scene, connect, get};

fn status(outcome: Result<Browser, Error>) -> u16 {
    match outcome {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    }
}

#[tokio::test]
async fn only_the_bridges_own_page_may_connect() {
    let scene = Scene::start().await;
    let running = scene.run().await;
    let address = running.address;
    let port = address.port();
    let own = format!("http://{address}");
    let local = format!("http://localhost:{port}");
    let ask = async |origin: Option<&str>, host: Option<&str>| status(connect(address, origin, host).await);
    assert_eq!(ask(Some(&own), None).await, 101);
    assert_eq!(ask(Some(&local), Some(&format!("localhost:{port}"))).await, 101);
    let foreign = [
        "http://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1:1".to_owned(),
        format!("http://127.0.0.1:{port}.evil.example"),
        "null".to_owned(),
        "file://".to_owned(),
    ];
    for origin in &foreign {
        assert_eq!(ask(Some(origin), None).await, 403, "{origin}");
    }
    assert_eq!(ask(None, None).await, 403, "no origin");
    assert_eq!(
        ask(Some(&own), Some(&format!("evil.example:{port}"))).await,
        403,
        "a renamed address"
    );
    for path in ["/", "/healthz", "/metrics", "/ws"] {
        let (status, _, _) = get(address, path, &format!("Host: evil.example:{port}\r\n")).await;
        assert_eq!(status, 403, "{path}");
    }
    running.end().await;
}

#[tokio::test]
async fn the_first_message_is_the_token() {
    let mut scene = Scene::start().await;
    scene.limits.hello = Duration::from_secs(1);
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let origin = format!("http://{}", running.address);
    let command = r#"{"say":"command","id":"a","verb":"halt"}"#;
    for first in [
        r#"{"say":"hello","token":""}"#,
        r#"{"say":"hello","token":"a-token-of-the-tesT"}"#,
        r#"{"say":"hello","token":"a-token-of-the-test "}"#,
        command,
        "nonsense",
    ] {
        let mut browser = connect(running.address, Some(&origin), None).await.unwrap();
        browser.text(first.to_owned()).await;
        assert_eq!(browser.closed().await, close::TOKEN, "{first}");
    }
    let mut silent = connect(running.address, Some(&origin), None).await.unwrap();
    assert_eq!(silent.closed().await, close::TOKEN, "nothing said");
    Browser::sign_in(running.address).await;
    running.end().await;
}

#[tokio::test]
async fn what_is_too_large_or_too_much_or_not_understood_ends_it() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let origin = format!("http://{}", running.address);

    let mut browser = connect(running.address, Some(&origin), None).await.unwrap();
    let huge = serde_json::to_string(&Say::Hello {
        token: "x".repeat(20_000),
    })
    .unwrap();
    browser.text(huge.clone()).await;
    assert_eq!(browser.closed().await, close::SIZE, "before the token");

    let (mut browser, _) = Browser::sign_in(running.address).await;
    browser.text(huge).await;
    assert_eq!(browser.closed().await, close::SIZE, "after the token");

    let (mut browser, _) = Browser::sign_in(running.address).await;
    for _ in 0..=scene.limits.messages_per_second {
        // The bridge may have hung up already.
        let _ = browser.socket.send(Message::Ping(Bytes::new())).await;
    }
    assert_eq!(browser.closed().await, close::POLICY, "too much");

    for bad in [
        "nonsense",
        r#"{"say":"order","symbol":"SPY"}"#,
        r#"{"say":"command","id":"a b","verb":"halt"}"#,
    ] {
        let (mut browser, _) = Browser::sign_in(running.address).await;
        browser.text(bad.to_owned()).await;
        assert_eq!(browser.closed().await, close::POLICY, "{bad}");
    }
    running.end().await;
}

#[tokio::test]
async fn a_full_house_says_so_and_has_room_again() {
    let mut scene = Scene::start().await;
    scene.limits.clients = 2;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let origin = format!("http://{}", running.address);
    let (one, _) = Browser::sign_in(running.address).await;
    let (_two, _) = Browser::sign_in(running.address).await;
    assert_eq!(status(connect(running.address, Some(&origin), None).await), 503);
    drop(one);
    let deadline = std::time::Instant::now() + crate::scene::PATIENCE;
    while status(connect(running.address, Some(&origin), None).await) == 503 {
        assert!(std::time::Instant::now() < deadline, "no room again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.end().await;
}

#[tokio::test]
async fn browsers_are_told_when_the_bridge_ends() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (mut browser, _) = Browser::sign_in(running.address).await;
    let (_, code) = tokio::join!(running.end(), browser.closed());
    assert_eq!(code, close::AWAY);
}
