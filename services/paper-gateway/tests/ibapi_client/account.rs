//! The account: summary, positions as they change, gains.

use ibapi::accounts::types::{AccountGroup, AccountId};
use ibapi::accounts::{AccountSummaryResult, PositionUpdate};
use ibapi::orders::{Action, order_builder};
use ibapi::prelude::*;

use crate::harness::{connect, synthetic, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_has_the_usual_values() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let tags = [
        "NetLiquidation",
        "TotalCashValue",
        "BuyingPower",
        "GrossPositionValue",
        "NoSuchTag",
    ];
    let mut summary = client
        .account_summary(&AccountGroup("All".into()), &tags)
        .await
        .unwrap();
    let seen = until("summary", &mut summary, |item| {
        matches!(item, AccountSummaryResult::End)
    })
    .await;
    let mut values: Vec<(String, String)> = seen
        .into_iter()
        .filter_map(|item| match item {
            AccountSummaryResult::Summary(row) => Some((row.tag, row.value)),
            AccountSummaryResult::End => None,
        })
        .collect();
    values.sort();
    let expected = [
        ("BuyingPower", "400000"),
        ("GrossPositionValue", "0"),
        ("NetLiquidation", "100000"),
        ("TotalCashValue", "100000"),
    ];
    assert_eq!(
        values,
        expected.map(|(tag, value)| (tag.to_owned(), value.to_owned()))
    );
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_gains_follow_trades() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let mut positions = client.positions().await.unwrap();
    let first = until("positions", &mut positions, |item| {
        matches!(item, PositionUpdate::PositionEnd)
    })
    .await;
    assert_eq!(first.len(), 1, "an account without a position");
    let contract = Contract::stock("PLTR").build();
    for (id, action, held) in [(1, Action::Buy, 3.0), (2, Action::Sell, 0.0)] {
        client
            .submit_order(id, &contract, &order_builder::market_order(action, 3.0))
            .await
            .unwrap();
        let seen = until("position", &mut positions, |item| {
            matches!(item, PositionUpdate::Position(_))
        })
        .await;
        let Some(PositionUpdate::Position(position)) = seen.last() else {
            panic!()
        };
        assert_eq!(
            (position.position, position.contract.symbol.to_string().as_str()),
            (held, "PLTR")
        );
    }
    let mut gains = client.pnl(&AccountId("DU1000001".into()), None).await.unwrap();
    let seen = until("gains", &mut gains, |_| true).await;
    let (daily, realized) = (seen[0].daily_pnl, seen[0].realized_pnl.unwrap());
    assert!(daily < 0.0 && (daily - realized).abs() < 1e-9, "{:?}", seen[0]);
    gateway.stop().await.unwrap();
}
