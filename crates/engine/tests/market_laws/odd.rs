//! What is odd about the data is said, and never papered over.

use engine::market::bars::RawBar;
use engine::market::hours::Hours;
use engine::market::quotes::{Field, Tick};
use engine::market::{Input, Market, Output, Past};
use protocol::market::{Phase, Session};

use crate::scene::*;

#[test]
fn market_quotes_are_paced_and_never_forgotten() {
    let mut machine = warm("1m");
    let mut told = Vec::new();
    for ms in (0..1_000).step_by(10) {
        told.extend(quotes(bid_ask(
            &mut machine,
            ms,
            167.0 + ms as f64 / 100.0,
            180.0,
        )));
    }
    assert!((4..=5).contains(&told.len()), "{}", told.len());
    let due = machine.next_wake(wall(1_000));
    assert!(due <= wall(1_251));
    let last = quotes(machine.step(due, Input::Wake));
    assert_eq!(
        last.last().map(|quote| quote.bid.unwrap().to_string()).as_deref(),
        Some("176.9")
    );
    assert!(last[0].tradable);
}

#[test]
fn market_a_quote_that_moves_is_not_told_half() {
    let mut machine = warm("1m");
    bid_ask(&mut machine, 0, 167.0, 167.1);
    machine.step(wall(300), Input::Wake);
    // The new bid is above the old ask, whose successor comes a moment later.
    let half = bid_ask(&mut machine, 600, 167.2, 167.3);
    assert!(quotes(half).is_empty());
    let due = machine.next_wake(wall(601));
    assert_eq!(due, wall(605));
    let whole = quotes(machine.step(due, Input::Wake));
    assert!(whole[0].tradable && whole[0].ask.unwrap().to_string() == "167.3");
}

#[test]
fn market_quotes_that_may_not_be_traded_on_say_so() {
    let spy = symbol("SPY");
    let tradable = |machine: &mut Market, ms| {
        let out = machine.step(wall(ms), Input::Wake);
        quotes(out).last().map(|quote| quote.tradable)
    };
    let mut machine = warm("1m");
    bid_ask(&mut machine, 0, 167.0, 167.1);
    assert_eq!(tradable(&mut machine, 300), Some(true));
    bid_ask(&mut machine, 600, 167.2, 167.1);
    assert_eq!(tradable(&mut machine, 900), Some(false), "crossed");
    bid_ask(&mut machine, 1_200, 167.0, 167.1);
    machine.step(
        wall(1_201),
        Input::Tick {
            symbol: spy,
            tick: Tick::Live(false),
        },
    );
    assert_eq!(tradable(&mut machine, 1_500), Some(false), "frozen");
    machine.step(
        wall(1_600),
        Input::Tick {
            symbol: spy,
            tick: Tick::Live(true),
        },
    );
    machine.step(
        wall(1_601),
        Input::Tick {
            symbol: spy,
            tick: Tick::Halted(true),
        },
    );
    assert_eq!(tradable(&mut machine, 1_900), Some(false), "halted");
    machine.step(
        wall(2_000),
        Input::Tick {
            symbol: spy,
            tick: Tick::Halted(false),
        },
    );
    assert_eq!(tradable(&mut machine, 2_300), Some(true));
    machine.step(wall(2_400), server_time(wall(2_400), market(40)));
    assert_eq!(
        tradable(&mut machine, 2_700),
        Some(false),
        "stale: 38 s of market time without a tick"
    );
}

/// A quote of SPY at this price; whether it may be traded on, and what is said.
fn priced(machine: &mut Market, ms: i64, price: f64) -> (bool, Vec<&'static str>) {
    let time = machine.market_time(wall(ms));
    machine.step(wall(ms), server_time(wall(ms), time));
    let mut out = bid_ask(machine, ms, price, price + 0.1);
    out.extend(machine.step(wall(ms + 300), Input::Wake));
    let said = alerts(&out).into_iter().map(|(kind, _)| kind).collect();
    (quotes(out).last().unwrap().tradable, said)
}

#[test]
fn market_a_price_that_leaps_is_not_traded_on_before_it_has_stood_there() {
    let mut machine = warm("1m");
    assert_eq!(priced(&mut machine, 0, 167.0), (true, vec![]));
    for (second, price) in [(1, 1_670.0), (2, 16.7), (3, 0.01)] {
        let (tradable, said) = priced(&mut machine, second * 1_000, price);
        assert!(!tradable, "{price}");
        assert_eq!(said.len(), usize::from(second == 1), "{said:?}: told once");
    }
    assert_eq!(priced(&mut machine, 4_000, 170.0), (true, vec![]), "as before");
    // One that comes and goes never counts, however long it is about.
    for second in 5..20 {
        let price = if second % 2 == 0 { 170.0 } else { 17.0 };
        assert_eq!(priced(&mut machine, second * 1_000, price).0, price > 100.0);
    }
    // One that stays does, wherever else it has been meanwhile.
    let stays: Vec<bool> = (20..30)
        .map(|second| {
            priced(
                &mut machine,
                second * 1_000,
                if second == 22 { 300.0 } else { 80.0 },
            )
            .0
        })
        .collect();
    assert_eq!(stays, [[false; 8].as_slice(), &[true; 2]].concat());
    // A move of a fifth is no leap.
    assert!(priced(&mut machine, 30_000, 96.0).0);
}

#[test]
fn market_a_leap_before_a_link_was_lost_does_not_speak_for_one_after_it() {
    let mut machine = warm("1m");
    assert!(priced(&mut machine, 0, 167.0).0);
    assert!(!priced(&mut machine, 1_000, 16.7).0);
    let reason = "it broke".to_owned();
    machine.step(wall(1_500), Input::Unlinked { reason });
    machine.step(wall(9_000), Input::Linked);
    assert!(!priced(&mut machine, 10_000, 16.7).0);
}

#[test]
fn market_the_first_price_of_a_day_is_held_against_the_close_before_it() {
    for (close, tradable) in [(160.0, true), (16.0, false)] {
        let mut machine = warm("1m");
        let tick = Tick::Price {
            field: Field::PreviousClose,
            price: close,
            size: None,
            delayed: false,
        };
        let symbol = symbol("SPY");
        machine.step(wall(0), Input::Tick { symbol, tick });
        assert_eq!(priced(&mut machine, 1, 167.0).0, tradable);
    }
}

#[test]
fn market_delayed_data_is_said_once() {
    let mut machine = warm("1m");
    let tick = Tick::Price {
        field: Field::Last,
        price: 167.0,
        size: None,
        delayed: true,
    };
    let out = machine.step(
        wall(0),
        Input::Tick {
            symbol: symbol("SPY"),
            tick,
        },
    );
    assert_eq!(
        alerts(&out).iter().map(|alert| alert.0).collect::<Vec<_>>(),
        ["delayed-data"]
    );
    assert!(!quotes(machine.step(wall(10), Input::Wake))[0].tradable);
    assert!(
        alerts(&machine.step(
            wall(11),
            Input::Tick {
                symbol: symbol("SPY"),
                tick
            }
        ))
        .is_empty()
    );
}

#[test]
fn market_numbers_that_can_not_be_are_refused_with_a_sentence() {
    let mut machine = warm("1m");
    let tick = Tick::Price {
        field: Field::Bid,
        price: f64::NAN,
        size: None,
        delayed: false,
    };
    let out = machine.step(
        wall(0),
        Input::Tick {
            symbol: symbol("SPY"),
            tick,
        },
    );
    assert_eq!(
        alerts(&out)[0].1,
        "the broker sent a tick of SPY that can't be: Bid price NaN"
    );
    assert!(out.iter().any(|output| matches!(output, Output::Refused { .. })));
    let bar = RawBar {
        high: 1.0,
        ..raw(0, [16_700; 4], 100)
    };
    let out = machine.step(
        wall(0),
        Input::Bar {
            symbol: symbol("SPY"),
            bar,
        },
    );
    assert_eq!(
        alerts(&out)[0].1,
        "the broker sent five seconds of SPY at 2013-10-07 13:30:00 UTC that can't be: open 167, high 1, low 167 and close 167 contradict each other"
    );
}

/// A live machine that knows its clock's speed, and waits for the history of its one symbol.
fn live() -> Market {
    let mut machine = machine(&["SPY"], "5s");
    machine.step(wall(0), Input::Linked);
    for ms in [0, 1_000] {
        machine.step(wall(ms), server_time(wall(ms), wall(ms)));
    }
    machine
}

/// The history of SPY at the start: none.
fn no_past() -> Input {
    let past = Past {
        asked_at: wall(0),
        ..past(0, vec![], vec![])
    };
    Input::Past {
        symbol: symbol("SPY"),
        past,
    }
}

/// Five seconds of SPY that begin at a wall time.
fn five_seconds(start_ms: i64) -> Input {
    Input::Bar {
        symbol: symbol("SPY"),
        bar: RawBar {
            start: wall(start_ms),
            ..raw(0, [16_700; 4], 100)
        },
    }
}

#[test]
fn market_a_bar_of_a_time_to_come_does_not_silence_its_symbol() {
    const YEAR_MS: i64 = 31_536_000_000;
    let mut machine = live();
    machine.step(wall(1_000), no_past());
    for (ms, start) in [(5_000, YEAR_MS), (5_001, 70_000)] {
        let out = machine.step(wall(ms), five_seconds(start));
        assert!(out.iter().any(|output| matches!(output, Output::Refused { .. })));
        let told = alerts(&out);
        assert_eq!(told.len(), usize::from(start == YEAR_MS), "told once");
        assert!(told.iter().all(|(kind, _)| *kind == "bad-bar"), "{told:?}");
        assert!(bars(out).is_empty());
    }
    for start in [0, 5_000] {
        let out = bars(machine.step(wall(start + 5_002), five_seconds(start)));
        assert_eq!(out.len(), 1, "what comes in time is taken");
        assert_eq!(out[0].start, wall(start));
    }
    // Clocks differ.
    let out = machine.step(wall(15_000), five_seconds(20_000));
    assert!(alerts(&out).is_empty(), "{out:?}");
    assert_eq!(bars(out).len(), 1);
    // A replay leaps over nights, and its bars say so first.
    let mut replay = warm("5s");
    for ms in [1_000, 2_000] {
        replay.step(wall(ms), server_time(wall(ms), market(ms / 1_000)));
    }
    let next_day = Input::Bar {
        symbol: symbol("SPY"),
        bar: raw(63_000, [16_700; 4], 100),
    };
    assert_eq!(bars(replay.step(wall(5_000), next_day)).len(), 1);
}

#[test]
fn market_a_bar_that_waited_for_history_is_held_against_the_clock_too() {
    let mut machine = live();
    machine.step(wall(1_000), five_seconds(86_400_000));
    let out = machine.step(wall(1_001), no_past());
    assert_eq!(alerts(&out)[0].0, "bad-bar");
    assert_eq!(bars(machine.step(wall(5_000), five_seconds(0))).len(), 1);
}

fn session(out: &[Output]) -> Option<Session> {
    let session = |output: &Output| {
        if let Output::Session(session) = output {
            Some(session.clone())
        } else {
            None
        }
    };
    out.iter().find_map(session)
}

/// A machine that traded in its first seconds and lost its link half a minute later.
fn cut_off() -> Market {
    let mut machine = warm("1m");
    bid_ask(&mut machine, 0, 167.0, 167.1);
    machine.step(
        wall(5_000),
        Input::Bar {
            symbol: symbol("SPY"),
            bar: raw(0, [16_700; 4], 100),
        },
    );
    let out = machine.step(
        wall(30_000),
        Input::Unlinked {
            reason: "connectivity lost".to_owned(),
        },
    );
    assert_eq!(alerts(&out)[0].0, "data-lost");
    assert!(!session(&out).unwrap().connected);
    assert!(!quotes(out).last().expect("all quotes are told at once").tradable);
    machine
}

#[test]
fn market_a_lost_link_is_said_once_and_a_gap_in_its_bar() {
    let mut machine = cut_off();
    let again = machine.step(
        wall(31_000),
        Input::Unlinked {
            reason: "again".to_owned(),
        },
    );
    assert!(alerts(&again).is_empty() && quotes(again).is_empty());
    let out = bars(machine.step(wall(64_000), server_time(wall(64_000), market(64))));
    assert_eq!(out.len(), 1);
    assert!(out[0].gap);
}

#[test]
fn market_a_new_link_fills_from_history_and_never_papers_over() {
    let spy = symbol("SPY");
    let mut machine = cut_off();
    // Back in the third minute; the broker's history fills the first two.
    machine.step(wall(130_000), Input::Linked);
    let out = machine.step(wall(130_000), server_time(wall(130_000), market(130)));
    assert_eq!(alerts(&out)[0].0, "data-gap");
    assert!(session(&out).unwrap().connected);
    let minutes = [0, 60, 120].map(|start| raw(start, [16_700; 4], 7)).to_vec();
    let history = past(
        130,
        minutes,
        vec![raw(120, [16_700; 4], 3), raw(125, [16_700; 4], 2)],
    );
    let filled = bars(machine.step(
        wall(130_100),
        Input::Past {
            symbol: spy,
            past: history,
        },
    ));
    let filled: Vec<_> = filled.iter().map(|bar| (bar.start, bar.warm_up)).collect();
    assert_eq!(filled, [(market(0), true), (market(60), true)]);
    let live = bars(machine.step(
        wall(180_000),
        Input::Bar {
            symbol: spy,
            bar: raw(175, [16_700; 4], 1),
        },
    ));
    assert_eq!(
        (live[0].start, live[0].gap, live[0].volume),
        (market(120), true, 6.into())
    );
    let whole = bars(machine.step(
        wall(240_000),
        Input::Bar {
            symbol: spy,
            bar: raw(235, [16_700; 4], 1),
        },
    ));
    assert!(!whole[0].gap, "the next one is whole");
}

#[test]
fn market_a_symbol_that_the_broker_does_not_know_stops_no_other() {
    let mut machine = machine(&["SPY", "XXXX"], "5s");
    machine.step(wall(0), Input::Linked);
    machine.step(wall(0), server_time(wall(0), market(0)));
    let out = machine.step(
        wall(0),
        Input::Unknown {
            symbol: symbol("XXXX"),
            reason: "the broker says 200: no security definition".to_owned(),
        },
    );
    assert!(
        alerts(&out)[0]
            .1
            .contains("sends no data of XXXX (the broker says 200"),
        "{out:?}"
    );
    machine.step(
        wall(0),
        Input::Past {
            symbol: symbol("SPY"),
            past: past(0, vec![], vec![]),
        },
    );
    assert_eq!(
        (machine.cold_count(), machine.unknown()),
        (0, vec![symbol("XXXX")])
    );
    assert_eq!(
        bars(machine.step(
            wall(5_000),
            Input::Bar {
                symbol: symbol("SPY"),
                bar: raw(0, [100; 4], 1)
            }
        ))
        .len(),
        1
    );
}

#[test]
fn market_the_session_follows_the_brokers_hours_on_the_market_clock() {
    let spy = symbol("SPY");
    let mut machine = machine(&["SPY"], "1m");
    let sessions = |out: Vec<Output>| {
        out.into_iter()
            .filter_map(|output| {
                if let Output::Session(session) = output {
                    Some(session)
                } else {
                    None
                }
            })
            .collect::<Vec<Session>>()
    };
    machine.step(wall(0), Input::Linked);
    let hours = Hours::parse(
        "US/Eastern",
        &["20131007:0400-20131007:2000".to_owned()],
        &["20131007:0930-20131007:1600".to_owned()],
    )
    .unwrap();
    machine.step(wall(0), server_time(wall(0), market(-3_600)));
    let out = sessions(machine.step(wall(1), Input::Hours { symbol: spy, hours }));
    assert_eq!((out[0].phase, out[0].next_change), (Phase::Pre, Some(market(0))));
    assert_eq!(out[0].source, "broker hours of SPY");
    let out = sessions(machine.step(wall(60_001), server_time(wall(60_001), market(1))));
    assert_eq!(
        (out[0].phase, out[0].speed, out[0].connected),
        (Phase::Regular, 60.0, true)
    );
    assert!(
        sessions(machine.step(wall(60_500), Input::Wake)).is_empty(),
        "said when it changes, and now and then"
    );
    assert_eq!(sessions(machine.step(wall(65_100), Input::Wake)).len(), 1);
}
