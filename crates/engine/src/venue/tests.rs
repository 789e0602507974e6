//! Laws of the exchange: a replay shows exactly its files, money reconciles to the last decimal, nothing
//! trades at a price that was not shown, and the same seed makes the same day.

mod families;
mod gaps;
mod kinds;
mod laws;
mod made_up;
mod margin;

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use protocol::{Money, Price, Quantity, Symbol};
use rust_decimal::Decimal;

use super::account::Account;
use super::bars::{Bar, BarSize, Joiner};
use super::market::Market;
use super::order::{Kind, Side, Status, Ticket};
use super::record::Record;
use super::replay::Replay;
use super::rows::{Row, Rows};
use super::synthetic::{Regime, Synthetic};
use super::unfold::unfold;
use super::{Input, Output, Refusal, Venue};

/// Monday, 2013-10-07, 09:30 in New York.
const OPEN: &str = "2013-10-07T13:30:00Z";

fn symbol(name: &str) -> Symbol {
    name.parse().unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn after(start: &str, seconds: i64) -> Timestamp {
    Timestamp::from_second(start.parse::<Timestamp>().unwrap().as_second() + seconds).unwrap()
}

fn row(start: Timestamp, prices: [&str; 4], volume: &str) -> Row {
    let [open, high, low, close] = prices.map(decimal);
    Row {
        start,
        open,
        high,
        low,
        close,
        volume: decimal(volume),
    }
}

/// A venue that replays rows of SPY from their first one on, with 100,000 dollars.
fn replay(rows: Vec<Row>, seconds: i64) -> Venue {
    let start = rows[0].start;
    let files = BTreeMap::from([(symbol("SPY"), Rows { rows, seconds })]);
    let mut account = Account::default();
    account.apply(&Venue::opening(100_000.into(), start));
    Venue::new(Market::Replay(Replay::new(files, 7, start)), account, start)
}

fn ticket(side: Side, kind: Kind, quantity: i64) -> Ticket {
    let reference = "t".into();
    Ticket {
        reference,
        ..Ticket::new(symbol("SPY"), side, kind, quantity.into())
    }
}

fn place(order_id: i32, ticket: Ticket) -> Input {
    Input::Place {
        client: 1,
        order_id,
        ticket: Box::new(ticket),
    }
}

fn fills(outputs: &[Output]) -> Vec<(Price, Quantity)> {
    let fill = |output: &Output| match output {
        Output::Record(Record::Filled { fill }) => Some((fill.price, fill.quantity)),
        _ => None,
    };
    outputs.iter().filter_map(fill).collect()
}

/// A day of ordinary minutes.
fn minutes(count: i64) -> Vec<Row> {
    (0..count)
        .map(|minute| {
            let base = Decimal::new(16_700 + (minute * 7) % 40, 2);
            let [up, down] = [Decimal::new(9, 2), Decimal::new(8, 2)];
            let start = after(OPEN, minute * 60);
            let close = base + Decimal::new(minute % 5, 2);
            Row {
                start,
                open: base,
                high: base + up,
                low: base - down,
                close,
                volume: (5_000 + minute * 13).into(),
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bar unfolds into trades within its interval and range that add up to itself.
    #[test]
    fn a_bar_unfolds_into_itself(
        steps in prop::array::uniform4(1i64..100_000),
        places in 0u32..5,
        volume in prop_oneof![0i64..20, 0i64..5_000_000],
        odd in 0u32..3,
        length in prop::sample::select(vec![1i64, 5, 60, 300, 3600]),
        seed: u64,
    ) {
        let (low, high) = (*steps.iter().min().unwrap(), *steps.iter().max().unwrap());
        let price = |value| Decimal::new(value, places).normalize();
        let hour = "2013-10-07T13:00:00Z";
        let start = after(hour, 0);
        let row = Row {
            start,
            open: price(steps[0]),
            high: price(high),
            low: price(low),
            close: price(steps[3]),
            volume: Decimal::new(volume, odd).normalize(),
        };
        let prints = unfold(&row, length, seed);
        let end = after(hour, length);
        let mut joiner = Joiner::new(BarSize::Seconds(length));
        for pair in prints.windows(2) {
            prop_assert!(pair[0].at <= pair[1].at);
        }
        for print in &prints {
            prop_assert!(print.at >= start && print.at < end);
            prop_assert!(print.size > Decimal::ZERO || row.volume.is_zero());
            joiner.push(Bar::of(print.at, print.price, print.size));
        }
        if length >= 5 {
            prop_assert!(prints.last().unwrap().at >= after(hour, length - 5), "the close is shown at the end");
        }
        let bars = joiner.finish();
        prop_assert_eq!(bars.len(), 1);
        let bar = &bars[0];
        prop_assert_eq!((bar.open, bar.high, bar.low, bar.close, bar.volume), (row.open, row.high, row.low, row.close, row.volume));
    }

    /// Whatever is traded: cash and shares at any price are deposit, gains and losses, to the last decimal.
    #[test]
    fn money_reconciles(orders in prop::collection::vec((any::<bool>(), 1i64..900, 0u8..4, 1i64..90), 1..40)) {
        let mut venue = replay(minutes(60), 60);
        let mut folded = Account::default();
        folded.apply(&Venue::opening(100_000.into(), after(OPEN, 0)));
        let mut now = 0;
        let mut outputs = Vec::new();
        for (index, (buys, quantity, kind, wait)) in orders.into_iter().enumerate() {
            now += wait;
            let mark = venue.mark(symbol("SPY")).unwrap_or(decimal("167"));
            let side = if buys { Side::Buy } else { Side::Sell };
            let kind = match kind {
                0 | 1 => Kind::Market,
                2 => Kind::Limit(mark),
                _ => Kind::Stop(mark + Decimal::new(2, 2)),
            };
            outputs.extend(venue.step(after(OPEN, now), place(index as i32 + 1, ticket(side, kind, quantity))));
        }
        outputs.extend(venue.step(after(OPEN, 7 * 3600), Input::Time));
        for output in &outputs {
            if let Output::Record(record) = output {
                folded.apply(record);
            }
        }
        prop_assert_eq!(&folded, venue.account(), "the account is the fold of its records");
        prop_assert!(folded.open.is_empty(), "every order has ended when the day has");
        let (mut cash, mut shares, mut fees) = (Money::from(100_000), Quantity::ZERO, Money::ZERO);
        for fill in &folded.fills {
            cash -= fill.side.sign() * fill.quantity * fill.price + fill.commission;
            shares += fill.side.sign() * fill.quantity;
            fees += fill.commission;
        }
        prop_assert_eq!((cash, shares, fees), (folded.cash, folded.shares(symbol("SPY")), folded.commissions_total));
        let now = venue.valuation();
        prop_assert_eq!(now.equity(), folded.deposited + folded.realized_total + now.unrealized);
        for order in folded.completed.values() {
            let expected = super::money::commission(order.filled, order.turnover);
            prop_assert_eq!(order.commission, if order.filled.is_zero() { Money::ZERO } else { expected });
        }
    }
}

#[test]
fn five_second_bars_rebuild_the_file_whatever_the_steps() {
    let rows = minutes(30);
    for step in [1, 7, 61, 3600] {
        let mut venue = replay(rows.clone(), 60);
        let mut joiner = Joiner::new(BarSize::Seconds(60));
        let mut seconds = 0;
        while seconds < 3600 {
            seconds += step;
            for output in venue.step(after(OPEN, seconds), Input::Time) {
                if let Output::Bar(_, bar) = output {
                    assert_eq!(bar.start.as_second() % 5, 0);
                    joiner.push(bar);
                }
            }
        }
        let plain = |bar: Bar| Row {
            start: bar.start,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
        };
        assert_eq!(
            joiner.finish().into_iter().map(plain).collect::<Vec<_>>(),
            rows,
            "in steps of {step} s"
        );
    }
}

#[test]
fn nothing_trades_at_a_price_that_was_not_shown() {
    let mut venue = replay(minutes(20), 60);
    let (mut shown, mut order_id, mut traded) = (None::<(Price, Price)>, 0, 0);
    for second in 0..1200 {
        order_id += 1;
        let side = if second % 3 == 0 { Side::Sell } else { Side::Buy };
        for output in venue.step(
            after(OPEN, second),
            place(order_id, ticket(side, Kind::Market, 5)),
        ) {
            match output {
                Output::Tick(tick) if tick.opens_row => shown = Some((tick.price, tick.price)),
                Output::Tick(tick) => {
                    shown = shown.map(|(low, high)| (low.min(tick.price), high.max(tick.price)))
                }
                Output::Record(Record::Filled { fill }) => {
                    let (low, high) = shown.expect("nothing trades before the first price");
                    assert!(
                        fill.price >= low && fill.price <= high,
                        "{} not in {low} to {high}",
                        fill.price
                    );
                    traded += 1;
                }
                _ => {}
            }
        }
    }
    assert!(traded > 500, "{traded}");
}

#[test]
fn a_large_order_fills_in_parts_and_a_limit_waits_to_be_crossed() {
    let mut venue = replay(minutes(20), 60);
    venue.step(after(OPEN, 30), Input::Time);
    let first = venue.step(after(OPEN, 30), place(1, ticket(Side::Buy, Kind::Market, 2_000)));
    let part = fills(&first);
    assert!(!part.is_empty(), "what the book offers trades at once");
    let order = venue.account().find_open(1, 1).unwrap();
    assert_eq!(order.status, Status::Working);
    let rest = venue.step(after(OPEN, 600), Input::Time);
    let traded = part
        .iter()
        .chain(&fills(&rest))
        .map(|fill| fill.1)
        .sum::<Quantity>();
    assert_eq!(traded, Decimal::from(2_000));

    let low = decimal("167");
    let waits = venue.step(
        after(OPEN, 600),
        place(2, ticket(Side::Buy, Kind::Limit(low), 10)),
    );
    assert!(fills(&waits).is_empty());
    let crossed = fills(&venue.step(after(OPEN, 1200), Input::Time));
    assert!(
        crossed.iter().all(|fill| fill.0 <= low) && !crossed.is_empty(),
        "{crossed:?}"
    );
}

#[test]
fn a_large_order_walks_the_levels_that_the_book_shows() {
    let start: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
    let market = Market::Synthetic(Synthetic::new(&[symbol("SPY")], 42, 1, start));
    let mut account = Account::default();
    account.apply(&Venue::opening(10_000_000.into(), start));
    let mut venue = Venue::new(market, account, start);
    let now = Timestamp::from_second(start.as_second() + 5).unwrap();
    venue.step(now, Input::Time);
    let shown = venue.levels(symbol("SPY")).unwrap();
    let worst = shown.asks[3].price;
    let four: Quantity = shown.asks[..4].iter().map(|level| level.size).sum();
    let order = ticket(Side::Buy, Kind::Limit(worst), 1_000_000);
    let order = Ticket {
        quantity: four + Decimal::ONE,
        ..order
    };
    let traded = fills(&venue.step(now, place(1, order)));
    let expected: Vec<_> = shown.asks[..4]
        .iter()
        .map(|level| (level.price, level.size))
        .collect();
    assert_eq!(traded, expected);
    let left = venue.levels(symbol("SPY")).unwrap();
    assert_eq!(left.asks, shown.asks[4..]);
    let quote = &venue.book(symbol("SPY")).unwrap().tick;
    assert_eq!(
        (quote.ask, quote.ask_size),
        (shown.asks[4].price, shown.asks[4].size)
    );
}

#[test]
fn a_stop_sleeps_until_a_trade_reaches_it() {
    let rows = vec![
        row(after(OPEN, 0), ["100", "100.2", "99.9", "100"], "10000"),
        row(after(OPEN, 60), ["100", "100.1", "98.5", "98.6"], "10000"),
    ];
    let mut venue = replay(rows, 60);
    venue.step(after(OPEN, 30), place(1, ticket(Side::Buy, Kind::Market, 10)));
    let held = venue.step(
        after(OPEN, 31),
        place(2, ticket(Side::Sell, Kind::Stop(decimal("99")), 10)),
    );
    assert!(fills(&held).is_empty());
    assert_eq!(venue.account().find_open(1, 2).unwrap().status, Status::Held);
    let woken = fills(&venue.step(after(OPEN, 120), Input::Time));
    assert!(woken.len() == 1 && woken[0].0 <= decimal("99"), "{woken:?}");
    assert!(venue.account().shares(symbol("SPY")).is_zero());
}

#[test]
fn what_can_not_be_done_is_said_and_changes_nothing() {
    let mut venue = replay(minutes(5), 60);
    venue.step(
        after(OPEN, 20),
        place(5, ticket(Side::Buy, Kind::Limit(decimal("1")), 10)),
    );
    let before = venue.account().clone();
    let unknown = Ticket {
        symbol: symbol("ZZZZ"),
        ..ticket(Side::Buy, Kind::Market, 1)
    };
    let kept_back = Ticket {
        transmit: false,
        ..ticket(Side::Buy, Kind::Limit(decimal("2")), 10)
    };
    for (input, why) in [
        (place(9, unknown), Refusal::UnknownSymbol),
        (place(3, ticket(Side::Buy, Kind::Market, 1)), Refusal::UsedId),
        (place(5, ticket(Side::Sell, Kind::Market, 1)), Refusal::Mismatch),
        (place(5, kept_back), Refusal::NotTransmitted),
        (
            place(9, ticket(Side::Buy, Kind::Limit(decimal("1.001")), 1)),
            Refusal::PriceStep,
        ),
        (place(9, ticket(Side::Buy, Kind::Market, 0)), Refusal::Size),
        (
            Input::Cancel {
                client: 2,
                order_id: 5,
            },
            Refusal::UnknownOrder,
        ),
    ] {
        let outputs = venue.step(after(OPEN, 20), input);
        assert!(
            matches!(&outputs[..], [Output::Refused { why: said, .. }] if *said == why),
            "{outputs:?}"
        );
    }
    assert_eq!(*venue.account(), before);
    venue.step(
        after(OPEN, 20),
        Input::Cancel {
            client: 1,
            order_id: 5,
        },
    );
    let again = venue.step(
        after(OPEN, 20),
        Input::Cancel {
            client: 1,
            order_id: 5,
        },
    );
    assert!(matches!(
        again[..],
        [Output::Refused {
            why: Refusal::Ended,
            ..
        }]
    ));
}

#[test]
fn more_than_the_account_can_carry_is_rejected_and_kept() {
    let mut venue = replay(minutes(5), 60);
    venue.step(
        after(OPEN, 20),
        place(1, ticket(Side::Buy, Kind::Market, 1_000_000)),
    );
    let order = venue.account().find_completed(1, 1).unwrap();
    assert_eq!(order.status, Status::Rejected);
    assert!(order.end.as_ref().unwrap().reason.contains("insufficient"));
    assert_eq!(venue.account().next_order_id(1), 2);
}

#[test]
fn a_day_order_ends_with_the_session_and_waits_before_it() {
    let early = after("2013-10-07T12:00:00Z", 0);
    let mut rows = vec![row(early, ["167", "167.1", "166.9", "167"], "9000")];
    rows.extend(minutes(2));
    let mut venue = replay(rows, 60);
    let outputs = venue.step(
        after("2013-10-07T12:00:30Z", 0),
        place(1, ticket(Side::Buy, Kind::Market, 10)),
    );
    assert!(fills(&outputs).is_empty(), "the regular session has not begun");
    let outputs = venue.step(
        after(OPEN, 60),
        place(2, ticket(Side::Buy, Kind::Limit(decimal("1")), 10)),
    );
    assert_eq!(fills(&outputs).len(), 1);
    venue.step(after("2013-10-07T20:00:00Z", 0), Input::Time);
    assert_eq!(
        venue.account().find_completed(1, 2).unwrap().status,
        Status::Cancelled
    );
}

#[test]
fn the_same_seed_makes_the_same_market_and_history_is_what_was_shown() {
    let start: Timestamp = "2026-11-23T07:00:00Z".parse().unwrap();
    let symbols = ["AAPL", "IXHL", "SOFI"].map(symbol);
    let run = || {
        let market = Market::Synthetic(Synthetic::new(&symbols, 42, 1, start));
        let mut venue = Venue::new(market, Account::default(), start);
        let end = Timestamp::from_second(start.as_second() + 600).unwrap();
        (venue.step(end, Input::Time), venue)
    };
    let (outputs, venue) = run();
    assert_eq!(outputs, run().0);
    for symbol in symbols {
        let pushed = outputs.iter().filter_map(|output| match output {
            Output::Bar(of, bar) if *of == symbol => Some(bar.clone()),
            _ => None,
        });
        let history = venue
            .market()
            .bars(symbol, start, venue.now(), BarSize::Seconds(5));
        assert_eq!(history.len(), 120);
        assert_eq!(pushed.collect::<Vec<_>>(), history[..], "{symbol}");
    }
}

#[test]
fn regimes_last_minutes_and_prices_follow_them() {
    let start: Timestamp = "2026-11-23T07:00:00Z".parse().unwrap();
    let market = Market::Synthetic(Synthetic::new(&[symbol("AAPL")], 3, 1, start));
    let at = |second: i64| Timestamp::from_second(start.as_second() + second).unwrap();
    let truth = |second| market.truth(symbol("AAPL"), at(second)).unwrap();
    let (mut begun, mut right, mut judged) = (0, 0, 0);
    for second in 1..4 * 3600 {
        if truth(second) == truth(second - 1) {
            continue;
        }
        let length = second - begun;
        if begun > 0 {
            assert!((100..700).contains(&length), "{length} s of {:?}", truth(begun));
            let bar = market
                .bars(symbol("AAPL"), at(begun), at(second), BarSize::Day)
                .pop()
                .unwrap();
            let rose = bar.close > bar.open;
            match truth(begun) {
                Regime::Bull => (judged, right) = (judged + 1, right + i32::from(rose)),
                Regime::Bear => (judged, right) = (judged + 1, right + i32::from(!rose)),
                Regime::Sideways | Regime::Volatile => {}
            }
        }
        begun = second;
    }
    assert!(judged > 10 && right == judged, "{right} of {judged}");
}
