//! The gateway's link to the broker is lost while an order is on its way, and its clients die: the next incarnation of
//! execution waits for the link before it judges the order, and that of market-data is not ready. And the gateway takes the
//! session of one that died for alive: nobody can lead, which is told.

use nix::sys::signal::Signal;
use protocol::decision::{Alert, Level};
use protocol::ledger::{Entry, OrderChange};
use protocol::operator::{HealthState, Verb};
use serde_json::json;

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, until};
use crate::scene::{HELD, Scene, hold, plan};

impl Scene {
    /// What LEDGER says of orders, in order.
    async fn order_changes(&self) -> Vec<OrderChange> {
        let records = self.records().await.into_iter();
        records
            .filter_map(|(_, record, _)| match record.entry {
                Entry::Order(event) => Some(event.change),
                _ => None,
            })
            .collect()
    }

    async fn epoch(&self) -> u64 {
        let records = self.records().await;
        records.last().map_or(0, |(_, record, _)| record.epoch)
    }
}

#[tokio::test]
async fn an_exit_that_left_into_an_outage_is_not_absent_and_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    hold(&gateway).await;
    let mut scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
    scene.stack.start_stage("market-data").await.unwrap();
    scene.ready().await;

    // The exit leaves before the outage is heard of: nobody tells.
    gateway.order(&json!({"fault": "swallow", "when": {"out": "error", "code": 1100, "client": 11}}));
    gateway.order(&json!({"fault": "link", "state": "lost"}));
    let sent = || async {
        let _ = scene.command(Verb::Close, Some(HELD)).await;
        let records = scene.records().await;
        let intent = |entry: &Entry| matches!(entry, Entry::Intent(_));
        records
            .iter()
            .any(|(_, record, _)| intent(&record.entry))
            .then_some(())
    };
    until("the exit is sent", PATIENCE, sent).await;
    let (before, epoch) = (scene.stack.pid("execution"), scene.epoch().await);
    let data = scene.stack.pid("market-data");
    scene.stack.signal("execution", Signal::SIGKILL);
    scene.stack.signal("market-data", Signal::SIGKILL);

    // The next one leads, has read the broker, and orders nothing. Exits that are asked for meanwhile wait.
    let waits = || async {
        let _ = scene.command(Verb::Close, Some(HELD)).await;
        let health = scene.stack.health("execution")?;
        let leads = scene.stack.pid("execution") != before && scene.epoch().await > epoch;
        assert!(!leads || health.state != HealthState::Ready, "ready in an outage");
        (leads
            && health
                .text
                .contains("nothing is ordered until it is up and compared"))
        .then_some(())
    };
    until("the next incarnation waits for the link", PATIENCE, waits).await;

    let is_ready = |name: &str| Some(scene.stack.health(name)?.state == HealthState::Ready);
    let blind =
        || async { (scene.stack.pid("market-data") != data && !is_ready("market-data")?).then_some(()) };
    until("market data says that it has none", PATIENCE, blind).await;

    gateway.order(&json!({"fault": "link", "state": "restored"}));
    scene.ready().await;
    let sees = || async { is_ready("market-data")?.then_some(()) };
    until("market data comes again", PATIENCE, sees).await;
    let closed = || async {
        let sold = |change: &OrderChange| matches!(change, OrderChange::Fill(_));
        scene.order_changes().await.iter().any(sold).then_some(())
    };
    until("the exit is filled", PATIENCE, closed).await;
    let absent = |change: &OrderChange| matches!(change, OrderChange::Absent { .. });
    assert!(
        !scene.order_changes().await.iter().any(absent),
        "called absent in an outage"
    );
    let ours = gateway.orders().into_iter().filter(|(client, ..)| *client == 11);
    assert_eq!(ours.count(), 1, "the exit was sent again");
    scene.stop().await;
}

#[tokio::test]
async fn a_client_id_that_a_dead_session_keeps_is_told_and_when_it_is_free_the_next_one_leads() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let mut scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
    scene.ready().await;
    let bus = scene.stack.bus().unwrap();
    let mut alerts = bus.subscribe::<Alert>("alert.execution.>").await.unwrap();
    let before = scene.stack.pid("execution");
    // It touches no session that is there, and outlives that of the one that is killed.
    gateway.order(&json!({"fault": "ghost", "client": 11, "seconds": 3600}));
    scene.stack.signal("execution", Signal::SIGKILL);
    let standby = || async {
        let health = scene.stack.health("execution")?;
        let is_next = scene.stack.pid("execution") != before;
        (is_next && health.state == HealthState::Standby).then_some(health.text)
    };
    let text = until("the next one stands by at first", PATIENCE, standby).await;
    assert!(text.contains("another execution orders as client 11"), "{text}");

    scene.end_turn();
    let stuck = async {
        loop {
            let alert = alerts.next().await.expect("the bus is there").body;
            if alert.kind == "client-id-stuck" {
                return alert;
            }
        }
    };
    let alert = tokio::time::timeout(PATIENCE * 2, stuck).await;
    let alert = alert.expect("it is told that nobody leads");
    assert_eq!(alert.level, Level::Critical);
    let place = format!(
        "client id 11 is in use at the gateway {} and nobody leads",
        gateway.address
    );
    assert!(alert.text.contains(&place), "{}", alert.text);
    let degraded = || async {
        let health = scene.stack.health("execution")?;
        (health.state == HealthState::Degraded && health.text == alert.text).then_some(())
    };
    until("its state says so too", PATIENCE, degraded).await;

    gateway.order(&json!({"clear": "all"}));
    scene.ready().await;
    while let Some(message) = alerts.ready() {
        assert_ne!(message.body.kind, "client-id-stuck", "told twice");
    }
    scene.stop().await;
}
