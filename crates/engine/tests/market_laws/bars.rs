//! Bars lose nothing, and join history without overlap.

use std::collections::BTreeMap;

use engine::market::quotes::{Field, Tick};
use engine::market::{Input, Output, Past};
use proptest::prelude::*;
use protocol::market::{Bar, BarSize};

use crate::scene::*;

/// Joins five-second bars into longer ones by definition.
fn joined(pieces: &[(i64, [i64; 4], i64)], seconds: i64) -> BTreeMap<i64, ([i64; 4], i64)> {
    let mut joined: BTreeMap<i64, ([i64; 4], i64)> = BTreeMap::new();
    for (start, [open, high, low, close], volume) in pieces {
        let slot = joined
            .entry(start - start.rem_euclid(seconds))
            .or_insert(([*open, *high, *low, *close], 0));
        slot.0 = [slot.0[0], slot.0[1].max(*high), slot.0[2].min(*low), *close];
        slot.1 += volume;
    }
    joined
}

fn told(bars: &[Bar]) -> BTreeMap<i64, ([i64; 4], i64)> {
    let cents = |price: protocol::Price| i64::try_from(price * protocol::Price::ONE_HUNDRED).unwrap();
    let row = |bar: &Bar| {
        (
            [bar.open, bar.high, bar.low, bar.close].map(cents),
            i64::try_from(bar.volume).unwrap(),
        )
    };
    let rows: BTreeMap<i64, _> = bars
        .iter()
        .map(|bar| (bar.start.as_second() - BEGIN, row(bar)))
        .collect();
    assert_eq!(rows.len(), bars.len(), "no bar is told twice");
    rows
}

/// Trades of ten minutes: in some five seconds there are none.
fn pieces() -> impl Strategy<Value = Vec<(i64, [i64; 4], i64)>> {
    prop::collection::vec(
        (
            any::<bool>(),
            any::<bool>(),
            100i64..90_000,
            0i64..50,
            1i64..9_999,
        ),
        120,
    )
    .prop_map(|slots| {
        let slots = slots
            .into_iter()
            .enumerate()
            .filter(|(_, (one, two, ..))| *one || *two);
        slots
            .map(|(slot, (_, _, price, reach, volume))| {
                (
                    5 * slot as i64,
                    [price, price + reach, price - reach, price + reach / 2],
                    volume,
                )
            })
            .collect()
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
        out.extend(bars(machine.step(wall(700_000), server_time(wall(700_000), market(700)))));
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
        machine.step(wall(asked * 1000), server_time(wall(asked * 1000), market(asked)));
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
        out.extend(bars(machine.step(wall(700_000), server_time(wall(700_000), market(700)))));
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

#[test]
fn market_without_history_the_first_bar_has_a_gap() {
    let spy = symbol("SPY");
    let mut machine = machine(&["SPY"], "1m");
    machine.step(wall(0), Input::Linked);
    machine.step(wall(0), server_time(wall(0), market(31)));
    let missing = Past {
        missing: Some("the broker says 162: pacing violation".to_owned()),
        ..past(31, vec![], vec![])
    };
    let out = machine.step(
        wall(0),
        Input::Past {
            symbol: spy,
            past: missing,
        },
    );
    assert_eq!(alerts(&out)[0].0, "no-history");
    assert!(
        bars(machine.step(
            wall(29_000),
            Input::Bar {
                symbol: spy,
                bar: raw(55, [100; 4], 1)
            }
        ))[0]
            .gap
    );
    assert!(
        !bars(machine.step(
            wall(89_000),
            Input::Bar {
                symbol: spy,
                bar: raw(115, [100; 4], 1)
            }
        ))[0]
            .gap
    );
}

#[test]
fn market_running_bars_are_shown_at_a_pace() {
    let spy = symbol("SPY");
    let mut machine = warm("1m");
    let mut shown = Vec::new();
    for slot in 0..11 {
        // Sixty times as fast as the day.
        let out = machine.step(
            wall(300 + slot * 83),
            Input::Bar {
                symbol: spy,
                bar: raw(slot * 5, [100; 4], 1),
            },
        );
        shown.extend(out.into_iter().filter_map(|output| {
            if let Output::Bar(bar) = output {
                Some(bar)
            } else {
                None
            }
        }));
    }
    assert!(
        shown
            .iter()
            .all(|bar| !bar.complete && bar.size == BarSize::ONE_MINUTE)
    );
    assert!((3..=4).contains(&shown.len()), "{}", shown.len());
}
