//! Laws of the trader under anything that can be said to it.

use std::collections::{BTreeMap, VecDeque};

use engine::risk::{Look, Proposal};
use engine::testing::settings;
use engine::trader::{Heard, Input, News};
use jiff::SignedDuration;
use proptest::prelude::*;
use protocol::Quantity;
use protocol::decision::{Check, Regime};
use protocol::ledger::{Reason, Side};
use protocol::market::Phase;
use protocol::operator::Verb;

use crate::world::{World, number, symbol, told};

#[derive(Debug, Clone)]
enum Said {
    Quote(usize, i64),
    Signal(usize, u8, u8),
    FillSome(u8),
    Reject,
    Cancelled,
    Ask(usize),
    Gate(bool),
    Later(u8),
    Restart,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (0usize..3, 8_000i64..12_000).prop_map(|(s, p)| Said::Quote(s, p)),
        4 => (0usize..3, 0u8..100, 0u8..100).prop_map(|(s, u, d)| Said::Signal(s, u, d)),
        3 => (1u8..=100).prop_map(Said::FillSome),
        1 => Just(Said::Reject),
        1 => Just(Said::Cancelled),
        1 => (0usize..Verb::ALL.len()).prop_map(Said::Ask),
        1 => any::<bool>().prop_map(Said::Gate),
        2 => (0u8..30).prop_map(Said::Later),
        1 => Just(Said::Restart),
    ]
}

const NAMES: [&str; 3] = ["AAPL", "NVDA", "IXHL"];

fn say(mut world: World, said: &Said) -> World {
    match said {
        Said::Quote(s, cents) => world.quote(NAMES[*s], &rust_decimal::Decimal::new(*cents, 2).to_string()),
        Said::Signal(s, up, down) => {
            let (up, down) = (f64::from(*up) / 200.0 + 0.25, f64::from(*down) / 400.0);
            world.signal(
                NAMES[*s],
                up,
                down,
                if down > 0.2 { Regime::Bear } else { Regime::Bull },
            );
        }
        Said::FillSome(percent) => {
            let open = world
                .trader
                .portfolio
                .open_orders()
                .next()
                .map(|order| (order.id.clone(), order.rest()));
            if let Some((id, rest)) = open {
                let part = (rest * Quantity::from(*percent) / Quantity::ONE_HUNDRED)
                    .ceil()
                    .max(Quantity::ONE)
                    .min(rest);
                world.fill(&id, &part.to_string(), "100");
            }
        }
        Said::Reject => tell_oldest(&mut world, |_| News::Error(201, "no".into())),
        Said::Cancelled => {
            tell_oldest(&mut world, |order| {
                let status = engine::reconcile::BrokerStatus::Cancelled;
                News::Status(status, Some(order.filled), "by trader".into())
            });
        }
        Said::Ask(verb) => {
            world.ask(Verb::ALL[*verb], Some("AAPL"));
        }
        Said::Gate(open) => world.step(Input::Gate((!open).then(|| "closed".to_owned()))),
        Said::Later(seconds) => {
            world.later(i64::from(*seconds));
            world.step(Input::Tick);
        }
        Said::Restart => world = world.restart(),
    }
    world
}

fn tell_oldest(world: &mut World, news: impl Fn(&engine::order::Order) -> News) {
    let told = world
        .trader
        .portfolio
        .open_orders()
        .next()
        .map(|order| (order.order_id, news(order)));
    if let Some((order_id, news)) = told {
        world.step(Input::Broker(Heard {
            order_ref: String::new(),
            order_id,
            permanent_id: 0,
            news,
        }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn limits_hold_and_exits_only_reduce(everything in prop::collection::vec(said(), 1..80)) {
        let mut world = World::new(&[("NVDA", "30")]);
        for said in &everything {
            let known = world.intents.len();
            let before: Vec<_> = NAMES.iter().map(|name| world.held(name)).collect();
            let is_restart = matches!(said, Said::Restart);
            world = say(world, said);
            let new = if is_restart { &world.intents[..] } else { &world.intents[known..] };
            for (_, intent) in new {
                let held = before[NAMES.iter().position(|name| symbol(name) == intent.symbol).unwrap()];
                if intent.reason == Reason::Entry {
                    prop_assert!(held.is_zero() && intent.side == Side::Buy);
                    prop_assert!(intent.quantity * intent.reference_price.unwrap() <= number("10000"));
                } else {
                    prop_assert!(intent.quantity <= held.abs(), "an exit is never larger than what is held");
                    prop_assert_eq!(intent.side, if held.is_sign_negative() { Side::Buy } else { Side::Sell });
                }
            }
            for name in NAMES {
                prop_assert!(world.held(name) >= Quantity::ZERO, "nothing is ever sold that is not held");
                prop_assert!(world.held(name) <= number("5000"));
            }
        }
    }
}

/// A decimal of any size, as a text.
fn any_number() -> impl Strategy<Value = String> {
    let parts = (any::<(u32, u32, u32)>(), any::<bool>(), 0u32..=28);
    parts.prop_map(|((low, middle, high), negative, scale)| {
        Quantity::from_parts(low, middle, high, negative, scale).to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A panic ends the process, and the next incarnation would read the same again.
    #[test]
    fn no_quote_that_can_be_read_panics(price in any_number(), size in any_number()) {
        let mut world = World::new(&[("AAPL", "50")]);
        for name in ["AAPL", "IXHL"] {
            let mut told = serde_json::to_value(world.quote_of(name, "100")).unwrap();
            for (side, number) in [("bid", &price), ("ask", &price), ("bid_size", &size)] {
                told[side] = number.as_str().into();
            }
            told.as_object_mut().unwrap().remove("last");
            if let Ok(quote) = serde_json::from_value(told) {
                world.step(Input::Quote(quote));
            }
        }
        world.quote("NVDA", "100");
        for name in ["IXHL", "NVDA"] {
            world.bullish(name);
        }
        world.bearish("AAPL");
        world.step(Input::Tick);
    }
}

#[test]
fn each_limit_refuses_with_its_check() {
    let refused = |prepare: &dyn Fn(&mut World)| {
        let mut world = World::new(&[]);
        prepare(&mut world);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        world.refused.last().map(|(_, check)| *check)
    };
    assert_eq!(refused(&|_| {}), None);
    let traded = |times: usize| {
        move |world: &mut World| {
            for _ in 0..times {
                world.later(20);
                world.quote("AAPL", "100");
                world.bullish("AAPL");
                world.fill_last("100");
                world.later(20);
                world.bearish("AAPL");
                world.fill_last("100");
            }
        }
    };
    assert_eq!(refused(&traded(1)), Some(Check::Cooldown));
    let after = |prepare: &dyn Fn(&mut World)| {
        refused(&|world: &mut World| {
            prepare(world);
            world.later(60);
        })
    };
    assert_eq!(after(&traded(12)), Some(Check::TradesPerDay));
    let lost = |world: &mut World| {
        world.quote("NVDA", "100");
        world.bullish("NVDA");
        world.fill_last("100");
        world.quote("NVDA", "50");
        world.fill_last("50");
    };
    assert_eq!(after(&lost), Some(Check::DailyLoss));
}

#[test]
fn an_old_signal_and_an_old_quote_are_not_acted_on() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.later(30);
    world.bullish("AAPL");
    assert_eq!(world.refused.last(), Some(&(symbol("AAPL"), Check::StaleQuote)));
    assert_eq!(world.bought(), 0);
}

/// The check that refuses, beside a fresh quote, to buy on a signal whose time is so many seconds ahead of the clock's.
fn refused_ahead(seconds: i64) -> Option<Check> {
    let world = World::new(&[]);
    let quote = world.quote_of("AAPL", "100");
    let (settings, prices, sent) = (settings(), BTreeMap::new(), VecDeque::new());
    let look = Look {
        now: world.now,
        portfolio: &world.trader.portfolio,
        others: world.trader.others(),
        settings: &settings,
        phase: Some(Phase::Regular),
        gate: None,
        killed_here: false,
        quote: Some(&quote),
        prices: &prices,
        sent: &sent,
    };
    let proposal = Proposal {
        symbol: symbol("AAPL"),
        side: Side::Buy,
        quantity: number("50"),
        reason: Reason::Entry,
        price: number("100"),
        decided_at: world.now + SignedDuration::from_secs(seconds),
    };
    look.entry(&proposal).err().map(|refused| refused.check)
}

#[test]
fn a_signal_of_another_time_is_not_acted_on_beside_a_fresh_quote() {
    let limit = i64::from(settings().entry.signal_age_seconds_max);
    for seconds in [-86_400, -limit - 1, limit + 1, 86_400] {
        assert_eq!(refused_ahead(seconds), Some(Check::StaleSignal), "{seconds}");
    }
    // In a replay the clock may be behind by little.
    for seconds in [-limit, 0, limit] {
        assert_eq!(refused_ahead(seconds), None, "{seconds}");
    }
    let mut world = World::new(&[]);
    let old = world.signal_of("AAPL", 0.7, 0.1, Regime::Bull);
    world.later(limit + 1);
    world.quote("AAPL", "100");
    world.step(Input::Signal(old));
    assert_eq!(world.refused, [(symbol("AAPL"), Check::StaleSignal)]);
    assert_eq!(world.bought(), 0);
}

#[test]
fn a_storm_of_signals_buys_no_more_than_a_minute_may_and_is_told_once_a_minute() {
    let mut world = World::with(&[], |settings| settings.risk.orders_per_minute_max = 1);
    let storm = |world: &mut World| {
        for name in NAMES {
            world.quote(name, "100");
        }
        for number in 0..1_000 {
            world.bullish(NAMES[number % NAMES.len()]);
            world.now += SignedDuration::from_millis(1);
        }
    };
    for minute in 1..=2 {
        storm(&mut world);
        assert_eq!(world.bought(), minute);
        assert_eq!(told(&world, "order-rate").len(), minute);
        assert_eq!(world.refused.last(), Some(&(symbol("AAPL"), Check::Working)));
        assert!(world.refused.contains(&(symbol("IXHL"), Check::OrdersPerMinute)));
        world.later(60);
    }
    // A clock that was set back does not put the next one off.
    world.later(-62);
    storm(&mut world);
    assert_eq!((world.bought(), told(&world, "order-rate").len()), (2, 3));
}

#[test]
fn the_same_entry_again_so_soon_is_held_back_and_said() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    world.reject_last();
    world.later(5);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
    assert_eq!(world.refused.last(), Some(&(symbol("AAPL"), Check::Duplicate)));
    world.later(6);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 2, "later it is a decision like any other");
}

#[test]
fn a_price_that_waited_for_the_bus_is_no_reason_to_sell() {
    let mut world = World::new(&[("AAPL", "50")]);
    let old = world.quote_of("AAPL", "50");
    world.later(600);
    world.quote("NVDA", "100");
    for _ in 0..3 {
        world.step(Input::Quote(old.clone()));
    }
    assert!(world.intents.is_empty());
    let told = world.alerts.iter().filter(|alert| alert.kind == "exit-old-data");
    assert_eq!(told.count(), 1, "and a person knows");
    world.quote("AAPL", "90");
    assert_eq!(world.intents.len(), 1);
}

#[test]
fn each_cause_that_holds_an_exit_back_is_told_once_until_an_exit_goes_out() {
    let mut world = World::new(&[("AAPL", "50")]);
    let (fallen, risen) = (world.quote_of("AAPL", "50"), world.quote_of("AAPL", "200"));
    let opinion = world.signal_of("AAPL", 0.1, 0.7, Regime::Bull);
    world.later(600);
    world.quote("NVDA", "100");
    for _ in 0..3 {
        world.step(Input::Quote(fallen.clone()));
        world.step(Input::Quote(risen.clone()));
        world.step(Input::Signal(opinion.clone()));
    }
    let texts: Vec<_> = told(&world, "exit-old-data")
        .iter()
        .map(|alert| alert.text.clone())
        .collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    for (text, reason) in texts.iter().zip(["(Stop)", "(Target)", "(Signal)"]) {
        assert!(text.contains(reason), "{texts:?}");
    }
    world.quote("AAPL", "90");
    assert_eq!(world.intents.len(), 1);
    world.reject_last();
    world.later(600);
    world.step(Input::Quote(fallen));
    assert_eq!(told(&world, "exit-old-data").len(), 4, "it is another exit");
}

#[test]
fn an_ask_that_is_an_error_buys_no_more_shares() {
    let bought = |ask: &str| {
        let mut world = World::new(&[]);
        let quote = world.quote_of("AAPL", "100");
        world.step(Input::Quote(protocol::market::Quote {
            bid: Some(number("9")),
            ask: Some(number(ask)),
            ..quote
        }));
        world.bullish("AAPL");
        world.intents[0].1.quantity
    };
    assert_eq!(bought("10"), bought("100"));
}
