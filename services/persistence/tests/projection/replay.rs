//! The file is a projection: read twice, killed at any instant, or deleted, it ends the same.

use std::process::{Child, Command, Stdio};

use engine::portfolio::Portfolio;
use protocol::ledger::Side;
use protocol::operator::Query;

use crate::scene::{Scene, minute};

/// Trades a few minutes; `wait` makes the stage take each step before the next.
async fn day(scene: &mut Scene, from: i64, to: i64, wait: bool) {
    for n in from..to {
        let bars = usize::try_from(n * 2 + 2).unwrap();
        scene.bar("SPY", n, &format!("{}.25", 100 + n)).await;
        scene.bar("IBM", n, &format!("{}.5", 180 - n)).await;
        if wait {
            scene.wait(scene.ledger.sequence(), bars).await;
        }
        let side = if n % 2 == 0 { Side::Buy } else { Side::Sell };
        scene
            .trade("SPY", side, 10, &format!("{}.30", 100 + n), minute(n + 1))
            .await;
        if wait {
            scene.wait(scene.ledger.sequence(), bars).await;
        }
    }
}

fn fold(scene: &Scene) -> Portfolio {
    let mut portfolio = Portfolio::default();
    for (sequence, hash, record) in &scene.records {
        portfolio.apply(*sequence, hash, record).unwrap();
    }
    portfolio
}

#[tokio::test]
async fn a_deleted_file_is_rebuilt_the_same_and_reading_twice_changes_nothing() {
    let mut scene = Scene::start().await;
    let first = scene.run().await;
    scene.open().await;
    scene.wait(3, 0).await;
    day(&mut scene, 0, 6, true).await;
    let (_, state) = scene.page("positions", &Query::default()).await;
    assert_eq!(
        state,
        Some(fold(&scene).mark()),
        "persistence stands where the fold of LEDGER stands"
    );
    first.end().await;
    let kept = scene.dump();
    assert_eq!(kept.lines().filter(|line| line.starts_with("bars")).count(), 12);
    assert_eq!(kept.lines().filter(|line| line.starts_with("Trades")).count(), 6);
    assert_eq!(
        kept.lines().filter(|line| line.starts_with("Equity")).count(),
        6,
        "{kept}"
    );

    let again = scene.run().await;
    scene.wait(scene.ledger.sequence(), 12).await;
    again.end().await;
    assert_eq!(scene.dump(), kept, "read again");

    std::fs::remove_file(scene.file()).unwrap();
    let rebuilt = scene.run().await;
    scene.wait(scene.ledger.sequence(), 12).await;
    rebuilt.end().await;
    assert_eq!(scene.dump(), kept, "rebuilt");
}

/// The real program, so that it can be killed.
fn program(scene: &Scene) -> Child {
    let state = scene.server.state.path();
    let config = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../config.toml")).unwrap();
    let config = config.replace("127.0.0.1:4222", &scene.server.address);
    assert!(
        config.contains(&scene.server.address),
        "the server's address is in the settings"
    );
    std::fs::write(state.join("config.toml"), config).unwrap();
    std::fs::create_dir_all(state.join("secrets")).unwrap();
    std::fs::write(state.join("secrets/persistence"), "for-tests-only").unwrap();
    Command::new(env!("CARGO_BIN_EXE_persistence"))
        .arg("--config")
        .arg(state.join("config.toml"))
        .arg("--state")
        .arg(state)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn kills_at_any_instant_lose_and_double_nothing() {
    let mut scene = Scene::start().await;
    let mut child = program(&scene);
    scene.open().await;
    for round in 0..6 {
        // The stage is in the midst of reading, writing or starting, whatever the machine makes of it.
        day(&mut scene, round * 4, round * 4 + 4, false).await;
        child.kill().unwrap();
        child.wait().unwrap();
        child = program(&scene);
    }
    scene.wait(scene.ledger.sequence(), 48).await;
    let (_, state) = scene.page("positions", &Query::default()).await;
    assert_eq!(state, Some(fold(&scene).mark()));
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = scene.dump();

    std::fs::remove_file(scene.file()).unwrap();
    let rebuilt = scene.run().await;
    scene.wait(scene.ledger.sequence(), 48).await;
    rebuilt.end().await;
    // The curve's points depend on which of a bar and a fill came first, which a race decides here.
    let solid = |dump: &str| {
        dump.lines()
            .filter(|line| !line.starts_with("Equity"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(solid(&killed), solid(&scene.dump()));
}
