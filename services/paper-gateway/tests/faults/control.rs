//! The control port and the scenario: what they take, and what they refuse.

use std::process::Command;

use paper_gateway::{ControlError, Gateway, ScenarioError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Stage, options};
use wire_client::{DEADLINE, Raw, framed, lines};

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_answered_by_a_line() {
    let mut stage = Stage::new().await;
    let mut client = stage.client(7).await;
    client.buy(1, "AAPL", 5, Some(10.0)).await;
    client.story("Submitted 0/5").await;
    let orders = stage.order(r#"{"ask":"orders"}"#).await;
    assert_eq!(
        (&orders["orders"][0]["client"], &orders["orders"][0]["order_id"]),
        (&json!(7), &json!(1))
    );
    let clients = stage.order(r#"{"ask":"clients"}"#).await;
    assert_eq!(clients["clients"][0]["client"], json!(7));
    let regime = stage.order(r#"{"ask":"regime","symbol":"AAPL"}"#).await;
    let known = ["bull", "bear", "sideways", "volatile"];
    assert!(
        known.contains(&regime["regime"].as_str().unwrap_or_default()),
        "{regime}"
    );

    let rule = stage
        .order(r#"{"fault":"swallow","when":{"client":7,"out":"current-time"}}"#)
        .await;
    let number = rule["rule"].as_u64().unwrap();
    let listed = stage.order(r#"{"ask":"faults"}"#).await;
    assert_eq!(listed["rules"][0]["rule"]["fault"], json!("swallow"), "{listed}");
    assert_eq!(listed["rules"][0]["rule"]["when"]["out"], json!("current-time"));
    stage.order(&format!(r#"{{"clear":{number}}}"#)).await;
    assert!(stage.say(&format!(r#"{{"clear":{number}}}"#)).await["error"].is_string());
    assert!(client.sync().await.is_empty(), "the rule is gone");

    for (line, said) in [
        ("rubbish", "no JSON object"),
        (r#"{"fault":"swallow","loud":true}"#, "unknown field `loud`"),
        (
            r#"{"fault":"correct-execution","price":"1"}"#,
            "no such execution",
        ),
        (
            r#"{"fault":"roll-back-ids","client":1,"next":1499999999}"#,
            "the next order id is above 0 and below 1499999999",
        ),
        (
            r#"{"fault":"manual-trade","symbol":"ZZZZ","side":"buy","quantity":"1"}"#,
            "ZZZZ is not traded here",
        ),
        (
            r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"1000000"}"#,
            "201: Order rejected - reason:Your Available Funds are insufficient",
        ),
        (
            r#"{"fault":"swallow","when":{"out":"order-status","symbol":"ZZZZ"}}"#,
            "ZZZZ is not traded here",
        ),
        (r#"{"ask":"regime","symbol":"ZZZZ"}"#, "ZZZZ is not traded here"),
    ] {
        let answer = stage.say(line).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(said), "{line}: {answer}");
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_commands_nothing() {
    let mut stage = Stage::new().await;
    let address = stage.gateway.control_address().unwrap();
    let mut page = TcpStream::connect(address).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: here\r\nContent-Type: text/plain\r\n\r\n{\"fault\":\"swallow\",\"when\":{\"out\":\"any\"}}\n";
    page.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).await.ok();
    assert!(!answer.contains("ok"), "{answer}");
    let listed = stage.order(r#"{"ask":"faults"}"#).await;
    assert_eq!(listed["rules"], json!([]), "{listed}");
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_long_ends_its_connection_and_no_other() {
    let mut stage = Stage::new().await;
    let address = stage.gateway.control_address().unwrap();
    let mut long = TcpStream::connect(address).await.unwrap();
    long.write_all(&vec![b' '; 20_000]).await.ok();
    let mut answer = String::new();
    long.read_to_string(&mut answer).await.ok();
    assert!(
        answer.is_empty() || answer.contains("longer than 16384 bytes"),
        "{answer}"
    );
    stage.order(r#"{"ask":"faults"}"#).await;
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn control_is_off_by_default_and_only_for_this_machine() {
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&options(state.path(), &[])).await.unwrap();
    assert_eq!(gateway.control_address(), None);
    gateway.stop().await.unwrap();
    let open = options(state.path(), &["--control", "0.0.0.0:0"]);
    let error = Gateway::start(&open).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(ControlError::Open(_))),
        "{error}"
    );
    assert!(error.to_string().contains("use 127.0.0.1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_plays_its_lines_at_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("night.jsonl");
    let text = "# A wait for an order, and a farm that breaks.\n\n\
        {\"fault\":\"reject\",\"code\":201,\"when\":{\"in\":\"place-order\"}}\n\
        {\"at_seconds\":0.2,\"fault\":\"farm\",\"farm\":\"history\",\"state\":\"begins\"}\n";
    std::fs::write(&file, text).unwrap();
    let options = options(folder.path(), &["--scenario", file.to_str().unwrap()]);
    let gateway = Gateway::start(&options).await.unwrap();
    let mut client = Raw::connect(gateway.address(), 1).await;
    client.buy(1, "AAPL", 1, None).await;
    let told = client.story("error 201").await;
    let at_first = lines(&client.notices);
    // Whoever connects before the farm breaks is told when it does, whoever comes later at once.
    if !told.iter().chain(&at_first).any(|line| line == "error 2105") {
        client.story("error 2105").await;
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_is_checked_wholly_before_anything_opens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.jsonl");
    std::fs::write(
        &file,
        "{\"fault\":\"port-reset\"}\n{\"fault\":\"link\",\"state\":\"sad\"}\n",
    )
    .unwrap();
    let state = folder.path().join("state");
    let with = ["--scenario", file.to_str().unwrap()];
    let error = Gateway::start(&options(&state, &with)).await.unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(ScenarioError::Line(_, 2, _))),
        "{error}"
    );
    assert!(
        error.to_string().contains("line 2: unknown variant `sad`"),
        "{error}"
    );
    let unknown = folder.path().join("unknown.jsonl");
    let line = "{\"fault\":\"manual-trade\",\"symbol\":\"ZZZZ\",\"side\":\"buy\",\"quantity\":\"1\"}\n";
    std::fs::write(&unknown, format!("# A trade by hand.\n{line}")).unwrap();
    let unknown = ["--scenario", unknown.to_str().unwrap()];
    let error = Gateway::start(&options(&state, &unknown)).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("line 2: ZZZZ is not traded here"), "{said}");
    let rule = "{\"fault\":\"swallow\",\"when\":{\"in\":\"ids\"}}\n";
    for (line, most) in [("{\"clear\":\"all\"}\n", 10_000), (rule, 1_000)] {
        let many = folder.path().join("many.jsonl");
        std::fs::write(&many, format!("# Many.\n{}", line.repeat(most + 1))).unwrap();
        let with = ["--scenario", many.to_str().unwrap()];
        let error = Gateway::start(&options(&state, &with)).await.unwrap_err();
        let said = format!("line {}: a scenario has at most 10000 lines", most + 2);
        assert!(error.to_string().contains(&said), "{error}");
    }
    assert!(!state.exists(), "nothing was made");
    for (more, code) in [
        (&with[..], 65),
        (&["--scenario", "/nowhere"], 66),
        (&["--control", "0.0.0.0:0"], 64),
    ] {
        let program = env!("CARGO_BIN_EXE_tradewind-paper-gateway");
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--state"]).arg(&state);
        let ended = command.args(more).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_writes_down_where_its_control_port_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tradewind-paper-gateway"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
            "--control-file",
        ])
        .arg(&file)
        .arg("--state")
        .arg(folder.path())
        .args(["--symbols", "AAPL"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let end = tokio::time::Instant::now() + DEADLINE;
    let address = loop {
        match std::fs::read_to_string(&file) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ if tokio::time::Instant::now() < end => tokio::task::yield_now().await,
            _ => panic!("no address in time"),
        }
    };
    let mut control = TcpStream::connect(address).await.unwrap();
    control.write_all(b"{\"ask\":\"clients\"}\n").await.unwrap();
    let mut answer = [0; 12];
    control.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"{\"clients\":[");
    program.kill().unwrap();
    program.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_page_can_be_said_and_cleared() {
    let mut stage = Stage::new().await;
    let page = include_str!("../../../../docs/paper-gateway-faults.md");
    let quoted = page.split('`').filter(|text| text.starts_with("{\"fault"));
    let faults: Vec<&str> = quoted.collect();
    assert!(faults.len() > 25);
    for fault in faults {
        let mut client = stage.client(11).await;
        let order_id = client.next_id;
        let answer = stage.say(fault).await;
        let known = answer["ok"] == json!(true) || answer["error"] == json!("there is no such execution");
        assert!(known, "{fault}: {answer}");
        // The fault may end the connection at any of these.
        let order = Raw::order(order_id, "AAPL", 10, None).0;
        for (number, body) in [(3, &order[..]), (61, &[]), (49, &[]), (71, &[8, 11])] {
            client.socket.write_all(&framed(number, body)).await.ok();
        }
        stage.order(r#"{"clear":"all"}"#).await;
        drop(client);
        let mut other = stage.client(12).await;
        other.sync().await;
        drop(other);
        until_alone(&mut stage).await;
    }
    stage.gateway.stop().await.unwrap();
}

/// Waits until the gateway has noticed that its clients left.
async fn until_alone(stage: &mut Stage) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while stage.order(r#"{"ask":"clients"}"#).await["clients"] != json!([]) {
        assert!(tokio::time::Instant::now() < end, "a client stays");
    }
}
