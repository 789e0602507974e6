//! After the faults: everything is mended, comes to rest, and is judged.

use nix::sys::signal::Signal;
use protocol::Id;
use protocol::operator::Verb;
use serde_json::json;
use tokio::time::Instant;

use crate::fault::insist;
use crate::judge::{self, Evidence};
use crate::proxy::Wire;
use crate::tally::Tally;
use crate::world::{LOOK, Outcome, PATIENCE, World, until};

/// Mends everything, waits until it has settled, and tells what is not as it must be.
pub async fn settle(world: &World, tally: &mut Tally) -> Vec<String> {
    for part in world
        .parts
        .iter()
        .chain(world.runners.iter().map(|runner| &runner.kept))
    {
        part.signal(Signal::SIGCONT);
    }
    for runner in &world.runners {
        runner.broker.be(Wire::Whole);
        runner.nats.be(Wire::Whole);
    }
    let question = json!({"ask": "faults"});
    until("the gateway is back", || world.control(&question)).await;
    tally.fired(world).await;
    let everything = json!({"clear": "all"});
    until("the gateway is whole", || world.control(&everything)).await;
    tally.forget_rules();
    // Only a later incarnation may say of an order that it is absent.
    for runner in &world.runners {
        runner.kept.signal(Signal::SIGTERM);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut quiet = false;
    let mut last = vec!["nobody leads".to_owned()];
    loop {
        if Instant::now() > deadline {
            last.push(format!("it did not settle within {PATIENCE:?}"));
            return last;
        }
        tokio::time::sleep(LOOK).await;
        if world.leader().is_none() {
            continue;
        }
        quiet = quiet && !last.iter().any(|text| text.contains("work at the broker"));
        if !quiet {
            quiet = insist(world, tally, Verb::Halt, None, None).await
                && insist(world, tally, Verb::CancelAll, None, None).await;
        }
        let Some(evidence) = judge::gather(world).await else {
            continue;
        };
        last = evidence.unsettled();
        if last.is_empty() {
            let wrong = evidence.wrong(&tally.asked, &world.ends);
            if wrong.is_empty() {
                go_on(world, tally, &evidence).await;
            }
            return wrong;
        }
    }
}

/// A person settles what can't be decided, looks at what was halted, and lets it trade on.
pub async fn go_on(world: &World, tally: &mut Tally, evidence: &Evidence) {
    for (id, story) in &evidence.stories {
        if story.events.contains("absent") && !story.is_over() {
            let order: Id = id.parse().expect("an id of LEDGER");
            insist(world, tally, Verb::Settle, Some(order), None).await;
        }
    }
    let mut halted = std::collections::BTreeSet::new();
    for record in evidence.ledger.values().map(|stored| &stored.record) {
        if let (Some("state"), Some(symbol)) = (record["kind"].as_str(), record["symbol"].as_str()) {
            if record["state"] == "active" {
                halted.remove(symbol);
            } else {
                halted.insert(symbol);
            }
        }
    }
    for symbol in halted {
        insist(world, tally, Verb::Resume, None, Some(symbol)).await;
    }
    insist(world, tally, Verb::Resume, None, None).await;
}

/// Adds what this world did to the totals.
pub async fn count(world: &World, tally: &mut Tally) {
    let Some(evidence) = judge::gather(world).await else {
        return;
    };
    let with = |event: &str| {
        evidence
            .stories
            .values()
            .filter(|story| story.events.contains(event))
            .count() as u64
    };
    let facts = |kind: &str| {
        evidence
            .facts
            .iter()
            .filter(|fact| fact["record"] == kind)
            .count() as u64
    };
    let records = |kind: &str| {
        evidence
            .ledger
            .values()
            .filter(|stored| stored.record["kind"] == kind)
            .count() as u64
    };
    let unanswered = tally
        .asked
        .iter()
        .filter(|asked| asked.outcome == Outcome::Unknown)
        .count() as u64;
    for (what, count) in [
        ("orders decided", with("intent")),
        ("orders at the broker", facts("accepted")),
        ("trades", facts("filled")),
        ("unknown outcomes of orders", with("unresolved")),
        ("unknown outcomes of commands", unanswered),
        ("commands", tally.asked.len() as u64),
        ("orders absent", with("absent")),
        ("orders late", with("late")),
        ("incarnations", records("epoch")),
        ("records", evidence.ledger.len() as u64),
        ("differences told", records("difference")),
        ("snapshots of the browser", evidence.told.snapshots),
        // The judges panic at the first one.
        ("duplicates", 0),
        ("acknowledged events lost", 0),
    ] {
        tally.add(what, count);
    }
    tally.ends = world.ends.lock().expect("nobody panics while holding it").clone();
}
