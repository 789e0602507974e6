//! What an operator must be told, as nothing else would ever say it: shares that no price sells, fractions that can't be
//! sold from here, a field that means nothing.

use engine::trader::{Ask, Input, Unclear};
use protocol::decision::Level;
use protocol::ledger::{Choice, Entry, Holding, Mode, Opening, TradingState};
use protocol::operator::{Command, Verb};
use protocol::{Id, Money};

use crate::settle::{read, settle};
use crate::world::{World, number, symbol};

fn told(world: &World, kind: &str) -> Vec<String> {
    let alerts = world.alerts.iter().filter(|alert| alert.kind == kind);
    alerts.map(|alert| alert.text.clone()).collect()
}

/// The answer to a command about AAPL, or the whole account.
fn answer(world: &mut World, verb: Verb) -> (bool, String) {
    let command = Command {
        symbol: (verb != Verb::Flatten).then(|| symbol("AAPL")),
        ..Command::default()
    };
    let reply = world.command(verb, command);
    (reply.accepted, reply.text.clone())
}

#[test]
fn a_position_of_unknown_cost_is_told_once_for_as_long_as_it_is_held_so() {
    let mut world = World::new(&[]);
    let holding = Holding {
        quantity: number("5"),
        average_cost: Money::ZERO,
    };
    world.append(Entry::Opening(Opening {
        cash: number("100000"),
        positions: [(symbol("AAPL"), holding)].into(),
        execution_ids: Vec::new(),
        order_refs: Vec::new(),
    }));
    for _ in 0..3 {
        world.quote("AAPL", "1");
        world.step(Input::Tick);
    }
    assert!(world.intents.is_empty(), "no price is its stop");
    let told_of = |world: &World| told(world, "cost-unknown");
    assert_eq!(told_of(&world).len(), 1);
    assert_eq!(world.alerts[0].level, Level::Critical);
    let text = &told_of(&world)[0];
    assert!(
        text.contains("AAPL") && text.contains("stop") && text.contains("command.close"),
        "{text}"
    );
    // Whoever leads next says it again.
    let mut world = world.restart();
    world.step(Input::Tick);
    assert_eq!(told_of(&world).len(), 1);
    // Gone, and there again.
    for held in ["0", "0"] {
        read(&mut world, held);
    }
    assert!(settle(&mut world, None));
    world.step(Input::Tick);
    for held in ["7", "7"] {
        read(&mut world, held);
    }
    world.quote("AAPL", "100");
    assert!(settle(&mut world, None));
    world.step(Input::Tick);
    assert_eq!(told_of(&world).len(), 1, "what was taken over has a cost");
}

#[test]
fn a_fraction_of_a_share_is_named_wherever_it_is_in_the_way() {
    let mut world = World::new(&[("AAPL", "0.5"), ("NVDA", "3.25"), ("IXHL", "2")]);
    for name in ["AAPL", "NVDA", "IXHL"] {
        world.quote(name, "100");
    }
    for verb in [Verb::Close, Verb::EmergencyExit] {
        let (accepted, text) = answer(&mut world, verb);
        assert!(
            !accepted && text.contains("0.5") && text.contains("whole shares"),
            "{text}"
        );
    }
    let (accepted, text) = answer(&mut world, Verb::Flatten);
    assert!(accepted && text.contains("2 positions"), "{text}");
    assert!(
        text.contains("0.5 of AAPL") && text.contains("0.25 of NVDA"),
        "{text}"
    );
    assert!(!text.contains("IXHL"), "{text}");
    for (id, intent) in world.intents.clone() {
        world.fill(&id, &intent.quantity.to_string(), "100");
    }
    for _ in 0..3 {
        world.step(Input::Tick);
    }
    let told = told(&world, "not-flat");
    assert_eq!((world.intents.len(), told.len()), (2, 1));
    assert!(
        told[0].contains("0.5 of AAPL") && told[0].contains("0.25 of NVDA"),
        "{told:?}"
    );
}

#[test]
fn what_is_closed_is_told_in_whole_shares() {
    let mut world = World::new(&[("AAPL", "10.5")]);
    world.quote("AAPL", "100");
    let (accepted, text) = answer(&mut world, Verb::Close);
    assert!(
        accepted && text.contains("10 shares") && text.contains("0.5 of AAPL"),
        "{text}"
    );
}

#[test]
fn a_choice_or_an_order_is_refused_where_it_means_nothing() {
    let choice = Command {
        choice: Some(Choice::Accept),
        ..Command::default()
    };
    let order = Command {
        order: Some(Id::derive(&["one"])),
        ..Command::default()
    };
    for command in [choice, order] {
        for verb in [
            Verb::Halt,
            Verb::Reduce,
            Verb::Resume,
            Verb::CancelAll,
            Verb::Flatten,
        ] {
            let mut world = World::new(&[("AAPL", "10")]);
            let reply = world.command(verb, command.clone());
            assert!(
                !reply.accepted && reply.text.contains("command.settle"),
                "{}",
                reply.text
            );
            assert_eq!(world.trader.state(), TradingState::Active);
        }
        let mut world = World::new(&[]);
        assert!(
            world.command(Verb::Kill, command).accepted,
            "it stops everything whatever else is said"
        );
    }
}

#[test]
fn a_command_that_is_refused_at_the_door_is_recorded_with_who_and_why() {
    let mut world = World::new(&[]);
    let unclear = Unclear {
        id: Id::derive(&["unclear"]),
        verb: "sell-everything".to_owned(),
        by: "operator".to_owned(),
        text: "`sell-everything` is not a command".to_owned(),
    };
    let before = world.records.len();
    world.step(Input::Unclear(unclear.clone()));
    assert_eq!(world.records.len(), before + 1);
    let known = world.trader.portfolio.commands.back().unwrap();
    assert_eq!(known.id, unclear.id);
    let record = &known.record;
    assert_eq!(
        (
            record.verb.as_str(),
            record.by.as_str(),
            record.accepted,
            &record.text
        ),
        ("sell-everything", "operator", false, &unclear.text)
    );
    let reply = world.replies.last().unwrap();
    assert_eq!(
        (&reply.id, reply.accepted, &reply.text),
        (&unclear.id, false, &unclear.text)
    );
}

#[test]
fn a_browser_only_reduces_the_risk_of_a_live_account_and_what_it_was_refused_is_recorded() {
    let mut world = World::new(&[]);
    let mut live = world.trader.portfolio.identity.clone().unwrap();
    live.mode = Mode::Live;
    world.trader.portfolio.identity = Some(live);
    for (by, verb, accepted) in [
        ("web", Verb::Halt, true),
        ("web", Verb::Resume, false),
        ("web", Verb::EmergencyExit, false),
        ("web", Verb::Settle, false),
        ("operator", Verb::Resume, true),
        ("web", Verb::Kill, true),
        ("web", Verb::Release, false),
        ("operator", Verb::Release, true),
    ] {
        let ask = Ask {
            id: Id::derive(&[by, verb.as_str()]),
            verb,
            by: by.to_owned(),
            command: Command::default(),
        };
        world.step(Input::Ask(ask.clone()));
        let reply = world.replies.last().unwrap();
        assert_eq!((&reply.id, reply.accepted), (&ask.id, accepted), "{reply:?}");
        assert!(
            accepted || reply.text.contains("may only reduce risk"),
            "{reply:?}"
        );
        let known = world.trader.portfolio.commands.back().unwrap();
        assert_eq!(
            (&known.id, known.record.by.as_str(), known.record.accepted),
            (&ask.id, by, accepted)
        );
    }
}
