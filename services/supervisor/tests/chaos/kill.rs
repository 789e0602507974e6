//! The kill switch in the worst moment: while an order waits for its place in LEDGER.

use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::Id;
use protocol::operator::Verb;
use protocol::subject::filter;
use serde_json::Value;
use tokio::time::Instant;

use crate::watch;
use crate::world::{LOOK, PATIENCE, World, until};

/// Times that it is latched.
const ROUNDS: u32 = 3;
/// Times that it is latched at most, until an order did wait.
const ROUNDS_MAX: u32 = 15;
/// How long no order may come before what was under way counts as arrived. An append is given up only after more.
const QUIET: Duration = Duration::from_millis(1_500);
/// What LEDGER says of an order that the kill switch stopped right before it was written.
const STOPPED: &str = "never sent: the kill switch is latched";

/// What became of the orders.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many came although the kill switch was latched.
    pub late: usize,
    /// How many got their place in LEDGER and were stopped.
    pub stopped: usize,
}

fn ordered(facts: &[Value]) -> usize {
    let ours = |fact: &&Value| fact["record"] == "accepted" && fact["order"]["client"] == 11;
    facts.iter().filter(ours).count()
}

/// Waits until no order comes any more, and tells how many there are.
async fn at_rest(world: &World) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let (mut count, mut since) = (ordered(&world.facts()), Instant::now());
    while since.elapsed() < QUIET {
        assert!(Instant::now() < deadline, "orders come on and on");
        tokio::time::sleep(LOOK).await;
        let now = ordered(&world.facts());
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    count
}

async fn ledger(world: &World) -> watch::Ledger {
    until("LEDGER is read", || async {
        watch::read(&world.bus, 1).await.ok()
    })
    .await
}

/// Records of LEDGER that are so.
async fn count(world: &World, which: impl Fn(&Value) -> bool) -> usize {
    let ledger = ledger(world).await;
    ledger.values().filter(|stored| which(&stored.record)).count()
}

fn is_latched(record: &Value) -> bool {
    record["kind"] == "kill" && record["latched"] == true
}

fn is_epoch(record: &Value) -> bool {
    record["kind"] == "epoch"
}

/// Stops the server right behind an order, so that the next one waits for its acknowledgement; latches the kill switch by
/// the file of the one that leads; lets the server go on, which then acknowledges what waited. Then kills the one that
/// leads: the next may run where no such file is. Goes on until an order did wait.
pub async fn in_mid_append(world: &World) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 1..=ROUNDS_MAX {
        let leader = until("one leads", || async { world.leader() }).await;
        let mut records = world
            .bus
            .subscribe::<Value>(filter::ORDERS)
            .await
            .expect("the bus");
        let intent = async {
            while let Some(record) = records.next().await {
                if record.body["kind"] == "intent" {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, intent)
            .await
            .expect("an order is decided");
        let latched = count(world, is_latched).await;
        let file = leader.folder.join("KILL");
        world.part("nats-server").signal(Signal::SIGSTOP);
        std::fs::write(&file, "").expect("the file KILL");
        let before = at_rest(world).await;
        world.part("nats-server").signal(Signal::SIGCONT);
        until("the kill switch is in LEDGER", || async {
            (count(world, is_latched).await > latched).then_some(())
        })
        .await;
        let epochs = count(world, is_epoch).await;
        leader.kept.signal(Signal::SIGKILL);
        until("another incarnation leads", || async {
            (count(world, is_epoch).await > epochs).then_some(())
        })
        .await;
        outcome.late += at_rest(world).await - before;
        outcome.stopped = count(world, |record| record["text"] == STOPPED).await;
        std::fs::remove_file(&file).expect("the file KILL is removed");
        let mut tries = 0;
        until("the kill switch is released", || {
            tries += 1;
            let id = Id::derive(&["release", &round.to_string(), &tries.to_string()]);
            async move {
                let answer = world.command(&id, Verb::Release, None, None).await;
                (answer == crate::world::Outcome::Ok).then_some(())
            }
        })
        .await;
        if round >= ROUNDS && outcome.stopped > 0 {
            break;
        }
    }
    outcome
}
