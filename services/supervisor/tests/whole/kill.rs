//! The file KILL while this execution does not lead, as the server of the bus stands still or another one has the lease:
//! what works at the broker is cancelled all the same.

use std::path::Path;

use nix::sys::signal::Signal;
use protocol::ledger::Entry;
use protocol::operator::{HealthState, Verb};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, until};
use crate::scene::{HELD, Scene, hold, plan};

/// What is told of execution once it has ended and begins anew without a bus.
const ENDED: &str = "a new incarnation reads the truth";

fn has(gateway: &Gateway, which: impl Fn(&Value) -> bool) -> Option<()> {
    gateway.facts().iter().any(which).then_some(())
}

/// Execution leads, and an exit of its works at the gateway.
async fn working_exit(folder: &Path) -> (Gateway, Scene) {
    let gateway = Gateway::start(folder, &[]).await;
    hold(&gateway).await;
    let mut scene = Scene::start(plan(&folder.join("state"), &gateway)).await;
    scene.stack.start_stage("market-data").await.unwrap();
    scene.ready().await;

    // One share of the exit trades, and the rest works on.
    gateway.order(&json!({"fault": "partial-fill", "shares": "1", "when": {"in": "place-order"}}));
    let filled = || async {
        // Asked again it is on its way already, which is as good.
        let _ = scene.command(Verb::Close, Some(HELD)).await;
        has(&gateway, |fact| {
            fact["record"] == "filled" && fact["fill"]["client"] == 11
        })
    };
    until("one share is sold", PATIENCE, filled).await;
    (gateway, scene)
}

fn is_over(fact: &Value) -> bool {
    fact["record"] == "ended"
}

#[tokio::test]
async fn the_file_kill_cancels_a_working_order_while_another_has_the_lease_which_is_told_if_nobody_renews_it()
{
    let folder = tempfile::tempdir().unwrap();
    let (gateway, scene) = working_exit(folder.path()).await;
    let records = scene.records().await;
    let account = records.iter().find_map(|(_, record, _)| match &record.entry {
        Entry::Identity(identity) => Some(identity.account.clone()),
        _ => None,
    });
    // Written without a time to live, it has no end, as on a server that can write no marker of it.
    let key = format!("$KV.LEASE.{}", account.unwrap());
    let bus = scene.user("execution").await;
    bus.publish(key, &"another").await.unwrap();

    let stack = &scene.stack;
    let told = |text: &'static str| async move {
        let health = stack.health("execution")?;
        health.text.contains(text).then_some(health.state)
    };
    let standby = || told("\"another\" holds the lease");
    until("the next incarnation waits for the lease", PATIENCE, standby).await;
    assert_eq!(has(&gateway, is_over), None, "cancelled without the file KILL");
    std::fs::write(stack.plan.state.join("KILL"), "").unwrap();
    until("the exit is cancelled", PATIENCE, || async {
        has(&gateway, is_over)
    })
    .await;
    let state = until("it is told", PATIENCE, || told("does not renew it")).await;
    assert_eq!(state, HealthState::Degraded);
    scene.stop().await;
}

#[tokio::test]
async fn the_file_kill_cancels_a_working_order_while_the_server_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, scene) = working_exit(folder.path()).await;
    let stack = &scene.stack;
    // The server stands still until execution has given up.
    let before = stack.pid("execution");
    stack.signal("nats-server", Signal::SIGSTOP);
    let log = stack.logs().join("execution.log");
    let ended = || async {
        let text = std::fs::read_to_string(&log).ok()?;
        (text.contains(ENDED) && stack.pid("execution") != before).then_some(())
    };
    until("execution has ended", PATIENCE, ended).await;
    assert_eq!(has(&gateway, is_over), None, "cancelled without the file KILL");

    std::fs::write(stack.plan.state.join("KILL"), "").unwrap();
    until("the exit is cancelled", PATIENCE, || async {
        has(&gateway, is_over)
    })
    .await;
    stack.signal("nats-server", Signal::SIGCONT);
    let latched = || async {
        let health = stack.health("execution")?;
        (health.text == "the kill switch is latched").then_some(())
    };
    until("the next incarnation leads and has the switch", PATIENCE, latched).await;
    scene.stop().await;
}
