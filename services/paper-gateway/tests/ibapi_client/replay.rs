//! The past as a market: what a client makes of the bars is the file, whatever the speed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use ibapi::market_data::TradingHours;
use ibapi::market_data::historical::{BarSize, BarTimestamp, ToDuration};
use ibapi::prelude::*;
use paper_gateway::{FilesError, Gateway};

use crate::harness::{connect, next, options};

/// Start, open, high, low, close and volume of a bar.
type Plain = (i64, f64, f64, f64, f64, f64);

/// Monday, 2013-10-07, 09:30 in New York.
const OPEN: i64 = 1_381_152_600;

/// Writes so many minutes of a stock and returns them.
fn write_minutes(folder: &Path, symbol: &str, count: i64, base: i64) -> Vec<Plain> {
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    let mut bars = Vec::new();
    for minute in 0..count {
        let start = OPEN + minute * 60;
        let cents = |offset: i64| (base + (minute * 7) % 40 + offset) as f64 / 100.0;
        let bar = (
            start,
            cents(0),
            cents(9),
            cents(-8),
            cents(minute % 5),
            (3000 + minute * 13) as f64,
        );
        let at = time::OffsetDateTime::from_unix_timestamp(start).unwrap();
        let (hour, minute) = (at.hour(), at.minute());
        writeln!(
            text,
            "2013-10-07T{hour:02}:{minute:02}:00Z,{},{},{},{},{}",
            bar.1, bar.2, bar.3, bar.4, bar.5
        )
        .unwrap();
        bars.push(bar);
    }
    std::fs::write(folder.join(format!("{symbol}.csv")), text).unwrap();
    bars
}

/// Joins pushed bars of one stock into minutes, up to a last minute.
async fn minutes(client: &Client, symbol: &str, last: i64) -> Vec<Plain> {
    let contract = Contract::stock(symbol).build();
    let mut pushed = client
        .realtime_bars(&contract)
        .trading_hours(TradingHours::Extended)
        .subscribe()
        .await
        .unwrap();
    let mut minutes: BTreeMap<i64, Plain> = BTreeMap::new();
    loop {
        let SubscriptionItem::Data(bar) = next("bars", &mut pushed).await.unwrap() else {
            continue;
        };
        let second = bar.date.unix_timestamp();
        let start = second - second % 60;
        let minute = minutes
            .entry(start)
            .or_insert((start, bar.open, bar.high, bar.low, bar.close, 0.0));
        *minute = (
            start,
            minute.1,
            minute.2.max(bar.high),
            minute.3.min(bar.low),
            bar.close,
            minute.5 + bar.volume,
        );
        if second >= last + 55 {
            return minutes.into_values().collect();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_bars_rebuild_the_files_at_any_speed() {
    for speed in ["1200", "max"] {
        let (market, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let count = if speed == "max" { 240 } else { 60 };
        let spy = write_minutes(market.path(), "SPY", count, 16_700);
        let ibm = write_minutes(market.path(), "IBM", count, 18_200);
        let folder = market.path().to_str().unwrap();
        let gateway = Gateway::start(&options(state.path(), &["--market", folder, "--speed", speed]))
            .await
            .unwrap();
        let client = connect(&gateway, 10).await;
        assert_eq!(client.handshake_managed_accounts(), ["DU1000002"]);
        // The clock of the market stands until somebody watches it.
        assert_eq!(client.server_time().await.unwrap().unix_timestamp(), OPEN);
        let last = OPEN + (count - 1) * 60;
        let (seen_spy, seen_ibm) = tokio::join!(minutes(&client, "SPY", last), minutes(&client, "IBM", last));
        assert_eq!(seen_spy, spy, "at speed {speed}");
        assert_eq!(seen_ibm, ibm, "at speed {speed}");
        gateway.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_ends_at_the_clock_and_a_restart_goes_on() {
    let (market, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spy = write_minutes(market.path(), "SPY", 120, 16_700);
    let folder = market.path().to_str().unwrap();
    let start = "2013-10-07T14:00:00Z";
    let options = options(
        state.path(),
        &["--market", folder, "--speed", "1200", "--start", start],
    );
    let gateway = Gateway::start(&options).await.unwrap();
    let client = connect(&gateway, 10).await;
    let contract = Contract::stock("SPY").build();
    let history = client
        .historical_data(&contract, BarSize::Min)
        .duration(1.days())
        .fetch()
        .await
        .unwrap();
    let told: Vec<Plain> = history
        .bars
        .iter()
        .map(|bar| {
            let BarTimestamp::DateTime(date) = bar.date else {
                panic!("{bar:?}")
            };
            (
                date.unix_timestamp(),
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
            )
        })
        .collect();
    assert_eq!(told, spy[..30], "nothing of the future is told");

    let seen = minutes(&client, "SPY", OPEN + 40 * 60).await;
    gateway.stop().await.unwrap();
    let gateway = Gateway::start(&options).await.unwrap();
    let client = connect(&gateway, 10).await;
    let stopped = client.server_time().await.unwrap().unix_timestamp();
    assert!(
        stopped % 60 == 0 && stopped > OPEN + 40 * 60,
        "the clock goes on between two bars"
    );
    let rest = minutes(&client, "SPY", OPEN + 119 * 60).await;
    let whole = seen.iter().chain(&rest);
    assert!(whole.clone().all(|bar| spy.contains(bar)), "no bar is torn");
    assert_eq!(rest.first().unwrap().0, stopped);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_bad_row_is_refused_in_one_sentence() {
    let (market, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = "timestamp,open,high,low,close,volume\n2013-10-07T13:30:00Z,1,1,1,1,5\n2013-10-07T13:31:00Z,1,abc,1,1,5\n";
    let folder = market.path().to_str().unwrap();
    let start = |folder: &str| options(state.path(), &["--market", folder]);
    let missing = format!("{folder}/nowhere");
    assert!(
        Gateway::start(&start(&missing))
            .await
            .unwrap_err()
            .is::<FilesError>()
    );
    assert!(
        Gateway::start(&start(folder))
            .await
            .unwrap_err()
            .to_string()
            .contains("holds no CSV file")
    );
    std::fs::write(market.path().join("SPY.csv"), text).unwrap();
    let error = Gateway::start(&start(folder)).await.unwrap_err().to_string();
    assert!(
        error.ends_with("SPY.csv, line 3: high `abc` is not a number; correct or remove the line"),
        "{error}"
    );
}
