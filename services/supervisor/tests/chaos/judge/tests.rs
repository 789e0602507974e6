//! Each judge is told a lie of its own and must find it.

use protocol::operator::Verb;
use serde_json::json;

use super::*;
use crate::watch::Stored;

fn accepted(id: &str, shares: &str) -> Value {
    let ticket = json!({"reference": id, "symbol": "A", "side": "buy", "quantity": shares});
    json!({"record": "accepted", "order": {"client": OURS, "ticket": ticket}})
}

fn filled(number: u64, id: &str, side: &str, shares: &str) -> Value {
    json!({"record": "filled", "fill": {"number": number, "perm_id": 7, "client": OURS, "reference": id,
        "symbol": "A", "side": side, "quantity": shares, "price": "5", "commission": "0.35"}})
}

fn order(event: &str) -> Value {
    json!({"kind": "order", "epoch": 1, "order": "one", "event": event, "symbol": "A", "side": "buy",
        "execution_id": "00000007.00000001.01.01", "quantity": "10", "price": "5", "commission": "0.35"})
}

fn records() -> Vec<Value> {
    vec![
        json!({"kind": "identity", "epoch": 0}),
        json!({"kind": "epoch", "epoch": 1}),
        json!({"kind": "opening", "epoch": 1, "cash": "1000", "positions": {}}),
        json!({"kind": "intent", "epoch": 1, "id": "one", "cause": "why", "symbol": "A", "side": "buy", "quantity": "10"}),
    ]
}

fn evidence(facts: Vec<Value>, records: Vec<Value>) -> Evidence {
    let (mut ledger, mut hash) = (Ledger::new(), Hash::zero());
    for (record, sequence) in records.into_iter().zip(1..) {
        let mut record = record;
        record["previous_hash"] = hash.0.into();
        hash = Hash::of(record.to_string().as_bytes());
        let stored = Stored {
            subject: String::new(),
            hash: hash.clone(),
            record,
        };
        ledger.insert(sequence, stored);
    }
    let (books, end) = (books_of(&ledger), ledger.len() as u64);
    let hashes = ledger
        .iter()
        .map(|(at, stored)| (*at, stored.hash.clone()))
        .collect();
    let told = Told {
        sequence: end,
        books: books.clone(),
        hashes,
        ..Told::default()
    };
    let (seen, stories) = (ledger.clone(), stories(&ledger));
    let (positions, trades) = (books.positions(), books.executions());
    Evidence {
        facts,
        ledger,
        seen,
        told,
        stories,
        positions,
        trades,
        mark: end,
        working: 0,
    }
}

fn whole() -> Evidence {
    let facts = vec![
        json!({"record": "opened", "cash": "1000"}),
        accepted("one", "10"),
        filled(1, "one", "buy", "10"),
    ];
    evidence(facts, [records(), vec![order("fill")]].concat())
}

#[test]
fn what_is_one_story_is_right_and_each_lie_is_found() {
    let right = whole();
    assert_eq!(right.unsettled(), [""; 0]);
    assert_eq!(right.wrong(&[], &Ends::default()), [""; 0]);
    type Lie = fn(&mut Evidence);
    let lies: [(Lie, &str); 10] = [
        (|e| e.facts.push(accepted("one", "10")), "order one 2 times"),
        (|e| e.facts.push(accepted("two", "10")), "never decided"),
        (
            |e| e.facts[1] = accepted("one", "11"),
            "the broker has order one as",
        ),
        (|e| e.facts.push(filled(2, "one", "buy", "1")), "is not in LEDGER"),
        (
            |e| e.facts.push(filled(2, "one", "sell", "11")),
            "more was sold than was held",
        ),
        (
            |e| e.facts[2] = filled(1, "two", "buy", "10"),
            "a fill of order two counts for one",
        ),
        (|e| drop(e.ledger.remove(&4)), "is not what comes next"),
        (|e| drop(e.ledger.remove(&5)), "record 5 was seen and is lost"),
        (
            |e| drop(e.told.hashes.insert(2, Hash::zero())),
            "another record 2",
        ),
        (|e| e.told.wrong.push("a hole".to_owned()), "a hole"),
    ];
    for (lie, sentence) in lies {
        let mut evidence = whole();
        lie(&mut evidence);
        let found = evidence.wrong(&[], &Ends::default());
        assert!(
            found.iter().any(|text| text.contains(sentence)),
            "{sentence}: {found:?}"
        );
    }
    let late: [(Lie, &str); 5] = [
        (|e| e.mark = 4, "the database is at record 4"),
        (|e| e.positions.clear(), "the database holds {}"),
        (|e| e.trades.clear(), "trades of database and LEDGER differ"),
        (|e| e.told.books = Books::default(), "the browser holds {}"),
        (|e| e.working = 1, "1 orders still work"),
    ];
    for (lie, sentence) in late {
        let mut evidence = whole();
        lie(&mut evidence);
        let found = evidence.unsettled();
        assert!(
            found.iter().any(|text| text.contains(sentence)),
            "{sentence}: {found:?}"
        );
    }
}

#[test]
fn silence_absence_and_odd_ends_are_judged() {
    let absent = evidence(
        vec![accepted("one", "10")],
        [records(), vec![order("absent")]].concat(),
    );
    assert!(absent.wrong(&[], &Ends::default())[0].contains("was called absent and is at the broker"));
    let endless = evidence(vec![accepted("one", "10")], records());
    assert!(
        endless
            .unsettled()
            .iter()
            .any(|text| text.contains("order one has no end"))
    );
    let two = json!({"kind": "intent", "epoch": 1, "id": "two", "cause": "why", "symbol": "A"});
    let twice = evidence(Vec::new(), [records(), vec![two]].concat());
    assert!(twice.wrong(&[], &Ends::default())[0].contains("two orders follow from why"));
    let said = |accepted: bool| json!({"kind": "command", "epoch": 1, "id": "c", "accepted": accepted});
    let asked = |outcome| {
        [Asked {
            id: "c".parse().unwrap(),
            verb: Verb::Halt,
            outcome,
        }]
    };
    for (recorded, outcome, right) in [
        (vec![said(true)], Outcome::Ok, true),
        (vec![], Outcome::Ok, false),
        (vec![said(true), said(true)], Outcome::Ok, false),
        (vec![said(false)], Outcome::Failed, true),
        (vec![said(true)], Outcome::Failed, false),
        (vec![], Outcome::Unknown, true),
        (vec![said(true)], Outcome::Unknown, true),
        (vec![said(true), said(true)], Outcome::Unknown, false),
    ] {
        let evidence = evidence(Vec::new(), [records(), recorded].concat());
        assert_eq!(
            evidence.wrong(&asked(outcome), &Ends::default()).is_empty(),
            right,
            "{outcome:?}"
        );
    }
    let ends = Ends::default();
    ends.lock().unwrap().insert(("execution", 101), 1);
    assert!(whole().wrong(&[], &ends)[0].contains("exit code 101"));
}
