//! A market that goes on by the wall's clock: what a program asks before it trades, orders as they are filled,
//! changed, refused and found again, and the account at the end.

use ibapi::accounts::types::{AccountGroup, AccountId};
use ibapi::accounts::{AccountSummaryResult, PositionUpdate};
use ibapi::contracts::tick_types::TickType;
use ibapi::market_data::TradingHours;
use ibapi::market_data::historical::{BarSize, HistoricalBarUpdate, ToDuration, WhatToShow};
use ibapi::market_data::realtime::TickTypes;
use ibapi::orders::{Action, ExecutionFilter, ExecutionFilterSide, Executions, Order, TimeInForce};
use ibapi::prelude::*;
use paper_gateway::Gateway;

use super::CASH;
use super::book::reconcile;
use super::trader::{Trader, lasting, limited, order};
use crate::harness::{DEADLINE, until};
use crate::markets::live;

/// A price that no share is sold at.
const FAR_BELOW: f64 = 10.0;

#[tokio::test(flavor = "multi_thread")]
async fn ibapi_trades_a_day_on_made_up_prices() {
    let (gateway, _state) = live().await;
    let mut trader = Trader::connect(&gateway, 1).await;
    questions(&trader).await;
    prices(&trader).await;
    account(&trader).await;
    market(&mut trader).await;
    limit(&mut trader).await;
    refusals(&mut trader).await;
    others(&gateway, &mut trader).await;
    let trader = lost(&gateway, trader).await;
    records(&trader).await;
    let book = reconcile(&trader, CASH, "").await;
    assert!(book.cash < CASH, "commissions were paid: {book:?}");
    gateway.stop().await.unwrap();
}

async fn questions(trader: &Trader) {
    let client = &trader.client;
    let now = client.server_time().await.unwrap();
    let exact = client.server_time_millis().await.unwrap();
    assert!((exact - now).whole_seconds() <= 2, "{now} and {exact}");
    assert_eq!(client.managed_accounts().await.unwrap(), ["DU1000001"]);
    assert_eq!(client.next_valid_order_id().await.unwrap(), 1);

    let details = client
        .contract_details(&Contract::stock("AAPL").build())
        .await
        .unwrap();
    let local = Contract {
        local_symbol: "AAPL".into(),
        primary_exchange: details[0].contract.primary_exchange.clone(),
        exchange: "SMART".into(),
        currency: "USD".into(),
        ..Contract::default()
    };
    let same = client.contract_details(&local).await.unwrap();
    assert_eq!(same[0].contract.contract_id, details[0].contract.contract_id);
    let nothing = Contract::stock("NOSUCH").build();
    let refused = client.contract_details(&nothing).await.unwrap_err();
    assert!(refused.to_string().contains("200"), "{refused}");
}

async fn prices(trader: &Trader) {
    let client = &trader.client;
    let contract = Contract::stock("AAPL").build();
    let bars = client
        .realtime_bars(&contract)
        .trading_hours(TradingHours::Extended)
        .subscribe()
        .await
        .unwrap();
    let live = client
        .historical_data(&contract, BarSize::Sec5)
        .duration(300.seconds())
        .stream()
        .await
        .unwrap();

    let ticks = client.market_data(&contract).subscribe().await.unwrap();
    let is_last =
        |tick: &TickTypes| matches!(tick, TickTypes::PriceSize(p) if p.price_tick_type == TickType::Last);
    until("a trade", ticks, is_last).await;
    let snapshot = client
        .market_data(&contract)
        .snapshot_once(DEADLINE)
        .await
        .unwrap();
    assert!(snapshot.iter().any(is_last), "{snapshot:?}");
    let each = || client.tick_by_tick(&contract, 0);
    until("last", each().last().await.unwrap(), |tick| tick.price > 0.0).await;
    until("all last", each().all_last().await.unwrap(), |tick| {
        tick.price > 0.0
    })
    .await;
    let quotes = each().bid_ask(IgnoreSize::No).await.unwrap();
    until("quotes", quotes, |tick| tick.bid_price < tick.ask_price).await;
    until("midpoint", each().mid_point().await.unwrap(), |tick| {
        tick.mid_point > 0.0
    })
    .await;

    let mut bars = bars;
    let first = until("a bar", &mut bars, |_| true).await.remove(0);
    let second = until("a bar", &mut bars, |_| true).await.remove(0);
    assert_eq!((second.date - first.date).whole_seconds(), 5);
    let is_update = |update: &HistoricalBarUpdate| matches!(update, HistoricalBarUpdate::Update(_));
    let told = until("history that goes on", live, is_update).await;
    assert!(matches!(&told[0], HistoricalBarUpdate::Historical(data) if data.bars.len() > 12));

    let days = client
        .historical_data(&contract, BarSize::Day)
        .duration(1.weeks())
        .fetch()
        .await
        .unwrap();
    assert!(days.bars.len() >= 5, "{days:?}");
    let head = client.head_timestamp(&contract, WhatToShow::Trades, TradingHours::Regular);
    assert!(head.await.unwrap() < first.date);
    let schedule = client
        .historical_schedules(&contract, 3.days())
        .fetch()
        .await
        .unwrap();
    assert_eq!(schedule.sessions.len(), 3);
}

async fn account(trader: &Trader) {
    let client = &trader.client;
    let everybody = AccountGroup("All".into());
    let summary = client
        .account_summary(&everybody, &["TotalCashValue"])
        .await
        .unwrap();
    let told = until("summary", summary, |item| {
        matches!(item, AccountSummaryResult::End)
    })
    .await;
    assert!(
        matches!(&told[0], AccountSummaryResult::Summary(row) if row.value == CASH.to_string()),
        "{told:?}"
    );
    let positions = client.positions().await.unwrap();
    let told = until("positions", positions, |item| {
        matches!(item, PositionUpdate::PositionEnd)
    })
    .await;
    assert_eq!(told.len(), 1, "a new account holds nothing");
    let wrong = client.pnl(&AccountId("DU999".into()), None).await.unwrap();
    let refused = crate::harness::next("an error", &mut { wrong })
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("321"), "{refused}");
}

async fn market(trader: &mut Trader) {
    let tagged = Order {
        order_ref: "day-1:a/b".into(),
        ..order(Action::Buy, 10.0, "MKT")
    };
    let bought = trader.place("AAPL", tagged).await;
    let story = trader.until(bought, "fee").await;
    let expected = [
        "open PreSubmitted",
        "PreSubmitted 0/10",
        "open Submitted",
        "Submitted 0/10",
        "fill 10",
        "open Filled",
        "Filled 10/0",
        "fee",
    ];
    assert_eq!(story, expected);
    assert_eq!(trader.fills_of(bought)[0].order_reference, "day-1:a/b");
    let sold = trader.place("AAPL", order(Action::Sell, 4.0, "MKT")).await;
    trader.until(sold, "fee").await;
    let large = trader.place("SOFI", order(Action::Buy, 3000.0, "MKT")).await;
    trader.until(large, "Filled 3000/0").await;
    assert!(trader.fills_of(large).len() > 1);
}

async fn limit(trader: &mut Trader) {
    let resting = limited(Action::Buy, 5.0, FAR_BELOW);
    let id = trader
        .place("AAPL", lasting(resting, TimeInForce::GoodTillCanceled))
        .await;
    trader.until(id, "Submitted 0/5").await;
    let perm_id = trader.open_orders().await[&id].order.perm_id;
    let changed = lasting(
        limited(Action::Buy, 7.0, FAR_BELOW + 1.0),
        TimeInForce::GoodTillCanceled,
    );
    let mark = trader.moment();
    trader.send(id, "AAPL", &changed).await;
    trader.until_since(mark, id, "Submitted 0/7").await;
    let found = trader.open_orders().await[&id].order.clone();
    assert_eq!(
        (found.perm_id, found.limit_price),
        (perm_id, Some(FAR_BELOW + 1.0))
    );
    trader.cancel(id).await;

    let missed = lasting(
        limited(Action::Buy, 2.0, FAR_BELOW),
        TimeInForce::ImmediateOrCancel,
    );
    let id = trader.place("AAPL", missed).await;
    trader.until(id, "Cancelled 0/2").await;
    let taken = lasting(limited(Action::Buy, 2.0, 2000.0), TimeInForce::ImmediateOrCancel);
    let id = trader.place("AAPL", taken).await;
    trader.until(id, "Filled 2/0").await;
}

async fn refusals(trader: &mut Trader) {
    let market = |quantity| order(Action::Buy, quantity, "MKT");
    for (symbol, wrong, code) in [
        ("AAPL", market(1_000_000.0), 201),
        ("NOSUCH", market(1.0), 200),
        ("AAPL", market(0.0), 434),
        ("AAPL", limited(Action::Buy, 1.0, 10.001), 110),
        ("AAPL", order(Action::Buy, 1.0, "PEG BENCH"), 387),
    ] {
        let id = trader.place(symbol, wrong).await;
        trader.until(id, &format!("error {code}")).await;
    }
    let mark = trader.moment();
    trader.send(1, "AAPL", &market(1.0)).await;
    trader.until_since(mark, 1, "error 104").await;
    assert!(trader.open_orders().await.is_empty());
}

async fn others(gateway: &Gateway, trader: &mut Trader) {
    let mut second = Trader::connect(gateway, 2).await;
    let manual = Trader::connect(gateway, 0).await;
    let mine = trader.place("AAPL", limited(Action::Buy, 1.0, FAR_BELOW)).await;
    trader.until(mine, "Submitted 0/1").await;
    let theirs = second.place("AAPL", limited(Action::Buy, 2.0, FAR_BELOW)).await;
    second.until(theirs, "Submitted 0/2").await;
    for viewer in [&*trader, &second, &manual] {
        let mut seen: Vec<(i32, i32)> = viewer
            .all_open_orders()
            .await
            .iter()
            .map(|data| (data.order.client_id, data.order_id))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [(1, mine), (2, theirs)]);
    }
    assert_eq!(
        second.open_orders().await.into_keys().collect::<Vec<_>>(),
        [theirs]
    );
    manual.client.global_cancel().await.unwrap();
    trader.until(mine, "error 202").await;
    second.until(theirs, "error 202").await;
    assert!(manual.all_open_orders().await.is_empty());
}

/// The connection is lost with an order in the book; a new one finds it, its executions and the next id.
async fn lost(gateway: &Gateway, mut trader: Trader) -> Trader {
    let kept = Order {
        order_ref: "kept".into(),
        ..lasting(
            limited(Action::Buy, 3.0, FAR_BELOW),
            TimeInForce::GoodTillCanceled,
        )
    };
    let id = trader.place("AAPL", kept).await;
    trader.until(id, "Submitted 0/3").await;
    let before = trader.open_orders().await[&id].order.clone();
    let mut again = trader.reconnect(gateway).await;
    assert_eq!(again.client.next_valid_order_id().await.unwrap(), id + 1);
    let found = again.open_orders().await[&id].order.clone();
    assert_eq!(
        (found.perm_id, found.order_ref, found.limit_price),
        (before.perm_id, before.order_ref, before.limit_price)
    );
    again.cancel(id).await;
    again
}

/// Executions by stock, side and client, and orders that are done.
async fn records(trader: &Trader) {
    let count = async |filter| {
        let told = trader.executions(7, filter).await;
        told.iter()
            .filter(|item| matches!(item, Executions::ExecutionData(_)))
            .count()
    };
    let everything = count(ExecutionFilter::default()).await;
    let of = |symbol: &str| ExecutionFilter {
        symbol: symbol.into(),
        ..ExecutionFilter::default()
    };
    assert_eq!(count(of("AAPL")).await + count(of("SOFI")).await, everything);
    let side = |side| ExecutionFilter {
        side: Some(side),
        ..ExecutionFilter::default()
    };
    assert_eq!(count(side(ExecutionFilterSide::Sell)).await, 1);
    let client = |id| ExecutionFilter {
        client_id: Some(id),
        ..ExecutionFilter::default()
    };
    assert_eq!((count(client(1)).await, count(client(99)).await), (everything, 0));
    let done = trader.completed_orders().await;
    let filled = done
        .iter()
        .filter(|data| data.order_state.status.to_string() == "Filled");
    assert_eq!(filled.map(|data| data.order.filled_quantity).sum::<f64>(), 3016.0);
}
