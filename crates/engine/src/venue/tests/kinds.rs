//! Each kind and lifetime of an order, and what may be changed.

use super::*;
use crate::venue::checks::Rules;
use crate::venue::order::{Group, GroupEffect, Lifetime, Trail};

const CLOSE: &str = "2013-10-07T20:00:00Z";

/// Minutes that go along prices, one a minute, and quietly stay at the last.
fn path(prices: &[&str]) -> Vec<Row> {
    let pairs = prices.windows(2).enumerate();
    pairs
        .map(|(minute, pair)| {
            let (from, to) = (decimal(pair[0]), decimal(pair[1]));
            Row {
                start: after(OPEN, 60 * minute as i64),
                open: from,
                high: from.max(to),
                low: from.min(to),
                close: to,
                volume: 10_000.into(),
            }
        })
        .collect()
}

fn ended(venue: &Venue, order_id: i32) -> (Status, String) {
    let order = venue.account().find_completed(1, order_id).unwrap();
    (order.status, order.end.as_ref().unwrap().reason.clone())
}

fn with(lifetime: Lifetime, ticket: Ticket) -> Ticket {
    Ticket { lifetime, ..ticket }
}

#[test]
fn a_trailing_stop_follows_the_market_up_and_never_down() {
    for by in [Trail::Amount(decimal("1")), Trail::Percent(decimal("1"))] {
        let mut venue = replay(path(&["100", "100", "103", "102.5", "101", "101"]), 60);
        venue.step(after(OPEN, 10), place(1, ticket(Side::Buy, Kind::Market, 10)));
        let kind = Kind::Trail {
            by,
            start: None,
            limit_offset: None,
        };
        venue.step(after(OPEN, 11), place(2, ticket(Side::Sell, kind, 10)));
        let stop = |venue: &Venue| venue.account().find_open(1, 2).and_then(|order| order.trail_stop);
        assert_eq!(stop(&venue), Some(decimal("99")));
        venue.step(after(OPEN, 120), Input::Time);
        let highest = stop(&venue).unwrap();
        assert!(
            highest > decimal("101.9") && highest <= decimal("102"),
            "{highest}"
        );
        venue.step(after(OPEN, 179), Input::Time);
        assert_eq!(stop(&venue), Some(highest), "it does not go back");
        let sold = fills(&venue.step(after(OPEN, 240), Input::Time));
        assert_eq!(sold.len(), 1);
        assert!(sold[0].0 <= highest, "{sold:?}");
    }
}

#[test]
fn a_trailing_stop_limit_asks_for_a_price_beyond_its_stop() {
    let mut venue = replay(path(&["100", "100", "97", "97"]), 60);
    let kind = Kind::Trail {
        by: Trail::Amount(decimal("1")),
        start: Some(decimal("99.5")),
        limit_offset: Some(decimal("0.2")),
    };
    venue.step(after(OPEN, 10), place(1, ticket(Side::Sell, kind, 10)));
    let order = venue.account().find_open(1, 1).unwrap();
    assert_eq!(
        (order.trail_stop, order.limit()),
        (Some(decimal("99.5")), Some(decimal("99.3")))
    );
    let outputs = venue.step(after(OPEN, 170), Input::Time);
    assert!(fills(&outputs).iter().all(|fill| fill.0 >= decimal("99.3")));
}

#[test]
fn orders_for_the_close_trade_at_it_or_end() {
    let mut rows = path(&["100", "100"]);
    rows.push(row(after(OPEN, 389 * 60), ["100", "101", "100", "100.7"], "5000"));
    rows.push(row(after(CLOSE, 600), ["105", "105", "105", "105"], "500"));
    let mut venue = replay(rows, 60);
    let close = |limit: Option<&str>| Kind::OnClose {
        limit: limit.map(decimal),
    };
    for (order_id, kind) in [
        (1, close(None)),
        (2, close(Some("100.7"))),
        (3, close(Some("100.6"))),
    ] {
        venue.step(after(OPEN, 20), place(order_id, ticket(Side::Buy, kind, 400)));
    }
    let before = venue.step(after(OPEN, 390 * 60 - 1), Input::Time);
    assert!(fills(&before).is_empty(), "they wait for the close");
    let traded = fills(&venue.step(after(CLOSE, 0), Input::Time));
    assert_eq!(traded, [(decimal("100.7"), decimal("400")); 2]);
    assert_eq!(
        ended(&venue, 3),
        (Status::Cancelled, "Not traded at the close".into())
    );
    venue.step(after(CLOSE, 60), place(4, ticket(Side::Buy, close(None), 1)));
    assert_eq!(ended(&venue, 4).0, Status::Rejected);
}

#[test]
fn an_order_for_the_close_whose_parent_has_not_traded_ends_with_it() {
    let mut rows = path(&["100", "100"]);
    rows.push(row(after(CLOSE, -60), ["100"; 4], "5000"));
    rows.push(row(after(CLOSE, 86_400), ["100"; 4], "500"));
    let mut venue = replay(rows, 60);
    let resting = ticket(Side::Buy, Kind::Limit(decimal("1")), 10);
    let parent = with(Lifetime::GoodTillCancelled, resting);
    let child = Ticket {
        parent: Some(1),
        ..ticket(Side::Sell, Kind::OnClose { limit: None }, 10)
    };
    venue.step(after(OPEN, 20), place(1, parent));
    venue.step(after(OPEN, 20), place(2, child));
    venue.step(after(CLOSE, 0), Input::Time);
    assert_eq!(
        ended(&venue, 2),
        (Status::Cancelled, "Not traded at the close".into())
    );
    assert!(venue.account().find_open(1, 1).is_some());
}

#[test]
fn orders_for_the_close_are_refused_from_the_close_until_the_next_day() {
    // Thursday, 3 July 2025, until 13:00 in New York; Monday, 7 July; and nothing after it.
    let (early, late) = ("2025-07-03T17:00:00Z", "2025-07-07T20:00:00Z");
    let rows = [early, late].map(|close| row(after(close, -60), ["100"; 4], "5000"));
    let mut venue = replay(rows.into(), 60);
    let mut taken = |order_id, at: &str| {
        let order = ticket(Side::Buy, Kind::OnClose { limit: None }, 10);
        venue.step(after(at, 0), place(order_id, order));
        venue.account().find_open(1, order_id).is_some()
    };
    for (order_id, at, is_taken) in [
        (1, "2025-07-03T16:59:59Z", true),
        (2, "2025-07-03T17:00:00Z", false),
        (3, "2025-07-03T21:00:00Z", false),
        (4, "2025-07-04T03:59:59Z", false),
        (5, "2025-07-04T04:00:00Z", true),
        (6, "2025-07-07T20:00:00Z", false),
        (7, "2025-07-08T00:00:00Z", false),
        (8, "2025-07-08T14:00:00Z", false),
    ] {
        assert_eq!(taken(order_id, at), is_taken, "{at}");
    }
    assert_eq!(
        [1, 5].map(|order_id| ended(&venue, order_id).0),
        [Status::Filled; 2]
    );
}

#[test]
fn a_day_that_ends_early_has_its_close_at_one() {
    // 3 July 2025, until 13:00 in New York, and the next day of trading.
    let (close, next) = ("2025-07-03T17:00:00Z", "2025-07-07T13:30:00Z");
    let rows = [-600, -60, 300].map(|second| row(after(close, second), ["100"; 4], "5000"));
    let later = [0, 389 * 60].map(|second| row(after(next, second), ["200"; 4], "5000"));
    let mut venue = replay(rows.into_iter().chain(later).collect(), 60);
    for (order_id, limit) in [(1, None), (2, Some("100")), (3, Some("99"))] {
        let limit = limit.map(decimal);
        let order = ticket(Side::Buy, Kind::OnClose { limit }, 400);
        venue.step(after(close, -590), place(order_id, order));
    }
    assert!(fills(&venue.step(after(close, -1), Input::Time)).is_empty());
    let traded = fills(&venue.step(after(close, 0), Input::Time));
    assert_eq!(traded, [(decimal("100"), decimal("400")); 2]);
    assert_eq!(
        ended(&venue, 3),
        (Status::Cancelled, "Not traded at the close".into())
    );
    assert!(fills(&venue.step(after(next, 8 * 3600), Input::Time)).is_empty());
}

#[test]
fn a_day_order_placed_after_the_close_is_for_the_next_day() {
    let mut rows = path(&["100", "100"]);
    rows.push(row(after(CLOSE, 600), ["100", "100", "100", "100"], "500"));
    rows.push(row(after(OPEN, 86_400), ["100", "100", "100", "100"], "5000"));
    let mut venue = replay(rows, 60);
    let order = ticket(Side::Buy, Kind::Market, 10);
    let extended = Ticket {
        outside_regular: true,
        ..ticket(Side::Buy, Kind::Limit(decimal("90")), 10)
    };
    let outputs = venue.step(after(CLOSE, 700), place(1, order));
    assert!(fills(&outputs).is_empty(), "the session is over");
    venue.step(after(CLOSE, 701), place(2, extended));
    assert!(fills(&venue.step(after(CLOSE, 5 * 3600), Input::Time)).is_empty());
    assert_eq!(ended(&venue, 2).0, Status::Cancelled);
    assert_eq!(fills(&venue.step(after(OPEN, 86_460), Input::Time)).len(), 1);
    // After the last session of all there is no next one.
    let low = ticket(Side::Buy, Kind::Limit(decimal("90")), 10);
    venue.step(after(CLOSE, 86_400 + 60), place(3, low));
    venue.step(after(CLOSE, 86_400 + 5 * 3600), Input::Time);
    assert_eq!(ended(&venue, 3).0, Status::Cancelled);
}

#[test]
fn around_the_clock_the_close_is_at_four_in_new_york() {
    let start: Timestamp = "2026-11-23T20:59:50Z".parse().unwrap();
    let market = Market::Synthetic(Synthetic::new(&[symbol("SPY")], 42, 1, start));
    let mut account = Account::default();
    account.apply(&Venue::opening(100_000.into(), start));
    let mut venue = Venue::new(market, account, start);
    let at = |second: i64| Timestamp::from_second(start.as_second() + second).unwrap();
    let kind = Kind::OnClose { limit: None };
    venue.step(at(1), place(1, ticket(Side::Buy, kind, 5)));
    venue.step(
        at(1),
        place(2, ticket(Side::Buy, Kind::Limit(decimal("0.01")), 5)),
    );
    let traded = fills(&venue.step(at(10), Input::Time));
    assert_eq!(traded.len(), 1);
    assert!(
        venue.account().find_open(1, 2).is_some(),
        "a day order lives until midnight"
    );
    // After it, there is a next one; midnight does not end what waits for it.
    venue.step(at(11), place(3, ticket(Side::Buy, kind, 5)));
    venue.step(at(9 * 3600), Input::Time);
    assert!(venue.account().find_open(1, 3).is_some());
    assert_eq!(ended(&venue, 2).0, Status::Cancelled);
    assert_eq!(fills(&venue.step(at(24 * 3600 + 10), Input::Time)).len(), 1);
}

#[test]
fn what_is_left_of_an_order_far_through_the_market_trades_at_the_market() {
    let start: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
    for (side, away) in [(Side::Buy, 10), (Side::Sell, -10)] {
        let market = Market::Synthetic(Synthetic::new(&[symbol("SPY")], 42, 1, start));
        let mut account = Account::default();
        account.apply(&Venue::opening(10_000_000.into(), start));
        let mut venue = Venue::new(market, account, start);
        let at = |second: i64| Timestamp::from_second(start.as_second() + second).unwrap();
        venue.step(at(5), Input::Time);
        let far = venue.mark(symbol("SPY")).unwrap() + Decimal::from(away);
        let mut outputs = venue.step(at(5), place(1, ticket(side, Kind::Limit(far), 20_000)));
        outputs.extend(venue.step(at(60), Input::Time));
        let first = fills(&outputs)[0].0;
        let all = venue.account().fills.iter();
        assert_eq!(
            all.clone().map(|fill| fill.quantity).sum::<Quantity>(),
            20_000.into()
        );
        for fill in all {
            let distance = (fill.price - first).abs();
            assert!(distance < Decimal::ONE && !fill.added_liquidity, "{fill:?}");
        }
    }
}

#[test]
fn fill_or_kill_trades_all_or_nothing() {
    let mut venue = replay(path(&["10", "10", "10"]), 60);
    let kill = |quantity| with(Lifetime::FillOrKill, ticket(Side::Buy, Kind::Market, quantity));
    venue.step(after(OPEN, 10), place(1, kill(20_000)));
    assert_eq!(ended(&venue, 1).0, Status::Cancelled);
    assert!(venue.account().fills.is_empty());
    venue.step(after(OPEN, 20), place(2, kill(100)));
    assert_eq!(ended(&venue, 2).0, Status::Filled);
    // What is left of the other kind is cancelled.
    let any = with(
        Lifetime::ImmediateOrCancel,
        ticket(Side::Buy, Kind::Market, 20_000),
    );
    venue.step(after(OPEN, 30), place(3, any));
    assert_eq!(ended(&venue, 3).0, Status::Cancelled);
    assert!(!venue.account().find_completed(1, 3).unwrap().filled.is_zero());
}

#[test]
fn an_immediate_stop_sleeps_until_its_trigger() {
    let mut venue = replay(path(&["100", "100", "102", "102"]), 60);
    let stop = ticket(Side::Buy, Kind::Stop(decimal("101")), 10);
    venue.step(after(OPEN, 10), place(1, with(Lifetime::ImmediateOrCancel, stop)));
    assert_eq!(venue.account().find_open(1, 1).unwrap().status, Status::Held);
    venue.step(after(OPEN, 170), Input::Time);
    assert_eq!(ended(&venue, 1).0, Status::Filled);
}

#[test]
fn an_order_good_till_a_date_ends_at_that_very_instant() {
    let mut venue = replay(path(&["100", "100", "100", "100"]), 60);
    let end = after(OPEN, 95);
    let low = ticket(Side::Buy, Kind::Limit(decimal("90")), 10);
    venue.step(
        after(OPEN, 10),
        place(1, with(Lifetime::GoodTillDate(end), low.clone())),
    );
    let outputs = venue.step(after(OPEN, 150), Input::Time);
    let ends = outputs.iter().find_map(|output| match output {
        Output::Record(Record::Ended { at, .. }) => Some(*at),
        _ => None,
    });
    assert_eq!(ends, Some(end));
    venue.step(after(OPEN, 151), place(2, with(Lifetime::GoodTillDate(end), low)));
    assert_eq!(ended(&venue, 2).0, Status::Rejected);
}

#[test]
fn an_order_if_touched_waits_for_a_better_price() {
    let mut venue = replay(path(&["100", "100", "98", "98"]), 60);
    let touch = |limit: Option<&str>| Kind::Touch {
        price: decimal("99"),
        limit: limit.map(decimal),
    };
    for (order_id, limit) in [(1, None), (2, Some("98.5"))] {
        let outputs = venue.step(
            after(OPEN, 10),
            place(order_id, ticket(Side::Buy, touch(limit), 10)),
        );
        assert!(fills(&outputs).is_empty());
    }
    let traded = fills(&venue.step(after(OPEN, 170), Input::Time));
    assert_eq!(traded.len(), 2);
    assert!(
        traded[0].0 <= decimal("99.01") && traded[1].0 <= decimal("98.5"),
        "{traded:?}"
    );
}

#[test]
fn new_terms_keep_the_number_and_are_checked_like_new_orders() {
    let mut venue = replay(path(&["100", "100", "100", "100"]), 60);
    let low = |quantity| ticket(Side::Buy, Kind::Limit(decimal("90")), quantity);
    venue.step(after(OPEN, 10), place(1, low(10)));
    let perm_id = venue.account().find_open(1, 1).unwrap().perm_id;
    // More than the account can carry is refused, and the order stays as it was.
    let outputs = venue.step(after(OPEN, 11), place(1, low(1_000_000)));
    assert!(matches!(
        &outputs[..],
        [Output::Refused {
            why: Refusal::Rejected(_),
            ..
        }]
    ));
    assert_eq!(
        venue.account().find_open(1, 1).unwrap().ticket.quantity,
        decimal("10")
    );
    // A limit becomes a stop: it goes back to sleep instead of trading at once.
    let stop = ticket(Side::Buy, Kind::Stop(decimal("105")), 20);
    let outputs = venue.step(after(OPEN, 12), place(1, with(Lifetime::GoodTillCancelled, stop)));
    assert!(fills(&outputs).is_empty());
    let order = venue.account().find_open(1, 1).unwrap();
    assert_eq!((order.perm_id, order.status), (perm_id, Status::Held));
    venue.step(after(OPEN, 13), place(1, ticket(Side::Buy, Kind::Market, 20)));
    assert_eq!(ended(&venue, 1).0, Status::Filled);
    let again = ticket(Side::Buy, Kind::Market, 30);
    let outputs = venue.step(after(OPEN, 13), place(1, again));
    assert!(matches!(
        &outputs[..],
        [Output::Refused {
            why: Refusal::Filled,
            ..
        }]
    ));
}

#[test]
fn shares_that_nobody_lends_and_poor_accounts_are_not_sold_short() {
    let rules = Rules {
        not_shortable: [symbol("SPY")].into(),
    };
    let mut venue = replay(path(&["10", "10", "10"]), 60).with_rules(rules);
    venue.step(after(OPEN, 10), place(1, ticket(Side::Sell, Kind::Market, 10)));
    assert!(ended(&venue, 1).1.contains("short sale"));
    venue.step(after(OPEN, 11), place(2, ticket(Side::Buy, Kind::Market, 100)));
    venue.step(
        after(OPEN, 12),
        place(3, ticket(Side::Sell, Kind::Limit(decimal("20")), 60)),
    );
    assert!(
        venue.account().find_open(1, 3).is_some(),
        "what is held may be sold"
    );
    venue.step(after(OPEN, 13), place(4, ticket(Side::Sell, Kind::Market, 60)));
    assert_eq!(ended(&venue, 4).0, Status::Rejected, "but only once");

    let files = BTreeMap::from([(
        symbol("SPY"),
        Rows {
            rows: path(&["10", "10"]),
            seconds: 60,
        },
    )]);
    let (start, mut account) = (after(OPEN, 0), Account::default());
    account.apply(&Venue::opening(1_900.into(), start));
    let mut poor = Venue::new(Market::Replay(Replay::new(files, 7, start)), account, start);
    poor.step(after(OPEN, 10), place(1, ticket(Side::Sell, Kind::Market, 1)));
    assert!(ended(&poor, 1).1.contains("2000"));
}

#[test]
fn working_orders_count_against_what_can_be_bought_and_a_group_counts_once() {
    let mut venue = replay(path(&["100", "100", "100"]), 60);
    // A quarter of the value is needed: 100,000 dollars carry 4,000 shares at 100.
    let low = |quantity| ticket(Side::Buy, Kind::Limit(decimal("99")), quantity);
    venue.step(after(OPEN, 10), place(1, low(3_000)));
    assert!(venue.account().find_open(1, 1).is_some());
    venue.step(after(OPEN, 11), place(2, low(3_000)));
    assert!(ended(&venue, 2).1.contains("insufficient"));
    venue.step(
        after(OPEN, 12),
        Input::Cancel {
            client: 1,
            order_id: 1,
        },
    );
    for order_id in [3, 4] {
        let either = Ticket {
            group: Some(Group {
                name: "either".into(),
                effect: GroupEffect::CancelWithBlock,
            }),
            ..low(3_000)
        };
        venue.step(after(OPEN, 13), place(order_id, either));
        assert!(venue.account().find_open(1, order_id).is_some());
    }
}

#[test]
fn records_from_before_families_and_trails_still_load() {
    let text = r#"{"record":"accepted","order":{"perm_id":1000000001,"client":11,"order_id":4,"ticket":{
        "symbol":"AAPL","side":"buy","kind":{"stop-limit":{"stop":"270.1","limit":"270.2"}},"quantity":"10",
        "lifetime":"good-till-cancelled","outside_regular":false,"reference":"r"},"status":"held",
        "triggered":false,"filled":"0","turnover":"0","commission":"0","last_price":"0",
        "placed_at":"2026-11-20T15:00:00Z","end":null}}"#;
    let record: Record = serde_json::from_str(text).unwrap();
    let mut account = Account::default();
    account.apply(&record);
    let order = account.find_open(11, 4).unwrap();
    assert!(order.ticket.transmit && order.ticket.parent.is_none() && order.ticket.group.is_none());
    // What has none of the new is written as before.
    let again = serde_json::to_string(&record).unwrap();
    for field in ["transmit", "parent", "group", "trail_stop", "part_left"] {
        assert!(!again.contains(field), "{again}");
    }
}
