//! Each user of the bus tries everything: what it must do passes, what it must not do is refused and stored
//! nowhere.

use std::time::Duration;

use runtime::Bus;
use serde_json::{Value, json};
use supervisor::{Plan, Stack, state};

use crate::harness::{PATIENCE, arguments, root, say, until};

const STAGES: [&str; 5] = ["market-data", "signal", "execution", "persistence", "bridge"];

/// A subject, and who alone may write it.
const WRITERS: &[(&str, &[&str])] = &[
    ("market.quote.AAPL", &["market-data"]),
    ("market.bar.AAPL", &["market-data"]),
    ("market.session", &["market-data"]),
    ("signal.AAPL", &["signal"]),
    ("model.loaded", &["signal"]),
    ("order.epoch.1", &["execution"]),
    ("order.intent.a", &["execution"]),
    ("order.event.a.acknowledged", &["execution"]),
    ("account.identity.1", &["execution"]),
    ("account.state.2", &["execution"]),
    ("account.kill.3", &["execution"]),
    ("refusal.AAPL", &["execution"]),
    ("alert.supervisor.given-up", &["operator"]),
    ("$KV.LEASE.DU1", &["execution"]),
    ("command.halt", &["operator"]),
    ("command.resume", &["operator"]),
    ("command.web.halt", &["bridge"]),
    ("query.positions", &["bridge", "operator"]),
    // What would change or remove a stream belongs to the set-up alone.
    ("$JS.API.STREAM.DELETE.LEDGER", &["admin"]),
    ("$JS.API.STREAM.PURGE.LEDGER", &["admin"]),
    ("$JS.API.STREAM.UPDATE.LEDGER", &["admin"]),
    ("$JS.API.STREAM.MSG.DELETE.LEDGER", &["admin"]),
    ("$JS.API.STREAM.RESTORE.LEDGER", &["admin"]),
    ("$JS.API.STREAM.SNAPSHOT.LEDGER", &["admin"]),
    ("$JS.API.STREAM.CREATE.OTHER", &["admin"]),
    ("$JS.API.STREAM.DELETE.KV_LEASE", &["admin"]),
    ("$JS.API.STREAM.PURGE.KV_LEASE", &["admin"]),
    ("$JS.API.CONSUMER.DURABLE.CREATE.LEDGER.a", &["admin"]),
    ("$SYS.REQ.SERVER.PING", &[]),
    ("anything.else", &[]),
];

/// A subject, and who alone may listen to it. Orders and the account are read from the stream, never by
/// listening.
const LISTENERS: &[(&str, &[&str])] = &[
    (
        "market.>",
        &["signal", "execution", "persistence", "bridge", "operator"],
    ),
    ("signal.>", &["execution", "persistence", "bridge", "operator"]),
    ("order.>", &["operator"]),
    ("account.>", &["operator"]),
    ("command.*", &["execution", "operator"]),
    ("command.web.*", &["execution", "operator"]),
    ("query.*", &["persistence", "operator"]),
    (">", &["operator"]),
    ("_INBOX_market-data.>", &["market-data"]),
    ("_INBOX_signal.>", &["signal"]),
    ("_INBOX_execution.>", &["execution"]),
    ("_INBOX_persistence.>", &["persistence"]),
    ("_INBOX_bridge.>", &["bridge"]),
    ("_INBOX_operator.>", &["operator"]),
    ("_INBOX_admin.>", &["admin"]),
];

struct Server {
    stack: Stack,
    _folder: tempfile::TempDir,
}

/// The server alone, with the project's own `nats.conf` and streams.
async fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(&root(), &arguments(folder.path())).unwrap();
    let mut stack = Stack::prepare(plan, say()).unwrap();
    stack.start_server().await.expect("the server starts");
    Server {
        stack,
        _folder: folder,
    }
}

impl Server {
    async fn connect(&self, user: &'static str) -> Bus {
        let secret = state::secret_of(&self.stack.plan.state, user).unwrap();
        Bus::connect(user, &self.stack.plan.settings.nats.address, &secret)
            .await
            .unwrap()
    }

    async fn stored(&self, stream: &str) -> u64 {
        let info: Value = self
            .stack
            .bus()
            .unwrap()
            .request(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}))
            .await
            .unwrap();
        info["state"]["messages"]
            .as_u64()
            .unwrap_or_else(|| panic!("no such stream: {info}"))
    }
}

/// Waits until the server refused exactly so often. The round trip before it makes an answer of "never"
/// final.
async fn refused(bus: &Bus, times: u64, what: &str) {
    bus.drain().await;
    until(what, Duration::from_secs(10), || async {
        (bus.refusals() >= times).then_some(())
    })
    .await;
    assert_eq!(bus.refusals(), times, "{what}");
}

#[tokio::test]
async fn nobody_writes_what_is_not_its_own() {
    let server = server().await;
    for user in STAGES.into_iter().chain(["operator", "admin"]) {
        let bus = server.connect(user).await;
        let mut times = 0;
        let others = STAGES.into_iter().filter(|stage| *stage != user);
        let others =
            others.flat_map(|stage| [format!("alert.{stage}.test"), format!("health.{stage}.host-1")]);
        let not_its_own = WRITERS
            .iter()
            .filter(|(_, writers)| !writers.contains(&user))
            .map(|(subject, _)| (*subject).to_owned());
        for subject in not_its_own.chain(others) {
            bus.publish(subject.clone(), &json!({"forged": true}))
                .await
                .unwrap();
            times += 1;
            refused(&bus, times, &format!("{user} writes {subject}")).await;
        }
    }
    for stream in ["MARKET", "EVENTS", "LEDGER", "KV_LEASE"] {
        assert_eq!(server.stored(stream).await, 0, "{stream} took something forged");
    }
    server.stack.stop().await;
}

#[tokio::test]
async fn everybody_writes_its_own() {
    let server = server().await;
    for user in STAGES.into_iter().chain(["operator"]) {
        let bus = server.connect(user).await;
        let own = WRITERS
            .iter()
            .filter(|(_, writers)| writers.contains(&user))
            .map(|(subject, _)| (*subject).to_owned());
        let about_itself = STAGES.into_iter().filter(|stage| *stage == user);
        let about_itself =
            about_itself.flat_map(|stage| [format!("alert.{stage}.test"), format!("health.{stage}.host-1")]);
        for subject in own.chain(about_itself) {
            bus.publish(subject.clone(), &json!({"test": true}))
                .await
                .unwrap();
            refused(&bus, 0, &format!("{user} writes {subject}")).await;
        }
    }
    // Bars, a session; signal, model, refusal, six alerts; six records.
    for (stream, messages) in [("MARKET", 2), ("EVENTS", 9), ("LEDGER", 6), ("KV_LEASE", 1)] {
        let stored = || async { (server.stored(stream).await == messages).then_some(()) };
        until(&format!("{messages} messages in {stream}"), PATIENCE, stored).await;
    }
    server.stack.stop().await;
}

#[tokio::test]
async fn nobody_listens_to_what_is_not_for_it() {
    let server = server().await;
    for user in STAGES.into_iter().chain(["operator", "admin"]) {
        let bus = server.connect(user).await;
        let mut times = 0;
        for (subject, listeners) in LISTENERS {
            let _heard = bus.subscribe::<Value>(subject).await.unwrap();
            times += u64::from(!listeners.contains(&user));
            refused(&bus, times, &format!("{user} listens to {subject}")).await;
        }
    }
    server.stack.stop().await;
}

#[tokio::test]
async fn the_operator_hears_everything_but_the_answers_to_others() {
    let server = server().await;
    let operator = server.connect("operator").await;
    let mut everything = operator.subscribe::<Value>(">").await.unwrap();
    let execution = server.connect("execution").await;
    let info: Value = execution
        .request("$JS.API.STREAM.INFO.LEDGER", &json!({}))
        .await
        .unwrap();
    assert!(info["config"].is_object(), "{info}");
    execution
        .publish("refusal.AAPL", &json!({"last": true}))
        .await
        .unwrap();
    execution.drain().await;
    loop {
        let message = tokio::time::timeout(PATIENCE, everything.next())
            .await
            .expect("the last message")
            .unwrap();
        assert!(
            !message.subject.starts_with("_INBOX_execution"),
            "the operator heard {}",
            message.subject
        );
        if message.subject == "refusal.AAPL" {
            break;
        }
    }
    server.stack.stop().await;
}

#[tokio::test]
async fn a_wrong_password_and_no_password_are_refused() {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let server = server().await;
    for login in [
        "{}",
        r#"{"user":"operator","pass":"wrong"}"#,
        r#"{"user":"nobody","pass":"x"}"#,
    ] {
        let stream = tokio::net::TcpStream::connect(&server.stack.plan.settings.nats.address)
            .await
            .unwrap();
        let mut stream = BufReader::new(stream);
        stream
            .write_all(format!("CONNECT {login}\r\nPING\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        while stream.read_line(&mut answer).await.unwrap_or(0) > 0 {}
        assert!(
            answer.contains("Authorization Violation") && !answer.contains("PONG"),
            "{login}: {answer}"
        );
    }
    server.stack.stop().await;
}

#[tokio::test]
async fn what_ledger_holds_can_not_be_overwritten_or_removed() {
    let server = server().await;
    let execution = server.connect("execution").await;
    let id = protocol::Id::derive(&["a"]);
    execution
        .keep("order.intent.a", &id, &json!({"first": true}))
        .await
        .unwrap();
    // Another message id, so that not the window of repetitions answers but the stream's own rule.
    let other = protocol::Id::derive(&["b"]);
    execution
        .keep("order.intent.a", &other, &json!({"second": true}))
        .await
        .expect_err("a subject is written once");
    let admin = server.connect("admin").await;
    let subject = "$JS.API.STREAM.MSG.DELETE.LEDGER";
    let answer: Value = admin.request(subject, &json!({"seq": 1})).await.unwrap();
    assert!(
        answer["error"].is_object(),
        "even the set-up's user can't delete a record: {answer}"
    );
    let answer: Value = admin
        .request("$JS.API.STREAM.PURGE.LEDGER", &json!({}))
        .await
        .unwrap();
    assert!(
        answer["error"].is_object(),
        "even the set-up's user can't purge: {answer}"
    );
    assert_eq!(server.stored("LEDGER").await, 1);
    server.stack.stop().await;
}
