//! The file KILL while the server of the bus stands still: what works at the broker is cancelled all the same.

use nix::sys::signal::Signal;
use protocol::operator::{Command, HealthState, Reply, Verb};
use protocol::subject;
use serde_json::{Value, json};
use supervisor::arguments::RunAll;
use supervisor::{Plan, Stack};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, arguments, root, say, turn, until};

/// A stock that is held from the beginning.
const HELD: &str = "AAPL";
/// What is told of execution once it has ended and begins anew without a bus.
const ENDED: &str = "a new incarnation reads the truth";

fn has(gateway: &Gateway, which: impl Fn(&Value) -> bool) -> Option<()> {
    gateway.facts().iter().any(which).then_some(())
}

async fn start(folder: &std::path::Path, gateway: &Gateway) -> Stack {
    let run = RunAll {
        broker: Some(gateway.address.clone()),
        gateway_port: None,
        ..arguments(&folder.join("state"))
    };
    let mut plan = Plan::new(&root(), &run).unwrap();
    // No opinions here; what is ordered, the test orders.
    plan.settings.entry.up_min = 1.0;
    let mut stack = Stack::prepare(plan, say()).unwrap();
    stack.start_server().await.unwrap();
    stack.start_stage("execution").await.unwrap();
    stack.start_stage("market-data").await.unwrap();
    let ready = || async {
        let health = stack.health("execution")?;
        (health.state == HealthState::Ready).then_some(())
    };
    until("execution is ready", PATIENCE, ready).await;
    stack
}

#[tokio::test]
async fn the_file_kill_cancels_a_working_order_while_the_server_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    gateway.order(&json!({"fault": "manual-trade", "symbol": HELD, "side": "buy", "quantity": "10"}));
    let bought = || async { has(&gateway, |fact| fact["record"] == "filled") };
    until("a position at the broker", PATIENCE, bought).await;
    let _turn = turn().await;
    let stack = start(folder.path(), &gateway).await;

    // One share of the exit trades, and the rest works on.
    gateway.order(&json!({"fault": "partial-fill", "shares": "1", "when": {"in": "place-order"}}));
    let command = Command {
        symbol: Some(HELD.parse().unwrap()),
        ..Command::default()
    };
    let bus = stack.bus().unwrap();
    let close = subject::command(Verb::Close.as_str());
    let filled = || async {
        // Asked again it is on its way already, which is as good.
        let _: Option<Reply> = bus.request(&close, &command).await.ok();
        has(&gateway, |fact| {
            fact["record"] == "filled" && fact["fill"]["client"] == 11
        })
    };
    until("one share is sold", PATIENCE, filled).await;

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
    stack.stop().await;
}
