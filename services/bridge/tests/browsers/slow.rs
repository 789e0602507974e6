//! A browser that reads slowly, or not at all, costs nobody anything.

use std::time::{Duration, Instant};

use protocol::feed::Frame;
use protocol::ledger::{Mode, TradingState};

use crate::scene::{Browser, PATIENCE, Scene, get};

/// Records with long notes, far more than sockets hold by themselves.
const RECORDS: u64 = 600;

async fn flood(scene: &mut Scene) {
    let text = "x".repeat(24_000);
    for n in 0..RECORDS {
        let state = if n % 2 == 0 {
            TradingState::Halted
        } else {
            TradingState::Active
        };
        scene.state(state, &text).await;
    }
}

async fn metric(scene: &crate::scene::Running, name: &str) -> f64 {
    let (status, _, body) = get(scene.address, "/metrics", "").await;
    assert_eq!(status, 200);
    let body = String::from_utf8(body).unwrap();
    let line = body
        .lines()
        .find(|line| line.split(' ').next() == Some(name))
        .unwrap_or_else(|| panic!("{name} in\n{body}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_slow_browser_gets_a_fresh_snapshot_and_slows_nobody() {
    let mut scene = Scene::start().await;
    scene.limits.queue_frames = 50;
    scene.limits.write = 4 * PATIENCE;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (mut slow, _) = Browser::sign_in(running.address).await;
    let (mut quick, snapshot) = Browser::sign_in(running.address).await;
    let mut portfolio = snapshot.portfolio;
    let last = portfolio.sequence + RECORDS;
    let reader = tokio::spawn(async move {
        let mut records = 0;
        while portfolio.sequence < last {
            match quick.frame().await {
                Frame::Record {
                    sequence,
                    hash,
                    record,
                } => {
                    portfolio
                        .apply(sequence, &hash, &record)
                        .expect("no record is left out");
                    records += 1;
                }
                // A busy machine may make any browser a slow one.
                Frame::Snapshot(snapshot) => portfolio = snapshot.portfolio,
                _ => {}
            }
        }
        (records, portfolio)
    });
    flood(&mut scene).await;
    let (records, portfolio) = reader.await.unwrap();
    assert!(records > 0 && portfolio.sequence == last);

    // Now the slow one reads: what its socket held, and then one snapshot instead of the rest.
    let mut records = 0;
    let fresh = slow
        .find(|frame| match frame {
            Frame::Record { .. } => {
                records += 1;
                None
            }
            Frame::Snapshot(snapshot) if snapshot.portfolio.sequence == last => Some(snapshot),
            _ => None,
        })
        .await;
    assert!(
        records < RECORDS,
        "{records} of {RECORDS} were written one by one"
    );
    assert_eq!(fresh.portfolio.mark(), portfolio.mark());
    scene.state(TradingState::Reducing, "after").await;
    slow.find(|frame| matches!(frame, Frame::Record { sequence, .. } if sequence == last + 1).then_some(()))
        .await;
    // The figures are as old as a second.
    let deadline = Instant::now() + PATIENCE;
    while metric(&running, "tradewind_browser_overflows_total").await < 1.0 {
        assert!(Instant::now() < deadline, "nobody was too slow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.end().await;
}

#[tokio::test]
async fn a_browser_that_never_reads_is_let_go() {
    let mut scene = Scene::start().await;
    scene.limits.write = Duration::from_millis(300);
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (_deaf, _) = Browser::sign_in(running.address).await;
    flood(&mut scene).await;
    let deadline = Instant::now() + PATIENCE;
    while metric(&running, "tradewind_browsers_count").await > 0.0 {
        assert!(Instant::now() < deadline, "still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.end().await;
}

#[tokio::test]
async fn a_silent_browser_is_let_go() {
    let mut scene = Scene::start().await;
    scene.limits.silence = Duration::from_millis(200);
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (mut browser, _) = Browser::sign_in(running.address).await;
    assert_eq!(browser.closed().await, bridge::client::close::POLICY);
    running.end().await;
}
