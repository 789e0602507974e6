//! What the broker says that does not settle anything by itself: errors whose meaning is not known, figures that can't be
//! read, and an account that does not tell its cash.

use engine::desk::{Deed, Desk, End, Input as Said, Notice};
use engine::order::OrderState;
use engine::portfolio::Portfolio;
use engine::reconcile::{BrokerOrder, BrokerStatus, Pass, Truth};
use engine::testing::settings;
use engine::trader::{Heard, Input, News};
use protocol::Timestamp;
use protocol::decision::{Check, Level};

use crate::desk::{append, notice};
use crate::world::{World, number, shown, symbol};

fn now() -> Timestamp {
    "2026-11-23T15:00:00Z".parse().unwrap()
}

/// A world in which AAPL was bought once and the broker has not spoken of it.
fn buying() -> World {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(world.bought(), 1);
    world
}

fn heard(world: &World, news: News) -> Heard {
    Heard {
        order_ref: String::new(),
        order_id: world.intents[0].1.order_id,
        permanent_id: 7,
        news,
    }
}

fn hear(world: &mut World, news: News) {
    let heard = heard(world, news);
    world.step(Input::Broker(heard));
}

fn working() -> News {
    News::Status(BrokerStatus::Working, None, "Submitted".into())
}

fn state(world: &World) -> OrderState {
    world.trader.portfolio.orders[&world.intents[0].0].state
}

/// A desk that trades on the ledger of a world, whose first reading showed its order so.
fn trading(world: &World, open: &[BrokerOrder]) -> Desk {
    let portfolio = &world.trader.portfolio;
    let mut desk = Desk::new(settings(), portfolio.clone(), 0, 1);
    desk.hear(notice(2158));
    let deeds = desk.begin(now(), portfolio.identity.clone().unwrap(), "test", "0");
    append(&mut desk, &deeds);
    desk.step(now(), false, Said::Heard);
    for _ in 0..2 {
        let truth = Truth {
            open: open.to_vec(),
            folded: desk.trader.portfolio.sequence,
            ..world.truth(&[])
        };
        let deeds = desk.step(now(), false, Said::Truth(Ok(truth), Pass::First));
        append(&mut desk, &deeds);
        if deeds.contains(&Deed::Trade) {
            return desk;
        }
    }
    panic!("two readings are enough");
}

fn reads(deeds: &[Deed]) -> bool {
    deeds.contains(&Deed::Read(Pass::Running))
}

#[test]
fn an_error_that_may_be_no_refusal_leaves_the_order_in_doubt() {
    for code in [105, 109, 163, 383, 463, 12345] {
        let mut world = buying();
        hear(&mut world, News::Error(code, "hm".into()));
        assert_eq!(state(&world), OrderState::Unresolved, "{code}");
        world.later(600);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        assert!(matches!(world.refused.last(), Some((name, Check::Unsettled)) if *name == symbol("AAPL")));
        hear(&mut world, working());
        assert_eq!(state(&world), OrderState::Working, "{code}");
        hear(&mut world, News::Error(code, "hm".into()));
        assert_eq!(state(&world), OrderState::Working, "{code}");
    }
    for code in [110, 200, 201, 203, 321, 434, 10289, 10293] {
        let mut world = buying();
        hear(&mut world, News::Error(code, "no".into()));
        assert_eq!(state(&world), OrderState::Rejected, "{code}");
    }
}

#[test]
fn an_order_that_the_broker_had_as_inactive_is_ended_by_no_code_but_201() {
    let mut world = buying();
    hear(
        &mut world,
        News::Status(BrokerStatus::Inactive, None, "held".into()),
    );
    hear(&mut world, News::Error(321, "the cancellation".into()));
    assert_eq!(state(&world), OrderState::Unresolved);
    hear(&mut world, News::Error(201, "no".into()));
    assert_eq!(state(&world), OrderState::Rejected);
}

#[test]
fn such_an_error_asks_for_a_reading_at_once() {
    let world = buying();
    for (code, read) in [
        (463, true),
        (103, true),
        (201, false),
        (399, false),
        (2109, false),
    ] {
        let mut desk = trading(&world, &[]);
        desk.hear(Notice {
            code,
            text: "hm".into(),
            order_id: world.intents[0].1.order_id,
        });
        let deeds = desk.step(now(), false, Said::Heard);
        assert_eq!(reads(&deeds), read, "{code}: {deeds:?}");
    }
}

#[test]
fn a_refused_order_that_works_asks_for_a_reading_at_once() {
    let mut world = buying();
    hear(&mut world, News::Error(201, "no".into()));
    let mut desk = trading(&world, &[]);
    let unnamed = Heard {
        permanent_id: 0,
        ..heard(&world, working())
    };
    assert!(!reads(&desk.step(now(), false, Said::Order(unnamed))));
    let works = Said::Order(heard(&world, working()));
    assert!(reads(&desk.step(now(), false, works.clone())));
    // Once two readings showed it and a person was told, readings go on at their own pace.
    let (id, intent) = &world.intents[0];
    let order = shown(id, intent, 7);
    let mut at = now();
    let mut cancelled = false;
    for _ in 0..3 {
        let truth = Truth {
            open: vec![order.clone()],
            folded: desk.trader.portfolio.sequence,
            ..world.truth(&[])
        };
        let deeds = desk.step(at, false, Said::Truth(Ok(truth), Pass::Running));
        append(&mut desk, &deeds);
        cancelled |= deeds.contains(&Deed::Cancel(intent.order_id));
        at += jiff::SignedDuration::from_secs(2);
        desk.step(at, false, Said::Look(Pass::Running));
    }
    assert!(cancelled);
    let truth = Truth {
        folded: desk.trader.portfolio.sequence,
        ..world.truth(&[])
    };
    desk.step(at, false, Said::Truth(Ok(truth), Pass::Running));
    assert!(!reads(&desk.step(at, false, works)));
}

#[test]
fn what_a_reading_leaves_out_is_told_once() {
    let mut world = World::new(&[("AAPL", "10")]);
    let read = |world: &mut World, left_out: &[&str]| {
        let before = world.alerts.len();
        let truth = Truth {
            left_out: left_out.iter().map(|text| (*text).to_owned()).collect(),
            ..world.truth(&[("AAPL", number("10"))])
        };
        world.step(Input::Truth(truth, Pass::Running));
        let told = world.alerts[before..].iter();
        let told = told.filter(|alert| alert.kind == "unreadable-number" && alert.level == Level::Critical);
        told.map(|alert| alert.text.clone()).collect::<Vec<_>>()
    };
    assert!(read(&mut world, &["a commission"])[0].contains("a commission"));
    assert!(read(&mut world, &["a commission"]).is_empty());
    let told = read(&mut world, &["a commission", "an average cost"]);
    assert!(told[0].contains("an average cost") && !told[0].contains("a commission"));
    // It keeps no exit from going out.
    world.quote("AAPL", "50");
    assert_eq!(world.intents.len(), 1);
}

#[test]
fn no_ledger_begins_before_cash_is_known() {
    for cash in [None, Some(number("100000"))] {
        let identity = World::new(&[]).trader.portfolio.identity.clone().unwrap();
        let mut desk = Desk::new(settings(), Portfolio::default(), 0, 1);
        desk.hear(notice(2158));
        let deeds = desk.begin(now(), identity, "test", "0");
        append(&mut desk, &deeds);
        let mut deeds = Vec::new();
        for _ in 0..2 {
            let truth = Truth {
                cash,
                left_out: vec!["TotalCashValue is told in `EUR`".into()],
                ..Truth::default()
            };
            deeds = desk.step(now(), false, Said::Truth(Ok(truth), Pass::First));
            append(&mut desk, &deeds);
            desk.step(now(), false, Said::Look(Pass::First));
        }
        let ended = matches!(deeds.last(), Some(Deed::End(End::Again(text))) if text.contains("in `EUR`"));
        assert_eq!(ended, cash.is_none(), "{deeds:?}");
        assert_eq!(desk.trader.portfolio.opened, cash.is_some());
    }
}
