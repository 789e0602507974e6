//! Every step of the order path that can be seen on a wire, as the place at which the one that leads is killed: what a
//! process did since the step before, nobody else can tell.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::judge;
use crate::proxy::{Carried, Sign};
use crate::settle;
use crate::tally::Tally;
use crate::world::{PATIENCE, Runner, World, until};

/// How long the server stands still in half of the cases.
const SERVER_AWAY: Duration = Duration::from_millis(1_500);
/// IB's numbers of messages.
const PLACE_ORDER: u8 = 3;
const OPEN_ORDER: u8 = 5;
const EXECUTION: u8 = 11;
const OPEN_ORDERS_END: u8 = 53;
const COMMISSION: u8 = 59;
const POSITIONS_END: u8 = 62;

/// What must become of the order that the step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is not in LEDGER, so it never left.
    Unwritten,
    /// It is in LEDGER, and the broker never has it.
    Absent,
    /// The broker has it, and LEDGER says so.
    There,
}

/// A place at which a process dies.
#[derive(Debug, Clone, Copy)]
struct Step {
    to_broker: bool,
    sign: Sign,
    carried: Carried,
    /// Nothing where the message does not name an order.
    fate: Option<Fate>,
}

const fn ledger(begin: &'static str, part: &'static str, carried: Carried, fate: Option<Fate>) -> Step {
    Step {
        to_broker: false,
        sign: Sign::Publish(begin, part),
        carried,
        fate,
    }
}

const fn broker(sign: Sign, carried: Carried, fate: Option<Fate>) -> Step {
    Step {
        to_broker: true,
        sign,
        carried,
        fate,
    }
}

/// The order is written to a connection that dies before it arrives.
const LOST: Step = broker(Sign::Asked(PLACE_ORDER), Carried::Nothing, Some(Fate::Absent));
/// The order arrives, and nothing is heard of it.
const SENT: Step = broker(Sign::Asked(PLACE_ORDER), Carried::All, Some(Fate::There));

/// From the decision to the last record about its order.
const ORDER: [Step; 13] = [
    ledger("order.intent.", "", Carried::Nothing, Some(Fate::Unwritten)),
    ledger("order.intent.", "", Carried::All, Some(Fate::Absent)),
    LOST,
    broker(Sign::Asked(PLACE_ORDER), Carried::Bytes(2), Some(Fate::Absent)),
    broker(Sign::Asked(PLACE_ORDER), Carried::Bytes(20), Some(Fate::Absent)),
    SENT,
    broker(Sign::Told(OPEN_ORDER), Carried::Nothing, Some(Fate::There)),
    ledger(
        "order.event.",
        ".acknowledged",
        Carried::Nothing,
        Some(Fate::There),
    ),
    ledger("order.event.", ".acknowledged", Carried::All, Some(Fate::There)),
    broker(Sign::Told(EXECUTION), Carried::Nothing, Some(Fate::There)),
    ledger("order.event.", ".fill-", Carried::Nothing, Some(Fate::There)),
    ledger("order.event.", ".fill-", Carried::All, Some(Fate::There)),
    broker(Sign::Told(COMMISSION), Carried::Nothing, None),
];

/// The start of the next incarnation.
const START: [Step; 6] = [
    ledger("order.epoch.", "", Carried::Nothing, None),
    ledger("order.epoch.", "", Carried::All, None),
    broker(Sign::Told(OPEN_ORDERS_END), Carried::Nothing, None),
    broker(Sign::Told(POSITIONS_END), Carried::Nothing, None),
    ledger("order.event.", "", Carried::Nothing, None),
    ledger("order.event.", "", Carried::All, None),
];

/// Who goes on, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The other one; else the same again.
    pub takeover: bool,
    /// The server stands still for a while when the process dies.
    pub server_away: bool,
}

/// An order whose sender died.
struct Orphan {
    fate: Fate,
    /// What was on the wire: the order's id is in it.
    bytes: Vec<u8>,
}

/// Kills whoever leads at each step in turn, and tells how often.
pub async fn kill_at_each(world: &World, way: Way, tally: &mut Tally) -> usize {
    if !way.takeover {
        let other = &world.runners[1];
        other.kept.retire();
        until("only one runs", || async {
            other.kept.pid().is_none().then_some(())
        })
        .await;
    }
    for step in ORDER {
        let (_, orphan) = kill_at(world, way, leader(world).await, step).await;
        judge(world, step, orphan, tally).await;
    }
    for step in START {
        for before in [LOST, SENT] {
            let (next, orphan) = kill_at(world, way, leader(world).await, before).await;
            kill_at(world, way, next, step).await;
            judge(world, step, orphan, tally).await;
        }
    }
    ORDER.len() + 2 * START.len()
}

async fn leader(world: &World) -> &Runner {
    until("one leads", || async { world.leader() }).await
}

/// Kills a runner at a step. Tells who leads next, and the order that the step was about.
async fn kill_at<'a>(
    world: &'a World,
    way: Way,
    runner: &'a Runner,
    step: Step,
) -> (&'a Runner, Option<Orphan>) {
    let wire = if step.to_broker {
        &runner.broker
    } else {
        &runner.nats
    };
    wire.set_trap(step.sign, step.carried);
    let bytes = tokio::time::timeout(PATIENCE, wire.sprung()).await;
    let bytes = bytes.unwrap_or_else(|_| panic!("{step:?} did not come within {PATIENCE:?}"));
    let mut others = world
        .runners
        .iter()
        .filter(|other| other.kept.name != runner.kept.name);
    let next = others.next().filter(|_| way.takeover).unwrap_or(runner);
    next.kept.hold(false);
    runner.kept.hold(way.takeover);
    let dies = runner.kept.pid();
    runner.kept.signal(Signal::SIGKILL);
    until("it is dead", || async {
        (runner.kept.pid() != dies).then_some(())
    })
    .await;
    if way.server_away {
        let server = world.part("nats-server");
        server.signal(Signal::SIGSTOP);
        tokio::time::sleep(SERVER_AWAY).await;
        server.signal(Signal::SIGCONT);
    }
    (next, step.fate.map(|fate| Orphan { fate, bytes }))
}

/// Waits until somebody leads and the order has the fate that it must have; then what is absent is settled, so that its
/// symbol trades on.
async fn judge(world: &World, step: Step, orphan: Option<Orphan>, tally: &mut Tally) {
    let Some(orphan) = orphan else { return };
    let named = |id: &str| orphan.bytes.windows(id.len()).any(|part| part == id.as_bytes());
    let evidence = until(&format!("{step:?}"), || async {
        world.leader()?;
        let evidence = judge::gather(world).await?;
        let story = evidence.stories.iter().find(|(id, _)| named(id));
        let at_broker = evidence.facts.iter().any(|fact| {
            let reference = fact["order"]["ticket"]["reference"].as_str();
            fact["record"] == "accepted" && reference.is_some_and(named)
        });
        let absent = story.is_some_and(|(_, story)| story.events.contains("absent"));
        let told = story.is_some_and(|(_, story)| story.events.len() > 1);
        let right = match orphan.fate {
            Fate::Unwritten => story.is_none() && !at_broker,
            Fate::Absent => absent && !at_broker,
            Fate::There => told && at_broker && !absent,
        };
        right.then_some(evidence)
    })
    .await;
    settle::go_on(world, tally, &evidence).await;
}
