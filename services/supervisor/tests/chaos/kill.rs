//! The kill switch in the worst moment: while an order waits for its place in LEDGER.

use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::subject::filter;
use serde_json::Value;

use crate::world::{World, until};

/// Times that it is latched.
const ROUNDS: u32 = 3;
/// How long bytes that left before may take to the gateway's disk, and how long nothing may come after.
const QUIET: Duration = Duration::from_millis(1_500);

fn ordered(facts: &[Value]) -> usize {
    let ours = |fact: &&Value| fact["record"] == "accepted" && fact["order"]["client"] == 11;
    facts.iter().filter(ours).count()
}

/// Stops the server right behind an order, so that the next one waits for its acknowledgement; latches the kill switch by
/// its file; lets the server go on, which then acknowledges what waited. Tells how many orders came all the same.
pub async fn in_mid_append(world: &World) -> usize {
    let mut late = 0;
    for _ in 0..ROUNDS {
        until("one leads", || async { world.leader().map(drop) }).await;
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
        tokio::time::timeout(crate::world::PATIENCE, intent)
            .await
            .expect("an order is decided");
        world.part("nats-server").signal(Signal::SIGSTOP);
        for runner in &world.runners {
            std::fs::write(runner.folder.join("KILL"), "").expect("the file KILL");
        }
        tokio::time::sleep(QUIET).await;
        let before = ordered(&world.facts());
        world.part("nats-server").signal(Signal::SIGCONT);
        tokio::time::sleep(QUIET).await;
        late += ordered(&world.facts()) - before;
        for runner in &world.runners {
            std::fs::remove_file(runner.folder.join("KILL")).expect("the file KILL is removed");
        }
    }
    late
}
