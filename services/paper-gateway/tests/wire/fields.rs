//! Every field of an order is honoured, ignored or refused, as the page about them says.

use std::collections::BTreeMap;

use crate::harness::{FINE, gateway};
use wire_client::{Body, Raw, about};

/// The number of the last field of IB's message.
const LAST: u32 = 145;
/// What a field that is not set may hold: nothing, or the greatest number of its kind.
const NOTHING: f64 = f64::MAX;

/// The fields under a heading of the page: their numbers and names.
fn fields(heading: &str) -> BTreeMap<u32, String> {
    let page = include_str!("../../../../docs/paper-gateway-orders.md");
    let (_, rest) = page.split_once(&format!("## {heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let quoted = section.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|quoted| {
            let (number, name) = quoted.split_once(' ')?;
            Some((number.parse().ok()?, name.to_owned()))
        })
        .collect()
}

/// A field with something in it, of each kind that a field can be.
fn values(number: u32) -> [Body; 3] {
    let order = || {
        Body::default()
            .text(5, "BUY")
            .text(6, "1")
            .text(8, "LMT")
            .double(9, 1.0)
            .int(66, 1)
    };
    [
        order().int(number, 1),
        order().double(number, 1.5),
        order().text(number, "x"),
    ]
}

#[test]
fn every_field_is_in_one_list() {
    let mut numbers: Vec<u32> = ["Honoured", "Refused", "Ignored"]
        .iter()
        .flat_map(|heading| fields(heading).into_keys())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=LAST).collect::<Vec<u32>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_would_change_the_trade_are_refused_by_name() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let mut refused = fields("Refused");
    refused.insert(LAST + 1, (LAST + 1).to_string());
    for (number, name) in refused {
        for order in values(number) {
            let told = client.ask(3, &about(1, "AAPL").part(3, &order)).await;
            assert_eq!(told.len(), 1, "{name}: {told:?}");
            let text = told[0].text(4).unwrap();
            assert_eq!(told[0].code(), Some(321), "{name}: {text}");
            assert!(text.contains(&format!("the field {name} of the order")), "{text}");
        }
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_change_nothing_and_those_that_are_not_set_are_no_hindrance() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let mut id = 0;
    for number in fields("Ignored").into_keys() {
        for order in values(number) {
            id += 1;
            let codes = client.codes(3, &about(id, "AAPL").part(3, &order)).await;
            assert_eq!(codes, FINE, "field {number}");
        }
    }
    for number in fields("Refused").into_keys() {
        let [order, ..] = values(66);
        let unset = order
            .int(number, 0)
            .int(number, i64::from(i32::MAX))
            .double(number, 0.0)
            .double(number, NOTHING)
            .text(number, "");
        id += 1;
        let codes = client.codes(3, &about(id, "AAPL").part(3, &unset)).await;
        assert_eq!(codes, FINE, "field {number}");
    }
    gateway.stop().await.unwrap();
}
