//! Questions and answers: pages, filters, and what is said to a question that can't be answered.

use std::collections::BTreeSet;

use persistence::query;
use persistence::store::Store;
use protocol::decision::{Alert, Level};
use protocol::ledger::Side;
use protocol::operator::{Answer, Query, QueryError};
use protocol::{Id, Symbol, subject};
use serde_json::Value;

use crate::scene::{Scene, bar, minute, settings, symbol};

fn code(answer: &Answer<Value>) -> &str {
    match answer {
        Answer::Error {
            error: QueryError { code, message },
        } => {
            assert!(message.contains(": "), "says what to do: {message}");
            code
        }
        Answer::Page { .. } => "page",
    }
}

fn texts(items: &[Value], field: &str) -> Vec<String> {
    items
        .iter()
        .map(|item| item[field].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn questions_get_pages() {
    let mut scene = Scene::start().await;
    let running = scene.run().await;
    scene.open().await;
    scene.wait(3, 0).await;
    let mut published = Vec::new();
    for n in 0..5 {
        published.push(scene.bar("SPY", n, "101.10").await);
        scene.bar("IBM", n, "180").await;
        scene.trade("SPY", Side::Buy, 1, "101.1", minute(n + 1)).await;
    }
    scene.trade("IBM", Side::Buy, 2, "180", minute(6)).await;
    scene.wait(scene.ledger.sequence(), 10).await;
    bars(&scene, &published).await;
    trades(&scene).await;
    refused(&scene).await;
    running.end().await;
    empty_and_foreign_bytes(&scene);
}

async fn bars(scene: &Scene, published: &[String]) {
    let spy = Query {
        symbol: Some(symbol("SPY")),
        ..Query::default()
    };
    let (items, state) = scene.page("bars", &spy).await;
    let items: Vec<String> = items
        .iter()
        .map(|item| serde_json::to_string(item).unwrap())
        .collect();
    let same = |a: &String, b: &String| {
        serde_json::from_str::<Value>(a).unwrap() == serde_json::from_str::<Value>(b).unwrap()
    };
    assert!(
        items.len() == 5 && items.iter().zip(published).all(|(a, b)| same(a, b)),
        "each bar as published"
    );
    assert_eq!(state.unwrap().sequence, scene.ledger.sequence());

    let two = Query {
        limit: Some(2),
        ..spy.clone()
    };
    let (items, _) = scene.page("bars", &two).await;
    assert_eq!(
        texts(&items, "start"),
        [minute(3).to_string(), minute(4).to_string()],
        "the newest, oldest first"
    );

    let mut query = Query {
        from: Some(minute(0)),
        limit: Some(3),
        ..Query::default()
    };
    let mut walked = Vec::new();
    loop {
        let Answer::Page { items, next, .. } = scene.ask("bars", &query).await else {
            panic!()
        };
        assert!(items.len() <= 3);
        walked.extend(texts(&items, "id"));
        let Some(next) = next else { break };
        query.after = Some(next);
    }
    let all: Vec<String> = (0..5)
        .flat_map(|n| ["IBM", "SPY"].map(|name| bar(name, n, "1").id.to_string()))
        .collect();
    assert_eq!(walked, all, "all symbols by their start, none left out or twice");

    let part = Query {
        from: Some(minute(1)),
        to: Some(minute(3)),
        ..spy
    };
    let (items, _) = scene.page("bars", &part).await;
    assert_eq!(
        texts(&items, "start"),
        [minute(1).to_string(), minute(2).to_string()]
    );
}

async fn trades(scene: &Scene) {
    let (items, _) = scene.page("trades", &Query::default()).await;
    assert_eq!(items.len(), 6);
    assert!(
        items.iter().all(|item| item["commission"] == "0.35"),
        "told after the fill, and added to it"
    );
    let Answer::Page { items, next, .. } = scene
        .ask(
            "trades",
            &Query {
                after: Some(format!("{}:", i64::MIN)),
                limit: Some(4),
                ..Query::default()
            },
        )
        .await
    else {
        panic!()
    };
    assert_eq!(
        texts(&items, "execution_id"),
        ["0001.1", "0001.2", "0001.3", "0001.4"]
    );
    let (items, _) = scene
        .page(
            "trades",
            &Query {
                after: next,
                ..Query::default()
            },
        )
        .await;
    assert_eq!(texts(&items, "execution_id"), ["0001.5", "0001.6"]);
    let (items, _) = scene
        .page(
            "trades",
            &Query {
                from: Some(minute(3)),
                to: Some(minute(5)),
                ..Query::default()
            },
        )
        .await;
    assert_eq!(texts(&items, "execution_id"), ["0001.3", "0001.4"]);
    let (items, _) = scene
        .page(
            "orders",
            &Query {
                symbol: Some(symbol("IBM")),
                ..Query::default()
            },
        )
        .await;
    assert_eq!(
        (texts(&items, "id"), texts(&items, "state")),
        (vec!["intent-6".into()], vec!["filled".into()])
    );
    let (items, _) = scene.page("positions", &Query::default()).await;
    assert_eq!(
        (texts(&items, "symbol"), texts(&items, "quantity")),
        (vec!["IBM".into(), "SPY".into()], vec!["2".into(), "5".into()])
    );
    assert_eq!(texts(&items, "average_cost"), ["180", "101.1"]);
    let (items, _) = scene.page("equity", &Query::default()).await;
    assert_eq!(items.len(), 5);
}

async fn refused(scene: &Scene) {
    let ask = async |name: &str, query: Query| code(&scene.ask(name, &query).await).to_owned();
    let of = |name: &str| Query {
        symbol: Some(symbol(name)),
        ..Query::default()
    };
    assert_eq!(ask("bars", of("ZZZ")).await, "unknown-symbol");
    assert_eq!(ask("trades", of("ZZZ")).await, "unknown-symbol");
    assert_eq!(
        ask("bars", of("QUIET")).await,
        "page",
        "watched, though nothing is there"
    );
    assert_eq!(ask("equity", of("SPY")).await, "bad-query");
    assert_eq!(
        ask(
            "bars",
            Query {
                limit: Some(0),
                ..Query::default()
            }
        )
        .await,
        "bad-query"
    );
    assert_eq!(
        ask(
            "bars",
            Query {
                limit: Some(1_001),
                ..Query::default()
            }
        )
        .await,
        "bad-query"
    );
    assert_eq!(
        ask(
            "bars",
            Query {
                after: Some("nonsense".into()),
                ..Query::default()
            }
        )
        .await,
        "bad-query"
    );
    assert_eq!(
        ask(
            "trades",
            Query {
                after: Some("nonsense".into()),
                ..Query::default()
            }
        )
        .await,
        "bad-query"
    );
    let Answer::Error { error } = scene.ask("everything", &Query::default()).await else {
        panic!()
    };
    assert_eq!(error.code, "unknown-query");
    assert!(
        query::NAMES.iter().all(|name| error.message.contains(name)),
        "{}",
        error.message
    );
}

fn empty_and_foreign_bytes(scene: &Scene) {
    let store = Store::open(&scene.file(), &settings().market.name).unwrap();
    let watched: BTreeSet<Symbol> = settings().market.watchlist.into_iter().collect();
    let ask = |question: &[u8]| match query::answer(&store, &watched, "positions", question) {
        Answer::Page { items, .. } => Ok(items.len()),
        Answer::Error { error } => Err(error.code),
    };
    assert_eq!(ask(b""), Ok(2));
    assert_eq!(ask(b"  \n"), Ok(2));
    assert_eq!(ask(b"{}"), Ok(2));
    for bad in [
        "{",
        "null",
        "[1]",
        "{\"symbl\":\"SPY\"}",
        "{\"symbol\":\"<b>\"}",
        "{\"limit\":-1}",
        "\u{0}",
    ] {
        assert_eq!(ask(bad.as_bytes()), Err("bad-query".into()), "{bad}");
    }
}

#[tokio::test]
async fn alerts_are_kept_as_published() {
    let scene = Scene::start().await;
    let running = scene.run().await;
    let alerts: Vec<Alert> = (0..3)
        .map(|n| Alert {
            id: Id::derive(&["alert", &n.to_string()]),
            at: minute(n),
            cause: None,
            service: "execution".into(),
            kind: "broker-link".into(),
            level: Level::Warning,
            symbol: (n == 1).then(|| symbol("SPY")),
            text: format!("number {n}"),
        })
        .collect();
    for alert in &alerts {
        scene
            .bus
            .keep(subject::alert("execution", "broker-link"), &alert.id, alert)
            .await
            .unwrap();
    }
    let deadline = std::time::Instant::now() + crate::scene::PATIENCE;
    let kept = loop {
        let (items, _) = scene.page("alerts", &Query::default()).await;
        if items.len() == alerts.len() {
            break items;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let kept: Vec<Alert> = kept
        .into_iter()
        .map(|item| serde_json::from_value(item).unwrap())
        .collect();
    assert_eq!(kept, alerts);
    let (items, _) = scene
        .page(
            "alerts",
            &Query {
                symbol: Some(symbol("SPY")),
                ..Query::default()
            },
        )
        .await;
    assert_eq!(texts(&items, "text"), ["number 1"]);
    running.end().await;
}
