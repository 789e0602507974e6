//! Commands of a signed-in page, on their way to their owner and back.

use protocol::Id;
use protocol::feed::{Frame, Say};
use protocol::ledger::Mode;
use protocol::operator::{Command, Reply};
use protocol::subject::filter;
use runtime::Bus;

use crate::scene::{Browser, Scene, at, symbol};

/// Stands for execution: accepts everything, and says what it was asked.
async fn owner(bus: Bus) {
    let mut requests = bus.requests(filter::WEB_COMMANDS).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let command: Command = serde_json::from_slice(&request.payload).unwrap();
            let text = format!("{:?} {}", command.symbol, command.note);
            let (id, verb) = (command.id.unwrap(), request.last_token().to_owned());
            request
                .reply(&Reply {
                    id,
                    at: at(0),
                    verb,
                    accepted: true,
                    text,
                })
                .await;
        }
    });
}

async fn command(browser: &mut Browser, id: &str, verb: &str, note: &str) -> Reply {
    let id: Id = id.parse().unwrap();
    let symbol = (verb == "close").then(|| symbol("SPY"));
    browser
        .say(&Say::Command {
            id: id.clone(),
            verb: verb.into(),
            symbol,
            note: note.into(),
        })
        .await;
    let reply = browser
        .find(|frame| match frame {
            Frame::Reply(reply) => Some(reply),
            _ => None,
        })
        .await;
    assert_eq!((&reply.id, reply.verb.as_str()), (&id, verb));
    reply
}

#[tokio::test]
async fn a_command_goes_to_its_owner_and_its_answer_to_its_asker() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (mut browser, _) = Browser::sign_in(running.address).await;
    let (mut other, _) = Browser::sign_in(running.address).await;

    let reply = command(&mut browser, "nobody-there", "halt", "").await;
    assert!(
        !reply.accepted && reply.text.contains("nobody answered `halt`"),
        "{}",
        reply.text
    );

    owner(scene.bus.clone()).await;
    let reply = command(&mut browser, "halt-1", "halt", "lunch").await;
    assert!(reply.accepted && reply.text == "None lunch", "{}", reply.text);
    let reply = command(&mut browser, "close-1", "close", "").await;
    assert_eq!(reply.text, "Some(SPY) ");
    assert!(
        command(&mut browser, "resume-1", "resume", "").await.accepted,
        "play money: every verb"
    );

    for (verb, note) in [
        ("sell-everything", ""),
        ("query.positions", ""),
        ("halt", "x".repeat(501).as_str()),
    ] {
        let reply = command(&mut browser, "bad", verb, note).await;
        assert!(!reply.accepted && reply.text.len() > 20, "{verb}: {}", reply.text);
    }
    let mut marks = 0;
    let heard = other.find(|frame| {
        marks += i32::from(matches!(frame, Frame::Mark { .. }));
        matches!(frame, Frame::Reply(_))
            .then_some(true)
            .or((marks > 2).then_some(false))
    });
    assert!(!heard.await, "another browser hears nothing of it");
    running.end().await;
}

#[tokio::test]
async fn with_real_money_a_browser_only_reduces_risk() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Live).await;
    owner(scene.bus.clone()).await;
    let running = scene.run().await;
    let (mut browser, snapshot) = Browser::sign_in(running.address).await;
    assert_eq!(snapshot.mode, Mode::Live);
    for verb in ["halt", "reduce", "kill", "cancel-all", "flatten", "close"] {
        assert!(command(&mut browser, verb, verb, "").await.accepted, "{verb}");
    }
    for verb in ["resume", "release", "emergency-exit", "settle"] {
        let reply = command(&mut browser, verb, verb, "").await;
        assert!(
            !reply.accepted && reply.text.contains("real money"),
            "{}",
            reply.text
        );
    }
    running.end().await;
}
