//! An order in doubt over a slow wire: every reading of the broker takes a good part of the time between two of them, and
//! the second look at the order must have its turn all the same.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::judge;
use crate::proxy::Wire;
use crate::world::{World, until};

/// How much later everything comes.
const LATE: Duration = Duration::from_millis(60);

/// Lets the broker lose an order, makes the wire slow, starts a new incarnation, and waits until it calls the order absent.
pub async fn until_absent(world: &World) {
    let lost = json!({"fault": "swallow", "when": {"client": 11, "in": "place-order", "times": "all"}});
    until("the broker loses orders", || world.control(&lost)).await;
    let decided = || async {
        let stories = judge::gather(world).await?.stories;
        let unheard = stories.iter().find(|(_, story)| story.events.len() == 1);
        unheard.map(|(id, _)| id.clone())
    };
    let id = until("an order that is lost", decided).await;
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
