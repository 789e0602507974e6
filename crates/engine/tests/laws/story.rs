//! The story this project exists for: a system that forgot its positions and bought the same shares every minute.

use protocol::decision::{Check, Level, Regime};
use protocol::ledger::{Reason, Side, TradingState};
use protocol::market::Phase;
use protocol::operator::Verb;
use protocol::{Id, Quantity};

use crate::world::{World, number, symbol, told};

/// Something that happens to a world.
type Happening = fn(&mut World);

#[test]
fn what_is_held_at_the_broker_is_not_bought_again() {
    let mut world = World::new(&[("AAPL", "50"), ("NVDA", "20"), ("IXHL", "1000")]);
    for _minute in 0..10 {
        for name in ["AAPL", "NVDA", "IXHL"] {
            world.quote(name, "100");
            world.bullish(name);
        }
        world.later(60);
        world = world.restart();
    }
    assert_eq!(world.bought(), 0);
}

#[test]
fn one_decision_is_one_order_however_often_it_is_said_and_through_restarts() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    for _ in 0..5 {
        world.bullish("AAPL");
    }
    assert_eq!(world.bought(), 1);
    assert_eq!(world.trader.repeated(), 4, "each is counted");
    let mut world = world.restart();
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    world.later(5);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert_eq!(
        world.bought(),
        0,
        "the restarted process waits for the order that is out"
    );
    assert_eq!(world.refused.last(), Some(&(symbol("AAPL"), Check::Working)));
}

#[test]
fn a_position_is_left_by_signal_regime_stop_and_target() {
    let cases: [(Happening, Reason); 4] = [
        (|world: &mut World| world.bearish("AAPL"), Reason::Signal),
        (
            |world: &mut World| world.signal("AAPL", 0.2, 0.2, Regime::Volatile),
            Reason::Regime,
        ),
        (|world: &mut World| world.quote("AAPL", "98.9"), Reason::Stop),
        (|world: &mut World| world.quote("AAPL", "102.1"), Reason::Target),
    ];
    for (happens, reason) in cases {
        let mut world = World::new(&[]);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        world.fill_last("100");
        assert_eq!(world.held("AAPL"), number("50"));
        world.later(5);
        happens(&mut world);
        happens(&mut world);
        let (_, exit) = world.intents.last().unwrap();
        assert_eq!(
            (exit.side, exit.quantity, exit.reason),
            (Side::Sell, number("50"), reason)
        );
        assert_eq!(world.intents.len(), 2, "{reason:?} is decided once");
        world.fill_last("99");
        assert_eq!(world.held("AAPL"), Quantity::ZERO);
    }
}

#[test]
fn a_signal_that_comes_again_and_says_something_else_is_not_acted_on() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    let bullish = world.signal_of("AAPL", 0.7, 0.1, Regime::Bull);
    let bearish = world.signal_of("AAPL", 0.1, 0.7, Regime::Bull);
    let contradiction = protocol::decision::Signal {
        id: bullish.id.clone(),
        ..bearish.clone()
    };
    world.step(engine::trader::Input::Signal(bullish.clone()));
    world.fill_last("100");
    world.step(engine::trader::Input::Signal(bullish));
    assert!(
        told(&world, "signal-contradiction").is_empty(),
        "the same again is no news"
    );
    for _ in 0..3 {
        world.step(engine::trader::Input::Signal(contradiction.clone()));
    }
    assert_eq!(world.intents.len(), 1, "nobody knows which of them is right");
    let alerts = told(&world, "signal-contradiction");
    assert_eq!((alerts.len(), alerts[0].level), (1, Level::Critical));
    assert!(alerts[0].text.contains(contradiction.id.as_str()));
    world.step(engine::trader::Input::Signal(bearish));
    assert_eq!(world.intents.len(), 2, "the next one decides as ever");
}

#[test]
fn a_failed_exit_is_decided_anew_but_not_at_once() {
    let mut world = World::new(&[("AAPL", "50")]);
    world.quote("AAPL", "90");
    assert_eq!(world.intents.len(), 1);
    let (id, intent) = world.intents[0].clone();
    reject(&mut world, &id, intent.order_id);
    world.quote("AAPL", "90");
    assert_eq!(world.intents.len(), 1, "a broker who refuses is not flooded");
    world.later(20);
    world.quote("AAPL", "90");
    assert_eq!(world.intents.len(), 2);
    assert_ne!(world.intents[0].0, world.intents[1].0);
}

#[test]
fn halted_and_reducing_hold_entries_back_and_let_exits_pass() {
    for verb in [Verb::Halt, Verb::Reduce] {
        let mut world = World::new(&[("NVDA", "20")]);
        assert!(world.ask(verb, None));
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        assert_eq!(world.refused, [(symbol("AAPL"), Check::TradingState)]);
        world.quote("NVDA", "100");
        world.bearish("NVDA");
        assert_eq!(world.intents.last().unwrap().1.side, Side::Sell);
        assert!(world.ask(Verb::Resume, None));
        world.later(1);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        assert_eq!(world.bought(), 1);
    }
}

#[test]
fn the_kill_switch_stops_all_but_an_emergency_exit_and_survives_a_restart() {
    let mut world = World::new(&[("NVDA", "20")]);
    assert!(world.ask(Verb::Kill, None));
    let mut world = world.restart();
    world.quote("NVDA", "100");
    world.bearish("NVDA");
    assert!(!world.ask(Verb::Resume, None) && !world.ask(Verb::Close, Some("NVDA")));
    assert!(world.intents.is_empty());
    assert!(world.ask(Verb::EmergencyExit, Some("NVDA")));
    assert_eq!(world.intents.last().unwrap().1.quantity, number("20"));
    assert!(world.ask(Verb::Release, None));
    assert!(!world.trader.portfolio.killed);
}

#[test]
fn flatten_closes_everything_and_what_fills_meanwhile() {
    let mut world = World::new(&[("NVDA", "20"), ("IXHL", "100")]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let entry = world.intents[0].clone();
    assert!(world.ask(Verb::Flatten, None));
    assert_eq!(world.trader.state(), TradingState::Halted);
    assert!(
        world.cancels.contains(&entry.1.order_id),
        "the working entry is cancelled first"
    );
    assert_eq!(world.intents.len(), 3);
    world.fill(&entry.0, "30", "100");
    world.step(engine::trader::Input::Tick);
    let (_, late) = world.intents.last().unwrap();
    assert_eq!(
        (late.symbol, late.quantity, late.reason),
        (symbol("AAPL"), number("30"), Reason::Flatten)
    );
}

#[test]
fn a_closed_market_and_a_closed_gate_hold_everything_back() {
    let mut world = World::new(&[("NVDA", "20")]);
    world.phase(Phase::Closed);
    world.quote("NVDA", "10");
    world.quote("NVDA", "10");
    assert_eq!(
        world.refused,
        [(symbol("NVDA"), Check::SessionClosed)],
        "told once, not with every tick"
    );
    world.phase(Phase::Regular);
    world.step(engine::trader::Input::Gate(Some("the link is down".into())));
    world.quote("NVDA", "10");
    assert_eq!(world.refused.last(), Some(&(symbol("NVDA"), Check::BrokerGate)));
    assert!(world.intents.is_empty());
}

fn reject(world: &mut World, id: &Id, order_id: i32) {
    let news = engine::trader::News::Error(201, "no".into());
    world.step(engine::trader::Input::Broker(engine::trader::Heard {
        order_ref: String::new(),
        order_id,
        permanent_id: 0,
        news,
    }));
    assert!(world.trader.portfolio.orders[id].state.is_terminal());
}

#[test]
fn the_kill_switch_of_a_machine_is_recorded_and_holds_whoever_leads_next() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.step(engine::trader::Input::KillHere(true));
    assert!(!world.ask(Verb::Release, None), "the file is still there");
    let mut world = world.restart();
    assert!(world.trader.killed(), "the next machine has no such file");
    world.step(engine::trader::Input::KillHere(true));
    let records = world.records.len();
    world.step(engine::trader::Input::KillHere(false));
    assert_eq!(world.records.len(), records, "said once");
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    assert!(
        world.intents.is_empty() && world.trader.killed(),
        "until a person releases it"
    );
    assert!(world.ask(Verb::Release, None));
    world.step(engine::trader::Input::KillHere(true));
    assert!(
        world.trader.portfolio.killed,
        "latched again, it is recorded again"
    );
}

#[test]
fn an_id_that_was_used_for_another_command_is_no_answer() {
    let mut world = World::new(&[("AAPL", "50"), ("NVDA", "20")]);
    let mut ask = |verb, name: Option<&str>| {
        let command = protocol::operator::Command {
            symbol: name.map(symbol),
            ..Default::default()
        };
        world.step(engine::trader::Input::Ask(engine::trader::Ask {
            id: Id::derive(&["desk"]),
            verb,
            by: "operator".into(),
            command,
        }));
        let reply = world.replies.last().unwrap().clone();
        assert_eq!(reply.id, Id::derive(&["desk"]), "the asker knows it by its id");
        (reply.accepted, reply.text, world.trader.portfolio.killed)
    };
    assert!(ask(Verb::Halt, None).0);
    assert!(ask(Verb::Halt, None).0, "the same again is answered as before");
    let (accepted, text, _) = ask(Verb::Close, Some("AAPL"));
    assert!(!accepted && text.contains("`halt`"), "{text}");
    let (accepted, text, _) = ask(Verb::Halt, Some("AAPL"));
    assert!(!accepted && text.contains("`halt`"), "{text}");
    let (accepted, _, killed) = ask(Verb::Kill, None);
    assert!(
        accepted && killed,
        "what is to stop everything does, whatever its id"
    );
}

#[test]
fn a_command_that_is_told_again_after_many_others_is_not_carried_out_again() {
    let mut world = World::new(&[("AAPL", "50")]);
    let ask = |world: &mut World, id: &str, verb| {
        world.step(engine::trader::Input::Ask(engine::trader::Ask {
            id: Id::derive(&[id]),
            verb,
            by: "operator".into(),
            command: protocol::operator::Command::default(),
        }));
        world.replies.last().unwrap().clone()
    };
    assert!(ask(&mut world, "first", Verb::Halt).accepted);
    for number in 0..=engine::portfolio::COMMANDS_KEPT_MAX {
        assert!(ask(&mut world, &number.to_string(), Verb::Resume).accepted);
    }
    let mut world = world.restart();
    let records = world.records.len();
    let reply = ask(&mut world, "first", Verb::Halt);
    assert!(!reply.accepted && reply.text.contains("not kept"), "{reply:?}");
    assert_eq!(
        (world.trader.portfolio.state, world.records.len()),
        (TradingState::Active, records)
    );
    assert!(ask(&mut world, "first", Verb::Kill).accepted && world.trader.portfolio.killed);
}

#[test]
fn flatten_during_a_partial_fill_asks_once_and_closes_what_is_held() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let (entry, _) = world.intents[0].clone();
    world.fill(&entry, "20", "100");
    assert!(world.ask(Verb::Flatten, None));
    let (_, exit) = world.intents.last().unwrap();
    assert_eq!((exit.side, exit.quantity), (Side::Sell, number("20")));
    assert!(world.trader.portfolio.flattening.is_some());
}

#[test]
fn no_more_is_sold_than_the_broker_has() {
    for (at_broker, sold) in [("0", None), ("-5", None), ("30", Some("30")), ("80", Some("50"))] {
        let mut world = World::new(&[("AAPL", "50")]);
        let truth = world.truth(&[("AAPL", number(at_broker))]);
        world.step(engine::trader::Input::Truth(
            truth,
            engine::reconcile::Pass::Running,
        ));
        world.quote("AAPL", "90");
        assert_eq!(
            world.intents.last().map(|(_, exit)| exit.quantity),
            sold.map(number),
            "broker has {at_broker}"
        );
    }
}

#[test]
fn a_fraction_of_a_share_is_left_alone() {
    let mut world = World::new(&[("AAPL", "10.5"), ("NVDA", "0.25")]);
    world.quote("AAPL", "90");
    world.quote("NVDA", "90");
    assert_eq!(world.intents.len(), 1);
    assert_eq!(world.intents[0].1.quantity, number("10"));
}

#[test]
fn a_warning_about_an_order_does_not_end_it() {
    for code in [399, 404, 2109, 10349, 161, 135, 10147, 10148] {
        let mut world = World::new(&[]);
        world.quote("AAPL", "100");
        world.bullish("AAPL");
        let (id, intent) = world.intents[0].clone();
        let news = engine::trader::News::Error(code, "take note".into());
        let heard = engine::trader::Heard {
            order_ref: String::new(),
            order_id: intent.order_id,
            permanent_id: 0,
            news,
        };
        world.step(engine::trader::Input::Broker(heard));
        assert!(world.trader.portfolio.orders[&id].state.may_fill(), "{code}");
    }
}

#[test]
fn what_is_of_the_account_takes_no_symbol_and_nothing_is_promised_while_killed() {
    let mut world = World::new(&[("AAPL", "50"), ("NVDA", "20")]);
    for verb in [Verb::Flatten, Verb::Kill, Verb::CancelAll] {
        assert!(!world.ask(verb, Some("AAPL")), "{verb}");
    }
    assert!(!world.ask(Verb::Release, None), "nothing is latched");
    assert!(world.ask(Verb::Kill, None));
    assert!(!world.ask(Verb::Flatten, None) && world.trader.portfolio.flattening.is_none());
    assert!(world.intents.is_empty());
}

#[test]
fn nothing_is_sent_into_the_restart_of_the_gateway() {
    let mut world = World::with(&[("NVDA", "20")], |settings| {
        settings.broker.restart_at = "10:01".to_owned();
        settings.broker.restart_minutes = 10;
    });
    let first = read(&world);
    world.step(engine::trader::Input::Truth(
        first,
        engine::reconcile::Pass::First,
    ));
    world.quote("AAPL", "100");
    world.later(60);
    for name in ["AAPL", "NVDA"] {
        world.quote(name, "90");
    }
    world.bullish("AAPL");
    assert!(world.intents.is_empty());
    let (nvda, aapl) = (symbol("NVDA"), symbol("AAPL"));
    assert_eq!(
        world.refused,
        [(nvda, Check::BrokerGate), (aapl, Check::BrokerGate)]
    );
    // What the gateway held meanwhile is known only by a reading that began after it: at no look is there an instant
    // between the end and that.
    let before = read(&world);
    world.later(600);
    for reading in [None, Some(before)] {
        if let Some(truth) = reading {
            world.step(engine::trader::Input::Truth(
                truth,
                engine::reconcile::Pass::Running,
            ));
        }
        assert!(world.trader.closed(world.now).is_some());
        world.quote("NVDA", "90");
        world.bullish("AAPL");
        assert!(world.intents.is_empty());
    }
    let after = read(&world);
    world.step(engine::trader::Input::Truth(
        after,
        engine::reconcile::Pass::Running,
    ));
    world.quote("NVDA", "90");
    world.quote("AAPL", "90");
    world.bullish("AAPL");
    assert_eq!(world.intents.len(), 2);
    // A clock that is set back says nothing of what was compared.
    world.later(-60);
    assert!(world.trader.closed(world.now).is_some());
}

/// A reading that begins now and agrees.
fn read(world: &World) -> engine::reconcile::Truth {
    let held = world.trader.portfolio.open_positions();
    let held: Vec<_> = held.map(|one| (one.symbol.to_string(), one.quantity)).collect();
    let held: Vec<_> = held
        .iter()
        .map(|(name, quantity)| (name.as_str(), *quantity))
        .collect();
    world.truth(&held)
}
