//! What is to be cancelled is asked for until it has an end, whoever leads; and what was promised is done or told.

use engine::reconcile::BrokerStatus;
use engine::trader::{Ask, Input};
use protocol::Id;
use protocol::decision::Level;
use protocol::ledger::{Entry, Kill, Reason, StateChange, TradingState};
use protocol::market::Phase;
use protocol::operator::{Command, Verb};

use crate::world::{World, evening, hear, stays, symbol, told};

/// An entry of AAPL that works.
fn working_entry(held: &[(&str, &str)]) -> World {
    let mut world = World::new(held);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    hear(&mut world, BrokerStatus::Working);
    world
}

/// Seconds without any news.
fn waits(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.later(1);
        world.step(Input::Tick);
    }
}

#[test]
fn a_cancellation_that_is_lost_is_asked_for_again_until_it_has_an_end_and_told_once() {
    for verb in [Verb::Kill, Verb::Halt, Verb::CancelAll] {
        let mut world = working_entry(&[]);
        assert!(world.ask(verb, None));
        assert_eq!(world.cancels.len(), 1, "{verb}");
        waits(&mut world, 4);
        assert_eq!(world.cancels.len(), 1, "{verb}: it may still be answered");
        waits(&mut world, 1);
        assert_eq!(world.cancels.len(), 2, "{verb}");
        waits(&mut world, 60);
        assert_eq!(world.cancels.len(), 14, "{verb}: every five seconds");
        let alerts = told(&world, "order-not-cancelled");
        assert_eq!((alerts.len(), alerts[0].level), (1, Level::Critical), "{verb}");
        let id = world.intents[0].0.as_str();
        assert!(alerts[0].text.contains(id), "{}", alerts[0].text);
        hear(&mut world, BrokerStatus::Cancelled);
        waits(&mut world, 60);
        assert_eq!(world.cancels.len(), 14, "{verb}: it has an end");
    }
}

#[test]
fn a_switch_of_this_machine_is_asked_for_again_too_and_after_its_release() {
    let mut world = working_entry(&[]);
    world.step(Input::KillHere(true));
    waits(&mut world, 10);
    assert_eq!(world.cancels.len(), 3);
    world.step(Input::KillHere(false));
    waits(&mut world, 10);
    assert_eq!(world.cancels.len(), 5, "what was to be cancelled still is");
}

#[test]
fn a_wall_clock_that_was_set_back_puts_a_request_off_by_no_more_than_its_time() {
    let mut world = working_entry(&[]);
    assert!(world.ask(Verb::CancelAll, None));
    world.later(-3600);
    waits(&mut world, 6);
    assert_eq!(world.cancels.len(), 2);
}

#[test]
fn what_an_earlier_incarnation_recorded_and_did_not_live_to_ask_is_asked_at_once() {
    let by = || "operator".to_owned();
    let kill = Entry::Kill(Kill {
        latched: true,
        by: by(),
        text: String::new(),
    });
    let halt = |state, symbol| {
        Entry::State(StateChange {
            state,
            symbol,
            by: by(),
            text: String::new(),
        })
    };
    let of_symbol = Some(symbol("AAPL"));
    let halves = [
        kill,
        halt(TradingState::Halted, None),
        halt(TradingState::Reducing, None),
        halt(TradingState::Halted, of_symbol),
        halt(TradingState::Reducing, of_symbol),
    ];
    for half in halves {
        let mut world = working_entry(&[]);
        world.append(half.clone());
        let mut world = world.restart();
        world.step(Input::Tick);
        assert_eq!(world.cancels.len(), 1, "{half:?}");
        world.step(Input::Tick);
        assert_eq!(world.cancels.len(), 1, "{half:?}: once");
    }
    let mut other = working_entry(&[]);
    other.append(halt(TradingState::Halted, Some(symbol("MSFT"))));
    let mut other = other.restart();
    waits(&mut other, 60);
    assert!(other.cancels.is_empty(), "another symbol's halt is none of its");
}

#[test]
fn a_halt_leaves_exits_at_work_and_a_kill_switch_leaves_emergency_exits() {
    for (verb, stop) in [
        (Verb::Close, Verb::Halt),
        (Verb::Close, Verb::Reduce),
        (Verb::EmergencyExit, Verb::Kill),
    ] {
        let mut world = World::new(&[("AAPL", "50")]);
        world.quote("AAPL", "100");
        if stop == Verb::Kill {
            assert!(world.ask(stop, None));
        }
        assert!(world.ask(verb, Some("AAPL")));
        if stop != Verb::Kill {
            assert!(world.ask(stop, None));
        }
        let mut world = world.restart();
        waits(&mut world, 60);
        assert!(world.cancels.is_empty(), "{verb} under {stop}");
    }
}

#[test]
fn an_order_that_the_broker_has_not_is_not_asked_for_again_and_again() {
    let mut world = working_entry(&[]);
    let (id, intent) = world.intents[0].clone();
    let event = protocol::ledger::OrderEvent {
        order: id,
        symbol: intent.symbol,
        change: protocol::ledger::OrderChange::Unresolved {
            evidence: "test".into(),
        },
    };
    world.append(Entry::Order(event.clone()));
    let absent = protocol::ledger::OrderEvent {
        change: protocol::ledger::OrderChange::Absent {
            evidence: "test".into(),
        },
        ..event
    };
    world.append(Entry::Order(absent));
    assert!(world.ask(Verb::Kill, None));
    waits(&mut world, 60);
    assert_eq!(world.cancels.len(), 1);
}

#[test]
fn an_emergency_exit_that_the_market_left_is_made_again_under_the_kill_switch() {
    let mut world = evening("100");
    assert!(world.ask(Verb::Kill, None));
    assert!(world.ask(Verb::EmergencyExit, Some("AAPL")));
    hear(&mut world, BrokerStatus::Working);
    stays(&mut world, "99.4", 11);
    assert_eq!(world.cancels.len(), 1);
    hear(&mut world, BrokerStatus::Cancelled);
    stays(&mut world, "99.4", 30);
    assert_eq!(world.intents.len(), 2);
    assert_eq!(world.intents[1].1.reason, Reason::EmergencyExit);
}

#[test]
fn a_flatten_that_the_kill_switch_stopped_takes_no_emergency_exit_with_it() {
    let mut world = evening("100");
    assert!(world.ask(Verb::Flatten, None));
    hear(&mut world, BrokerStatus::Working);
    assert!(world.ask(Verb::Kill, None));
    assert!(
        world.ask(Verb::EmergencyExit, Some("AAPL")),
        "it waits for the cancellation"
    );
    stays(&mut world, "100", 3);
    assert_eq!(world.intents.len(), 1, "never two at once");
    hear(&mut world, BrokerStatus::Cancelled);
    stays(&mut world, "100", 3);
    assert_eq!(world.intents.len(), 2);
    assert_eq!(world.intents[1].1.reason, Reason::EmergencyExit);
}

#[test]
fn an_exit_that_is_to_be_made_again_waits_for_the_way_to_the_broker_and_is_told_when_it_can_not_be() {
    for closed in [false, true] {
        let mut world = evening("100");
        assert!(world.ask(Verb::Close, Some("AAPL")));
        hear(&mut world, BrokerStatus::Working);
        stays(&mut world, "99.4", 11);
        world.step(Input::Gate(Some("the link is down".into())));
        hear(&mut world, BrokerStatus::Cancelled);
        stays(&mut world, "99.4", 30);
        assert_eq!(world.intents.len(), 1);
        assert!(told(&world, "exit-refused").is_empty(), "it waits");
        if closed {
            let opens = world.now + jiff::SignedDuration::from_hours(9);
            world.phase_until(Phase::Closed, Some(opens));
        }
        world.step(Input::Gate(None));
        stays(&mut world, "99.4", 5);
        let refused = told(&world, "exit-refused");
        if closed {
            assert_eq!((world.intents.len(), refused.len()), (1, 1));
            assert!(
                refused[0].text.contains("ask for it again"),
                "{}",
                refused[0].text
            );
        } else {
            assert_eq!((world.intents.len(), refused.len()), (2, 0));
        }
    }
}

#[test]
fn a_command_that_is_told_again_is_answered_as_that() {
    let mut world = World::new(&[]);
    let ask = Ask {
        id: Id::derive(&["one id"]),
        verb: Verb::Halt,
        by: "operator".into(),
        command: Command::default(),
    };
    let records = |world: &World| world.records.len();
    world.step(Input::Ask(ask.clone()));
    let before = records(&world);
    world.step(Input::Ask(ask));
    assert_eq!(records(&world), before);
    let [first, second] = &world.replies[..] else {
        panic!("two replies: {:?}", world.replies);
    };
    assert!(first.accepted && second.accepted);
    assert!(!first.text.contains("already"), "{}", first.text);
    assert!(
        second.text.contains("already, and nothing more is done") && second.text.ends_with(&first.text),
        "{}",
        second.text
    );
}
