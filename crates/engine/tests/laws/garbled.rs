//! What can't be read is told, and not with every message.

use engine::trader::{Garbled, Input};
use protocol::decision::{Level, Regime};
use protocol::subject::{self, filter};

use crate::world::{World, symbol, told};

const KIND: &str = "unreadable-message";

fn say(world: &mut World, subject: &str) {
    world.step(Input::Garbled(Garbled {
        subject: subject.to_owned(),
        why: "expected value at line 1 column 1".to_owned(),
    }));
}

#[test]
fn what_can_not_be_read_is_told_once_a_subject_until_something_on_it_can() {
    let mut world = World::new(&[("AAPL", "50")]);
    let (quotes, signals) = (subject::quote(symbol("AAPL")), subject::signal(symbol("AAPL")));
    for _ in 0..3 {
        say(&mut world, &quotes);
        say(&mut world, &signals);
        say(&mut world, filter::SESSION);
        world.later(100);
    }
    let alerts = told(&world, KIND);
    assert_eq!(alerts.len(), 3);
    for (alert, place) in alerts.iter().zip([quotes.as_str(), &signals, filter::SESSION]) {
        assert_eq!(alert.level, Level::Critical);
        let whose = (place != filter::SESSION).then(|| symbol("AAPL"));
        assert_eq!(alert.symbol, whose, "{place}");
        assert!(
            alert.text.contains(place) && alert.text.contains("expected value"),
            "{}",
            alert.text
        );
    }
    // Another stock's quote mends nothing.
    world.quote("NVDA", "100");
    say(&mut world, &quotes);
    assert_eq!(told(&world, KIND).len(), 3);
    world.quote("AAPL", "100");
    say(&mut world, &quotes);
    assert_eq!(told(&world, KIND).len(), 4, "it is broken again");
    world.signal("AAPL", 0.1, 0.1, Regime::Sideways);
    say(&mut world, &signals);
    assert_eq!(told(&world, KIND).len(), 5);
    assert!(world.intents.is_empty(), "nothing is decided from it");
}

#[test]
fn what_can_be_read_only_now_and_then_is_told_once_a_minute() {
    let mut world = World::new(&[]);
    let quotes = subject::quote(symbol("AAPL"));
    for _ in 0..120 {
        world.quote("AAPL", "100");
        say(&mut world, &quotes);
        world.later(1);
    }
    assert_eq!(told(&world, KIND).len(), 2);
}

#[test]
fn a_subject_of_any_length_makes_a_short_alert_and_many_of_them_few() {
    let mut world = World::new(&[]);
    say(&mut world, &"market.quote.".repeat(1_000));
    assert!(told(&world, KIND)[0].text.len() < 1_000);
    for number in 0..2_000 {
        say(&mut world, &format!("market.quote.{number}"));
    }
    assert_eq!(told(&world, KIND).len(), 1_000);
}
