//! The page's files, health and metrics, and a start that can't succeed.

use std::time::Instant;

use protocol::ledger::Mode;
use runtime::{Exit, code};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::scene::{PATIENCE, Running, Scene, get};

async fn healthz(running: &Running, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, head, body) = get(running.address, "/healthz", "").await;
        assert!(head.contains("application/json"));
        let health: Value = serde_json::from_slice(&body).unwrap();
        if wanted(&health) {
            return health;
        }
        assert!(Instant::now() < deadline, "{health}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn files_come_with_their_type_and_are_revalidated() {
    let scene = Scene::start().await;
    let folder = scene.settings.bridge.page.clone();
    std::fs::write(folder.join("web_ui.wasm"), b"\0asm").unwrap();
    std::fs::write(scene.server.state.path().join("outside.txt"), "secret").unwrap();
    let running = scene.run().await;
    let (status, head, body) = get(running.address, "/", "").await;
    assert!(status == 200 && body.starts_with(b"<!doctype html>"));
    for header in [
        "content-type: text/html; charset=utf-8",
        "x-content-type-options: nosniff",
        "cache-control: no-cache",
        "referrer-policy: no-referrer",
        "script-src 'self' 'wasm-unsafe-eval'",
        "object-src 'none'; base-uri 'none'",
        "frame-ancestors 'none'",
        &format!("connect-src 'self' ws://{}", running.address),
    ] {
        assert!(head.contains(header), "{header} is missing in\n{head}");
    }
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let again = format!("If-None-Match: {tag}\r\n");
    assert_eq!(get(running.address, "/", &again).await.0, 304);
    std::fs::write(
        folder.join("index.html"),
        "<!doctype html><title>page two</title>",
    )
    .unwrap();
    assert_eq!(
        get(running.address, "/", &again).await.0,
        200,
        "a page built anew is taken up"
    );
    let (status, head, _) = get(running.address, "/web_ui.wasm", "").await;
    assert!(
        status == 200 && head.contains("content-type: application/wasm"),
        "{head}"
    );
    for path in [
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/.env",
        "/absent.js",
        "//etc/passwd",
    ] {
        assert_eq!(get(running.address, path, "").await.0, 404, "{path}");
    }
    running.end().await;
}

#[tokio::test]
async fn health_and_metrics_say_what_is() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    // Its own heartbeat, as the bus brought it back.
    let own_is_ready = |health: &Value| {
        let stages = health["stages"].as_array().unwrap();
        stages
            .iter()
            .any(|stage| stage["service"] == "bridge" && stage["state"] == "ready")
    };
    let health = healthz(&running, own_is_ready).await;
    assert_eq!(health["state"], "ready");
    let (_, _, body) = get(running.address, "/metrics", "").await;
    let body = String::from_utf8(body).unwrap();
    for line in [
        "tradewind_ledger_sequence 3",
        "tradewind_cash_dollars 100000",
        "# TYPE tradewind_equity_dollars gauge",
    ] {
        assert!(
            body.lines().any(|found| found == line),
            "{line} is missing in\n{body}"
        );
    }
    assert!(
        body.contains("tradewind_stage_ready{service=\"bridge\",instance=\"test\"} 1"),
        "{body}"
    );
    running.end().await;
}

#[tokio::test]
async fn a_page_that_is_not_built_is_said_and_healed() {
    let scene = Scene::start().await;
    let index = scene.settings.bridge.page.join("index.html");
    std::fs::remove_file(&index).unwrap();
    let running = scene.run().await;
    let (status, _, body) = get(running.address, "/", "").await;
    let body = String::from_utf8(body).unwrap();
    assert!(
        status == 503 && body.contains("./just ui") && body.contains("index.html"),
        "{body}"
    );
    let health = healthz(&running, |health| health["state"] == "degraded").await;
    assert!(health["text"].as_str().unwrap().contains("./just ui"), "{health}");
    std::fs::write(&index, "<!doctype html>").unwrap();
    healthz(&running, |health| health["state"] == "ready").await;
    assert_eq!(get(running.address, "/", "").await.0, 200);
    running.end().await;
}

#[tokio::test]
async fn a_taken_port_and_a_missing_token_are_told_in_a_sentence() {
    let scene = Scene::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut settings = scene.settings.clone();
    settings.bridge.listen = address.clone();
    let error = bridge::serve(scene.server.context("bridge", settings).await)
        .await
        .unwrap_err();
    let exit = error.downcast_ref::<Exit>().unwrap();
    assert_eq!(exit.code, code::UNAVAILABLE);
    assert!(
        exit.text.contains(&address) && exit.text.contains("bridge.listen"),
        "{exit}"
    );

    std::fs::remove_file(scene.server.state.path().join("token")).unwrap();
    let error = scene.run().await.task.await.unwrap().unwrap_err();
    let exit = error.downcast_ref::<Exit>().unwrap();
    assert!(
        exit.code == code::MISSING && exit.text.contains("token"),
        "{exit}"
    );
}
