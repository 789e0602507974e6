//! A real Chromium opens the dashboard as a person would: it sees prices and a trade come in without
//! reloading, presses a button, and a picture is taken.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use supervisor::ports;

use crate::harness::{PATIENCE, demo, root, tool, until};

/// How long a first trade may take to be on the page.
const FIRST_TRADE: Duration = Duration::from_secs(90);
/// A laptop's screen.
const WINDOW: &str = "--window-size=1440,900";

/// A browser with its driver; both end with it.
struct Browser {
    client: Client,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn open() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let mut driver = Command::new(tool("chromedriver"));
        driver
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let driver = driver.spawn().expect("chromedriver starts");
        let data = format!("--user-data-dir={}", profile.path().display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            WINDOW,
            &data,
        ];
        let options = json!({"binary": tool("chromium"), "args": flags});
        let capabilities = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let capabilities = capabilities.as_object().unwrap().clone();
        let address = format!("http://127.0.0.1:{port}");
        let connect = || async {
            let connector = hyper_util::client::legacy::connect::HttpConnector::new();
            ClientBuilder::new(connector)
                .capabilities(capabilities.clone())
                .connect(&address)
                .await
                .ok()
        };
        let client = until("chromedriver opens a browser", PATIENCE, connect).await;
        Self {
            client,
            driver,
            _profile: profile,
        }
    }

    async fn text(&self, selector: &str) -> Option<String> {
        let element = self.client.find(Locator::Css(selector)).await.ok()?;
        element.text().await.ok().filter(|text| !text.trim().is_empty())
    }

    async fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        self.client
            .find(Locator::Css(selector))
            .await
            .ok()?
            .attr(name)
            .await
            .ok()?
    }

    async fn close(mut self) {
        self.client.clone().close().await.expect("the browser closes");
        self.driver.kill().expect("the driver ends");
        self.driver.wait().expect("the driver ends");
    }
}

#[tokio::test]
async fn a_person_sees_prices_and_a_trade_come_in_and_halts() {
    assert!(
        root().join("web-ui/dist/index.html").is_file(),
        "the dashboard is not built; type: ./just ui"
    );
    let whole = demo().await;
    let browser = Browser::open().await;
    browser.client.goto(&whole.stack.dashboard()).await.unwrap();
    // A mark of this very document: it would be gone after a reload.
    browser
        .client
        .execute("window.notReloaded = true", vec![])
        .await
        .unwrap();
    prices_and_a_trade_come_in(&browser).await;
    halt_is_pressed_and_shown(&browser).await;
    let same = browser
        .client
        .execute("return window.notReloaded === true", vec![])
        .await
        .unwrap();
    assert_eq!(same, json!(true), "the page was reloaded");
    assert!(
        browser
            .client
            .find(Locator::Css(r#"[data-test="mismatch"]"#))
            .await
            .is_err(),
        "page and bridge disagree"
    );
    let picture = browser.client.screenshot().await.unwrap();
    let place = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    std::fs::write(place.join("dashboard.png"), picture).unwrap();
    browser.close().await;
    whole.stop().await;
}

/// Waits for what a market that lives does to a page.
async fn prices_and_a_trade_come_in(browser: &Browser) {
    let prices = r#"[data-test^="last-"]"#;
    until("19 symbols are on the page", PATIENCE, || async {
        let rows = browser.client.find_all(Locator::Css(prices)).await.ok()?;
        (rows.len() == 19).then_some(())
    })
    .await;
    let look = || async {
        browser
            .text(prices)
            .await
            .filter(|text| text.chars().any(|c| c.is_ascii_digit()))
    };
    let first = until("a price is on the page", PATIENCE, look).await;
    let look = || async { browser.text(prices).await.filter(|text| *text != first) };
    until("the price changes", PATIENCE, look).await;
    until("a trade is on the page", FIRST_TRADE, || {
        browser.text(r#"[data-test="trade-row"]"#)
    })
    .await;
}

/// Presses the button, and waits for the new state and the answer.
async fn halt_is_pressed_and_shown(browser: &Browser) {
    let halt = r#"[data-test="halt"]"#;
    assert_eq!(
        browser.attribute(halt, "aria-pressed").await.as_deref(),
        Some("false")
    );
    browser
        .client
        .find(Locator::Css(halt))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    let pressed = || async {
        browser
            .attribute(halt, "aria-pressed")
            .await
            .filter(|pressed| pressed == "true")
    };
    until("the page shows that trading is halted", PATIENCE, pressed).await;
    let answer = || async {
        browser
            .attribute(r#"[data-test="command-reply"]"#, "data-verb")
            .await
            .filter(|verb| verb == "halt")
    };
    until("the page shows the answer", PATIENCE, answer).await;
}
