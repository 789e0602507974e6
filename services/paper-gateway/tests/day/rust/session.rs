//! A trading day of the past, from before the open until the next morning, with every order type. `markets` says what
//! the prices do; the clock stands whenever the program does not watch them.

use std::collections::BTreeMap;

use ibapi::market_data::TradingHours;
use ibapi::orders::builder::BracketPrices;
use ibapi::orders::{Action, OcaType, Order, TimeInForce, order_builder};
use ibapi::prelude::*;
use paper_gateway::Gateway;

use super::CASH;
use super::book::reconcile;
use super::trader::{Trader, lasting, limited, order};
use crate::harness::until;
use crate::markets::past;

const FIRST_DAY: &str = "20131007";
const SECOND_DAY: &str = "20131008";
/// Midnight of the first day in New York.
const MIDNIGHT: i64 = 1_381_118_400;
const DAY_SECONDS: i64 = 86_400;
/// The price of the closing trade.
const CLOSE: f64 = 99.0;

/// Ids of the orders placed before the open.
type Placed = BTreeMap<&'static str, i32>;

#[tokio::test(flavor = "multi_thread")]
async fn ibapi_trades_a_day_of_the_past() {
    let (gateway, _folders) = past().await;
    let mut trader = Trader::connect(&gateway, 1).await;
    let placed = before_the_open(&mut trader).await;
    morning(&mut trader, &placed).await;
    let mut trader = lost(&gateway, trader, &placed).await;
    noon(&mut trader, &placed).await;
    close(&mut trader, &placed).await;
    let tomorrow = evening(&mut trader).await;
    reconcile(&trader, CASH, FIRST_DAY).await;
    next_morning(&mut trader, [placed["kept"], tomorrow]).await;
    reconcile(&trader, CASH, SECOND_DAY).await;
    gateway.stop().await.unwrap();
}

/// Epoch seconds of a time in New York.
fn instant(day: i64, clock: &str) -> i64 {
    let (hour, minute) = clock.split_once(':').unwrap();
    let [hour, minute] = [hour, minute].map(|text| text.parse::<i64>().unwrap());
    MIDNIGHT + day * DAY_SECONDS + hour * 3600 + minute * 60
}

/// Lets the market run until a time; then its clock stands again, a little later and not after the latest time.
async fn advance(trader: &Trader, day: i64, clock: &str, latest: &str) {
    let end = instant(day, clock);
    let contracts = ["IBM", "SPY"].map(|symbol| Contract::stock(symbol).build());
    let bars = |contract| {
        let bars = trader.client.realtime_bars(contract);
        bars.trading_hours(TradingHours::Extended).subscribe()
    };
    let (mut ibm, spy) = (
        bars(&contracts[0]).await.unwrap(),
        bars(&contracts[1]).await.unwrap(),
    );
    let reached = |bar: &ibapi::market_data::realtime::Bar| bar.date.unix_timestamp() + 5 >= end;
    until("the time", &mut ibm, reached).await;
    ibm.cancel().await;
    spy.cancel().await;
    let now = trader.client.server_time().await.unwrap();
    assert!(
        now.unix_timestamp() <= instant(day, latest),
        "this program is behind {latest}, at {now}: too slow a machine for this speed"
    );
}

/// Orders of every type for IBM, by name.
fn tickets() -> Vec<(&'static str, Order)> {
    use Action::{Buy, Sell};
    let at = |kind, action, quantity, price| Order {
        aux_price: Some(price),
        ..order(action, quantity, kind)
    };
    let early = Order {
        outside_rth: true,
        ..limited(Buy, 100.0, 100.1)
    };
    let dated = Order {
        good_till_date: format!("{FIRST_DAY} 10:00:00 US/Eastern"),
        ..lasting(limited(Buy, 5.0, 90.0), TimeInForce::GoodTillDate)
    };
    let stop_limit = Order {
        limit_price: Some(98.2),
        ..at("STP LMT", Sell, 10.0, 98.5)
    };
    let trail_limit = Order {
        trail_stop_price: Some(98.0),
        limit_price_offset: Some(0.1),
        ..at("TRAIL LIMIT", Sell, 10.0, 1.5)
    };
    let touched_limit = Order {
        limit_price: Some(103.4),
        ..at("LIT", Sell, 10.0, 103.5)
    };
    let either = |limit| Order {
        oca_group: "either".into(),
        oca_type: OcaType::CancelWithBlock,
        ..limited(Buy, 10.0, limit)
    };
    vec![
        ("early", early),
        ("open", order(Buy, 100.0, "MKT")),
        ("dated", dated),
        ("day", limited(Buy, 5.0, 90.0)),
        ("stop", at("STP", Buy, 10.0, 102.0)),
        ("stop limit", stop_limit),
        ("trail", at("TRAIL", Sell, 10.0, 1.0)),
        ("trail limit", trail_limit),
        ("touched", at("MIT", Sell, 10.0, 103.0)),
        ("touched limit", touched_limit),
        ("close", order_builder::market_on_close(Sell, 30.0)),
        ("close at most", order_builder::limit_on_close(Buy, 20.0, 105.0)),
        ("close too dear", order_builder::limit_on_close(Buy, 20.0, 90.0)),
        ("first of two", either(98.5)),
        ("second of two", either(90.0)),
    ]
}

async fn before_the_open(trader: &mut Trader) -> Placed {
    let mut placed = Placed::new();
    for (name, ticket) in tickets() {
        placed.insert(name, trader.place("IBM", ticket).await);
    }
    let kept = lasting(limited(Action::Buy, 5.0, 150.0), TimeInForce::GoodTillCanceled);
    placed.insert("kept", trader.place("SPY", kept).await);
    let prices = BracketPrices {
        entry: 98.2,
        take_profit: 98.8,
        stop_loss: 97.0,
    };
    let parent = placed["kept"] + 1;
    let family = order_builder::bracket_order(parent, Action::Buy, 40.0, prices).unwrap();
    for (name, member) in ["parent", "profit", "loss"].into_iter().zip(family) {
        placed.insert(name, trader.place("IBM", member).await);
    }
    for (name, id) in placed.iter().filter(|(name, _)| **name != "early") {
        let quantity = trader.open_orders().await[id].order.total_quantity;
        let story = trader.until(*id, &format!("PreSubmitted 0/{quantity}")).await;
        assert!(!story.is_empty(), "{name}");
    }
    placed
}

/// All of an order was executed within these times and prices.
async fn traded(
    trader: &mut Trader,
    id: i32,
    (day, begin, end): (&str, &str, &str),
    (lowest, highest): (f64, f64),
) {
    trader.until(id, "fee").await;
    for fill in trader.fills_of(id) {
        let (from, to) = (format!("{day} {begin}:00"), format!("{day} {end}:59"));
        let at = &fill.time[..17];
        assert!(*at >= *from && *at <= *to, "{fill:?} between {from} and {to}");
        assert!(
            fill.price >= lowest && fill.price <= highest,
            "{fill:?} between {lowest} and {highest}"
        );
    }
}

async fn untraded(trader: &mut Trader, id: i32) {
    let story = trader.until(id, "error 202").await;
    assert!(!story.iter().any(|line| line.starts_with("fill")), "{story:?}");
}

/// By half past twelve most orders have met their price, at the time when the market showed it.
async fn morning(trader: &mut Trader, placed: &Placed) {
    advance(trader, 0, "12:30", "14:45").await;
    for (name, begin, end, lowest, highest) in [
        ("early", "08:00", "08:02", 99.95, 100.1),
        ("open", "09:30", "09:32", 99.95, 100.12),
        ("stop", "09:58", "10:02", 102.0, 102.15),
        ("touched", "10:13", "10:17", 102.95, 103.15),
        ("touched limit", "10:20", "10:24", 103.4, 103.6),
        ("trail", "10:43", "10:47", 102.9, 103.1),
        ("trail limit", "10:48", "10:54", 102.45, 102.6),
        ("stop limit", "11:50", "11:55", 98.2, 98.5),
        ("first of two", "11:50", "11:55", 98.4, 98.5),
        ("parent", "11:55", "11:59", 98.1, 98.2),
    ] {
        traded(trader, placed[name], (FIRST_DAY, begin, end), (lowest, highest)).await;
    }
    for name in ["dated", "second of two"] {
        untraded(trader, placed[name]).await;
    }
    let open = trader.open_orders().await;
    let status = |name| open[&placed[name]].order_state.status.to_string();
    assert_eq!(
        (status("profit"), status("loss")),
        ("Submitted".into(), "PreSubmitted".into())
    );
}

/// The connection is lost; all that still works is found again under the same numbers.
async fn lost(gateway: &Gateway, trader: Trader, placed: &Placed) -> Trader {
    let names = [
        "kept",
        "day",
        "close",
        "close at most",
        "close too dear",
        "profit",
        "loss",
    ];
    let mut working = names.map(|name| placed[name]);
    working.sort_unstable();
    let before = trader.open_orders().await;
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), working);
    let again = trader.reconnect(gateway).await;
    let found = again.open_orders().await;
    assert_eq!(found.len(), before.len());
    for (id, data) in &found {
        assert_eq!(data.order.perm_id, before[id].order.perm_id);
    }
    assert_eq!(found[&placed["loss"]].order.parent_id, placed["parent"]);
    again
}

/// The market stands at 98: orders that trade at once or not at all, changes, families that are taken back.
async fn noon(trader: &mut Trader, placed: &Placed) {
    use TimeInForce::{FillOrKill, ImmediateOrCancel};
    for (tif, price, end) in [
        (ImmediateOrCancel, 90.0, "Cancelled 0/10"),
        (ImmediateOrCancel, 98.5, "fee"),
        (FillOrKill, 90.0, "Cancelled 0/10"),
        (FillOrKill, 98.5, "fee"),
    ] {
        let id = trader
            .place("IBM", lasting(limited(Action::Buy, 10.0, price), tif))
            .await;
        trader.until(id, end).await;
    }
    let day = placed["day"];
    let before = trader.open_orders().await;
    let mark = trader.moment();
    trader.send(day, "IBM", &limited(Action::Buy, 6.0, 91.0)).await;
    trader.until_since(mark, day, "Submitted 0/6").await;
    assert_eq!(
        trader.open_orders().await[&day].order.perm_id,
        before[&day].order.perm_id
    );
    trader.send(day, "IBM", &limited(Action::Sell, 6.0, 91.0)).await;
    trader.until_since(mark, day, "error 105").await;

    let held = Order {
        transmit: false,
        ..limited(Action::Buy, 10.0, 90.0)
    };
    let parent = trader.place("IBM", held).await;
    let child = Order {
        parent_id: parent,
        ..limited(Action::Sell, 10.0, 120.0)
    };
    let child = trader.place("IBM", child).await;
    trader.until(parent, "Submitted 0/10").await;
    trader.cancel(parent).await;
    trader.until(child, "error 202").await;
    let asked = Order {
        what_if: true,
        ..order(Action::Buy, 100.0, "MKT")
    };
    let id = trader.place("IBM", asked).await;
    trader.until(id, "open PreSubmitted").await;
    assert_eq!(trader.open_orders().await.len(), before.len());
}

/// At four the closing trade fills what waited for it, and the day's orders end. One is good for longer.
async fn close(trader: &mut Trader, placed: &Placed) {
    advance(trader, 0, "16:10", "19:30").await;
    for name in ["close", "close at most"] {
        traded(
            trader,
            placed[name],
            (FIRST_DAY, "15:59", "16:00"),
            (CLOSE, CLOSE),
        )
        .await;
    }
    traded(
        trader,
        placed["profit"],
        (FIRST_DAY, "15:40", "15:50"),
        (98.8, 98.9),
    )
    .await;
    for name in ["close too dear", "day", "loss"] {
        untraded(trader, placed[name]).await;
    }
    assert_eq!(
        trader.open_orders().await.into_keys().collect::<Vec<_>>(),
        [placed["kept"]]
    );
}

/// After hours only orders that ask for it trade; an order for the day waits for the next one, and is returned; an
/// order for a close that is over is rejected.
async fn evening(trader: &mut Trader) -> i32 {
    let late = Order {
        outside_rth: true,
        ..limited(Action::Buy, 10.0, 99.5)
    };
    let late = trader.place("IBM", late).await;
    traded(trader, late, (FIRST_DAY, "16:10", "19:59"), (98.95, 99.1)).await;
    let tomorrow = trader.place("IBM", limited(Action::Buy, 10.0, 99.5)).await;
    trader.until(tomorrow, "PreSubmitted 0/10").await;
    let rejected = trader
        .place("IBM", order_builder::market_on_close(Action::Buy, 10.0))
        .await;
    trader.until(rejected, "error 201").await;
    tomorrow
}

/// A new day: its executions are its own, and yesterday's are told to who asks for them.
async fn next_morning(trader: &mut Trader, waiting: [i32; 2]) {
    let yesterday = trader.all_executions().await.len();
    advance(trader, 1, "04:05", "06:30").await;
    assert_eq!(
        trader.open_orders().await.into_keys().collect::<Vec<_>>(),
        waiting
    );
    let sold = Order {
        outside_rth: true,
        ..limited(Action::Sell, 50.0, 100.5)
    };
    let sold = trader.place("IBM", sold).await;
    traded(trader, sold, (SECOND_DAY, "04:05", "06:59"), (100.9, 101.1)).await;
    let today = trader.executions(1, Default::default()).await.len();
    assert!(today > 0);
    assert_eq!(trader.all_executions().await.len(), yesterday + today);
    trader.client.global_cancel().await.unwrap();
    for id in waiting {
        trader.until(id, "error 202").await;
    }
    assert!(trader.all_open_orders().await.is_empty());
}
