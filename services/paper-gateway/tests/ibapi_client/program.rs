//! The program itself: its first line, its exit codes, signals, and kill -9.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ibapi::accounts::PositionUpdate;
use ibapi::orders::{Action, OrderUpdate, order_builder};
use ibapi::prelude::*;

use crate::harness::until;

fn command(state: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind-paper-gateway"));
    command
        .args(["--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .args(more);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

/// Starts the program and reads from its first line where it listens.
fn start(state: &Path) -> (Child, String) {
    let mut child = command(state, &[]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .strip_prefix("listening on ")
        .unwrap_or_else(|| panic!("first line: {line:?}"));
    (child, address.trim().to_owned())
}

/// How the program ends when it can't start: its code and the last line that it says.
fn refusal(state: &Path, more: &[&str]) -> (i32, String) {
    let mut child = command(state, more).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (
        child.wait().unwrap().code().unwrap(),
        said.lines().last().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_and_terminate_ends_well() {
    let state = tempfile::tempdir().unwrap();
    let (mut child, address) = start(state.path());
    let client = Client::connect(&address, 11).await.unwrap();
    let mut updates = client.order_update_stream().await.unwrap();
    let contract = Contract::stock("SOFI").build();
    client
        .submit_order(1, &contract, &order_builder::market_order(Action::Buy, 5.0))
        .await
        .unwrap();
    until("commission", &mut updates, |update| {
        matches!(update, OrderUpdate::CommissionReport(_))
    })
    .await;
    client
        .submit_order(2, &contract, &order_builder::limit_order(Action::Buy, 5.0, 1.0))
        .await
        .unwrap();
    until("order", &mut updates, |update| {
        matches!(update, OrderUpdate::OpenOrder(_))
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();

    let (mut child, address) = start(state.path());
    let client = Client::connect(&address, 11).await.unwrap();
    assert_eq!(client.next_valid_order_id().await.unwrap(), 3);
    let positions = client.positions().await.unwrap();
    let held = until("positions", positions, |item| {
        matches!(item, PositionUpdate::PositionEnd)
    })
    .await;
    assert_eq!(held.len(), 2, "{held:?}");
    let ended = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(ended.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_a_person_gets_wrong_is_one_sentence_and_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let market = folder.path().join("market");
    let market = market.to_str().unwrap();
    let (code, said) = refusal(&state, &["--market", market]);
    assert_eq!(code, 66, "{said}");
    assert!(
        said.contains("can't be read") && said.contains("--market"),
        "{said}"
    );

    std::fs::create_dir(market).unwrap();
    std::fs::write(
        format!("{market}/SPY.csv"),
        "timestamp,open,high,low,close,volume\n2013-10-07T13:30:00Z,1,1,1,1\n",
    )
    .unwrap();
    let (code, said) = refusal(&state, &["--market", market]);
    assert_eq!(code, 65, "{said}");
    assert!(
        said.contains("SPY.csv, line 2: 6 fields are needed, 5 are there"),
        "{said}"
    );

    let latin = b"timestamp,open,high,low,close,volume\n2013-10-07T13:30:00Z,1,1,1,1,1 \xA3\n";
    std::fs::write(format!("{market}/SPY.csv"), latin).unwrap();
    let (code, said) = refusal(&state, &["--market", market]);
    assert_eq!(code, 65, "{said}");
    assert!(
        said.contains("SPY.csv, line 2: the line is not UTF-8 text"),
        "{said}"
    );

    let (mut running, address) = start(&state);
    let (code, said) = refusal(&state, &[]);
    assert_eq!(code, 73, "{said}");
    assert!(
        said.contains("another paper gateway already keeps its account"),
        "{said}"
    );
    let (code, said) = refusal(&folder.path().join("other"), &["--listen", &address]);
    assert_eq!(code, 69, "{said}");
    assert!(
        said.contains("can't listen on") && said.contains("--listen"),
        "{said}"
    );
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(refusal(&state, &["--speed", "fast"]).0, 64);
    for (option, address) in [
        ("--listen", "nonsense"),
        ("--listen", ":4010"),
        ("--listen", "127.0.0.1:65536"),
        ("--control", "127.0.0.1"),
    ] {
        let (code, said) = refusal(&state, &[option, address]);
        assert_eq!(code, 64, "{option} {address}: {said}");
    }
    let (code, said) = refusal(&state, &["--not-shortable", "SOFI,ZZZZ"]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("ZZZZ, which is not traded here"), "{said}");
    for name in ["", " ", "DU 1", "DU1,DU2"] {
        assert_eq!(refusal(&state, &["--account", name]).0, 64, "{name}");
    }
}
