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

/// A market of the past.
const BARS: &str = "timestamp,open,high,low,close,volume\n2013-10-07T13:30:00Z,1,1,1,1,1\n";

/// What a program that runs says up to a line that holds such words; it is stopped then.
fn said_until(mut child: Child, words: &str) -> String {
    let lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    // Without the words, the log ends here: clients can connect.
    let mut said = String::new();
    for line in lines {
        said += &line;
        if line.contains(words) || line.contains("clients can connect") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
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

#[test]
fn an_account_belongs_to_its_market_and_keeps_its_name_and_cash() {
    let folder = tempfile::tempdir().unwrap();
    let market = folder.path().join("market");
    std::fs::create_dir(&market).unwrap();
    std::fs::write(market.join("SPY.csv"), BARS).unwrap();
    let market = market.to_str().unwrap();
    let run =
        |state: &Path, more: &[&str], words: &str| said_until(command(state, more).spawn().unwrap(), words);
    let state = folder.path().join("state");
    let said = run(&state, &["--cash", "500"], "--cash");
    assert!(!said.contains("--cash"), "{said}");
    let said = run(&state, &["--cash", "500.00"], "--cash");
    assert!(!said.contains("--cash"), "{said}");
    let said = run(&state, &["--cash", "501"], "--cash");
    assert!(said.contains("--cash is ignored"), "{said}");
    // Of another market, or of another name.
    for (more, other) in [
        (&["--account", "DU77"][..], "not DU77"),
        (&["--market", market], "not DU1000002"),
    ] {
        let (code, said) = refusal(&state, more);
        assert_eq!(code, 64, "{said}");
        assert!(
            said.contains("DU1000001") && said.contains(other) && said.contains("--state"),
            "{said}"
        );
    }
    // Under its own name it is still an account of times that these bars never reach.
    let (code, said) = refusal(&state, &["--account", "DU1000001", "--market", market]);
    assert_eq!(code, 64, "{said}");
    assert!(
        said.contains("end at 2013-10-07T13:31:00Z") && said.contains("--state"),
        "{said}"
    );
    // A replay that has ended can be looked at again.
    let past = folder.path().join("past");
    let late = ["--market", market, "--start", "2013-10-07T20:00:00Z"];
    for _ in 0..2 {
        let said = run(&past, &late, "clients can connect");
        assert!(said.contains("clients can connect"), "{said}");
    }
}

#[test]
fn a_time_that_can_t_be_read_is_said() {
    let state = tempfile::tempdir().unwrap();
    let run = || said_until(command(state.path(), &["--speed", "2"]).spawn().unwrap(), "clock");
    let said = run();
    assert!(!said.contains("clock"), "{said}");
    std::fs::write(state.path().join("clock"), "yesterday").unwrap();
    let said = run();
    assert!(said.contains("clock holds no time"), "{said}");
}

#[test]
fn a_refusal_gives_the_advice_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (code, said) = refusal(&state, &["--listen", "192.0.2.1:4010"]);
    assert_eq!(code, 69, "{said}");
    let cause = said.split(['(', ')']).nth(1).unwrap();
    assert!(
        said.contains("another address")
            && !said.contains("stop the program")
            && said.matches(cause).count() == 1,
        "{said}"
    );
    let market = folder.path().join("market");
    std::fs::create_dir(&market).unwrap();
    std::fs::write(market.join("SPY.csv"), BARS).unwrap();
    let market = market.to_str().unwrap();
    for symbols in ["NOPE", "SPY,NOPE"] {
        let (code, said) = refusal(&state, &["--market", market, "--symbols", symbols]);
        assert_eq!(code, 66, "{said}");
        let names_it = said.contains("no file of NOPE:") && said.contains(market);
        assert!(names_it && said.contains("--symbols"), "{said}");
    }
}
