//! Prices: quotes as they change.

use ibapi::market_data::realtime::TickTypes;
use ibapi::prelude::*;

use crate::harness::{connect, synthetic, until};

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_pushed() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let contract = Contract::stock("AAPL").build();
    let mut quotes = client.market_data(&contract).subscribe().await.unwrap();
    let seen = until("volume", &mut quotes, |tick| matches!(tick, TickTypes::Size(_))).await;
    eprintln!("{seen:#?}");
    gateway.stop().await.unwrap();
}
