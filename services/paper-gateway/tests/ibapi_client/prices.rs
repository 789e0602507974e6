//! Prices: quotes, bars as they end, bars of the past, and what a stock is.

use ibapi::contracts::tick_types::TickType;
use ibapi::market_data::TradingHours;
use ibapi::market_data::historical::{BarSize, BarTimestamp, ToDuration, WhatToShow};
use ibapi::market_data::realtime::TickTypes;
use ibapi::prelude::*;

use crate::harness::{DEADLINE, connect, synthetic, until};

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_pushed() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let contract = Contract::stock("AAPL").build();
    let mut quotes = client.market_data(&contract).subscribe().await.unwrap();
    let mut trades = 0;
    let seen = until(
        "trades",
        &mut quotes,
        |tick| matches!(tick, TickTypes::PriceSize(price) if price.price_tick_type == TickType::Last),
    );
    let mut seen = seen.await;
    while trades < 3 {
        trades += 1;
        seen.extend(until("volume", &mut quotes, |tick| matches!(tick, TickTypes::Size(_))).await);
    }
    let price = |kind: TickType| {
        seen.iter().rev().find_map(|tick| match tick {
            TickTypes::PriceSize(tick) if tick.price_tick_type == kind => Some((tick.price, tick.size)),
            _ => None,
        })
    };
    let (bid, bid_size) = price(TickType::Bid).unwrap();
    let (ask, _) = price(TickType::Ask).unwrap();
    assert!(
        bid < ask && bid > 150.0 && ask < 400.0 && bid_size >= 100.0,
        "{bid} {ask} {bid_size}"
    );
    assert!(price(TickType::Last).is_some());
    let stamp = seen.iter().find_map(|tick| match tick {
        TickTypes::String(text) if text.tick_type == TickType::LastTimestamp => {
            text.value.parse::<i64>().ok()
        }
        _ => None,
    });
    assert!((stamp.unwrap() - time::OffsetDateTime::now_utc().unix_timestamp()).abs() < 60);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_ends() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let contract = Contract::stock("SOFI").build();
    let ticks = client
        .market_data(&contract)
        .snapshot_once(DEADLINE)
        .await
        .unwrap();
    assert!(ticks.len() > 5, "{ticks:?}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn five_second_bars_are_what_history_tells_afterwards() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let contract = Contract::stock("IXHL").build();
    let mut bars = client
        .realtime_bars(&contract)
        .trading_hours(TradingHours::Extended)
        .subscribe()
        .await
        .unwrap();
    // The first bar may have begun before the gateway did.
    let seen = until("bars", &mut bars, |_| true).await;
    let next = until("bars", &mut bars, |bar| bar.date > seen[0].date)
        .await
        .pop()
        .unwrap();
    assert_eq!(next.date.unix_timestamp() % 5, 0);
    let history = client
        .historical_data(&contract, BarSize::Sec5)
        .what_to_show(WhatToShow::Trades)
        .trading_hours(TradingHours::Extended)
        .duration(60.seconds())
        .fetch()
        .await
        .unwrap();
    let same = history
        .bars
        .iter()
        .find(|bar| bar.date == BarTimestamp::DateTime(next.date))
        .unwrap();
    assert_eq!(
        (same.open, same.high, same.low, same.close),
        (next.open, next.high, next.low, next.close)
    );
    assert_eq!((same.volume, same.count), (next.volume, next.count));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_has_every_size_of_bar() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let contract = Contract::stock("NVDA").build();
    for (size, duration, least) in [
        (BarSize::Sec5, 1800.seconds(), 350),
        (BarSize::Min, 1.days(), 1),
        (BarSize::Min5, 2.days(), 288),
        (BarSize::Hour, 1.weeks(), 150),
        (BarSize::Day, 1.months(), 28),
        (BarSize::Week, 1.years(), 50),
    ] {
        let history = client
            .historical_data(&contract, size)
            .duration(duration)
            .fetch()
            .await
            .unwrap();
        assert!(
            history.bars.len() >= least,
            "{size:?}: {} bars",
            history.bars.len()
        );
        for bar in &history.bars {
            assert!(
                bar.low <= bar.open && bar.open <= bar.high && bar.low <= bar.close && bar.volume > 0.0,
                "{bar:?}"
            );
        }
        assert!(
            history.bars.windows(2).all(|pair| pair[0].date < pair[1].date),
            "{size:?} out of order"
        );
    }
    let head = client
        .head_timestamp(&contract, WhatToShow::Trades, TradingHours::Regular)
        .await
        .unwrap();
    assert!(head.year() == 2020);
    let schedule = client
        .historical_schedules(&contract, 3.days())
        .fetch()
        .await
        .unwrap();
    assert_eq!(schedule.sessions.len(), 3);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_has_details_and_hours_and_an_unknown_one_an_error() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let contract = Contract::stock("AAPL").build();
    let details = client.contract_details(&contract).await.unwrap();
    assert_eq!(details.len(), 1);
    let aapl = &details[0];
    assert_eq!((aapl.time_zone_id.as_str(), aapl.min_tick), ("US/Eastern", 0.01));
    assert_eq!(aapl.trading_hours.len(), 7);
    assert!(aapl.liquid_hours[0].contains(":0000-"), "{:?}", aapl.liquid_hours);
    let rule = aapl.market_rule_ids[0].parse().unwrap();
    assert_eq!(
        client.market_rule(rule).await.unwrap().price_increments[0].increment,
        0.01
    );
    let same = Contract {
        contract_id: aapl.contract.contract_id,
        ..Contract::default()
    };
    assert_eq!(
        client.contract_details(&same).await.unwrap()[0].contract.symbol,
        aapl.contract.symbol
    );
    assert_eq!(client.matching_symbols("AA").await.unwrap().len(), 1);

    let nothing = Contract::stock("ZZZZ").build();
    let error = client.contract_details(&nothing).await.unwrap_err();
    assert!(error.to_string().contains("200"), "{error}");
    gateway.stop().await.unwrap();
}
