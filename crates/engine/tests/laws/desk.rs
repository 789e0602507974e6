//! What a start demands of ledger, account and gateway before it trades, and what ends an incarnation.

use engine::desk::{Deed, Desk, End, Input, Notice};
use engine::order::OrderState;
use engine::portfolio::Portfolio;
use engine::reconcile::{BrokerExecution, Pass, Truth};
use engine::testing::settings;
use engine::trader::{Ask, Heard, News};
use jiff::SignedDuration;
use protocol::ledger::{Fill, Identity, Mode, Side};
use protocol::operator::{Command, Verb};
use protocol::{Hash, Id, Timestamp};

use crate::world::{World, number, symbol};

pub fn now() -> Timestamp {
    "2026-11-23T15:00:00Z".parse().unwrap()
}

/// A desk on a ledger, and what the beginning said.
pub fn begin(portfolio: &Portfolio, change: impl Fn(&mut Identity)) -> (Desk, Vec<Deed>) {
    let mut identity = portfolio.identity.clone().unwrap();
    change(&mut identity);
    let mut desk = Desk::new(settings(), portfolio.clone(), 0, 1);
    let deeds = desk.begin(now(), identity, "test", "0");
    append(&mut desk, &deeds);
    (desk, deeds)
}

/// Appends what a desk wants recorded.
pub fn append(desk: &mut Desk, deeds: &[Deed]) {
    for deed in deeds {
        if let Deed::Append(epoch, draft) = deed
            && let Some((record, memory)) = desk.record(*epoch, draft.clone())
        {
            let hash = Hash::of(&serde_json::to_vec(&record).unwrap());
            let sequence = memory.sequence + 1;
            desk.trader.applied(sequence, &hash, &record, now()).unwrap();
        }
    }
}

pub fn contradiction(deeds: &[Deed]) -> Option<&str> {
    deeds.iter().find_map(|deed| match deed {
        Deed::End(End::Contradiction(text)) => Some(text.as_str()),
        _ => None,
    })
}

/// A ledger with an order, all of which is filled, and that order's id.
pub fn bought() -> (World, Id) {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    world.fill_last("100");
    let id = world.intents[0].0.clone();
    (world, id)
}

/// The execution as the broker tells it, with what `change` makes of it.
fn told(world: &World, id: &Id, change: impl Fn(&mut BrokerExecution)) -> BrokerExecution {
    let trade = world.trader.portfolio.trades.back().unwrap();
    let mut execution = BrokerExecution {
        order_ref: id.to_string(),
        symbol: trade.symbol,
        fill: Fill {
            execution_id: trade.execution_id.clone(),
            side: trade.side,
            quantity: trade.quantity,
            price: trade.price,
            commission: trade.commission,
            executed_at: trade.at,
            permanent_id: 0,
        },
    };
    change(&mut execution);
    execution
}

#[test]
fn an_execution_that_took_the_id_of_another_contradicts() {
    let (world, id) = bought();
    let portfolio = &world.trader.portfolio;
    let others: [&dyn Fn(&mut BrokerExecution); 4] = [
        &|one| one.order_ref = Id::derive(&["another"]).to_string(),
        &|one| one.symbol = symbol("NVDA"),
        &|one| one.fill.side = Side::Sell,
        &|one| one.fill.quantity = number("7"),
    ];
    let same: &dyn Fn(&mut BrokerExecution) = &|_| ();
    for (change, contradicts) in others.iter().map(|other| (*other, true)).chain([(same, false)]) {
        let (mut desk, deeds) = begin(portfolio, |_| ());
        assert_eq!(contradiction(&deeds), None);
        let execution = told(&world, &id, change);
        let truth = Truth {
            executions: vec![execution.clone()],
            folded: desk.trader.portfolio.sequence,
            ..world.truth(&[("AAPL", world.held("AAPL"))])
        };
        let deeds = desk.step(now(), false, Input::Truth(Ok(truth), Pass::First));
        assert_eq!(contradiction(&deeds).is_some(), contradicts, "{execution:?}");
        if contradicts {
            continue;
        }
        // The same while it trades.
        assert!(deeds.contains(&Deed::Trade));
        append(&mut desk, &deeds);
        for (change, contradicts) in others.iter().map(|other| (*other, true)).chain([(same, false)]) {
            let execution = told(&world, &id, change);
            let heard = Heard {
                order_ref: execution.order_ref.clone(),
                order_id: 0,
                permanent_id: 0,
                news: News::Execution(execution.symbol, execution.fill.clone()),
            };
            let deeds = desk.step(now(), false, Input::Order(heard));
            assert_eq!(contradiction(&deeds).is_some(), contradicts, "{execution:?}");
        }
    }
}

#[test]
fn another_account_client_or_gateway_contradicts_before_anything_is_written() {
    let (world, _) = bought();
    let portfolio = &world.trader.portfolio;
    type Change = fn(&mut Identity);
    let others: [(&str, Change); 4] = [
        ("use another state folder", |one| one.account = "DU2".into()),
        ("use another state folder", |one| one.mode = Mode::Live),
        ("use another state folder", |one| one.client_id = 12),
        (
            "trades through the gateway `here` and the settings name `there`: set broker.gateway to `here` only if",
            |one| one.gateway = "there".into(),
        ),
    ];
    for (said, change) in others {
        let (_, deeds) = begin(portfolio, change);
        assert_eq!(deeds.len(), 1, "{deeds:?}");
        let text = contradiction(&deeds).unwrap();
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(contradiction(&begin(portfolio, |_| ()).1), None);
}

#[test]
fn the_file_of_the_kill_switch_is_recorded_each_time_it_is_made() {
    let (world, _) = bought();
    let (mut desk, _) = begin(&world.trader.portfolio, |_| ());
    let truth = Truth {
        folded: desk.trader.portfolio.sequence,
        ..world.truth(&[("AAPL", world.held("AAPL"))])
    };
    let deeds = desk.step(now(), false, Input::Truth(Ok(truth), Pass::First));
    append(&mut desk, &deeds);
    assert!(deeds.contains(&Deed::Trade));
    let release = |id: &str| {
        Input::Ask(Ask {
            id: Id::derive(&[id]),
            verb: Verb::Release,
            by: "operator".to_owned(),
            command: Command::default(),
        })
    };
    // A step with the file there or not, a second after the one before; whether it was recorded, and what was answered.
    let mut wall = now();
    let mut step = |there: bool, input: Input| {
        wall += SignedDuration::from_secs(1);
        let deeds = desk.step(wall, there, input);
        append(&mut desk, &deeds);
        let accepted = deeds.iter().find_map(|deed| match deed {
            Deed::Reply(reply) => Some(reply.accepted),
            _ => None,
        });
        (desk.trader.portfolio.killed, accepted)
    };
    for round in ["one", "two", "three"] {
        assert_eq!(step(true, Input::Tick), (true, None), "{round}");
        assert_eq!(
            step(true, release(&format!("{round}, too early"))),
            (true, Some(false))
        );
        // Removed, released, and made anew, with no step in between.
        assert_eq!(step(false, release(round)), (false, Some(true)));
    }
    assert_eq!(
        step(true, Input::Tick),
        (true, None),
        "after the last release, too"
    );
}

/// A notice of the gateway about no order.
pub fn notice(code: i32) -> Notice {
    Notice {
        code,
        text: "said".to_owned(),
        order_id: 0,
    }
}

/// What the gateway tells of an account without any orders.
fn nothing(world: &World, desk: &Desk) -> Truth {
    Truth {
        cash: Some(number("100000")),
        folded: desk.trader.portfolio.sequence,
        ..world.truth(&[])
    }
}

#[test]
fn a_gateway_that_does_not_say_that_its_link_is_up_opens_nothing_and_calls_nothing_absent() {
    let mut world = World::new(&[]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    let intent = world.intents[0].0.clone();
    let (mut desk, _) = begin(&world.trader.portfolio, |_| ());
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    let read_at = |desk: &mut Desk, seconds, pass| {
        let truth = nothing(&world, desk);
        let deeds = desk.step(at(seconds), false, Input::Truth(Ok(truth), pass));
        append(desk, &deeds);
        deeds
    };
    let reading = |desk: &mut Desk, pass| read_at(desk, 0, pass);
    assert!(!reading(&mut desk, Pass::First).contains(&Deed::Trade));
    assert!(reading(&mut desk, Pass::First).contains(&Deed::Trade));
    let gate = desk.trader.closed(now()).unwrap().to_owned();
    assert!(gate.contains("has not said yet that its link"), "{gate}");
    desk.step(now(), false, Input::Look(Pass::Running));
    reading(&mut desk, Pass::Running);
    assert!(desk.trader.closed(now()).is_some(), "a reading does not open it");
    for _ in 0..3 {
        let deeds = desk.step(now(), false, Input::Look(Pass::Second));
        assert!(matches!(deeds[..], [Deed::Look(Pass::Second, _)]), "{deeds:?}");
        // Nor does an answer to a question of before.
        let deeds = reading(&mut desk, Pass::Second);
        assert!(matches!(deeds[..], [Deed::Look(Pass::Second, _)]), "{deeds:?}");
    }
    // What was seen before counts for nothing: what the gateway held may come any moment.
    for code in [1102, 1100, 1102] {
        desk.hear(notice(code));
        desk.step(at(40), false, Input::Heard);
    }
    read_at(&mut desk, 40, Pass::Running);
    read_at(&mut desk, 40, Pass::Running);
    assert_eq!(desk.trader.closed(at(40)), None);
    let state = |desk: &Desk| desk.trader.portfolio.orders[&intent].state;
    for seconds in [40, 41, 60] {
        let deeds = desk.step(at(seconds), false, Input::Look(Pass::Second));
        assert_eq!(deeds, [Deed::Read(Pass::Second)]);
        let deeds = read_at(&mut desk, seconds, Pass::Second);
        let again = Deed::Look(Pass::Second, 1_000 * u64::try_from(70 - seconds).unwrap());
        assert!(deeds.contains(&again), "{deeds:?}");
        assert_eq!(state(&desk), OrderState::Unresolved);
    }
    desk.step(at(70), false, Input::Look(Pass::Second));
    read_at(&mut desk, 70, Pass::Second);
    assert_eq!(state(&desk), OrderState::Absent);
}

#[test]
fn a_second_look_before_any_fresh_one_is_the_first() {
    let world = World::new(&[]);
    let (mut desk, _) = begin(&world.trader.portfolio, |_| ());
    let truth = nothing(&world, &desk);
    desk.step(now(), false, Input::Truth(Ok(truth), Pass::First));
    desk.hear(notice(2158));
    let deeds = desk.step(now(), false, Input::Look(Pass::Second));
    assert_eq!(
        deeds,
        [Deed::Look(Pass::Second, 30_000), Deed::Read(Pass::Running)]
    );
}

#[test]
fn a_link_that_was_up_before_the_start_is_open_at_its_end() {
    let world = World::new(&[]);
    let portfolio = &world.trader.portfolio;
    let mut desk = Desk::new(settings(), portfolio.clone(), 0, 1);
    for code in [2104, 2106, 2158] {
        desk.hear(notice(code));
    }
    let deeds = desk.begin(now(), portfolio.identity.clone().unwrap(), "test", "0");
    append(&mut desk, &deeds);
    let truth = nothing(&world, &desk);
    let deeds = desk.step(now(), false, Input::Truth(Ok(truth), Pass::First));
    assert!(deeds.contains(&Deed::Trade));
    assert_eq!(desk.trader.closed(now()), None);
    assert_eq!(
        desk.step(now(), false, Input::Heard),
        [],
        "and needs no further reading"
    );
}

#[test]
fn an_account_is_taken_over_only_while_the_link_is_up() {
    let world = World::new(&[]);
    let identity = world.trader.portfolio.identity.clone().unwrap();
    let mut desk = Desk::new(settings(), Portfolio::default(), 0, 1);
    let deeds = desk.begin(now(), identity, "test", "0");
    append(&mut desk, &deeds);
    let reading = |desk: &mut Desk| {
        let truth = nothing(&world, desk);
        let deeds = desk.step(now(), false, Input::Truth(Ok(truth), Pass::First));
        append(desk, &deeds);
        desk.step(now(), false, Input::Look(Pass::First));
        desk.trader.portfolio.opened
    };
    for _ in 0..10 {
        assert!(!reading(&mut desk));
    }
    desk.hear(notice(2104));
    assert!(!reading(&mut desk), "it began before that was told");
    assert!(!reading(&mut desk), "two must tell the same");
    assert!(reading(&mut desk));
}
