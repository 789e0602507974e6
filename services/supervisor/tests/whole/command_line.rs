//! The stock `nats` CLI works as the README types it, and a person can read what it prints.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{demo, root, tool, words};
use crate::pipeline::first_trade;

/// Types a line into a shell that has read the operator's credentials.
async fn typed(state: &Path, line: &str) -> Output {
    let nats = tool("nats");
    let line = format!(". {:?}; {line}", state.join("operator.env").display().to_string());
    let path = format!(
        "{}:{}",
        nats.parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let shell = move || {
        Command::new("sh")
            .args(["-c", &line])
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
    };
    tokio::task::spawn_blocking(shell)
        .await
        .unwrap()
        .expect("sh runs")
}

/// The lines that are JSON.
fn json_lines(output: &Output) -> Vec<Value> {
    words(output)
        .lines()
        .filter_map(|line| serde_json::from_str(line.trim()).ok())
        .filter(Value::is_object)
        .collect()
}

#[tokio::test]
async fn the_readmes_examples_work_as_typed() {
    let whole = demo().await;
    first_trade(&whole).await;
    let state = whole.stack.plan.state.clone();

    let output = typed(&state, "nats sub 'market.>' --count 5").await;
    let messages = json_lines(&output);
    assert!(
        output.status.success() && messages.iter().any(|message| message["symbol"].is_string()),
        "{}",
        words(&output)
    );

    // The pager asks on a terminal; `script` is one.
    let output = typed(
        &state,
        "printf 'n\\n' | timeout 8 script -qec 'nats stream view LEDGER' /dev/null",
    )
    .await;
    let records = json_lines(&output);
    assert!(
        records
            .iter()
            .any(|record| record["kind"] == "epoch" && record["epoch"].is_number()),
        "{}",
        words(&output)
    );

    let output = typed(&state, "nats request query.positions ''").await;
    let answers = json_lines(&output);
    assert!(
        output.status.success() && answers.iter().any(|answer| answer["items"].is_array()),
        "{}",
        words(&output)
    );

    let output = typed(&state, "nats request command.halt ''").await;
    let answers = json_lines(&output);
    assert!(
        answers
            .iter()
            .any(|answer| answer["verb"] == "halt" && answer["accepted"] == true),
        "{}",
        words(&output)
    );

    let output = typed(&state, "nats stream ls").await;
    let text = words(&output);
    assert!(
        output.status.success()
            && ["MARKET", "EVENTS", "LEDGER"]
                .iter()
                .all(|name| text.contains(name)),
        "{text}"
    );

    let output = typed(&state, "nats service ls").await;
    let text = words(&output);
    assert!(
        output.status.success() && supervisor::stack::STAGES.iter().all(|stage| text.contains(stage)),
        "{text}"
    );
    whole.stop().await;
}

#[test]
fn the_readme_types_these_examples() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    for example in [
        "nats sub 'market.>'",
        "nats stream view LEDGER",
        "nats request query.positions ''",
        "nats request command.halt ''",
        "nats stream ls",
        "nats service ls",
    ] {
        assert!(readme.contains(example), "README.md shows {example}");
    }
}
