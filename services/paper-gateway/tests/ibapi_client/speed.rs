//! Made-up prices on a clock of their own: faster than the wall's, from a chosen begin.

use std::path::Path;

use ibapi::market_data::TradingHours;
use ibapi::market_data::realtime::{Bar, WhatToShow};
use ibapi::orders::{Action, ExecutionFilter, Executions, OrderUpdate, order_builder};
use ibapi::prelude::*;
use paper_gateway::Gateway;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::harness::{all, connect, options, until};

const START: OffsetDateTime = datetime!(2024-03-05 14:30:00 UTC);

async fn start(state: &Path, speed: &str) -> Gateway {
    let start = "2024-03-05T14:30:00Z";
    let more = ["--speed", speed, "--start", start, "--symbols", "AAPL,SOFI"];
    Gateway::start(&options(state, &more)).await.unwrap()
}

/// Ten minutes of bars, which the wall would take ten minutes for.
async fn ten_minutes(client: &Client) -> Vec<Bar> {
    let bars = client
        .realtime_bars(&Contract::stock("AAPL").build())
        .what_to_show(WhatToShow::Trades)
        .trading_hours(TradingHours::Extended)
        .subscribe()
        .await
        .unwrap();
    let seen = std::cell::Cell::new(0);
    let enough = |_: &Bar| seen.replace(seen.get() + 1) == 119;
    until("bars", bars, enough).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_follows_the_speed_and_a_restart_goes_on() {
    for speed in ["600", "max"] {
        let state = tempfile::tempdir().unwrap();
        let gateway = start(state.path(), speed).await;
        let client = connect(&gateway, 1).await;
        let bars = ten_minutes(&client).await;
        for pair in bars.windows(2) {
            assert_eq!(
                (pair[1].date - pair[0].date).whole_seconds(),
                5,
                "at speed {speed}"
            );
        }
        assert!(
            (START..START + time::Duration::HOUR).contains(&bars[0].date),
            "{:?}",
            bars[0]
        );
        assert!(client.server_time().await.unwrap() > bars[119].date);

        let mut updates = client.order_update_stream().await.unwrap();
        let order = order_builder::market_order(Action::Buy, 10.0);
        let contract = Contract::stock("AAPL").build();
        client.submit_order(1, &contract, &order).await.unwrap();
        until("commission", &mut updates, |update| {
            matches!(update, OrderUpdate::CommissionReport(_))
        })
        .await;
        let filter = ExecutionFilter::default();
        let told = all("executions", client.executions(filter).await.unwrap()).await;
        let traded = told.iter().find_map(|item| match item {
            Executions::ExecutionData(data) => Some(data.execution.time.clone()),
            Executions::CommissionReport(_) => None,
        });
        assert!(traded.unwrap().starts_with("20240305 "), "the market's date");
        drop((client, updates));
        gateway.stop().await.unwrap();

        let gateway = start(state.path(), speed).await;
        let client = connect(&gateway, 1).await;
        let again = ten_minutes(&client).await;
        assert!(again[0].date > bars[119].date, "a restart goes on");
        gateway.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_goes_on_after_all_that_it_told() {
    for speed in ["1440", "max"] {
        let state = tempfile::tempdir().unwrap();
        let gateway = start(state.path(), speed).await;
        let client = connect(&gateway, 1).await;
        let told = ten_minutes(&client).await[119].date;
        // As a kill would: the state is copied while the gateway runs and never says goodbye.
        let copy = tempfile::tempdir().unwrap();
        for file in ["account.log", "clock"] {
            std::fs::copy(state.path().join(file), copy.path().join(file)).unwrap();
        }
        gateway.stop().await.unwrap();
        let gateway = start(copy.path(), speed).await;
        let client = connect(&gateway, 1).await;
        assert!(client.server_time().await.unwrap() > told, "at speed {speed}");
        gateway.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_saw_later_times_never_goes_back() {
    let state = tempfile::tempdir().unwrap();
    let later = OffsetDateTime::now_utc() + time::Duration::HOUR;
    let start = later
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    let gateway = Gateway::start(&options(state.path(), &["--start", &start]))
        .await
        .unwrap();
    gateway.stop().await.unwrap();
    let gateway = Gateway::start(&options(state.path(), &[])).await.unwrap();
    let client = connect(&gateway, 1).await;
    assert!(client.server_time().await.unwrap() >= later - time::Duration::SECOND);
    gateway.stop().await.unwrap();
}
