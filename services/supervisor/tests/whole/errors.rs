//! What can go wrong for a person gives one clear sentence and the right exit code, or a visible degraded
//! state.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocol::decision::{Alert, Level};
use protocol::operator::HealthState;
use protocol::subject;
use serde_json::json;

use crate::gateway::Gateway;
use crate::harness::{PATIENCE, Whole, programs, root, run_all_arguments, supervisor, turn, until, words};
use crate::scene::{HELD, Scene, plan};

/// Settings of the project with one line changed.
fn settings_with(folder: &Path, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(root().join("services/config.toml")).unwrap();
    assert!(text.contains(from), "services/config.toml has {from}");
    let file = folder.join("config.toml");
    std::fs::write(&file, text.replace(from, to)).unwrap();
    file.display().to_string()
}

pub fn run_all(state: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut arguments = run_all_arguments(state);
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = supervisor(&arguments);
    (output.status.code(), words(&output))
}

#[test]
fn a_wrong_key_or_value_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    for (from, to, said) in [
        ("stop_loss =", "stop_los =", "stop_los"),
        ("down_min = 0.5", "down_min = 1.5", "exits.down_min"),
        ("\"AAPL\", \"NVDA\"", "\"AAPL\", \"AAPL\"", "AAPL twice"),
        ("\"AAPL\"", "\"<b>\"", "not a stock symbol"),
        ("bar_size = \"1m\"", "bar_size = \"7s\"", "not a bar size"),
    ] {
        let file = settings_with(folder.path(), from, to);
        let (code, text) = run_all(&state, &["--config", &file]);
        assert_eq!(code, Some(64), "{text}");
        assert!(text.contains(said) && !text.contains("panicked"), "{to}: {text}");
        assert!(!state.join("nats").exists(), "nothing was started");
    }
}

#[test]
fn a_missing_file_or_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (code, text) = run_all(&state, &["--config", "/nowhere/config.toml"]);
    assert!(
        code == Some(66) && text.contains("/nowhere/config.toml"),
        "{code:?} {text}"
    );
    let (code, text) = run_all(&state, &["--market", "/nowhere/bars"]);
    assert!(
        code == Some(66) && text.contains("/nowhere/bars"),
        "{code:?} {text}"
    );
    let (code, text) = run_all(&state, &["--market", &folder.path().display().to_string()]);
    assert!(
        code == Some(66) && text.contains("no CSV file"),
        "{code:?} {text}"
    );
    let mut arguments = run_all_arguments(&state);
    *arguments.last_mut().unwrap() = "/nowhere".to_owned();
    let output = supervisor(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let text = words(&output);
    assert!(
        output.status.code() == Some(66) && text.contains("is not built"),
        "{text}"
    );
}

/// Programs that `run-all` starts, each with a log of its own.
const STAGES: [&str; 5] = ["market-data", "signal", "execution", "persistence", "bridge"];

#[test]
fn a_log_that_can_not_be_written_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for stage in STAGES {
        let code = |log: Stdio| {
            let mut command = Command::new(programs().join(stage));
            command.arg("--state").arg(folder.path().join("none"));
            command.current_dir(root()).stdin(Stdio::null()).stderr(log);
            command.status().unwrap().code()
        };
        // As on a full disk: every write fails.
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(code(full.into()), Some(66), "{stage}");
        assert_eq!(code(Stdio::null()), Some(66), "{stage}");
    }
}

#[test]
fn a_taken_port_is_named_with_its_holder_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    for option in ["--nats-port", "--dashboard-port", "--gateway-port"] {
        let mut arguments = run_all_arguments(folder.path());
        let place = arguments.iter().position(|argument| argument == option).unwrap();
        arguments[place + 1] = port.to_string();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = supervisor(&arguments);
        let text = words(&output);
        assert_eq!(output.status.code(), Some(69), "{text}");
        assert!(
            text.contains(&port.to_string()) && text.contains(option),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_bad_row_is_named_with_file_and_line() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let market = folder.path().join("bad");
    std::fs::create_dir(&market).unwrap();
    let text = "timestamp,open,high,low,close,volume\n\
                2013-10-07T13:30:00Z,1,2,0.5,1,10\n2013-10-07T13:31:00Z,1,oops,0.5,1,10\n";
    std::fs::write(market.join("SPY.csv"), text).unwrap();
    let state = folder.path().join("state");
    let market = market.display().to_string();
    let (code, text) = tokio::task::spawn_blocking(move || run_all(&state, &["--market", &market]))
        .await
        .unwrap();
    assert_eq!(code, Some(65), "{text}");
    assert!(
        text.contains("SPY.csv") && text.contains('3') && !text.contains("panicked"),
        "{text}"
    );
}

#[tokio::test]
async fn without_a_model_the_rest_runs_and_says_so() {
    let whole = Whole::with(|folder, arguments| {
        let models = folder.join("models");
        std::fs::create_dir(&models).unwrap();
        let models = format!("models = {:?}", models.display().to_string());
        arguments.config = Some(settings_with(folder, "models = \"models\"", &models).into());
    })
    .await;
    let degraded = || async {
        whole
            .stack
            .health("signal")
            .filter(|health| health.state == HealthState::Degraded)
    };
    let health = until("signal says that it has no model", PATIENCE, degraded).await;
    assert!(health.text.contains("model"), "{}", health.text);
    let output = status(&whole).await;
    assert_eq!(output.0, Some(1), "{}", output.1);
    assert!(
        output.1.contains("degraded") && output.1.contains(&health.text),
        "{}",
        output.1
    );
    whole.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_down_is_a_visible_state_and_is_taken_up_when_it_comes() {
    let whole = Whole::with(|_, arguments| {
        let port = supervisor::ports::free().unwrap();
        arguments.gateway_port = None;
        arguments.broker = Some(format!("127.0.0.1:{port}"));
    })
    .await;
    for stage in ["market-data", "execution"] {
        let degraded = || async {
            whole
                .stack
                .health(stage)
                .filter(|health| health.state == HealthState::Degraded)
        };
        let health = until(
            &format!("{stage} says that the gateway is down"),
            PATIENCE,
            degraded,
        )
        .await;
        assert!(
            health.text.contains(&whole.stack.plan.settings.broker.address),
            "{}",
            health.text
        );
        assert_eq!(whole.stack.kept(stage), Some(supervisor::record::Kept::Running));
    }
    let mut gateway = gateway(&whole);
    for stage in ["market-data", "execution"] {
        let ready = || async {
            whole
                .stack
                .health(stage)
                .filter(|health| health.state == HealthState::Ready)
        };
        until(
            &format!("{stage} is ready once the gateway is up"),
            PATIENCE,
            ready,
        )
        .await;
    }
    whole.stop().await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

fn gateway(whole: &Whole) -> Child {
    Command::new(programs().join("tradewind-paper-gateway"))
        .args(["--listen", &whole.stack.plan.settings.broker.address, "--state"])
        .arg(whole.folder.path().join("gateway"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the paper gateway starts")
}

pub async fn status(whole: &Whole) -> (Option<i32>, String) {
    let state = whole.stack.plan.state.display().to_string();
    let output = tokio::task::spawn_blocking(move || supervisor(&["status", "--state", &state]))
        .await
        .unwrap();
    (output.status.code(), words(&output))
}

#[tokio::test]
async fn what_can_not_be_read_ends_nothing_and_is_told_once_a_subject() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &[]).await;
    let scene = Scene::start(plan(&folder.path().join("state"), &gateway)).await;
    scene.ready().await;
    let (bus, pid) = (scene.stack.bus().unwrap(), scene.stack.pid("execution"));
    let alerts = bus.subscribe::<Alert>("alert.execution.unreadable-message").await;
    let mut alerts = alerts.unwrap();
    let (market, models) = (scene.user("market-data").await, scene.user("signal").await);
    let held = HELD.parse().unwrap();
    let (quotes, signals) = (subject::quote(held), subject::signal(held));

    // Twice this price is more than a decimal holds.
    let price = "70000000000000000000000000000";
    let poisoned = json!({
        "id": "one", "at": "2013-10-07T13:30:00Z", "symbol": HELD, "bid": price, "ask": price, "tradable": true,
    });
    for _ in 0..3 {
        market.publish(quotes.as_str(), &poisoned).await.unwrap();
    }
    let told = tokio::time::timeout(PATIENCE, alerts.next()).await;
    let told = told.expect("an alert").expect("the bus is open").body;
    assert_eq!((told.level, told.symbol), (Level::Critical, Some(held)));
    assert!(
        told.text.contains(&quotes) && told.text.contains("no price"),
        "{}",
        told.text
    );
    models.publish(signals.as_str(), &"buy!").await.unwrap();
    let told = tokio::time::timeout(PATIENCE, alerts.next()).await;
    let told = told.expect("an alert").expect("the bus is open").body;
    assert!(told.text.contains(&signals), "{}", told.text);
    assert_eq!(scene.stack.pid("execution"), pid, "it goes on");
    scene.stop().await;
}
