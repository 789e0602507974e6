//! The hub alone, without sockets: what it does in which order, and when.

use engine::venue::market::Market;
use engine::venue::synthetic::Synthetic;
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::clock::Wall;
use crate::line::Entitlement;

/// A hub on the wall's clock with a market that stands at some time, and the folder that it needs.
fn hub(start: Timestamp) -> (Hub, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut account) = Journal::open(folder.path()).unwrap();
    let opening = Venue::opening(100_000.into(), start);
    account.apply(&opening);
    journal.append(&[opening], &account).unwrap();
    journal.sync().unwrap();
    let market = Market::Synthetic(Synthetic::new(&["AAPL".parse().unwrap()], 1, 1, start));
    let rules = DataRules {
        entitlement: Entitlement::Live,
        lines: 100,
    };
    let hub = Hub::new(
        Venue::new(market, account, start),
        journal,
        Clock::Wall(Wall::default()),
        "DU1".into(),
        (rules, 900),
        Arc::default(),
    );
    (hub, folder)
}

#[tokio::test]
async fn a_control_line_is_answered_once_the_disk_has_what_came_of_it() {
    let (mut hub, _folder) = hub(Timestamp::now());
    let _door = hub.allow(4010, Vec::new());

    let by_hand = r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"10"}"#;
    let line = Box::new(crate::fault::parse(by_hand).unwrap());
    let (answer, mut answered) = oneshot::channel();
    hub.handle(Command::Control { line, answer }).unwrap();
    assert!(hub.journal.is_ahead(), "the trade is written");
    assert_eq!(answered.try_recv(), Err(TryRecvError::Empty));
    hub.flush().unwrap();
    assert!(!hub.journal.is_ahead());
    assert_eq!(answered.try_recv().unwrap()["ok"], true);
}

#[tokio::test]
async fn a_market_whose_wall_clock_was_set_back_goes_on() {
    let start = Timestamp::now() + SignedDuration::from_hours(1);
    let (mut hub, _folder) = hub(start);
    hub.run_market().unwrap();
    hub.run_market().unwrap();
    assert!(hub.venue.now() >= start);
    let next = hub.clock.wall(hub.venue.next_at().unwrap()).unwrap();
    assert!(
        next < Instant::now() + Duration::from_secs(2),
        "the next trade is near"
    );
}
