//! The file KILL while the server of the bus stands still: what works at the broker is cancelled all the same.

use nix::sys::signal::Signal;
use protocol::operator::Verb;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, until};
use crate::scene::{HELD, Scene, hold, plan};

/// What is told of execution once it has ended and begins anew without a bus.
const ENDED: &str = "a new incarnation reads the truth";

fn has(gateway: &Gateway, which: impl Fn(&Value) -> bool) -> Option<()> {
    gateway.facts().iter().any(which).then_some(())
}

#[tokio::test]
async fn the_file_kill_cancels_a_working_order_while_the_server_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    hold(&gateway).await;
    let mut scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
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
    let cancelled = |fact: &Value| fact["record"] == "ended";
    assert_eq!(has(&gateway, cancelled), None, "cancelled without the file KILL");

    std::fs::write(stack.plan.state.join("KILL"), "").unwrap();
    until("the exit is cancelled", PATIENCE, || async {
        has(&gateway, cancelled)
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
