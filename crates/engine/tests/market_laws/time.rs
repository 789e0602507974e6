//! The market clock is not ahead of the broker's, what may be old is not traded on, and every quote has an id of its own.

use std::collections::BTreeSet;

use engine::market::clock::Clock;
use engine::market::quotes::Tick;
use engine::market::{Input, Market};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use protocol::market::Quote;

use crate::scene::*;

/// Milliseconds of market time at a wall time, where the market runs so many times as fast.
fn shown(ms: i64, speed: i64) -> Timestamp {
    market(0) + SignedDuration::from_millis(ms * speed)
}

/// A millisecond, and the last of three digits of the speed for as long as the clock runs on.
fn grain(speed: i64) -> SignedDuration {
    SignedDuration::from_millis(1 + 5 * speed)
}

proptest! {
    /// However long questions and answers are on their way, and whoever stands still meanwhile.
    #[test]
    fn market_the_clock_is_never_ahead_of_the_brokers(
        speed in prop::sample::select(vec![1, 5, 60, 600]),
        ways in prop::collection::vec((0i64..40, 0i64..40, 0u8..6), 1..60),
    ) {
        let mut clock = Clock::default();
        let mut now = 0;
        for (there, back, stall) in ways {
            let (there, back) = match stall {
                0 => (there * 60, back),
                1 => (there, back * 60),
                _ => (there, back),
            };
            let asked = now + 100;
            let heard = asked + there + back;
            for ms in (now..heard).step_by(10) {
                let at = clock.at(wall(ms));
                let known = clock.seen().is_none() || at <= shown(ms, speed) + grain(speed);
                prop_assert!(known, "at {ms} ms the clock says {at}, the broker's {}", shown(ms, speed));
            }
            clock.sample(wall(asked), wall(heard), shown(asked + there, speed));
            now = heard;
        }
    }
}

/// A machine whose market runs at a speed, read ten times a second until a wall time.
fn running(speed: i64, until_ms: i64) -> Market {
    let mut machine = warm("1m");
    read(&mut machine, speed, 100, until_ms);
    machine
}

fn read(machine: &mut Market, speed: i64, from_ms: i64, until_ms: i64) {
    for ms in (from_ms..=until_ms).step_by(100) {
        machine.step(wall(ms), server_time(wall(ms), shown(ms, speed)));
    }
}

/// The quote that is told when a bid and an ask came at a wall time.
fn quote(machine: &mut Market, ms: i64) -> Quote {
    let mut out = bid_ask(machine, ms, 167.0, 167.1);
    out.extend(machine.step(wall(ms + 250), Input::Wake));
    quotes(out).pop().unwrap()
}

#[test]
fn market_an_answer_that_waited_does_not_send_the_clock_ahead() {
    let mut machine = running(5, 2_000);
    // Asked before the wire stalled, heard three seconds later, and the next one at once.
    machine.step(wall(5_000), server_time(wall(2_100), shown(2_101, 5)));
    machine.step(wall(5_101), server_time(wall(5_100), shown(5_101, 5)));
    let at = machine.market_time(wall(5_300));
    assert!(shown(5_101, 5) <= at && at <= shown(5_300, 5) + grain(5), "{at}");
}

#[test]
fn market_a_broker_that_stands_still_is_not_left_far_behind() {
    let mut machine = running(60, 2_000);
    let at = machine.market_time(wall(9_000));
    assert_eq!(
        at,
        shown(2_500, 60),
        "half a second of the wall, and then it waits"
    );
}

#[test]
fn market_a_quote_is_stale_though_the_clock_waits() {
    let mut machine = running(5, 1_000);
    assert!(quote(&mut machine, 1_000).tradable);
    let told = |machine: &mut Market, ms| quotes(machine.step(wall(ms), Input::Wake));
    assert!(told(&mut machine, 6_900).is_empty());
    assert!(!told(&mut machine, 7_300)[0].tradable, "31 s of the market");
}

#[test]
fn market_no_two_quotes_share_an_id_though_the_clock_stands_still() {
    let mut machine = warm("1m");
    let tick = Tick::LastTime(market(7));
    machine.step(
        wall(0),
        Input::Tick {
            symbol: symbol("SPY"),
            tick,
        },
    );
    let mut told: Vec<Quote> = (1..=6).map(|time| quote(&mut machine, 400 * time)).collect();
    let reason = "the link broke".to_owned();
    told.extend(quotes(machine.step(wall(3_000), Input::Unlinked { reason })));
    assert_eq!(told.len(), 7);
    let ids: BTreeSet<_> = told.iter().map(|quote| &quote.id).collect();
    assert_eq!(ids.len(), 7, "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert!(told.iter().all(|quote| quote.at.as_second() == BEGIN + 7));
    // The next link's broker is a second behind, and so is what it tells.
    machine.step(wall(4_000), Input::Linked);
    machine.step(wall(4_000), server_time(wall(4_000), market(6)));
    assert_eq!(quote(&mut machine, 4_000).at.as_second(), BEGIN + 6);
}

#[test]
fn market_what_waited_behind_a_pause_is_not_traded_on() {
    let mut machine = running(1, 1_000);
    assert!(quote(&mut machine, 1_000).tradable);
    // The process stood still for five seconds. What waits for it meanwhile is as old.
    assert_eq!(
        alerts(&bid_ask(&mut machine, 6_000, 167.0, 167.1))[0].0,
        "data-late"
    );
    assert!(!quotes(machine.step(wall(6_006), Input::Wake))[0].tradable);
    machine.step(wall(6_010), server_time(wall(1_100), shown(1_101, 1)));
    assert!(!quote(&mut machine, 6_100).tradable, "the answer is old, too");
    assert!(machine.doubt().is_some());
    machine.step(wall(6_500), server_time(wall(6_499), shown(6_499, 1)));
    assert!(machine.doubt().is_none());
    assert!(quote(&mut machine, 6_600).tradable);
}

#[test]
fn market_a_clock_that_is_ahead_shows_and_is_not_traded_on() {
    let mut machine = machine(&["SPY"], "1m");
    machine.step(wall(0), Input::Linked);
    let read = |machine: &mut Market, ms| machine.step(wall(ms), server_time(wall(ms), wall(ms)));
    read(&mut machine, 0);
    read(&mut machine, 1_000);
    // The wall clock leaps an hour, and is set right.
    quote(&mut machine, 3_600_000);
    for ms in (2_000..=5_000).step_by(1_000) {
        assert!(alerts(&read(&mut machine, ms)).is_empty());
    }
    let out = read(&mut machine, 6_000);
    assert_eq!(alerts(&out)[0].0, "clock-ahead");
    assert!(alerts(&out)[0].1.contains("3594 s ahead"), "{out:?}");
    assert!(!quote(&mut machine, 6_100).tradable);
    // It is no doubt any more when the broker's clock has come as far.
    read(&mut machine, 3_601_000);
    assert!(quote(&mut machine, 3_601_100).tradable);
}
