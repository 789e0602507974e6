//! From tick to fill to file to browser: everything that shows money shows the same.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::portfolio::Portfolio;
use futures::{SinkExt as _, StreamExt as _};
use protocol::Symbol;
use protocol::ledger::Record;
use protocol::market::Quote;
use protocol::operator::{HealthState, Query, StateMark};
use protocol::subject::{filter, stream};
use runtime::history::History;
use serde_json::{Value, json};
use supervisor::Stack;
use supervisor::stack::STAGES;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::harness::{PATIENCE, Whole, demo, until};

/// How long the first trade may take from an empty state folder.
const FIRST_TRADE: Duration = Duration::from_secs(90);

/// LEDGER folded with the same fold that the stages use but none of their processes.
pub struct Books {
    records: History<Record>,
    pub portfolio: Portfolio,
}

impl Books {
    pub async fn open(stack: &Stack) -> Self {
        let bus = stack.bus().expect("the server is up");
        let records = bus.history::<Record>(stream::LEDGER, ">", 1).await;
        Self {
            records: records.expect("the operator reads LEDGER"),
            portfolio: Portfolio::default(),
        }
    }

    /// Folds on, as far as `sequence`.
    pub async fn up_to(&mut self, sequence: u64) {
        while self.portfolio.sequence < sequence {
            let record = tokio::time::timeout(PATIENCE, self.records.next())
                .await
                .expect("LEDGER answers")
                .expect("a record");
            self.portfolio
                .apply(record.sequence, &record.hash(), &record.message)
                .expect("LEDGER is whole");
        }
    }
}

/// The books as of `sequence`.
pub async fn fold(stack: &Stack, sequence: u64) -> Portfolio {
    let mut books = Books::open(stack).await;
    books.up_to(sequence).await;
    books.portfolio
}

#[tokio::test]
async fn from_tick_to_trade_to_file_to_browser() {
    let whole = demo().await;
    for stage in STAGES {
        let ready = || async {
            whole
                .stack
                .health(stage)
                .filter(|health| health.state == HealthState::Ready)
        };
        until(&format!("{stage} is ready"), PATIENCE, ready).await;
    }
    every_symbol_ticks(&whole).await;
    first_trade(&whole).await;
    // Each answer names the state it is of; our own fold of LEDGER, as far as that, must give the same
    // digest.
    let (trades, mark) = whole
        .ask::<Value>("trades", &Query::default())
        .await
        .expect("an answer");
    let mark = mark.expect("the answer says which state it is of");
    let own = fold(&whole.stack, mark.sequence).await;
    assert_eq!(own.mark(), mark, "persistence and LEDGER");
    let executions: BTreeSet<_> = trades
        .iter()
        .map(|trade| trade["execution_id"].as_str().unwrap().to_owned())
        .collect();
    let expected: BTreeSet<_> = own
        .trades
        .iter()
        .map(|trade| trade.execution_id.clone())
        .collect();
    assert_eq!(executions, expected, "the trades of query.trades and of LEDGER");
    let shown = browser_mark(&whole.stack).await;
    assert_eq!(
        fold(&whole.stack, shown.sequence).await.mark(),
        shown,
        "the bridge and LEDGER"
    );
    whole.stop().await;
}

async fn every_symbol_ticks(whole: &Whole) {
    let mut quotes = whole
        .stack
        .bus()
        .unwrap()
        .subscribe::<Quote>(filter::QUOTES)
        .await
        .unwrap();
    let mut missing: BTreeSet<Symbol> = whole
        .stack
        .plan
        .settings
        .market
        .watchlist
        .iter()
        .copied()
        .collect();
    assert_eq!(missing.len(), 19);
    let all = async {
        while !missing.is_empty() {
            let quote = quotes.next().await.expect("the bus is open").body;
            assert!(
                quote
                    .mark()
                    .is_some_and(|price| price.is_sign_positive() && !price.is_zero()),
                "{quote:?}"
            );
            missing.remove(&quote.symbol);
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("every symbol ticks");
}

/// Waits for the first trade.
pub async fn first_trade(whole: &Whole) {
    let look = || async {
        let (trades, _) = whole.ask::<Value>("trades", &Query::default()).await?;
        (!trades.is_empty()).then_some(())
    };
    until("the first trade", FIRST_TRADE, look).await;
}

/// What the bridge says to a browser about where its fold stands.
async fn browser_mark(stack: &Stack) -> StateMark {
    let listen = &stack.plan.settings.bridge.listen;
    let token = std::fs::read_to_string(stack.plan.state.join("token")).unwrap();
    let mut request = format!("ws://{listen}/ws").into_client_request().unwrap();
    request.headers_mut().insert(
        "Origin",
        HeaderValue::from_str(&format!("http://{listen}")).unwrap(),
    );
    let (mut socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .expect("the bridge takes the page");
    let hello = json!({"say": "hello", "token": token.trim()}).to_string();
    socket.send(hello.into()).await.unwrap();
    let mut greeted = false;
    let mark = async {
        loop {
            let message = socket.next().await.expect("the socket stays open").unwrap();
            let Ok(text) = message.into_text() else { continue };
            let Ok(frame) = serde_json::from_str::<Value>(&text) else {
                continue;
            };
            greeted |= frame["frame"] == "snapshot";
            if frame["frame"] == "mark" {
                assert!(greeted, "a snapshot comes first");
                return serde_json::from_value(frame["state"].clone()).unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, mark)
        .await
        .expect("the bridge says where it stands")
}
