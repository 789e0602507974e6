//! The language of faults: lines that are read, lines that are refused, and the page that explains them.

use std::time::Duration;

use super::facts::Facts;
use super::kind::{Fault, Place};
use super::line::{Ask, Clear, Order, Times, Trigger, parse};
use super::rules::Rules;
use crate::request::Request;

const PAGE: &str = include_str!("../../../../docs/paper-gateway-faults.md");

#[test]
fn lines_are_read() {
    let line = parse(
        r#"{"fault":"cut","at":"after","when":{"client":11,"in":"place-order","nth":2},"at_seconds":1.5}"#,
    );
    let line = line.unwrap();
    assert_eq!(line.after, Some(Duration::from_millis(1500)));
    let Order::When(trigger, Fault::Cut { at: Place::After }) = line.order else {
        panic!("{:?}", line.order)
    };
    assert_eq!(
        (trigger.client, trigger.nth, trigger.times),
        (Some(11), 2, Times::Number(1))
    );
    assert_eq!(
        parse(r#"{"clear":"all"}"#).unwrap().order,
        Order::Clear(Clear::All)
    );
    let asked = parse(r#"{"ask":"regime","symbol":"AAPL"}"#).unwrap().order;
    assert!(matches!(asked, Order::Ask(Ask::Regime { .. })));
    let all = parse(r#"{"fault":"swallow","when":{"out":3,"times":"all"}}"#)
        .unwrap()
        .order;
    assert!(matches!(
        all,
        Order::When(
            Trigger {
                times: Times::All(_),
                ..
            },
            _
        )
    ));
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    for (text, said) in [
        ("[]", "this is no JSON object"),
        ("{}", "a line has one of the fields"),
        (
            r#"{"fault":"swallow","ask":"orders"}"#,
            "a line has one of the fields",
        ),
        (r#"{"fault":"rain"}"#, "unknown variant `rain`"),
        (
            r#"{"fault":"notice","code":1100,"colour":1}"#,
            "unknown field `colour`",
        ),
        (r#"{"fault":"port-reset","colour":1}"#, "unknown field `colour`"),
        (r#"{"fault":"cut","at":"after"}"#, "needs `when`"),
        (
            r#"{"fault":"swallow","when":{"client":1}}"#,
            "one of `in` and `out`",
        ),
        (
            r#"{"fault":"swallow","when":{"out":"weather"}}"#,
            "`weather` is no message to a client",
        ),
        (
            r#"{"fault":"swallow","when":{"out":"error","who":1}}"#,
            "unknown field `who`",
        ),
        (
            r#"{"fault":"swallow","when":{"out":"error","nth":0}}"#,
            "count from 1",
        ),
        (r#"{"fault":"duplicate","when":{"in":"ids"}}"#, "use `out`"),
        (
            r#"{"fault":"reject","code":201,"when":{"out":"error"}}"#,
            "use `\"in\":\"place-order\"`",
        ),
        (r#"{"fault":"ghost","seconds":1}"#, "needs `client`"),
        (
            r#"{"fault":"ghost","client":1,"seconds":-1}"#,
            "`seconds` must be",
        ),
        (
            r#"{"fault":"delay","when":{"out":"error"}}"#,
            "one of `seconds` and `until`",
        ),
        (r#"{"fault":"pacing","messages":0}"#, "above 0"),
        (r#"{"ask":"orders","at_seconds":"soon"}"#, "`at_seconds` must be"),
        (r#"{"ask":"orders","at_seconds":1}"#, "a question has no"),
        (
            r#"{"fault":"correct-execution","price":"79228162514264337593543950335"}"#,
            "at most 1000000",
        ),
        (
            r#"{"fault":"partial-fill","shares":"1e20","when":{"in":"place-order"}}"#,
            "whole number",
        ),
        (r#"{"clear":"some"}"#, "`clear` is `all` or"),
        (r#"{"clear":"all","too":1}"#, "unknown field `too`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_rule_that_nothing_could_set_off_is_refused() {
    for (text, said) in [
        (
            r#"{"fault":"swallow","when":{"in":"positions","symbol":"AAPL"}}"#,
            "need a message about an order",
        ),
        (
            r#"{"fault":"swallow","when":{"out":"completed-order","order_ref":"7"}}"#,
            "need a message about an order",
        ),
        (
            r#"{"fault":"swallow","when":{"in":"place-order","status":"Filled"}}"#,
            "`status` needs `out`",
        ),
        (
            r#"{"fault":"swallow","when":{"out":"order-status","code":201}}"#,
            "`code` needs `out`",
        ),
        (
            r#"{"fault":"silence","when":{"in":"positions"}}"#,
            "silence needs a message about an order",
        ),
        (r#"{"fault":"notice","code":399,"order_id":7}"#, "needs `client`"),
        (
            r#"{"fault":"manual-trade","symbol":"AAPL","side":"buy","quantity":"1","order_id":-1}"#,
            "-2 or below",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_rule_counts_the_messages_that_it_means() {
    let mut rules = Rules::default();
    let line = r#"{"fault":"swallow","when":{"client":1,"in":"ids","nth":2,"times":2}}"#;
    let Order::When(trigger, fault) = parse(line).unwrap().order else {
        panic!("a rule")
    };
    rules.add(trigger, fault).unwrap();
    let mut told = Vec::new();
    for (client, number) in [(1, 8), (2, 8), (1, 49), (1, 8), (1, 8), (1, 8)] {
        let facts = Facts::of_request(client, number, &Request::Ids);
        told.push(rules.set_off(&facts).len());
    }
    assert_eq!(told, [0, 0, 0, 1, 1, 0]);
}

#[test]
fn every_line_of_the_page_is_one() {
    let quoted = PAGE
        .split('`')
        .filter(|text| text.starts_with("{\"") && !text.contains("\"ok\""));
    let lines = PAGE
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("{\"fault") || line.starts_with("{\"at_"));
    let mut count = 0;
    for line in quoted.filter(|text| !text.contains("error\":\"why")).chain(lines) {
        count += 1;
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
    assert!(count > 35, "{count} lines");
}

#[test]
fn the_page_has_every_fault_with_a_test_that_exists() {
    let unknown = parse(r#"{"fault":"?"}"#).unwrap_err();
    let faults: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
    assert!(faults.len() > 20, "{unknown}");
    for fault in faults {
        assert!(
            PAGE.contains(&format!("{{\"fault\":\"{fault}\"")),
            "{fault} is not on the page"
        );
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults");
    let mut tests = String::new();
    for file in std::fs::read_dir(folder).unwrap() {
        tests += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    for row in PAGE.lines().filter(|line| line.starts_with("| `{\"fault")) {
        let named = row.rsplit('|').nth(1).unwrap();
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(
                tests.contains(&format!("async fn {name}()")),
                "there is no test {name}"
            );
        }
    }
}
