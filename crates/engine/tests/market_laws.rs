//! Laws of the market machine: bars lose nothing and join history without overlap, what is odd is said.

use std::collections::BTreeMap;

use engine::market::bars::RawBar;
use engine::market::hours::Hours;
use engine::market::quotes::{Field, Tick};
use engine::market::{Input, Market, Output, Past, Plan};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use protocol::Symbol;
use protocol::market::{Bar, BarSize, Phase, Quote, Session};

/// 2013-10-07 13:30 UTC.
const BEGIN: i64 = 1_381_152_600;

fn market(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

/// Wall time, years later.
fn wall(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap()
}

fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

fn machine(watchlist: &[&str], size: &str) -> Market {
    Market::new(Plan {
        watchlist: watchlist.iter().map(|text| symbol(text)).collect(),
        bar_size: size.parse().unwrap(),
        quote_interval: SignedDuration::from_millis(250),
        stale_after: SignedDuration::from_secs(30),
    })
}

fn raw(second: i64, cents: [i64; 4], volume: i64) -> RawBar {
    let [open, high, low, close] = cents.map(|cents| cents as f64 / 100.0);
    RawBar { start: market(second), open, high, low, close, volume: volume as f64 }
}

fn past(asked: i64, bars: Vec<RawBar>, pieces: Vec<RawBar>) -> Past {
    Past { asked_at: market(asked), bars, pieces, missing: None }
}

fn bars(outputs: Vec<Output>) -> Vec<Bar> {
    let complete = |output| if let Output::Bar(bar) = output { Some(bar).filter(|bar| bar.complete) } else { None };
    outputs.into_iter().filter_map(complete).collect()
}

fn quotes(outputs: Vec<Output>) -> Vec<Quote> {
    outputs.into_iter().filter_map(|output| if let Output::Quote(quote) = output { Some(quote) } else { None }).collect()
}

fn alerts(outputs: &[Output]) -> Vec<(&'static str, String)> {
    let alert = |output: &Output| if let Output::Alert { kind, text, .. } = output { Some((*kind, text.clone())) } else { None };
    outputs.iter().filter_map(alert).collect()
}

/// A machine whose one symbol is linked and warm at the start of the day.
fn warm(size: &str) -> Market {
    let mut machine = machine(&["SPY"], size);
    machine.step(wall(0), Input::Linked);
    machine.step(wall(0), Input::ServerTime(market(0)));
    machine.step(wall(0), Input::Past { symbol: symbol("SPY"), past: past(0, vec![], vec![]) });
    machine
}

/// Joins five-second bars into longer ones by definition.
fn joined(pieces: &[(i64, [i64; 4], i64)], seconds: i64) -> BTreeMap<i64, ([i64; 4], i64)> {
    let mut joined: BTreeMap<i64, ([i64; 4], i64)> = BTreeMap::new();
    for (start, [open, high, low, close], volume) in pieces {
        let slot = joined.entry(start - start.rem_euclid(seconds)).or_insert(([*open, *high, *low, *close], 0));
        slot.0 = [slot.0[0], slot.0[1].max(*high), slot.0[2].min(*low), *close];
        slot.1 += volume;
    }
    joined
}

fn told(bars: &[Bar]) -> BTreeMap<i64, ([i64; 4], i64)> {
    let cents = |price: protocol::Price| i64::try_from(price * protocol::Price::ONE_HUNDRED).unwrap();
    let row = |bar: &Bar| ([bar.open, bar.high, bar.low, bar.close].map(cents), i64::try_from(bar.volume).unwrap());
    let rows: BTreeMap<i64, _> = bars.iter().map(|bar| (bar.start.as_second() - BEGIN, row(bar))).collect();
    assert_eq!(rows.len(), bars.len(), "no bar is told twice");
    rows
}

/// Trades of ten minutes: in some five seconds there are none.
fn pieces() -> impl Strategy<Value = Vec<(i64, [i64; 4], i64)>> {
    prop::collection::vec((any::<bool>(), any::<bool>(), 100i64..90_000, 0i64..50, 1i64..9_999), 120).prop_map(|slots| {
        let slots = slots.into_iter().enumerate().filter(|(_, (one, two, ..))| *one || *two);
        slots.map(|(slot, (_, _, price, reach, volume))| (5 * slot as i64, [price, price + reach, price - reach, price + reach / 2], volume)).collect()
    })
}

proptest! {
    #[test]
    fn market_bars_are_the_exact_sum_of_their_pieces(pieces in pieces(), minutes in prop::sample::select(vec![("5s", 5), ("10s", 10), ("1m", 60), ("2m", 120)])) {
        let mut machine = warm(minutes.0);
        let mut out = Vec::new();
        for (start, cents, volume) in &pieces {
            let now = wall((start + 5) * 1000);
            out.extend(bars(machine.step(now, Input::Bar { symbol: symbol("SPY"), bar: raw(*start, *cents, *volume) })));
        }
        out.extend(bars(machine.step(wall(700_000), Input::ServerTime(market(700)))));
        prop_assert_eq!(told(&out), joined(&pieces, minutes.1));
        prop_assert!(out.windows(2).all(|pair| pair[0].start < pair[1].start));
        prop_assert!(out.iter().all(|bar| bar.at == bar.size.end_of(bar.start) && !bar.gap && !bar.warm_up));
    }

    /// Whenever the link comes up, and whenever history arrives: history and live bars together are the truth.
    #[test]
    fn market_history_joins_live_bars_without_a_seam(pieces in pieces(), asked in 0i64..580, late in 0i64..90) {
        let spy = symbol("SPY");
        let mut machine = machine(&["SPY"], "1m");
        machine.step(wall(asked * 1000), Input::Linked);
        machine.step(wall(asked * 1000), Input::ServerTime(market(asked)));
        let mut out = Vec::new();
        let mut history = Some({
            let ended = pieces.iter().filter(|piece| piece.0 <= asked).copied().collect::<Vec<_>>();
            // The broker's last bars are in progress: their numbers are not final.
            let minutes = joined(&ended, 60).into_iter().map(|(start, (cents, volume))| raw(start, cents, volume)).collect();
            let unfinished = |start: i64, volume: i64| if start + 5 > asked { volume.min(1) } else { volume };
            let fives = ended.iter().map(|(start, cents, volume)| raw(*start, *cents, unfinished(*start, *volume))).collect();
            past(asked, minutes, fives)
        });
        for (start, cents, volume) in pieces.iter().filter(|piece| piece.0 + 5 > asked) {
            if start + 5 > asked + late && let Some(history) = history.take() {
                out.extend(bars(machine.step(wall((asked + late) * 1000), Input::Past { symbol: spy, past: history })));
            }
            let bar = raw(*start, *cents, *volume);
            out.extend(bars(machine.step(wall((start + 5) * 1000), Input::Bar { symbol: spy, bar })));
        }
        if let Some(history) = history.take() {
            out.extend(bars(machine.step(wall(650_000), Input::Past { symbol: spy, past: history })));
        }
        out.extend(bars(machine.step(wall(700_000), Input::ServerTime(market(700)))));
        prop_assert_eq!(told(&out), joined(&pieces, 60));
        let live = out.iter().position(|bar| !bar.warm_up).unwrap_or(out.len());
        prop_assert!(out[live..].iter().all(|bar| !bar.warm_up), "warm-up comes first");
        prop_assert!(out.iter().all(|bar| bar.warm_up == (bar.start.as_second() - BEGIN + 60 <= asked) || bar.start.as_second() - BEGIN + 60 > asked));
    }

    #[test]
    fn market_takes_any_tick_without_a_panic(price in any::<f64>(), size in any::<f64>(), delayed in any::<bool>()) {
        let mut machine = warm("1m");
        let tick = Tick::Price { field: Field::Bid, price, size: Some(size), delayed };
        let out = machine.step(wall(1), Input::Tick { symbol: symbol("SPY"), tick });
        for quote in quotes(out) {
            prop_assert!(quote.bid.is_none_or(|bid| bid > protocol::Price::ZERO));
        }
    }
}

fn bid_ask(machine: &mut Market, ms: i64, bid: f64, ask: f64) -> Vec<Output> {
    let price = |field, price| Input::Tick { symbol: symbol("SPY"), tick: Tick::Price { field, price, size: Some(100.0), delayed: false } };
    let mut out = machine.step(wall(ms), price(Field::Bid, bid));
    out.extend(machine.step(wall(ms + 1), price(Field::Ask, ask)));
    out
}

#[test]
fn market_quotes_are_paced_and_never_forgotten() {
    let mut machine = warm("1m");
    let mut told = Vec::new();
    for ms in (0..1_000).step_by(10) {
        told.extend(quotes(bid_ask(&mut machine, ms, 167.0 + ms as f64 / 100.0, 180.0)));
    }
    assert!((4..=5).contains(&told.len()), "{}", told.len());
    let due = machine.next_wake(wall(1_000));
    assert!(due <= wall(1_251));
    let last = quotes(machine.step(due, Input::Wake));
    assert_eq!(last.last().map(|quote| quote.bid.unwrap().to_string()).as_deref(), Some("176.9"));
    assert!(last[0].tradable);
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
    machine.step(wall(1_201), Input::Tick { symbol: spy, tick: Tick::Live(false) });
    assert_eq!(tradable(&mut machine, 1_500), Some(false), "frozen");
    machine.step(wall(1_600), Input::Tick { symbol: spy, tick: Tick::Live(true) });
    machine.step(wall(1_601), Input::Tick { symbol: spy, tick: Tick::Halted(true) });
    assert_eq!(tradable(&mut machine, 1_900), Some(false), "halted");
    machine.step(wall(2_000), Input::Tick { symbol: spy, tick: Tick::Halted(false) });
    assert_eq!(tradable(&mut machine, 2_300), Some(true));
    machine.step(wall(2_400), Input::ServerTime(market(40)));
    assert_eq!(tradable(&mut machine, 2_700), Some(false), "stale: 38 s of market time without a tick");
}

#[test]
fn market_delayed_data_is_said_once() {
    let mut machine = warm("1m");
    let tick = Tick::Price { field: Field::Last, price: 167.0, size: None, delayed: true };
    let out = machine.step(wall(0), Input::Tick { symbol: symbol("SPY"), tick });
    assert_eq!(alerts(&out).iter().map(|alert| alert.0).collect::<Vec<_>>(), ["delayed-data"]);
    assert!(!quotes(out)[0].tradable);
    assert!(alerts(&machine.step(wall(1), Input::Tick { symbol: symbol("SPY"), tick })).is_empty());
}

#[test]
fn market_numbers_that_can_not_be_are_refused_with_a_sentence() {
    let mut machine = warm("1m");
    let tick = Tick::Price { field: Field::Bid, price: f64::NAN, size: None, delayed: false };
    let out = machine.step(wall(0), Input::Tick { symbol: symbol("SPY"), tick });
    assert_eq!(alerts(&out)[0].1, "the broker sent a tick of SPY that can't be: Bid price NaN");
    assert!(out.iter().any(|output| matches!(output, Output::Refused { .. })));
    let bar = RawBar { high: 1.0, ..raw(0, [16_700; 4], 100) };
    let out = machine.step(wall(0), Input::Bar { symbol: symbol("SPY"), bar });
    assert_eq!(
        alerts(&out)[0].1,
        "the broker sent five seconds of SPY at 2013-10-07 13:30:00 UTC that can't be: open 167, high 1, low 167 and close 167 contradict each other"
    );
}

#[test]
fn market_a_lost_link_is_a_gap_and_never_papered_over() {
    let spy = symbol("SPY");
    let mut machine = warm("1m");
    bid_ask(&mut machine, 0, 167.0, 167.1);
    machine.step(wall(5_000), Input::Bar { symbol: spy, bar: raw(0, [16_700; 4], 100) });
    let out = machine.step(wall(30_000), Input::Unlinked { reason: "the broker says 1100: connectivity lost".to_owned() });
    assert_eq!(alerts(&out)[0].0, "data-lost");
    assert!(!quotes(out.clone()).last().expect("all quotes are told at once").tradable);
    let session = |out: &[Output]| out.iter().find_map(|output| if let Output::Session(session) = output { Some(session.clone()) } else { None });
    assert!(!session(&out).unwrap().connected);
    assert!(machine.step(wall(31_000), Input::Unlinked { reason: "again".to_owned() }).is_empty(), "said once");
    // Back in the third minute; the broker's history fills the first two.
    machine.step(wall(130_000), Input::Linked);
    let out = machine.step(wall(130_000), Input::ServerTime(market(130)));
    assert_eq!(alerts(&out)[0].0, "data-gap");
    assert!(session(&out).unwrap().connected);
    let minutes = [0, 60, 120].map(|start| raw(start, [16_700; 4], 7)).to_vec();
    let history = past(130, minutes, vec![raw(120, [16_700; 4], 3), raw(125, [16_700; 4], 2)]);
    let filled = bars(machine.step(wall(130_100), Input::Past { symbol: spy, past: history }));
    assert_eq!(filled.iter().map(|bar| (bar.start, bar.warm_up)).collect::<Vec<_>>(), [(market(0), true), (market(60), true)]);
    let out = machine.step(wall(180_000), Input::Bar { symbol: spy, bar: raw(175, [16_700; 4], 1) });
    let live = bars(out);
    assert_eq!((live[0].start, live[0].gap, live[0].volume.to_string().as_str()), (market(120), true, "6"));
    let out = machine.step(wall(240_000), Input::Bar { symbol: spy, bar: raw(235, [16_700; 4], 1) });
    assert!(!bars(out)[0].gap, "the next one is whole");
}

#[test]
fn market_without_history_the_first_bar_has_a_gap() {
    let spy = symbol("SPY");
    let mut machine = machine(&["SPY"], "1m");
    machine.step(wall(0), Input::Linked);
    machine.step(wall(0), Input::ServerTime(market(31)));
    let missing = Past { missing: Some("the broker says 162: pacing violation".to_owned()), ..past(31, vec![], vec![]) };
    let out = machine.step(wall(0), Input::Past { symbol: spy, past: missing });
    assert_eq!(alerts(&out)[0].0, "no-history");
    assert!(bars(machine.step(wall(29_000), Input::Bar { symbol: spy, bar: raw(55, [100; 4], 1) }))[0].gap);
    assert!(!bars(machine.step(wall(89_000), Input::Bar { symbol: spy, bar: raw(115, [100; 4], 1) }))[0].gap);
}

#[test]
fn market_a_symbol_that_the_broker_does_not_know_stops_no_other() {
    let mut machine = machine(&["SPY", "XXXX"], "5s");
    machine.step(wall(0), Input::Linked);
    machine.step(wall(0), Input::ServerTime(market(0)));
    let out = machine.step(wall(0), Input::Unknown { symbol: symbol("XXXX"), reason: "the broker says 200: no security definition".to_owned() });
    assert!(alerts(&out)[0].1.contains("sends no data of XXXX (the broker says 200"), "{out:?}");
    machine.step(wall(0), Input::Past { symbol: symbol("SPY"), past: past(0, vec![], vec![]) });
    assert_eq!((machine.cold_count(), machine.unknown()), (0, vec![symbol("XXXX")]));
    assert_eq!(bars(machine.step(wall(5_000), Input::Bar { symbol: symbol("SPY"), bar: raw(0, [100; 4], 1) })).len(), 1);
}

#[test]
fn market_the_session_follows_the_brokers_hours_on_the_market_clock() {
    let spy = symbol("SPY");
    let mut machine = machine(&["SPY"], "1m");
    let sessions = |out: Vec<Output>| out.into_iter().filter_map(|output| if let Output::Session(session) = output { Some(session) } else { None }).collect::<Vec<Session>>();
    machine.step(wall(0), Input::Linked);
    let hours = Hours::parse("US/Eastern", &["20131007:0400-20131007:2000".to_owned()], &["20131007:0930-20131007:1600".to_owned()]).unwrap();
    machine.step(wall(0), Input::ServerTime(market(-3_600)));
    let out = sessions(machine.step(wall(1), Input::Hours { symbol: spy, hours }));
    assert_eq!((out[0].phase, out[0].next_change), (Phase::Pre, Some(market(0))));
    assert_eq!(out[0].source, "broker hours of SPY");
    let out = sessions(machine.step(wall(60_001), Input::ServerTime(market(1))));
    assert_eq!((out[0].phase, out[0].speed, out[0].connected), (Phase::Regular, 60.0, true));
    assert!(sessions(machine.step(wall(60_500), Input::Wake)).is_empty(), "said when it changes, and now and then");
    assert_eq!(sessions(machine.step(wall(65_100), Input::Wake)).len(), 1);
}

#[test]
fn market_running_bars_are_shown_at_a_pace() {
    let spy = symbol("SPY");
    let mut machine = warm("1m");
    let mut shown = Vec::new();
    for slot in 0..11 {
        // Sixty times as fast as the day.
        let out = machine.step(wall(300 + slot * 83), Input::Bar { symbol: spy, bar: raw(slot * 5, [100; 4], 1) });
        shown.extend(out.into_iter().filter_map(|output| if let Output::Bar(bar) = output { Some(bar) } else { None }));
    }
    assert!(shown.iter().all(|bar| !bar.complete && bar.size == BarSize::ONE_MINUTE));
    assert!((3..=4).contains(&shown.len()), "{}", shown.len());
}
