//! `flatten` says what is being closed and what is not yet, goes on until all is closed, and ends when it is called off.

use engine::portfolio::COMMANDS_KEPT_MAX;
use engine::reconcile::{BrokerStatus, Pass};
use engine::trader::Input;
use protocol::Timestamp;
use protocol::ledger::Reason;
use protocol::market::{Phase, Session};
use protocol::operator::{Command, Verb};

use crate::world::{World, hear, number, told};

/// The answer to a command of the whole account: whether it was accepted, and the text.
fn answer(world: &mut World, verb: Verb) -> (bool, String) {
    let reply = world.command(verb, Command::default());
    (reply.accepted, reply.text.clone())
}

/// Seconds in which nobody says anything; market-data neither.
fn silence(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.later(1);
        world.step(Input::Tick);
    }
}

/// Two positions that are being flattened.
fn flattening() -> World {
    let mut world = World::new(&[("AAPL", "50"), ("NVDA", "20")]);
    world.quote("AAPL", "100");
    world.quote("NVDA", "100");
    assert!(world.ask(Verb::Flatten, None));
    assert_eq!(world.intents.len(), 2);
    world
}

#[test]
fn what_is_not_being_closed_yet_is_said_with_its_reason_and_tried_again() {
    type Happening = fn(&mut World);
    let cases: [(Happening, &str, Happening); 2] = [
        (
            |world: &mut World| {
                let opens = world.now + jiff::SignedDuration::from_hours(9);
                world.phase_until(Phase::Closed, Some(opens));
            },
            "the market is closed",
            |world| world.phase(Phase::Regular),
        ),
        (
            |world| world.step(Input::Gate(Some("the link is down".into()))),
            "the link is down",
            |world| world.step(Input::Gate(None)),
        ),
    ];
    for (closes, why, opens) in cases {
        let mut world = World::new(&[("AAPL", "50"), ("NVDA", "20")]);
        world.quote("AAPL", "100");
        closes(&mut world);
        let (accepted, text) = answer(&mut world, Verb::Flatten);
        assert!(
            accepted && text.contains("0 positions are being closed"),
            "it is halted, and goes on: {text}"
        );
        assert!(
            text.contains("not yet AAPL, NVDA") && text.contains("tried again") && text.contains(why),
            "{text}"
        );
        assert!(world.intents.is_empty());
        opens(&mut world);
        world.step(Input::Tick);
        assert_eq!(world.intents.len(), 2);
    }
}

#[test]
fn a_position_that_waits_or_that_the_broker_does_not_have_is_not_said_to_be_closed() {
    let mut world = World::new(&[("AAPL", "50"), ("NVDA", "20"), ("IXHL", "7")]);
    world.quote("AAPL", "90");
    world.reject_last();
    let truth = world.truth(&[("AAPL", number("50")), ("IXHL", number("7"))]);
    world.step(Input::Truth(truth, Pass::Running));
    let (accepted, text) = answer(&mut world, Verb::Flatten);
    assert!(
        accepted && text.contains("1 positions are being closed"),
        "{text}"
    );
    assert!(text.contains("not yet AAPL") && text.contains("15 s"), "{text}");
    assert!(
        text.contains("not yet NVDA") && text.contains("command.settle"),
        "{text}"
    );
    // What is on its way already is being closed.
    let (_, text) = answer(&mut world, Verb::Flatten);
    assert!(
        text.contains("1 positions are being closed") && !text.contains("IXHL"),
        "{text}"
    );
}

#[test]
fn a_failed_exit_is_made_again_while_the_market_clock_stands_still_and_no_sooner_than_by_a_running_one() {
    for ends in [
        |world: &mut World| world.reject_last(),
        |world: &mut World| hear(world, BrokerStatus::Cancelled),
    ] {
        // Market data died a while ago.
        for silent in [0, 7_200] {
            let mut world = World::new(&[("AAPL", "50")]);
            world.quote("AAPL", "100");
            world.later(silent);
            assert!(world.ask(Verb::Flatten, None));
            for failures in 1..4 {
                ends(&mut world);
                world.step(Input::Tick);
                silence(&mut world, 14);
                assert_eq!(
                    world.intents.len(),
                    failures,
                    "a broker who refuses is not flooded"
                );
                silence(&mut world, 1);
                assert_eq!(world.intents.len(), failures + 1);
            }
        }
        // At a sixtieth of the speed it waits for as long by the market clock.
        let mut world = World::new(&[("AAPL", "50")]);
        let session = Session {
            speed: 1.0 / 60.0,
            ..world.session(Phase::Regular, None)
        };
        world.step(Input::Session(session, world.now));
        world.quote("AAPL", "100");
        assert!(world.ask(Verb::Flatten, None));
        ends(&mut world);
        let mut market = world.now;
        let tells = |world: &mut World, market: Timestamp| {
            let mut quote = world.quote_of("AAPL", "100");
            quote.at = market;
            world.step(Input::Quote(quote));
            world.step(Input::Tick);
        };
        for minute in 0..15 {
            assert_eq!(world.intents.len(), 1, "after {minute} market seconds");
            for _ in 0..6 {
                tells(&mut world, market);
                world.later(10);
                market += jiff::SignedDuration::from_nanos(166_666_667);
            }
        }
        tells(&mut world, market);
        assert_eq!(world.intents.len(), 2);
    }
}

#[test]
fn a_flatten_goes_on_after_more_commands_than_are_kept_and_in_the_next_incarnation() {
    let mut world = flattening();
    for _ in 0..=COMMANDS_KEPT_MAX {
        assert!(world.ask(Verb::Halt, None));
    }
    hear(&mut world, BrokerStatus::Cancelled);
    silence(&mut world, 16);
    assert_eq!(world.intents.len(), 3);
    assert_eq!(world.intents[2].1.reason, Reason::Flatten);
    let mut world = world.restart();
    world.step(Input::Tick);
    hear_of_all(&mut world);
    silence(&mut world, 32);
    assert!(!world.intents.is_empty());
}

/// The broker cancels every order that works.
fn hear_of_all(world: &mut World) {
    let open: Vec<_> = world
        .trader
        .portfolio
        .open_orders()
        .map(|order| (order.id.to_string(), order.order_id))
        .collect();
    for (order_ref, order_id) in open {
        world.step(Input::Broker(engine::trader::Heard {
            order_ref,
            order_id,
            permanent_id: 1000 + i64::from(order_id),
            news: engine::trader::News::Status(BrokerStatus::Cancelled, Some(number("0")), String::new()),
        }));
    }
}

#[test]
fn a_flatten_is_over_once_it_is_called_off_and_the_answer_says_so() {
    let calls_off: [&[Verb]; 5] = [
        &[Verb::CancelAll],
        &[Verb::Kill, Verb::Release],
        &[Verb::Reduce],
        &[Verb::Resume],
        &[Verb::Halt, Verb::CancelAll, Verb::Halt],
    ];
    for verbs in calls_off {
        for restarts in [false, true] {
            let mut world = flattening();
            let mut texts = Vec::new();
            for verb in verbs {
                let (accepted, text) = answer(&mut world, *verb);
                assert!(accepted, "{verb}: {text}");
                texts.push(text);
            }
            assert!(
                texts.concat().contains("the flatten is over"),
                "{verbs:?}: {texts:?}"
            );
            if restarts {
                world = world.restart();
                world.intents.clear();
            }
            let before = world.intents.len();
            hear_of_all(&mut world);
            for _ in 0..20 {
                world.quote("AAPL", "100");
                silence(&mut world, 1);
            }
            assert_eq!(
                world.intents.len(),
                before,
                "{verbs:?}: nobody asked for another exit"
            );
            assert!(world.trader.portfolio.flattening.is_none());
        }
    }
}

#[test]
fn the_file_kill_ends_a_flatten_and_a_halt_does_not() {
    let mut world = flattening();
    let (_, text) = answer(&mut world, Verb::Halt);
    assert!(text.contains("the flatten goes on"), "{text}");
    assert!(world.ask(Verb::Halt, Some("AAPL")) && world.ask(Verb::Resume, Some("AAPL")));
    hear_of_all(&mut world);
    silence(&mut world, 16);
    assert_eq!(world.intents.len(), 4);
    world.step(Input::KillHere(true));
    hear_of_all(&mut world);
    world.step(Input::KillHere(false));
    assert!(world.ask(Verb::Release, None));
    silence(&mut world, 32);
    assert_eq!(world.intents.len(), 4);
    assert!(told(&world, "flat").is_empty());
}
