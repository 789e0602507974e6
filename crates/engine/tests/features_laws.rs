//! Laws of the features: bar by bar equals all at once, the future changes nothing, scale changes nothing.

// The helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use engine::features::{COUNT, FEATURES, Features, LIMIT, Row, WARM_BARS};
use engine::regime::Regimes;
use engine::signal::{Model, Signals, shares, weigh};
use proptest::prelude::*;
use protocol::market::{Bar, BarSize};
use protocol::units::approximate;
use protocol::{Hash, Price, Quantity, Timestamp};

/// Bars made of steps in cents: (change of the close, reach above, reach below, lots).
fn bars(steps: &[(i64, i64, i64, u32)]) -> Vec<Bar> {
    let mut cents: i64 = 5_000;
    let mut bars = Vec::new();
    for (index, (step, above, below, lots)) in steps.iter().enumerate() {
        let open = cents;
        cents = (cents + step).max(200);
        let (high, low) = (open.max(cents) + above, (open.min(cents) - below).max(1));
        bars.push(bar(index, [open, high, low, cents], *lots));
    }
    bars
}

fn bar(index: usize, cents: [i64; 4], lots: u32) -> Bar {
    let (symbol, size) = ("SPY".parse().unwrap(), BarSize::ONE_MINUTE);
    let start = Timestamp::from_second(1_381_152_600 + 60 * index as i64).unwrap();
    let [open, high, low, close] = cents.map(|cents| Price::new(cents, 2));
    let volume = Quantity::from(lots * 100);
    let at = size.end_of(start);
    let id = Bar::id_of(symbol, size, start);
    Bar {
        id,
        at,
        symbol,
        size,
        start,
        open,
        high,
        low,
        close,
        volume,
        complete: true,
        warm_up: false,
        gap: false,
    }
}

fn steps() -> impl Strategy<Value = Vec<(i64, i64, i64, u32)>> {
    prop::collection::vec((-60i64..60, 0i64..20, 0i64..20, 1u32..500), 31..90)
}

fn run(bars: &[Bar]) -> Vec<Option<Row>> {
    let mut features = Features::default();
    bars.iter().map(|bar| features.take(bar)).collect()
}

/// An exponential average by its definition: a weighted sum, the first value with the weight that is left.
fn average(values: &[f64], weight: f64) -> f64 {
    let last = values.len() - 1;
    let weights = (0..values.len()).map(|index| {
        let left = (1.0 - weight).powi((last - index) as i32);
        if index == 0 { left } else { weight * left }
    });
    values
        .iter()
        .zip(weights)
        .map(|(value, weight)| value * weight)
        .sum()
}

/// The features after the last of all bars, from the definitions alone.
fn batch(bars: &[Bar]) -> [f64; COUNT] {
    let column = |pick: fn(&Bar) -> Price| {
        bars.iter()
            .map(|bar| approximate(pick(bar)))
            .collect::<Vec<f64>>()
    };
    let (opens, highs, lows) = (column(|b| b.open), column(|b| b.high), column(|b| b.low));
    let (closes, volumes) = (column(|b| b.close), column(|b| b.volume));
    let last = closes.len() - 1;
    let mut changes = vec![0.0];
    changes.extend(closes.windows(2).map(|pair| (pair[1] / pair[0]).ln()));
    let squares: Vec<f64> = changes.iter().map(|change| change * change).collect();
    let span = |span: f64| 2.0 / (span + 1.0);
    let volatility = average(&squares, span(30.0)).sqrt().max(1e-5);
    let volatility_fast = average(&squares, span(6.0)).sqrt().max(1e-5);
    let (fast, slow) = (average(&closes, span(5.0)), average(&closes, span(20.0)));
    let reaches: Vec<f64> = (0..=last)
        .map(|i| ((highs[i] - lows[i]) / closes[i]).max(1e-5))
        .collect();
    let gain = average(
        &changes.iter().map(|change| change.max(0.0)).collect::<Vec<_>>(),
        1.0 / 14.0,
    );
    let loss = average(
        &changes
            .iter()
            .map(|change| (-change).max(0.0))
            .collect::<Vec<_>>(),
        1.0 / 14.0,
    );
    let ten = &changes[last - 9..];
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let top = highs[last - 19..].iter().copied().fold(f64::MIN, f64::max);
    let floor = lows[last - 19..].iter().copied().fold(f64::MAX, f64::min);
    let over = |bars: usize| (closes[last] / closes[last - bars]).ln() / (volatility * (bars as f64).sqrt());
    let (open, high, low, close) = (opens[last], highs[last], lows[last], closes[last]);
    let signs = (last - 9..=last).map(|i| {
        (closes[i] - closes[i - 1])
            .partial_cmp(&0.0)
            .map_or(0.0, |o| f64::from(o as i8))
    });
    [
        over(1),
        over(3),
        over(5),
        over(10),
        over(20),
        (close / fast).ln() / volatility,
        (close / slow).ln() / volatility / 2.0,
        (fast / slow).ln() / volatility / 2.0,
        2.0 * ratio(gain - loss, gain + loss),
        2.0 * ratio(ten.iter().sum(), ten.iter().map(|change| change.abs()).sum()),
        2.0 * signs.sum::<f64>() / 10.0,
        2.0 * (volatility_fast / volatility).ln(),
        (reaches[last] / average(&reaches, span(20.0))).ln(),
        ((volumes[last] + 1.0) / (average(&volumes, span(20.0)) + 1.0)).ln(),
        2.0 * ratio(2.0 * close - top - floor, top - floor),
        2.0 * ratio(close - open, high - low),
        2.0 * ratio(2.0 * close - high - low, high - low),
    ]
}

proptest! {
    #[test]
    fn features_bar_by_bar_equal_all_at_once(steps in steps()) {
        let bars = bars(&steps);
        let told = run(&bars);
        for count in WARM_BARS as usize..=bars.len() {
            let row = told[count - 1].expect("warm by now");
            for ((name, is), should) in FEATURES.iter().zip(row).zip(batch(&bars[..count])) {
                let should = should.clamp(-LIMIT, LIMIT);
                prop_assert!((f64::from(is) - should).abs() < 1e-4, "{} after {} bars: {} {}", name, count, is, should);
            }
        }
        prop_assert!(told[..WARM_BARS as usize - 1].iter().all(Option::is_none));
    }

    #[test]
    fn features_and_regimes_know_no_future(steps in steps(), cut in 30usize..90) {
        let bars = bars(&steps);
        let cut = cut.min(bars.len());
        prop_assert_eq!(&run(&bars)[..cut], &run(&bars[..cut])[..]);
        let regimes = |bars: &[Bar]| {
            let mut regimes = Regimes::default();
            bars.iter().map(|bar| regimes.take(bar)).collect::<Vec<_>>()
        };
        prop_assert_eq!(&regimes(&bars)[..cut], &regimes(&bars[..cut])[..]);
    }

    #[test]
    fn features_do_not_know_the_price_level(steps in steps()) {
        let bars = bars(&steps);
        let tenfold: Vec<Bar> = bars.iter().cloned().map(|mut bar| {
            for price in [&mut bar.open, &mut bar.high, &mut bar.low, &mut bar.close] {
                *price *= Price::TEN;
            }
            bar
        }).collect();
        for (one, ten) in run(&bars).iter().flatten().zip(run(&tenfold).iter().flatten()) {
            for (one, ten) in one.iter().zip(ten) {
                prop_assert!((one - ten).abs() < 1e-3, "{one} {ten}");
            }
        }
    }

    #[test]
    fn features_are_finite_whatever_the_bars(prices in prop::collection::vec((1i64..2_000_000_000, 0u32..4_000_000), 31..60)) {
        let bars: Vec<Bar> = prices.iter().enumerate().map(|(index, (cents, lots))| bar(index, [*cents; 4], *lots)).collect();
        for row in run(&bars).iter().flatten() {
            prop_assert!(row.iter().all(|value| value.is_finite() && f64::from(value.abs()) <= LIMIT));
        }
    }

    #[test]
    fn features_signals_add_up(down in 0.0f32..1.0, up in 0.0f32..1.0) {
        let sum = down + up + 0.5;
        let [down, flat, up] = shares(&[down / sum, 0.5 / sum, up / sum]).unwrap();
        prop_assert!((down + flat + up - 1.0).abs() < 2e-6 && down >= 0.0 && flat >= 0.0 && up >= 0.0);
    }
}

#[test]
fn features_one_question_for_each_new_live_bar() {
    let all = bars(&[(1, 2, 3, 4); 60]);
    let mut signals = Signals::new(BarSize::ONE_MINUTE);
    let mut asked = VecDeque::new();
    for (index, bar) in all.iter().enumerate() {
        let warm_up = index < 40;
        let mut running = bar.clone();
        running.complete = false;
        assert_eq!(
            signals.observe(&running, true),
            None,
            "a running bar asks nothing"
        );
        let mut bar = bar.clone();
        bar.warm_up = warm_up;
        asked.extend(signals.observe(&bar, true).map(|question| question.bar.start));
        assert_eq!(signals.observe(&bar, true), None, "a repeated bar asks nothing");
    }
    let live: Vec<Timestamp> = all[40..].iter().map(|bar| bar.start).collect();
    assert_eq!(asked, live);
    let other = Bar {
        size: BarSize::FIVE_SECONDS,
        ..all[59].clone()
    };
    assert_eq!(
        signals.observe(&other, true),
        None,
        "a bar of another size asks nothing"
    );
}

#[test]
fn features_bars_read_from_a_stream_ask_nothing() {
    let all = bars(&[(1, 2, 3, 4); 60]);
    let mut signals = Signals::new(BarSize::ONE_MINUTE);
    assert!(all[..50].iter().all(|bar| signals.observe(bar, false).is_none()));
    let question = signals.observe(&all[50], true).expect("warm");
    let model = Model {
        name: "momentum".to_owned(),
        hash: Hash::of(b"file"),
    };
    let signal = weigh(&question, &model, &[0.2, 0.3, 0.5]).unwrap();
    assert_eq!(
        (signal.cause, signal.at, signal.price),
        (all[50].id.clone(), all[50].at, all[50].close)
    );
    assert_eq!([signal.down, signal.flat, signal.up], [0.2, 0.3, 0.5]);
    let again = weigh(&question, &model, &[0.2, 0.3, 0.5]).unwrap();
    assert_eq!(again.id, signal.id, "the id follows from bar and model");
}

#[test]
fn features_answers_that_are_none_are_refused() {
    for (answer, text) in [
        (&[0.5f32, 0.5][..], "it has 2 numbers instead of 3"),
        (&[0.5, f32::NAN, 0.5], "`flat` is NaN, which is no probability"),
        (&[1.5, 0.0, -0.5], "`down` is 1.5, which is no probability"),
        (
            &[0.1, 0.1, 0.1],
            "its probabilities add up to 0.30000000447034836 instead of 1",
        ),
    ] {
        assert_eq!(shares(answer).unwrap_err().to_string(), text);
    }
}
