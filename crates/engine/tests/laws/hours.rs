//! Hours that nobody knows, prices that nobody knows, and times that can't be.

use engine::reconcile::{BrokerOrder, BrokerStatus, Pass, Truth};
use engine::trader::Input;
use jiff::SignedDuration;
use protocol::decision::{Check, Regime};
use protocol::ledger::{OrderType, Reason};
use protocol::market::{Phase, Session};
use protocol::operator::Verb;

use crate::world::{World, hear, number, shown, symbol};

#[test]
fn an_operator_s_exit_does_not_hang_on_the_last_word_of_a_market_data_stage_that_died() {
    for verb in [Verb::Close, Verb::Flatten, Verb::EmergencyExit] {
        let mut world = World::new(&[("NVDA", "20")]);
        let name = (verb != Verb::Flatten).then_some("NVDA");
        world.quote("NVDA", "100");
        // It is evening, and the last that was heard is that the market opens tomorrow.
        let opens = world.now + SignedDuration::from_hours(16);
        world.phase_until(Phase::Closed, Some(opens));
        world.ask(verb, name);
        assert!(world.intents.is_empty(), "closed is closed while that holds");
        world.later(17 * 3_600);
        world.quote("NVDA", "80");
        assert!(
            world.intents.is_empty(),
            "what nobody asked for waits until the hours are known"
        );
        world.ask(verb, name);
        let (_, exit) = world.intents.last().expect("it goes out");
        assert_eq!(
            (exit.order_type, exit.outside_regular_hours),
            (OrderType::Limit, true)
        );
        assert_eq!(exit.limit_price, Some(number("79.6")));
        // An entry waits for hours that are known.
        world.signal("AAPL", 0.9, 0.05, Regime::Bull);
        assert_eq!(world.intents.len(), 1);
    }
    // Hours that nobody knows yet hold nothing back either.
    let mut world = World::new(&[("NVDA", "20")]);
    world.quote("NVDA", "100");
    world.phase_until(Phase::Closed, None);
    world.ask(Verb::Close, Some("NVDA"));
    assert_eq!(
        world.intents.last().map(|(_, exit)| exit.reason),
        Some(Reason::Close)
    );
}

/// What the stream keeps of a market-data stage that died, given to an execution that begins later.
fn restarted(phase: Phase, change_in: i64, begins_in: i64, positions: &[(&str, &str)]) -> World {
    let mut world = World::new(positions);
    let (at, later) = (world.now, SignedDuration::from_hours);
    world.now += later(begins_in);
    let mut world = world.restart_untold();
    let stored = Session {
        at,
        ..world.session(phase, Some(at + later(change_in)))
    };
    world.step(Input::Session(stored, at));
    world
}

#[test]
fn a_session_that_was_stored_long_ago_is_as_old_as_it_is() {
    for verb in [Verb::Close, Verb::Flatten, Verb::EmergencyExit] {
        // Friday evening the market was closed until Monday; on Monday execution begins again.
        let mut world = restarted(Phase::Closed, 56, 62, &[("NVDA", "20")]);
        assert!(world.ask(verb, (verb != Verb::Flatten).then_some("NVDA")));
        let (_, exit) = world.intents.last().expect("it goes out");
        // Nobody knows a price, so only the broker can name one.
        let kind = (exit.order_type, exit.outside_regular_hours);
        assert_eq!(kind, (OrderType::Market, false));
        // Nor is yesterday's a price.
        let mut world = World::new(&[("NVDA", "20")]);
        let closes = world.now + SignedDuration::from_hours(6);
        world.phase_until(Phase::Regular, Some(closes));
        world.quote("NVDA", "100");
        world.later(24 * 3_600);
        assert!(world.ask(verb, (verb != Verb::Flatten).then_some("NVDA")));
        assert_eq!(world.intents[0].1.order_type, OrderType::Market);
        // An opinion needs hours.
        let mut world = restarted(Phase::Closed, 56, 62, &[("NVDA", "20")]);
        world.bearish("NVDA");
        assert_eq!(world.refused, [(symbol("NVDA"), Check::SessionClosed)]);
    }
    // What holds still holds.
    let mut world = restarted(Phase::Closed, 56, 55, &[("NVDA", "20")]);
    assert!(!world.ask(Verb::EmergencyExit, Some("NVDA")));
    let mut world = restarted(Phase::Regular, 3, 2, &[("NVDA", "20")]);
    world.bearish("NVDA");
    assert_eq!(world.intents[0].1.order_type, OrderType::Market);
    // At night an exit has a limit, though the last that was heard is that the market was open.
    let mut world = restarted(Phase::Regular, 3, 9, &[("NVDA", "20")]);
    world.quote("NVDA", "100");
    assert!(world.ask(Verb::Close, Some("NVDA")));
    assert_eq!(world.intents[0].1.limit_price, Some(number("99.5")));
}

/// A position that was closed by name on the day after the market fell silent, and its order as the broker has it.
fn closed_in_silence() -> (World, Vec<BrokerOrder>) {
    let mut world = World::new(&[("NVDA", "20")]);
    let closes = world.now + SignedDuration::from_hours(6);
    world.phase_until(Phase::Regular, Some(closes));
    world.quote("NVDA", "100");
    world.later(19 * 3_600);
    assert!(world.ask(Verb::Close, Some("NVDA")));
    let (id, intent) = world.intents.last().unwrap();
    let works = shown(id, intent, 7);
    (world, vec![works])
}

#[test]
fn what_an_operator_closes_while_the_market_is_silent_is_of_its_own_day() {
    for restarts in [false, true] {
        let (mut world, open) = closed_in_silence();
        if restarts {
            world = world.restart_untold();
        }
        // The market is told again, and its price is beyond the stop.
        world.phase(Phase::Regular);
        for _ in 0..3 {
            world.quote("NVDA", "80");
            let truth = Truth {
                open: open.clone(),
                ..world.truth(&[("NVDA", number("20"))])
            };
            world.step(Input::Truth(truth, Pass::Running));
            world.step(Input::Tick);
            world.later(2);
        }
        let sold = world.trader.portfolio.open_orders().count();
        assert_eq!(sold, 1, "the same shares are not sold again");
        assert!(world.cancels.is_empty() && world.trader.portfolio.symbol_states.is_empty());
    }
}

#[test]
fn a_flatten_that_is_refused_while_the_market_is_silent_is_tried_again_but_not_at_once() {
    let (mut world, _) = closed_in_silence();
    hear(&mut world, BrokerStatus::Cancelled);
    world.later(60);
    assert!(world.ask(Verb::Flatten, None));
    world.reject_last();
    for waited in 0..20 {
        world.step(Input::Tick);
        let tried = world.intents.len() - 1;
        assert_eq!(tried, if waited < 15 { 1 } else { 2 }, "after {waited} s");
        world.later(1);
    }
}

#[test]
fn the_clock_of_a_replay_stands_while_nobody_tells_it() {
    for (speed, ahead) in [(60.0, 0), (1.0, -48)] {
        let world = World::new(&[("NVDA", "20")]);
        let session = Session {
            at: world.now + SignedDuration::from_hours(ahead),
            speed,
            ..world.session(Phase::Regular, None)
        };
        let mut world = world.restart_untold();
        world.step(Input::Session(session.clone(), world.now));
        world.later(2 * 3_600);
        assert!(world.ask(Verb::Close, Some("NVDA")));
        let (_, _, intent) = world.records.last().unwrap();
        assert_eq!(intent.at, session.at);
    }
}

#[test]
fn an_exit_that_needs_a_limit_and_has_no_price_is_refused() {
    let mut world = World::with(&[("NVDA", "20")], |settings| {
        settings.market.extended_hours = true
    });
    world.phase(Phase::After);
    world.ask(Verb::Close, Some("NVDA"));
    assert!(world.intents.is_empty(), "a limit of nothing is none");
    assert_eq!(world.refused, [(symbol("NVDA"), Check::StaleQuote)]);
    world.quote("NVDA", "100");
    world.ask(Verb::Close, Some("NVDA"));
    assert_eq!(world.intents[0].1.limit_price, Some(number("99.5")));
}

#[test]
fn one_time_that_can_not_be_does_not_stop_the_day() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    let mut wrong = world.quote_of("NVDA", "50");
    wrong.at += SignedDuration::from_hours(30);
    world.step(Input::Quote(wrong));
    world.later(120);
    world.quote("AAPL", "100");
    world.signal("AAPL", 0.9, 0.05, Regime::Bull);
    assert_eq!(world.intents.len(), 1, "{:?}", world.refused);
    let decided = world.records.last().map(|(_, _, record)| record.at);
    assert!(decided.is_some_and(|at| at <= world.now + SignedDuration::from_secs(60)));
}
