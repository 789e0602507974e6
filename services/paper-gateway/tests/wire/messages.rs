//! Every request of the protocol is answered as the table in the docs says; that table is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::harness::gateway;
use wire_client::{Body, ERROR, Raw, about, numbered, stock};

/// The last number of a request.
const LAST: i32 = 109;
/// Numbers below it that are no requests.
const NO_REQUESTS: [i32; 24] = [
    26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 60,
];

/// A row of the table: numbers of the answers, and codes of the errors.
#[derive(Debug)]
struct Row {
    answers: BTreeSet<i32>,
    codes: BTreeSet<i64>,
}

fn table() -> BTreeMap<i32, Row> {
    let text = include_str!("../../../../docs/paper-gateway-messages.md");
    let mut table = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(number) = cells.get(1).and_then(|cell| cell.parse().ok()) else {
            continue;
        };
        assert_eq!(cells.len(), 6, "{line}");
        let answers = match cells[3] {
            "none" => BTreeSet::new(),
            cell => cell.split(',').map(|part| part.trim().parse().unwrap()).collect(),
        };
        let codes = cells[4].split(',').filter(|part| !part.is_empty());
        let codes = codes.map(|part| part.trim().parse().unwrap()).collect();
        let row = Row { answers, codes };
        assert!(
            table.insert(number, row).is_none(),
            "{number} is in the table twice"
        );
    }
    table
}

/// A request as a client would send it.
fn sensible(number: i32) -> Body {
    let id = 77;
    match number {
        1 => about(id, "AAPL").text(3, "233,236"),
        3 => {
            let order = Body::default()
                .text(5, "BUY")
                .text(6, "10")
                .text(8, "LMT")
                .double(9, 1.0)
                .int(66, 1);
            about(id, "AAPL").part(3, &order)
        }
        6 => Body::default().int(1, 1),
        7 => numbered(id).part(2, &Body::default()),
        10 => about(id, "AAPL").int(3, 5).int(4, 1),
        20 => about(id, "AAPL")
            .text(4, "1 min")
            .text(5, "600 S")
            .text(7, "TRADES")
            .int(8, 2),
        50 => about(id, "AAPL").int(3, 5).text(4, "TRADES"),
        62 => numbered(id).text(2, "All").text(3, "NetLiquidation,BuyingPower"),
        74 | 92 => numbered(id).text(2, "DU1000001"),
        76 => numbered(id).text(2, "DU1000001").int(4, 1),
        9 | 87 => about(id, "AAPL").text(4, "TRADES").int(5, 2),
        18 | 59 => numbered(1),
        81 => numbered(id).text(2, "AA"),
        83 => numbered(id).text(2, "9c0001"),
        88 => about(id, "AAPL").text(4, "1 day"),
        91 => numbered(26),
        96 => about(id, "AAPL")
            .text(4, "20260105-15:00:00")
            .int(5, 10)
            .text(6, "TRADES"),
        97 => about(id, "AAPL").text(3, "AllLast"),
        5 | 8 | 15 | 16 | 17 | 24 | 49 | 61 | 64 | 80 | 82 | 85 | 99 | 105 => Body::default(),
        65 | 66 | 72 | 73 => Body::default().text(1, "name"),
        _ => numbered(id),
    }
}

/// What a request is followed by later, which may be at once on a slow machine.
fn follows(number: i32) -> Option<i32> {
    match number {
        50 => Some(50),
        97 => Some(99),
        _ => None,
    }
}

#[test]
fn the_table_has_every_request() {
    let table = table();
    let numbers: BTreeSet<i32> = (1..=LAST)
        .filter(|number| !NO_REQUESTS.contains(number))
        .collect();
    assert_eq!(table.keys().copied().collect::<BTreeSet<i32>>(), numbers);
}

/// All numbers in the sources below a folder.
fn numbers_in(folder: &Path, found: &mut BTreeSet<i64>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            numbers_in(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap().replace('_', "");
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        found.extend(words.filter_map(|word| word.parse::<i64>().ok()));
    }
}

#[test]
fn the_table_promises_no_code_that_the_gateway_never_sends() {
    let mut known = BTreeSet::new();
    numbers_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut known);
    for (number, row) in table() {
        let missing: Vec<_> = row.codes.difference(&known).collect();
        assert!(
            missing.is_empty(),
            "request {number}: {missing:?} are sent nowhere"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered_as_the_table_says() {
    let (gateway, _state) = gateway(&[]).await;
    let mut con_id = 0;
    for (number, row) in table() {
        // Only client 0 may bind orders.
        let client_id = if number == 15 { 0 } else { number };
        let mut client = Raw::connect(gateway.address(), client_id).await;
        if number == 94 {
            let details = client.ask(9, &about(1, "AAPL")).await;
            con_id = details[0].parts(2)[0].int(1).unwrap();
        }
        let body = match number {
            94 => numbered(77).text(2, "DU1000001").int(4, con_id),
            number => sensible(number),
        };
        let told = client.ask(number, &body).await;
        // Cancels of what does not run may say so.
        assert!(
            row.answers.is_empty() || !told.is_empty(),
            "request {number} is not answered"
        );
        for message in told {
            match message.code() {
                Some(code) => {
                    assert!(
                        row.codes.contains(&code),
                        "request {number}: {code} is not in the table"
                    );
                    let id = message.int(1).unwrap();
                    assert!(
                        id == 77 || matches!(number, 18 | 65 | 66 | 72 | 73),
                        "{number}: {id}"
                    );
                }
                None => assert!(
                    row.answers.contains(&message.number) || follows(number) == Some(message.number),
                    "request {number}: answer {} is not in the table",
                    message.number
                ),
            }
        }
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_that_the_table_promises_come() {
    let (gateway, _state) = gateway(&[]).await;
    let table = table();
    let cases = [
        (1, about(1, "AAPL").int(4, 1), 57),
        (10, about(2, "AAPL").int(3, 5), 12),
        (10, about(3, "AAPL").int(3, 5).int(4, 1), 13),
        (
            20,
            about(4, "AAPL")
                .text(4, "1 day")
                .text(5, "5 D")
                .text(7, "SCHEDULE"),
            106,
        ),
        (20, about(4, "AAPL").text(4, "1 hour").text(5, "1 D"), 17),
        (
            96,
            about(5, "AAPL")
                .text(4, "20260105-15:00:00")
                .int(5, 3)
                .text(6, "MIDPOINT"),
            96,
        ),
        (
            96,
            about(6, "AAPL")
                .text(4, "20260105-15:00:00")
                .int(5, 3)
                .text(6, "BID_ASK"),
            97,
        ),
        (
            96,
            about(7, "AAPL")
                .text(3, "20260105-15:00:00")
                .int(5, 3)
                .text(6, "TRADES"),
            98,
        ),
    ];
    let mut client = Raw::connect(gateway.address(), 1).await;
    for (number, body, answer) in cases {
        let told = client.ask(number, &body).await;
        assert!(
            told.iter().any(|message| message.number == answer),
            "{number}: {told:?}"
        );
        assert!(
            table[&number].answers.contains(&answer),
            "{number}: {answer} is not in the table"
        );
    }
    gateway.stop().await.unwrap();
}

/// Requests for prices and history that make no sense, and what they are refused with.
fn senseless_prices() -> Vec<(i32, Body, i64)> {
    let history = |size: &str, duration: &str, what: &str| {
        about(1, "AAPL").text(4, size).text(5, duration).text(7, what)
    };
    vec![
        (1, about(1, "ZZZZ"), 200),
        (1, numbered(1).part(2, &stock("AAPL").text(3, "OPT")), 200),
        (1, numbered(1), 200),
        (2, numbered(1), 300),
        (4, numbered(5), 10147),
        (6, Body::default().int(1, 1).text(2, "DU9"), 321),
        (9, about(1, "ZZZZ"), 200),
        (10, about(1, "ZZZZ").int(3, 5), 200),
        (10, about(1, "AAPL").int(3, 0), 321),
        (10, about(1, "AAPL").int(3, -1), 321),
        (11, numbered(1), 310),
        (20, about(1, "ZZZZ").text(4, "1 min").text(5, "60 S"), 200),
        (20, history("4 min", "60 S", "TRADES"), 321),
        (20, history("1 min", "60 X", "TRADES"), 321),
        (20, history("1 min", "60 S", "NOTHING"), 321),
        (20, history("1 min", "60 S", "FEE_RATE"), 162),
        (20, history("1 secs", "1 D", "TRADES"), 162),
        (20, history("1 min", "60 S", "TRADES").text(3, "yesterday"), 321),
        (
            20,
            history("1 min", "60 S", "TRADES")
                .text(3, "20260105 10:00:00")
                .int(9, 1),
            321,
        ),
        (20, history("1 min", "60 S", "BID_ASK").int(9, 1), 321),
        (20, history("1 secs", "60 S", "TRADES").int(9, 1), 321),
        (
            20,
            history("1 day", "5 D", "ADJUSTED_LAST").text(3, "20260105 10:00:00"),
            321,
        ),
        (
            20,
            history("1 min", "60 S", "TRADES").text(3, "20100105 10:00:00"),
            162,
        ),
        (25, numbered(1), 366),
        (7, numbered(1).part(2, &Body::default().text(3, "yesterday")), 321),
        (7, numbered(1).part(2, &Body::default().text(7, "BOTH")), 321),
    ]
}

/// The rest of them.
fn senseless_others() -> Vec<(i32, Body, i64)> {
    let wrong = |id| numbered(id).text(2, "DU9");
    let ticks = |what: &str| {
        about(1, "AAPL")
            .text(3, "20260105-15:00:00")
            .int(5, 3)
            .text(6, what)
    };
    vec![
        (50, about(1, "ZZZZ"), 200),
        (50, about(1, "AAPL").text(4, "BID_ASK"), 321),
        (51, numbered(1), 300),
        (62, numbered(1).text(2, "Mine").text(3, "NetLiquidation"), 321),
        (74, wrong(1), 321),
        (76, wrong(1), 321),
        (87, about(1, "ZZZZ"), 200),
        (87, about(1, "AAPL").text(4, "NONSENSE"), 321),
        (87, about(1, "AAPL").text(4, "SCHEDULE"), 321),
        (87, about(1, "AAPL").text(4, "FEE_RATE"), 162),
        (88, about(1, "ZZZZ"), 200),
        (88, about(1, "AAPL").text(4, "often"), 321),
        (91, numbered(1), 321),
        (92, wrong(1), 321),
        (93, numbered(1), 10185),
        (94, numbered(1).text(2, "DU1000001").int(4, 5), 321),
        (95, numbered(1), 10186),
        (96, about(1, "ZZZZ"), 200),
        (96, ticks("TRADES").int(5, 1001), 321),
        (96, ticks("NOTHING"), 321),
        (96, ticks("TRADES").text(4, "20260105-16:00:00"), 321),
        (97, about(1, "ZZZZ"), 200),
        (97, about(1, "AAPL").text(3, "last"), 321),
        (97, about(1, "AAPL").text(3, "Last").int(4, 1001), 321),
        (97, about(1, "AAPL").text(3, "Last").int(4, -1), 321),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_as_the_table_says() {
    let (gateway, _state) = gateway(&[]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let table = table();
    for (number, body, code) in senseless_prices().into_iter().chain(senseless_others()) {
        let told = client.ask(number, &body).await;
        let codes: Vec<Option<i64>> = told.iter().map(|message| message.code()).collect();
        assert_eq!(codes, [Some(code)], "request {number}: {told:?}");
        // The one without a number of its own is answered as what concerns no request.
        assert!(number != 91 || told[0].int(1) == Some(-1), "{told:?}");
        assert!(
            table[&number].codes.contains(&code),
            "request {number}: {code} is not in the table"
        );
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_no_requests_are_harmless() {
    let (gateway, _state) = gateway(&[]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for number in NO_REQUESTS.into_iter().chain([110, 150, 300]) {
        assert_eq!(client.codes(number, &numbered(5)).await, [321], "{number}");
        let told = client.ask(number, &Body::default().text(1, "x")).await;
        assert!(told.iter().all(|message| message.number != ERROR), "{number}");
    }
    gateway.stop().await.unwrap();
}
