//! The hub alone, without sockets: what it does in which order, and when.

use bytes::BytesMut;
use engine::venue::desk::Desk;
use engine::venue::market::Market;
use engine::venue::order::{Kind, Side, Ticket, Trail};
use engine::venue::synthetic::Synthetic;
use jiff::SignedDuration;
use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::clock::Wall;
use crate::fault::Facts;
use crate::line::Entitlement;
use crate::message::account::OpenOrder;
use crate::outbox::{Outgoing, outbox};
use crate::wire;

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

const SESSION: u64 = 1;

/// A client that follows the account, of a hub that can lose its link.
async fn follow(hub: &mut Hub) -> Outgoing {
    drop(hub.allow(4010, Vec::new()));
    let (outbox, outgoing) = outbox(Default::default());
    hub.meet(SESSION, 7, outbox);
    let peer = hub.peer(SESSION);
    (peer.account, peer.positions) = (true, true);
    peer.account_multi.insert(1, false);
    read(hub, &outgoing).await;
    outgoing
}

/// The frames that the client is told by now.
async fn frames(hub: &mut Hub, outgoing: &Outgoing) -> Vec<Vec<u8>> {
    hub.flush().unwrap();
    let mut bytes = BytesMut::new();
    assert!(outgoing.take(&mut bytes).await);
    outgoing.written();
    let mut rest = &bytes[..];
    let lengths: Vec<usize> = wire::frames(rest).map(|(_, _, length)| length).collect();
    let mut next = |length| {
        let (frame, others) = rest.split_at(length);
        rest = others;
        frame.to_vec()
    };
    lengths.into_iter().map(&mut next).collect()
}

/// What they are about.
async fn read(hub: &mut Hub, outgoing: &Outgoing) -> Vec<Facts> {
    let frames = frames(hub, outgoing).await;
    let facts = frames.iter().map(|frame| Facts::of_frame(7, frame).unwrap());
    facts.collect()
}

fn say(hub: &mut Hub, line: &str) {
    let (answer, _) = oneshot::channel();
    let line = Box::new(crate::fault::parse(line).unwrap());
    hub.handle(Command::Control { line, answer }).unwrap();
}

fn ticket(kind: Kind) -> Box<Ticket> {
    Box::new(Ticket::new("AAPL".parse().unwrap(), Side::Sell, kind, 1.into()))
}

fn place(hub: &mut Hub, order_id: i32, ticket: Box<Ticket>) {
    let client = 7;
    hub.step(Input::Place {
        client,
        order_id,
        ticket,
    })
    .unwrap();
}

#[tokio::test]
async fn stops_that_trail_through_a_long_outage_push_no_news_out() {
    let (mut hub, _folder) = hub(Timestamp::now());
    let outgoing = follow(&mut hub).await;
    let trails = Kind::Trail {
        by: Trail::Amount(50.into()),
        start: None,
        limit_offset: None,
    };
    place(&mut hub, 1, ticket(trails));
    let perm_id = *hub.told.open.keys().next().unwrap();
    read(&mut hub, &outgoing).await;

    say(&mut hub, r#"{"fault":"link","state":"lost"}"#);
    place(&mut hub, 2, ticket(Kind::Stop(1.into())));
    for cents in 0..=news::NEWS_MAX {
        let at = hub.venue.now();
        hub.hear(News::Record(Record::Trailed {
            perm_id,
            stop: (cents as i64).into(),
            at,
        }));
    }
    let at = hub.venue.now();
    hub.hear(News::Record(Record::Working {
        perm_id,
        triggered: true,
        at,
    }));
    say(&mut hub, r#"{"fault":"link","state":"restored"}"#);
    let told = frames(&mut hub, &outgoing).await;
    let facts = |frame: &Vec<u8>| Facts::of_frame(7, frame).unwrap();
    let opened = |order_id| {
        let is_it = |told: &Facts| (told.number, told.order_id) == (5, Some(order_id));
        let mut frames = told.iter().filter(|frame| is_it(&facts(frame)));
        frames.next_back().expect("it is told")
    };
    opened(2);
    // One that was woken meanwhile is told with where it stood then.
    let (_, body, _) = wire::frames(opened(1)).next().unwrap();
    let order = OpenOrder::decode(body).unwrap().order.unwrap();
    assert_eq!(order.trail_stop_price, Some(news::NEWS_MAX as f64));
    assert_eq!(&hub.told, hub.venue.account());
}

#[tokio::test]
async fn trades_of_an_outage_are_told_with_one_word_about_the_account() {
    let (mut hub, _folder) = hub(Timestamp::now());
    let outgoing = follow(&mut hub).await;
    say(&mut hub, r#"{"fault":"link","state":"lost"}"#);
    read(&mut hub, &outgoing).await;
    for order_id in -1_000..-1 {
        hub.step(Input::Desk(Desk::Trade {
            order_id,
            ticket: ticket(Kind::Market),
        }))
        .unwrap();
    }
    let trades = hub.venue.account().fills.len();
    assert!(trades >= 999, "{trades}");
    say(&mut hub, r#"{"fault":"link","state":"restored"}"#);
    let told = read(&mut hub, &outgoing).await;
    let count = |number| told.iter().filter(|told| told.number == number).count();
    assert_eq!((count(61), count(7)), (1, 1), "positions, holdings");
    assert!(told.len() < 200, "{}", told.len());
    assert_eq!(&hub.told, hub.venue.account());
}

#[tokio::test]
async fn a_position_that_changed_by_news_that_was_pushed_out_is_told() {
    let (mut hub, _folder) = hub(Timestamp::now());
    let outgoing = follow(&mut hub).await;
    say(&mut hub, r#"{"fault":"link","state":"lost"}"#);
    read(&mut hub, &outgoing).await;
    hub.step(Input::Desk(Desk::Trade {
        order_id: -2,
        ticket: ticket(Kind::Market),
    }))
    .unwrap();
    assert!(!hub.venue.account().fills.is_empty());
    for _ in 0..2 * news::NEWS_MAX {
        hub.hear(News::Order {
            client: 7,
            order_id: 2,
        });
    }
    say(&mut hub, r#"{"fault":"link","state":"restored"}"#);
    let told = read(&mut hub, &outgoing).await;
    assert_eq!(told.iter().filter(|told| told.number == 61).count(), 1);
}

#[tokio::test]
async fn an_order_that_ends_among_too_much_news_leaves_its_number_free() {
    let (mut hub, _folder) = hub(Timestamp::now());
    let _outgoing = follow(&mut hub).await;
    place(&mut hub, 1, ticket(Kind::Stop(1.into())));
    assert_eq!(hub.told.open.len(), 1);
    let trouble = hub.trouble.as_mut().unwrap();
    trouble.inactive.insert((7, 1));
    say(&mut hub, r#"{"fault":"link","state":"lost"}"#);
    hub.step(Input::Cancel {
        client: 7,
        order_id: 1,
    })
    .unwrap();
    for _ in 0..2 * news::NEWS_MAX {
        hub.hear(News::Order {
            client: 7,
            order_id: 2,
        });
    }
    let trouble = hub.trouble.as_ref().unwrap();
    assert!(trouble.inactive.is_empty(), "{:?}", trouble.inactive);
}
