//! Every bar is the file's row; a gateway that dies is a gap that is said, and nothing is told twice.

use std::collections::BTreeMap;

use protocol::market::{Bar, Phase};
use protocol::operator::{Health, HealthState};
use protocol::{Symbol, Timestamp, subject};
use runtime::testing::Server;

use crate::scene::*;

/// Bars of one symbol follow each other, warm-up ones first in each run of them.
fn check_order(bars: &[Bar]) {
    let mut newest: BTreeMap<Symbol, Timestamp> = BTreeMap::new();
    for bar in bars {
        let before = newest.insert(bar.symbol, bar.start);
        assert!(
            before.is_none_or(|before| before < bar.start),
            "{} comes after {before:?}",
            bar.id
        );
        assert_eq!(bar.at, bar.size.end_of(bar.start));
    }
}

fn minute(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first link: the session, quotes, the unknown symbol, and bars without a gap.
async fn hear_the_first_link(ears: &mut Ears) {
    let session = wanted(&mut ears.sessions, |session| (session.speed - 120.0).abs() < 12.0).await;
    assert_eq!(
        (session.phase, session.source.as_str()),
        (Phase::Regular, "broker hours of AAA")
    );
    assert!(session.connected && session.at.strftime("%Y-%m-%d").to_string() == "2013-10-07");
    wanted(&mut ears.quotes, |quote| quote.tradable && quote.bid < quote.ask).await;
    let unknown = wanted(&mut ears.alerts, |alert| alert.kind == "no-data")
        .await
        .text;
    assert!(
        unknown.contains("sends no data of NONE (the broker says 200"),
        "{unknown}"
    );
    let sick = |health: &Health| health.state == HealthState::Degraded && health.text.contains("NONE");
    wanted(&mut ears.health, sick).await;
    let first = wanted(&mut ears.bars, live).await;
    assert!(
        first.start >= minute("2013-10-07T14:29:00Z") && !first.gap,
        "{first:?}"
    );
}

fn live(bar: &Bar) -> bool {
    bar.complete && !bar.warm_up
}

/// Every row of the file since the warm-up is a bar, with the very numbers, and nothing else is.
fn check_rows(kept: &[Bar], rows: &Rows) {
    let newest = kept.iter().map(|bar| bar.start).max().unwrap();
    let oldest = minute("2013-10-07T13:55:00Z");
    let told = kept
        .iter()
        .map(|bar| ((bar.symbol, bar.start.as_second()), row(bar)));
    let told: BTreeMap<_, _> = told.collect();
    for ((symbol, start), row) in rows {
        let at = Timestamp::from_second(*start).unwrap();
        if at >= oldest && at < newest {
            assert_eq!(told.get(&(*symbol, *start)), Some(row), "{symbol} at {at}");
        }
    }
    assert!(
        told.iter().all(|(key, row)| rows.get(key) == Some(row)),
        "no bar is made up"
    );
}

#[tokio::test]
async fn every_bar_is_the_row_of_the_file_through_a_gateway_that_dies() {
    let folder = tempfile::tempdir().unwrap();
    let rows = write_bars(folder.path());
    let server = Server::start().await;
    let mut ears = Ears::open(&server.bus("operator").await).await;
    let gateway = Gateway::start(folder.path(), "127.0.0.1:0", "120");
    let stage = Stage::start(&server, settings(&gateway.address, &["AAA", "BBB", "NONE"])).await;
    hear_the_first_link(&mut ears).await;

    // It dies in the middle of a minute, and comes back at the same address.
    let until = |bar: &Bar, text: &str| live(bar) && bar.start >= minute(text);
    wanted(&mut ears.bars, |bar| until(bar, "2013-10-07T14:36:00Z")).await;
    let address = gateway.kill();
    wanted(&mut ears.alerts, |alert| alert.kind == "data-lost").await;
    wanted(&mut ears.quotes, |quote| !quote.tradable).await;
    let down = wanted(&mut ears.health, |health| {
        health.text.contains("is not reached as client 10")
    })
    .await;
    assert_eq!(down.state, HealthState::Degraded);
    let _gateway = Gateway::start(folder.path(), &address, "120");
    wanted(&mut ears.alerts, |alert| alert.kind == "data-gap").await;
    wanted(&mut ears.bars, |bar| until(bar, "2013-10-07T14:45:00Z")).await;
    stage.end().await;

    let kept = kept(&server.bus("operator").await).await;
    check_order(&kept);
    check_rows(&kept, &rows);
    let gaps = kept.iter().filter(|bar| bar.gap).count();
    assert!(gaps <= 2, "only bars that the outage touched have a gap: {gaps}");
}

#[tokio::test]
async fn without_a_gateway_it_waits_and_says_why() {
    let server = Server::start().await;
    let operator = server.bus("operator").await;
    let mut health = operator
        .subscribe::<Health>(subject::filter::HEALTH)
        .await
        .unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let stage = Stage::start(&server, settings(&free, &["AAA"])).await;
    let sick = wanted(&mut health, |health| health.state == HealthState::Degraded).await;
    let begin = format!("the gateway at {free} is not reached as client 10 (");
    assert!(
        sick.text.starts_with(&begin) && sick.text.contains("start it or correct broker.address"),
        "{}",
        sick.text
    );
    let folder = tempfile::tempdir().unwrap();
    write_bars(folder.path());
    let _gateway = Gateway::start(folder.path(), &free, "60");
    wanted(&mut health, |health| health.state == HealthState::Ready).await;
    stage.end().await;
}
