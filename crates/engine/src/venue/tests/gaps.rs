//! Where a replay has no bars, nothing trades: through a night, through a hole in the day, before the first bar.

use super::*;
use crate::venue::order::Lifetime;

/// Three minutes at about 100 before the close of Monday, and from 10:00 on Tuesday three at about 120.
fn night() -> Vec<Row> {
    let minute = |start: &str, place: i64, price: &str| {
        let close = decimal(price) + Decimal::new(place, 2);
        let prices = [
            price.to_owned(),
            close.to_string(),
            price.to_owned(),
            close.to_string(),
        ];
        row(
            after(start, 60 * place),
            prices.each_ref().map(String::as_str),
            "9000",
        )
    };
    let monday = (0..3).map(|place| minute("2013-10-07T19:57:00Z", place, "100"));
    let tuesday = (0..3).map(|place| minute("2013-10-08T14:00:00Z", place, "120"));
    monday.chain(tuesday).collect()
}

fn extended(ticket: Ticket) -> Ticket {
    Ticket {
        outside_regular: true,
        lifetime: Lifetime::GoodTillCancelled,
        ..ticket
    }
}

#[test]
fn nothing_trades_through_a_night_at_the_price_of_the_day_before() {
    let mut venue = replay(night(), 60);
    let orders = [
        ("2013-10-07T20:00:00Z", Kind::Market),
        ("2013-10-07T21:00:00Z", Kind::Limit(decimal("130"))),
        ("2013-10-08T08:00:00Z", Kind::Market),
        ("2013-10-08T13:30:00Z", Kind::Market),
        ("2013-10-08T13:59:59Z", Kind::Limit(decimal("130"))),
    ];
    for (order_id, (at, kind)) in (1..).zip(orders) {
        let order = extended(ticket(Side::Buy, kind, 10));
        let outputs = venue.step(after(at, 0), place(order_id, order));
        assert!(fills(&outputs).is_empty(), "at {at}");
    }
    let traded = fills(&venue.step(after("2013-10-08T14:00:30Z", 0), Input::Time));
    assert_eq!(traded.len(), orders.len());
    let shown = decimal("120")..=decimal("120.02");
    for (price, _) in traded {
        assert!(shown.contains(&price), "{price}");
    }
}

#[test]
fn a_start_in_the_middle_of_the_next_day_begins_that_day_at_the_close_before() {
    let spy = symbol("SPY");
    let mut venue = replay(night(), 60);
    venue.step(
        after("2013-10-07T19:58:10Z", 0),
        place(1, ticket(Side::Buy, Kind::Market, 10)),
    );
    // Another one that stands still from the evening on, and knows as much.
    let evening = after("2013-10-07T20:00:30Z", 0);
    venue.step(evening, Input::Time);
    let account = venue.account().clone();
    assert_eq!(account.positions[&spy].quantity, decimal("10"));

    let noon = after("2013-10-08T14:01:30Z", 0);
    venue.step(noon, Input::Time);
    let mut again = night_from(noon, account);
    again.step(noon, Input::Time);
    let day = |venue: &Venue| {
        let (account, book) = (venue.account(), venue.book(spy).unwrap());
        (
            account.day,
            account.day_equity,
            account.positions[&spy].begun,
            book.previous_close,
        )
    };
    assert_eq!(day(&again), day(&venue));
    assert!(again.book(spy).unwrap().previous_close < Some(decimal("101")));
}

/// A venue that replays the same night, begun at some instant.
fn night_from(start: Timestamp, account: Account) -> Venue {
    let rows = Rows {
        rows: night(),
        seconds: 60,
    };
    let files = BTreeMap::from([(symbol("SPY"), rows)]);
    Venue::new(Market::Replay(Replay::new(files, 7, start)), account, start)
}

#[test]
fn a_day_that_is_begun_before_its_first_trade_opens_with_that() {
    let spy = symbol("SPY");
    let noon = after("2013-10-08T14:01:30Z", 0);
    let day = |venue: &Venue| {
        let book = venue.book(spy).unwrap();
        let prices = (book.open, book.high, book.low);
        (prices, book.volume, book.average(), book.previous_close)
    };
    let mut watched = replay(night(), 60);
    watched.step(after("2013-10-08T13:00:00Z", 0), Input::Time);
    let account = watched.account().clone();
    watched.step(noon, Input::Time);
    assert!(watched.book(spy).unwrap().low >= decimal("120"));
    // A new account, and one that has begun the day already.
    for account in [Account::default(), account] {
        for start in ["2013-10-08T05:00:00Z", "2013-10-08T13:31:00Z"] {
            let mut begun = night_from(after(start, 0), account.clone());
            begun.step(noon, Input::Time);
            assert_eq!(day(&begun), day(&watched), "begun at {start}");
        }
    }
}

#[test]
fn an_order_in_a_hole_of_the_day_waits_for_the_next_bar() {
    let mut rows = minutes(3);
    rows.push(row(after(OPEN, 1800), ["150", "150.1", "149.9", "150"], "9000"));
    let mut venue = replay(rows, 60);
    venue.step(after(OPEN, 170), place(1, ticket(Side::Buy, Kind::Market, 10)));
    assert_eq!(venue.account().fills.len(), 1, "the bar is not over");
    for (order_id, at) in [(2, 180), (3, 181), (4, 1799)] {
        let outputs = venue.step(
            after(OPEN, at),
            place(order_id, ticket(Side::Sell, Kind::Market, 1)),
        );
        assert!(fills(&outputs).is_empty(), "{at} s after the open");
        assert_eq!(
            venue.account().find_open(1, order_id).unwrap().status,
            Status::Working
        );
    }
    // Who does not wait gets nothing, and a price that is gone wakes no stop.
    let at_once = Ticket {
        lifetime: Lifetime::ImmediateOrCancel,
        ..ticket(Side::Buy, Kind::Market, 1)
    };
    venue.step(after(OPEN, 1799), place(5, at_once));
    assert_eq!(
        venue.account().find_completed(1, 5).unwrap().status,
        Status::Cancelled
    );
    let stop = ticket(Side::Buy, Kind::Stop(decimal("160")), 1);
    venue.step(after(OPEN, 1799), place(6, stop));
    let passed = ticket(Side::Sell, Kind::Stop(decimal("149")), 1);
    venue.step(
        after(OPEN, 1799),
        place(
            7,
            Ticket {
                kind: Kind::Stop(decimal("168")),
                ..passed
            },
        ),
    );
    for order_id in [6, 7] {
        assert_eq!(
            venue.account().find_open(1, order_id).unwrap().status,
            Status::Held
        );
    }
    let traded = fills(&venue.step(after(OPEN, 1860), Input::Time));
    assert_eq!(
        traded.len(),
        4,
        "three that waited, and the stop that the new price reaches"
    );
    assert!(
        traded
            .iter()
            .all(|fill| fill.0 >= decimal("149.9") && fill.0 <= decimal("150.1")),
        "{traded:?}"
    );
    assert!(venue.account().find_open(1, 6).is_some());
}

#[test]
fn a_bar_is_as_long_as_its_own_file_says() {
    let begin = after(OPEN, 0);
    let long = |place: i64| row(after(OPEN, 1800 * place), ["100", "130", "99", "130"], "90000");
    let files = BTreeMap::from([
        (
            symbol("SPY"),
            Rows {
                rows: minutes(60),
                seconds: 60,
            },
        ),
        (
            symbol("NVDA"),
            Rows {
                rows: (0..2).map(long).collect(),
                seconds: 1800,
            },
        ),
    ]);
    let market = Market::Replay(Replay::new(files, 7, begin));
    let shown = |until| market.ticks(symbol("NVDA"), begin, after(OPEN, until), usize::MAX, false);
    let of_the_first = shown(1800);
    assert!(
        shown(60).len() < of_the_first.len() / 10,
        "the rest of the bar is the future"
    );
    assert!(of_the_first.last().unwrap().at >= after(OPEN, 1795));
}

#[test]
fn a_bar_of_a_day_that_says_midnight_in_utc_trades_on_that_day() {
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    for day in 3..8 {
        text += &format!("2025-03-0{day}T00:00:00Z,103,105,102,104,1000000\n");
    }
    let rows = crate::venue::rows::parse(&text).unwrap();
    let files = BTreeMap::from([(symbol("SPY"), rows.clone())]);
    let mut market = Market::Replay(Replay::new(files, 7, rows.rows[0].start));
    // Monday, half past nine in New York.
    let open = after("2025-03-03T14:30:00Z", 0);
    assert_eq!(market.take().unwrap().at, open);
    let end = after("2025-03-05T05:00:00Z", 0);
    let told = market.bars(symbol("SPY"), Timestamp::UNIX_EPOCH, end, BarSize::Day);
    let dates = told
        .iter()
        .map(|bar| crate::venue::calendar::local(bar.start).date().to_string());
    assert_eq!(dates.collect::<Vec<_>>(), ["2025-03-03", "2025-03-04"]);
    // Who was stopped in a bar goes on after it, who was stopped at night with the next.
    let resumed = |at: &str| rows.end_of_bar_at(after(at, 0));
    assert_eq!(
        resumed("2025-03-03T15:00:00Z"),
        Some(after("2025-03-03T21:00:00Z", 0))
    );
    assert_eq!(resumed("2025-03-04T02:00:00Z"), None);
    let night = after("2025-03-04T08:00:00Z", 0);
    let mut market = Replay::new(BTreeMap::from([(symbol("SPY"), rows)]), 7, night);
    assert_eq!(market.take().unwrap().at, after("2025-03-04T14:30:00Z", 0));
}

#[test]
fn a_gateway_that_begins_between_bars_offers_nothing_before_the_next() {
    let rows = night();
    let start = after("2013-10-08T13:31:00Z", 0);
    let files = BTreeMap::from([(symbol("SPY"), Rows { rows, seconds: 60 })]);
    let mut account = Account::default();
    account.apply(&Venue::opening(100_000.into(), start));
    let mut venue = Venue::new(Market::Replay(Replay::new(files, 7, start)), account, start);
    assert!(venue.mark(symbol("SPY")).is_some(), "the last price is known");
    let outputs = venue.step(start, place(1, ticket(Side::Buy, Kind::Market, 10)));
    assert!(fills(&outputs).is_empty());
    let traded = fills(&venue.step(after("2013-10-08T14:00:01Z", 0), Input::Time));
    assert_eq!(traded, [(decimal("120"), decimal("10"))]);
}

#[test]
fn the_step_of_a_price_tells_nothing_of_what_the_price_becomes() {
    let step = |first: &str, last: &str| {
        let begins = row(after("2013-10-07T13:30:00Z", 0), [first; 4], "100");
        let ends = row(after("2013-10-07T13:31:00Z", 0), [last; 4], "100");
        let venue = replay(vec![begins, ends], 60);
        venue.market().price_step(symbol("SPY")).unwrap().to_string()
    };
    assert_eq!([step("0.5", "0.5"), step("0.5", "2")], ["0.0001", "0.0001"]);
    assert_eq!([step("2", "2"), step("2", "0.5")], ["0.01", "0.01"]);
}
