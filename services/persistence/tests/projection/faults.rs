//! What must not go on in silence: a file that can't be used, and a LEDGER that is not the one known.

use std::path::Path;
use std::time::{Duration, Instant};

use persistence::store::Store;
use protocol::decision::{Alert, Level};
use protocol::ledger::Side;
use protocol::operator::{Health, HealthState, Query};
use protocol::subject::filter;
use runtime::{Exit, code};

use crate::scene::{PATIENCE, Running, Scene, minute};

fn refusal(file: &Path, market: &str) -> Exit {
    let error = Store::open(file, market).unwrap_err();
    error
        .downcast_ref::<Exit>()
        .cloned()
        .unwrap_or_else(|| panic!("no exit code: {error:#}"))
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("persistence.redb");
    let open = Store::open(&file, "demo").unwrap();
    let exit = refusal(&file, "demo");
    assert_eq!(exit.code, code::LOCKED);
    assert!(
        exit.text.contains("held by another process") && exit.text.contains("persistence.redb"),
        "{exit}"
    );
    drop(open);

    let exit = refusal(&file, "broker");
    assert_eq!(exit.code, code::DATA);
    assert!(
        exit.text.contains("`demo`") && exit.text.contains("rebuilt"),
        "{exit}"
    );

    let exit = refusal(&folder.path().join("absent/persistence.redb"), "demo");
    assert_eq!(exit.code, code::MISSING);
}

#[test]
fn a_damaged_file_is_refused_or_sound_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("persistence.redb");
    drop(Store::open(&file, "demo").unwrap());
    let sound = std::fs::read(&file).unwrap();
    let mut damages: Vec<Vec<u8>> = vec![
        b"not a database at all".to_vec(),
        vec![0; 65_536],
        vec![0xff; 65_536],
    ];
    damages.extend([1, 100, 4_096, sound.len() / 2, sound.len() - 1].map(|length| sound[..length].to_vec()));
    for place in [0, 9, 64, 70, 130, 200, 5_000, 9_000] {
        let mut damage = sound.clone();
        damage[place] ^= 0xff;
        damages.push(damage);
    }
    let mut refused = 0;
    for damage in &damages {
        std::fs::write(&file, damage).unwrap();
        // What redb repairs by itself is as good as sound.
        if let Err(error) = Store::open(&file, "demo") {
            let exit = error
                .downcast_ref::<Exit>()
                .unwrap_or_else(|| panic!("no exit code: {error:#}"));
            assert_eq!(exit.code, code::DATA, "{exit}");
            assert!(exit.text.contains("delete it"), "{exit}");
            refused += 1;
        }
    }
    assert!(refused >= 8, "only {refused} of {} were refused", damages.len());
}

/// Waits for the alarm and the health that goes with it; returns the alarm's sentence.
async fn alarm(scene: &Scene, act: impl AsyncFnOnce() -> Option<Running>) -> (String, Option<Running>) {
    let mut alerts = scene.bus.subscribe::<Alert>(filter::ALERTS).await.unwrap();
    let mut health = scene.bus.subscribe::<Health>(filter::HEALTH).await.unwrap();
    let running = act().await;
    let alert = tokio::time::timeout(PATIENCE, alerts.next())
        .await
        .unwrap()
        .unwrap()
        .body;
    assert_eq!(
        (alert.level, alert.kind.as_str()),
        (Level::Critical, "ledger-fault")
    );
    let deadline = Instant::now() + PATIENCE;
    loop {
        let body = tokio::time::timeout(PATIENCE, health.next())
            .await
            .unwrap()
            .unwrap()
            .body;
        if body.state == HealthState::Degraded {
            assert_eq!(body.text, alert.text);
            return (alert.text, running);
        }
        assert!(Instant::now() < deadline, "health says {:?}", body.state);
    }
}

#[tokio::test]
async fn a_forged_record_stops_the_fold_and_not_the_answers() {
    let mut scene = Scene::start().await;
    let running = scene.run().await;
    scene.open().await;
    scene.trade("SPY", Side::Buy, 10, "100", minute(1)).await;
    scene.wait(6, 0).await;
    let (before, mark) = scene.page("positions", &Query::default()).await;
    let mut forged = scene.records[4].2.clone();
    forged.id = "forged".parse().unwrap();
    let (text, _) = alarm(&scene, async || {
        scene
            .bus
            .publish("order.event.intent-1.fill-forged", &forged)
            .await
            .unwrap();
        None
    })
    .await;
    assert!(text.contains("record 7"), "{text}");
    scene.bar("SPY", 0, "100").await;
    scene.wait(6, 1).await;
    assert_eq!(
        scene.page("positions", &Query::default()).await,
        (before, mark),
        "nothing moved"
    );
    running.end().await;
}

#[tokio::test]
async fn another_ledger_is_never_taken_for_the_known_one() {
    let mut scene = Scene::start().await;
    let running = scene.run().await;
    scene.open().await;
    scene.trade("SPY", Side::Buy, 10, "100", minute(1)).await;
    scene.wait(6, 0).await;
    let known = scene.page("trades", &Query::default()).await;
    running.end().await;

    // The NATS store was lost: LEDGER begins anew and is shorter.
    let mut shorter = Scene::start().await;
    std::fs::copy(scene.file(), shorter.file()).unwrap();
    shorter.open().await;
    let (text, running) = alarm(&shorter, async || Some(shorter.run().await)).await;
    assert!(
        text.contains("ends at record 3") && text.contains("knows record 6"),
        "{text}"
    );
    assert_eq!(
        shorter.page("trades", &Query::default()).await,
        known,
        "the old answers stay"
    );
    running.unwrap().end().await;

    // It is as long, but not the same.
    let mut other = Scene::start().await;
    std::fs::copy(scene.file(), other.file()).unwrap();
    other.open().await;
    other.trade("SPY", Side::Buy, 11, "100", minute(1)).await;
    let (text, running) = alarm(&other, async || Some(other.run().await)).await;
    assert!(
        text.contains("record 6") && text.contains("is not the one"),
        "{text}"
    );
    assert_eq!(
        other.page("trades", &Query::default()).await,
        known,
        "the old answers stay"
    );
    running.unwrap().end().await;
}

#[tokio::test]
async fn two_stages_on_one_folder_are_one_too_many() {
    let scene = Scene::start().await;
    let first = scene.run().await;
    scene.wait(0, 0).await;
    let second = scene.run().await;
    let error = tokio::time::timeout(Duration::from_secs(10), second.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.downcast_ref::<Exit>().unwrap().code, code::LOCKED);
    first.end().await;
}
