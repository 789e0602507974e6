//! A ledger that is not what was written stops execution for good, with the sentence that says which it is: a forged
//! record, a hole, an older copy, a copy on another machine. One that is full stops it until it has room.

use std::path::{Path, PathBuf};

use protocol::decision::{Alert, Level};
use protocol::ledger::{Entry, Kill, Record};
use protocol::operator::{HealthState, Verb};
use protocol::subject::filter;
use protocol::{Hash, Id};
use runtime::{Bus, now};
use serde_json::{Value, json};
use supervisor::{Plan, Stack};

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, say, until};
use crate::scene::{HELD, Scene, hold, plan};

/// Seconds in which execution writes nothing of itself: longer than any test.
const STILL: u32 = 600;

/// What a thief of execution's secret would write: the kill switch is released.
fn forged(epoch: u64, previous_hash: Hash) -> Value {
    let kill = Kill {
        latched: false,
        by: "operator".to_owned(),
        text: "all is well".to_owned(),
    };
    let record = Record {
        id: Id::derive(&["forged"]),
        at: now(),
        cause: None,
        epoch,
        previous_hash,
        entry: Entry::Kill(kill),
    };
    serde_json::to_value(record).unwrap()
}

/// Starts, writes what `forge` makes of the last record and its hash, and tells how execution then halts.
async fn after_forging(forge: impl FnOnce(&Record, &Hash) -> Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let mut plan = plan(&folder.path().join("state"), &gateway);
    // What is forged must follow the last record, so nobody else may write meanwhile.
    plan.settings.broker.second_pass_seconds = STILL;
    let scene = Scene::start(plan).await;
    let thief = scene.user("execution").await;
    scene.ready().await;
    let records = scene.records().await;
    let (_, last, hash) = records.last().unwrap();
    let record = forge(last, hash);
    let subject = format!("account.kill.{}", records.len() + 1);
    thief
        .keep(subject, &Id::derive(&["forged"]), &record)
        .await
        .expect("the stream takes it: only its readers can tell");
    // The next append of the one that leads is refused: it ends, and the next incarnation reads what is there.
    let _ = scene.command(Verb::Halt, None).await;
    let text = scene.halted().await;
    for (verb, symbol) in [
        (Verb::Close, Some(HELD)),
        (Verb::EmergencyExit, Some(HELD)),
        (Verb::Flatten, None),
    ] {
        let reply = scene.command(verb, symbol).await.expect("an answer");
        assert!(!reply.accepted, "{reply:?}");
        let told = text.strip_prefix("halted: ").unwrap();
        assert!(
            reply.text.contains(told)
                && reply
                    .text
                    .contains("cancel and close in the broker's own program")
        );
    }
    let file = scene.stack.plan.state.join("KILL");
    assert!(!file.exists());
    let reply = scene.command(Verb::Kill, None).await.expect("an answer");
    assert!(reply.accepted && file.exists(), "{reply:?}");
    assert_eq!(gateway.orders(), []);
    scene.stop().await;
    text
}

#[tokio::test]
async fn a_forged_record_that_does_not_follow_the_last_one_halts() {
    let text = after_forging(|last, _| forged(last.epoch, Hash::of(b"a guess"))).await;
    assert!(text.contains("LEDGER's chain is broken at record"), "{text}");
}

#[tokio::test]
async fn a_forged_record_of_an_epoch_that_does_not_lead_halts() {
    let mut leads = 0;
    let text = after_forging(|last, hash| {
        leads = last.epoch;
        forged(leads + 6, hash.clone())
    })
    .await;
    let told = format!(
        "of LEDGER is foreign: it is of epoch {} while epoch {leads} leads",
        leads + 6
    );
    assert!(text.contains(&told), "{text}");
}

#[tokio::test]
async fn a_record_that_nobody_can_read_halts() {
    let text = after_forging(|_, _| json!({"forged": true})).await;
    assert!(
        text.contains("on account.kill.") && text.contains("is not readable"),
        "{text}"
    );
}

/// Asks the server something as the user that sets streams up.
async fn administer(admin: &Bus, what: &str, question: &Value) -> Value {
    let answer: Value = admin
        .request(&format!("$JS.API.STREAM.{what}.LEDGER"), question)
        .await
        .expect("an answer");
    assert!(answer["error"].is_null(), "{what}: {answer}");
    answer
}

#[tokio::test]
async fn a_ledger_that_was_deleted_halts() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
    scene.ready().await;
    let admin = scene.user("admin").await;
    administer(&admin, "DELETE", &json!({})).await;
    // The next append finds nothing: it ends, and so does every later one as soon as it looks.
    let _ = scene.command(Verb::Halt, None).await;
    let text = scene.halted().await;
    assert!(
        text.contains("LEDGER is not there, and this machine remembers record"),
        "{text}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_hole_in_the_ledger_halts() {
    const MISSING: u64 = 3;
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let mut scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
    scene.ready().await;
    scene.stack.stop_one("execution").await;
    let records = scene.records().await;
    let admin = scene.user("admin").await;
    let info = administer(&admin, "INFO", &json!({})).await;
    // The rules of the stream forbid it, so it takes another stream: the same records, one of them removed.
    let mut config = info["config"].clone();
    let strict = config.clone();
    config["deny_delete"] = false.into();
    administer(&admin, "DELETE", &json!({})).await;
    administer(&admin, "CREATE", &config).await;
    let writer = scene.user("execution").await;
    for (subject, record, hash) in &records {
        let bytes = serde_json::to_vec(record).unwrap();
        assert_eq!(Hash::of(&bytes), *hash, "a record is written as it was read");
        writer.keep(subject.clone(), &record.id, record).await.unwrap();
    }
    administer(&admin, "MSG.DELETE", &json!({"seq": MISSING})).await;
    administer(&admin, "UPDATE", &strict).await;
    scene.stack.start_stage("execution").await.unwrap();
    let text = scene.halted().await;
    assert!(
        text.contains("LEDGER has a hole: record 4 came where 3 belongs"),
        "{text}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_ledger_of_another_gateway_halts_and_one_that_moved_is_named() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = here.path().join("state");
    let gateway = Gateway::start(here.path(), &[]).await;
    let began_with = gateway.address.clone();
    let scene = Scene::start(plan(&state, &gateway)).await;
    scene.ready().await;
    scene.stop().await;
    drop(gateway);

    // Another login to the same account: it does not keep a client of the first one out.
    let other = Gateway::start(there.path(), &[]).await;
    hold(&other).await;
    let scene = Scene::start(plan(&state, &other)).await;
    let text = scene.halted().await;
    let told = format!(
        "this ledger trades through the gateway `{began_with}` and the settings name `{}`: set broker.gateway to `{began_with}` only if it is the same gateway under another address",
        other.address
    );
    assert!(text.contains(&told), "{text}");
    let reply = scene.command(Verb::Close, Some(HELD)).await.expect("an answer");
    assert!(!reply.accepted, "{reply:?}");
    assert_eq!(other.orders().len(), 1, "only what a person traded there");
    scene.stop().await;

    // The first one again, which listens on another port.
    let gateway = Gateway::start(here.path(), &[]).await;
    let mut plan = plan(&state, &gateway);
    plan.settings.broker.gateway = began_with;
    let scene = Scene::start(plan).await;
    scene.ready().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_full_ledger_orders_nothing_and_says_so_until_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    hold(&gateway).await;
    let mut scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
    scene.stack.start_stage("market-data").await.unwrap();
    scene.ready().await;
    let bus = scene.stack.bus().unwrap();
    let mut alerts = bus.subscribe::<Alert>(filter::ALERTS).await.unwrap();

    let admin = scene.user("admin").await;
    let info = administer(&admin, "INFO", &json!({})).await;
    let mut full = info["config"].clone();
    full["max_bytes"] = info["state"]["bytes"].clone();
    administer(&admin, "UPDATE", &full).await;
    let before = scene.records().await;
    let says = || async {
        let _ = scene.command(Verb::Close, Some(HELD)).await;
        let health = scene.stack.health("execution")?;
        let told = health.state == HealthState::Degraded && health.text.starts_with("LEDGER is full");
        told.then_some(health.text)
    };
    let text = until("execution says that LEDGER is full", PATIENCE, says).await;
    assert!(text.contains("nothing is ordered"), "{text}");
    let told = async {
        loop {
            let alert = alerts.next().await.expect("the bus is open").body;
            if alert.kind == "ledger-full" {
                return alert;
            }
        }
    };
    let alert = tokio::time::timeout(PATIENCE, told).await.expect("an alert");
    assert_eq!((alert.level, alert.text), (Level::Critical, text));
    let ours = || {
        let orders = gateway.orders().into_iter();
        orders.filter(|(client, ..)| *client == 11).count()
    };
    assert_eq!(ours(), 0, "an order without its record");
    assert_eq!(scene.records().await, before, "a record was lost or taken");

    administer(&admin, "UPDATE", &info["config"]).await;
    scene.ready().await;
    let closed = || async {
        let _ = scene.command(Verb::Close, Some(HELD)).await;
        let facts = gateway.facts();
        let ours = |fact: &Value| fact["record"] == "filled" && fact["fill"]["client"] == 11;
        facts.iter().any(ours).then_some(())
    };
    until("the position is closed", PATIENCE, closed).await;
    assert_eq!(ours(), 1);
    scene.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Starts, stops, and tells where the state lies and a copy of it.
async fn with_copy(folder: &Path, gateway: &Gateway) -> (Plan, PathBuf) {
    let scene = Scene::start(plan(&folder.join("state"), gateway)).await;
    scene.ready().await;
    let plan = scene.stack.plan.clone();
    scene.stop().await;
    let backup = folder.join("backup");
    copy(&plan.state, &backup);
    (plan, backup)
}

/// Puts the LEDGER of a copy back, starts on it, and tells how execution halts.
async fn halted_on_copy(plan: Plan, backup: &Path) -> String {
    std::fs::remove_dir_all(plan.state.join("nats")).unwrap();
    copy(&backup.join("nats"), &plan.state.join("nats"));
    let scene = Scene::start(plan).await;
    let text = scene.halted().await;
    scene.stop().await;
    text
}

/// Goes on with a state for so many commands, and stops.
async fn go_on(plan: Plan, commands: usize) {
    let scene = Scene::start(plan).await;
    scene.ready().await;
    for _ in 0..commands {
        assert!(scene.command(Verb::Reduce, None).await.unwrap().accepted);
    }
    scene.stop().await;
}

#[tokio::test]
async fn an_older_copy_of_the_ledger_halts() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let (plan, backup) = with_copy(folder.path(), &gateway).await;
    go_on(plan.clone(), 1).await;
    let text = halted_on_copy(plan, &backup).await;
    assert!(
        text.contains("but this machine remembers") && text.contains("it was lost or is an older copy"),
        "{text}"
    );
}

/// The file in which the server keeps the records of LEDGER.
fn block(nats: &Path) -> PathBuf {
    let mut folders = vec![nats.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("LEDGER/msgs/1.blk") {
                return path;
            }
        }
    }
    panic!("no records under {}", nats.display());
}

#[tokio::test]
async fn a_record_that_the_disk_changed_halts() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let (plan, backup) = with_copy(folder.path(), &gateway).await;
    let file = block(&backup.join("nats"));
    let mut bytes = std::fs::read(&file).unwrap();
    let what = b"\"cash\":\"";
    let place = bytes.windows(what.len()).position(|part| part == what);
    bytes[place.expect("the opening's cash") + what.len()] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let text = halted_on_copy(plan, &backup).await;
    assert!(text.contains("LEDGER"), "{text}");
}

#[tokio::test]
async fn another_ledger_of_the_same_length_halts() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let (plan, backup) = with_copy(folder.path(), &gateway).await;
    // The copy goes on in its own way, and comes back longer than what this machine remembers of its own.
    let other = Plan {
        state: backup.clone(),
        ..plan.clone()
    };
    go_on(plan.clone(), 1).await;
    go_on(other, 3).await;
    let text = halted_on_copy(plan, &backup).await;
    assert!(
        text.contains("is not the one that this machine remembers: it is another ledger"),
        "{text}"
    );
}

#[tokio::test]
async fn a_machine_restored_from_a_backup_stands_by_and_then_halts() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    hold(&gateway).await;
    let (first, backup) = with_copy(folder.path(), &gateway).await;
    let mut scene = Scene::start(first).await;
    scene.stack.start_stage("market-data").await.unwrap();
    scene.ready().await;

    // While the first one runs, the broker lets nobody else order; whole as it is, the second stands by.
    let mut run = plan(&backup, &gateway);
    run.state = backup;
    let mut second = Stack::prepare(run, say()).unwrap();
    second.start_server().await.unwrap();
    second.start_stage("execution").await.unwrap();
    let standby = || async {
        let health = second.health("execution")?;
        (health.state == HealthState::Standby).then_some(health.text)
    };
    let text = until("the second stands by", PATIENCE, standby).await;
    assert!(text.contains("another execution orders as client 11"), "{text}");

    // The first one trades on and ends. What it did is at the broker and not in the second's ledger.
    let closed = || async {
        let _ = scene.command(Verb::Close, Some(HELD)).await;
        let facts = gateway.facts();
        let ours = |fact: &&Value| fact["record"] == "filled" && fact["fill"]["client"] == 11;
        facts.iter().any(|fact| ours(&fact)).then_some(())
    };
    until("the position is closed", PATIENCE, closed).await;
    scene.stop().await;
    let halted = || async {
        let health = second.health("execution")?;
        health.text.starts_with("halted: ").then_some(health.text)
    };
    let text = until("the second halts", PATIENCE, halted).await;
    assert!(
        text.contains("which this pipeline sent and LEDGER does not have") && text.contains("backup"),
        "{text}"
    );
    second.stop().await;
}
