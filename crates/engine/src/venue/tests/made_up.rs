//! The made-up past: a bar is the same whatever is asked for, and longer bars are what shorter ones join to.

use super::*;
use crate::venue::history::{Query, Show};
use crate::venue::past::book_at;

const BEGIN: &str = "2026-11-23T04:58:57Z";
const SIZES: [BarSize; 9] = [
    BarSize::Seconds(5),
    BarSize::Seconds(30),
    BarSize::Seconds(60),
    BarSize::Seconds(300),
    BarSize::Seconds(1_800),
    BarSize::Seconds(3_600),
    BarSize::Seconds(10_800),
    BarSize::Day,
    BarSize::Month,
];

fn market(seed: u64, trades_per_second: u32) -> Market {
    let symbols = ["AAPL", "IXHL", "OPEN"].map(symbol);
    Market::Synthetic(Synthetic::new(&symbols, seed, trades_per_second, after(BEGIN, 0)))
}

/// What a bar says but for its average price.
fn plain(bar: &Bar) -> (Timestamp, [Price; 4], Quantity, i32) {
    let prices = [bar.open, bar.high, bar.low, bar.close];
    (bar.start, prices, bar.volume, bar.count)
}

#[test]
fn bars_of_all_sizes_are_joined_from_the_same_trades() {
    for (seed, trades_per_second) in [(1, 1), (42, 1), (7, 3)] {
        let market = market(seed, trades_per_second);
        for symbol in market.symbols() {
            let (from, to) = (after(BEGIN, 0), after(BEGIN, 4 * 3_600 + 1_234));
            let trades = market.ticks(symbol, from, to, usize::MAX, false);
            for size in SIZES {
                let mut joiner = Joiner::new(size);
                for tick in &trades {
                    assert!(tick.bid > Decimal::ZERO && tick.bid < tick.ask, "{tick:?}");
                    assert!(tick.price == tick.bid || tick.price == tick.ask, "{tick:?}");
                    assert!(tick.size > Decimal::ZERO, "{tick:?}");
                    joiner.push(Bar::of(tick.at, tick.price, tick.size));
                }
                let joined: Vec<_> = joiner.finish().iter().map(plain).collect();
                let told: Vec<_> = market.bars(symbol, from, to, size).iter().map(plain).collect();
                assert_eq!(told, joined, "{symbol} {size:?}");
            }
        }
    }
}

#[test]
fn a_bar_depends_on_nothing_but_its_size_and_time() {
    let market = market(5, 1);
    let symbol = symbol("AAPL");
    let end = after("2026-11-23T15:00:00Z", 0);
    for (show, seconds) in [
        (Show::Trades, 60),
        (Show::Trades, 300),
        (Show::Middle, 60),
        (Show::Bid, 3_600),
    ] {
        let size = BarSize::Seconds(seconds);
        let asked = |begin: &str| Query {
            symbol,
            from: after(begin, 0),
            to: end,
            size,
            show,
            regular_only: false,
        };
        let long = asked("2026-10-23T15:00:00Z").answer(&market);
        let short = asked("2026-11-23T13:00:00Z").answer(&market);
        assert_eq!(long[long.len() - short.len()..], short[..], "{show:?} {seconds}");
    }
}

#[test]
fn a_book_that_is_opened_again_shows_the_day_as_it_was() {
    for begin in [BEGIN, "2026-11-23T15:00:30Z"] {
        let market = market(9, 2);
        let watched = symbol("OPEN");
        let mut venue = Venue::new(market.clone(), Account::default(), after(begin, 0));
        venue.skip_to(after(begin, 0));
        venue.step(after(begin, 3_000), Input::Time);
        let (shown, again) = (
            venue.book(watched).unwrap(),
            book_at(&market, watched, after(begin, 3_000)).unwrap(),
        );
        let day =
            |book: &super::super::book::Book| (book.volume, book.open, book.high, book.low, book.tick.price);
        assert_eq!(day(shown), day(&again));
    }
}

#[test]
fn after_a_pause_orders_trade_at_the_prices_of_then_and_a_day_begins_at_its_own() {
    // Ten in the morning in New York, and the same on the next day.
    let (before, begin) = ("2026-11-23T14:50:00Z", "2026-11-23T15:00:00Z");
    let end: Timestamp = "2026-11-24T15:00:00.5Z".parse().unwrap();
    let aapl = symbol("AAPL");
    let market = market(3, 1);
    let mut account = Account::default();
    account.apply(&Venue::opening(100_000.into(), after(before, 0)));
    let mut venue = Venue::new(market.clone(), account, after(before, 0));
    let buy = Ticket {
        symbol: aapl,
        ..ticket(Side::Buy, Kind::Market, 10)
    };
    venue.step(after(begin, 0), place(1, buy));
    assert_eq!(venue.account().shares(aapl), decimal("10"));
    let mark = venue.mark(aapl).unwrap();
    let then = book_at(&market, aapl, end).unwrap();
    assert!((then.tick.price - mark).abs() > Decimal::ONE, "the pause is long");

    venue.skip_to(end);
    let sell = Ticket {
        symbol: aapl,
        ..ticket(Side::Sell, Kind::Market, 10)
    };
    let sold = fills(&venue.step(end, place(2, sell)));
    assert_eq!(sold, [(then.tick.bid, decimal("10"))]);
    let midnight = after("2026-11-24T05:00:00Z", 0);
    let close = market.ticks_before(aapl, midnight, 1, false)[0].price;
    let (book, account) = (venue.book(aapl).unwrap(), venue.account());
    assert_eq!(
        (book.previous_close, book.open, book.volume),
        (Some(close), then.open, then.volume)
    );
    assert_eq!(account.day.unwrap().to_string(), "2026-11-24");
    let gain = decimal("10") * (sold[0].0 - close) - account.fills[1].commission;
    assert_eq!(venue.valuation().daily, gain, "since the close before");
}
