//! The hub alone, without sockets: what it does in which order.

use engine::venue::market::Market;
use engine::venue::synthetic::Synthetic;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::line::Entitlement;

#[tokio::test]
async fn a_control_line_is_answered_once_the_disk_has_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut account) = Journal::open(folder.path()).unwrap();
    let start = Timestamp::now();
    let opening = Venue::opening(100_000.into(), start);
    account.apply(&opening);
    journal.append(&[opening], &account).unwrap();
    journal.sync().unwrap();
    let market = Market::Synthetic(Synthetic::new(&["AAPL".parse().unwrap()], 1, 1, start));
    let rules = DataRules {
        entitlement: Entitlement::Live,
        lines: 100,
    };
    let mut hub = Hub::new(
        Venue::new(market, account, start),
        journal,
        Clock::Wall,
        "DU1".into(),
        (rules, 900),
        Arc::default(),
    );
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
