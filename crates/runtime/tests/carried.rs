//! How things are carried, on a real nats-server: conditional appends, replay, the lease, questions and answers.

// A test that meets what it did not expect has failed.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use protocol::ledger::{Entry, Epoch, Record, StateChange, TradingState};
use protocol::subject::{filter, stream};
use protocol::{Hash, Id};
use runtime::lease::{Asked, Lease};
use runtime::ledger::{AppendError, Ledger};
use runtime::now;
use runtime::testing::Server;
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(20);

fn record(id: &str, entry: Entry) -> Record {
    Record {
        id: id.parse().unwrap(),
        at: now(),
        cause: None,
        epoch: 1,
        previous_hash: Hash::zero(),
        entry,
    }
}

fn epoch() -> Entry {
    Entry::Epoch(Epoch {
        instance: "test".to_owned(),
        version: "0".to_owned(),
    })
}

fn state() -> Entry {
    Entry::State(StateChange {
        state: TradingState::Halted,
        symbol: None,
        by: "test".to_owned(),
        text: String::new(),
    })
}

#[tokio::test]
async fn only_one_of_two_writers_at_the_same_place_appends() {
    let server = Server::start().await;
    let bus = server.bus("execution").await;
    let mut first = Ledger::after(&bus, 0, Hash::zero());
    let mut second = Ledger::after(&bus, 0, Hash::zero());
    let appended = first.append(record("a", epoch())).await.unwrap();
    assert_eq!(
        (appended.sequence, appended.record.previous_hash),
        (1, Hash::zero())
    );
    let refused = second.append(record("b", state())).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::Refused { sequence: 1, .. }),
        "{refused}"
    );
    let next = first.append(record("c", state())).await.unwrap();
    assert_eq!(
        next.record.previous_hash, appended.hash,
        "each record names the one before"
    );

    // The end is right this time, and the subject was written before.
    let mut again = Ledger::after(&bus, 1, appended.hash);
    let refused = again.append(record("c", state())).await.unwrap_err();
    assert!(matches!(refused, AppendError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn a_full_ledger_says_that_it_is_full_and_has_not_taken_the_record() {
    let server = Server::start().await;
    let bus = server.bus("execution").await;
    let mut ledger = Ledger::after(&bus, 0, Hash::zero());
    let appended = ledger.append(record("a", epoch())).await.unwrap();
    let admin = server.bus("admin").await;
    let info: Value = admin
        .request("$JS.API.STREAM.INFO.LEDGER", &json!({}))
        .await
        .unwrap();
    let mut config = info["config"].clone();
    config["max_bytes"] = info["state"]["bytes"].clone();
    let answer: Value = admin
        .request("$JS.API.STREAM.UPDATE.LEDGER", &config)
        .await
        .unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    let room = bus.ledger_room().await.unwrap();
    assert_eq!((room.percent(), room.takes_any_record()), (100, false));
    let full = ledger.append(record("b", state())).await.unwrap_err();
    assert!(matches!(full, AppendError::Full { sequence: 2, .. }), "{full}");

    // With room again the next one takes the same place.
    let answer: Value = admin
        .request("$JS.API.STREAM.UPDATE.LEDGER", &info["config"])
        .await
        .unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    let mut next = Ledger::after(&bus, 1, appended.hash);
    assert_eq!(next.append(record("b", state())).await.unwrap().sequence, 2);
}

#[tokio::test]
async fn history_replays_in_order_and_goes_on_live() {
    let server = Server::start().await;
    let bus = server.bus("execution").await;
    let empty = bus.history::<Record>(stream::LEDGER, ">", 1).await.unwrap();
    assert_eq!(empty.head, 0, "nothing to wait for");
    let mut ledger = Ledger::after(&bus, 0, Hash::zero());
    for id in ["a", "b", "c"] {
        ledger.append(record(id, state())).await.unwrap();
    }
    let mut history = bus.history::<Record>(stream::LEDGER, ">", 2).await.unwrap();
    assert_eq!(history.head, 3);
    let mut previous = None;
    for sequence in 2..=3 {
        let stored = history.next().await.unwrap();
        assert_eq!(stored.sequence, sequence);
        assert!(previous.is_none_or(|hash| hash == stored.message.previous_hash));
        previous = Some(stored.hash());
    }
    ledger.append(record("d", state())).await.unwrap();
    let live = tokio::time::timeout(WAIT, history.next()).await.unwrap().unwrap();
    assert_eq!((live.sequence, live.message.id.as_str()), (4, "d"));
}

#[tokio::test]
async fn the_last_message_comes_with_when_it_was_stored() {
    let server = Server::start().await;
    let (before, bus) = (now(), server.bus("execution").await);
    let stages = server.bus("market-data").await;
    stages.publish(filter::SESSION, &"closed").await.unwrap();
    let told = async {
        loop {
            let last = bus.last::<String>(stream::MARKET, filter::SESSION).await;
            if let Some(last) = last.unwrap() {
                return last;
            }
        }
    };
    let (body, stored) = tokio::time::timeout(WAIT, told).await.unwrap();
    assert_eq!(body, "closed");
    assert!(before <= stored && stored <= now(), "{stored}");
}

#[tokio::test]
async fn a_lease_has_one_holder_and_can_be_given_up() {
    let server = Server::start().await;
    let bus = server.bus("execution").await;
    let Asked::Held(mut lease) = Lease::ask(&bus, "DU1", "first").await.unwrap() else {
        panic!("nobody holds it yet");
    };
    match Lease::ask(&bus, "DU1", "second").await.unwrap() {
        Asked::Taken { holder, .. } => assert_eq!(holder, "first"),
        Asked::Held(_) => panic!("two holders"),
    }
    assert!(
        matches!(Lease::ask(&bus, "DU2", "second").await.unwrap(), Asked::Held(_)),
        "another account"
    );
    lease.renew().await.unwrap();
    lease.release().await;
    assert!(matches!(
        Lease::ask(&bus, "DU1", "second").await.unwrap(),
        Asked::Held(_)
    ));
}

#[tokio::test]
async fn a_lease_is_looked_at_without_taking_it() {
    let server = Server::start().await;
    let bus = server.bus("execution").await;
    for account in ["DU1", "*"] {
        assert_eq!(Lease::look(&bus, account).await.unwrap(), None, "{account}");
    }
    let Asked::Held(mut lease) = Lease::ask(&bus, "DU1", "first").await.unwrap() else {
        panic!("nobody holds it yet");
    };
    let before = Lease::look(&bus, "DU1").await.unwrap();
    assert!(before.is_some());
    lease.renew().await.unwrap();
    let renewed = Lease::look(&bus, "DU1").await.unwrap();
    assert!(renewed > before, "{renewed:?} follows {before:?}");
    assert_eq!(Lease::look(&bus, "*").await.unwrap(), renewed, "of any account");
    assert_eq!(Lease::look(&bus, "DU2").await.unwrap(), None, "another account");
    lease.release().await;
    for account in ["DU1", "*"] {
        assert_eq!(Lease::look(&bus, account).await.unwrap(), None, "{account}");
    }
}

#[tokio::test]
async fn who_listens_is_heard_by_everybody_at_once() {
    let server = Server::start().await;
    let (asker, answerer) = (server.bus("operator").await, server.bus("persistence").await);
    for round in 0..200 {
        let subject = format!("query.round-{round}");
        let mut requests = answerer.requests(&subject).await.unwrap();
        let answer = async {
            requests.next().await.unwrap().reply(&round).await;
            std::future::pending::<()>().await
        };
        let answered = tokio::select! {
            answered = asker.request::<_, u32>(&subject, &"") => answered,
            () = answer => unreachable!("an answer is all it gives"),
        };
        assert_eq!(
            answered.unwrap(),
            round,
            "another connection reaches who has subscribed"
        );
    }
}

#[tokio::test]
async fn questions_are_answered_and_the_unreadable_is_left_out() {
    let server = Server::start().await;
    let (asker, answerer) = (server.bus("operator").await, server.bus("persistence").await);
    let mut requests = answerer.requests("query.*").await.unwrap();
    let answer = async {
        let request = requests.next().await.unwrap();
        assert_eq!(
            (request.last_token(), request.payload.as_ref()),
            ("trades", b"\"how many?\"".as_slice())
        );
        request.reply(&7).await;
    };
    let asked = async { tokio::join!(asker.request::<_, u32>("query.trades", &"how many?"), answer) };
    let (count, ()) = tokio::time::timeout(WAIT, asked).await.unwrap();
    assert_eq!(count.unwrap(), 7);

    let mut ids = asker.subscribe::<Id>("alert.>").await.unwrap();
    let mut all = asker.subscribe::<Id>("alert.>").await.unwrap();
    answerer.publish("alert.test.one", &"not an id!").await.unwrap();
    answerer.publish("alert.test.two", &"an-id").await.unwrap();
    let heard = tokio::time::timeout(WAIT, ids.next()).await.unwrap().unwrap();
    assert_eq!(
        (heard.subject.as_str(), heard.body.as_str()),
        ("alert.test.two", "an-id")
    );
    // Who asks for it hears of what can't be read.
    let spoilt = tokio::time::timeout(WAIT, all.heard()).await.unwrap().unwrap();
    assert_eq!(spoilt.unwrap_err().subject, "alert.test.one");
    let sound = tokio::time::timeout(WAIT, all.heard()).await.unwrap().unwrap();
    assert_eq!(sound.unwrap().subject, "alert.test.two");
}
