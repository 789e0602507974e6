//! An order in doubt over a slow wire: every reading of the broker takes a good part of the time between two of them, and
//! the second look at the order must have its turn all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::judge;
use crate::proxy::Wire;
use crate::world::{LOOK, PATIENCE, World, until};

/// How much later everything comes.
const LATE: Duration = Duration::from_millis(60);
/// How long nothing may be heard of an order that is lost; of one that is not, something comes within milliseconds.
const UNHEARD: Duration = Duration::from_secs(1);

/// Lets the broker lose an order, makes the wire slow, starts a new incarnation, and waits until it calls the order absent.
pub async fn until_absent(world: &World) {
    let lost = json!({"fault": "swallow", "when": {"client": 11, "in": "place-order", "times": "all"}});
    until("the broker loses orders", || world.control(&lost)).await;
    let id = unheard(world).await;
    let clear = json!({"clear": "all"});
    until("the broker is whole", || world.control(&clear)).await;
    for runner in &world.runners {
        runner.broker.be(Wire::Late(LATE));
        runner.kept.signal(Signal::SIGTERM);
    }
    let absent = || async {
        let stories = judge::gather(world).await?.stories;
        stories[&id].events.contains("absent").then_some(())
    };
    until("the order is called absent", absent).await;
}

/// Waits for an order of which LEDGER tells nothing but its intent, twice and some time apart.
async fn unheard(world: &World) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut known = BTreeMap::new();
    loop {
        let began = Instant::now();
        if let Some(evidence) = judge::gather(world).await {
            let silent = evidence
                .stories
                .into_iter()
                .filter(|(_, story)| story.events.len() == 1);
            let since = |id: String| {
                let since = known.get(&id).copied().unwrap_or(began);
                (id, since)
            };
            let silent: BTreeMap<_, _> = silent.map(|(id, _)| since(id)).collect();
            if let Some((id, _)) = silent.iter().find(|(_, since)| began - **since >= UNHEARD) {
                return id.clone();
            }
            known = silent;
        }
        assert!(began < deadline, "no order was lost within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}
