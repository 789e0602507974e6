//! Exits that stand still, at a limit that the market left or as inactive, are cancelled, and made anew only then.

use engine::reconcile::BrokerStatus;
use engine::trader::Input;
use protocol::Quantity;
use protocol::decision::Level;
use protocol::ledger::Reason;
use protocol::market::{Phase, Quote};
use protocol::operator::Verb;

use crate::world::{World, evening, hear, number, stays, told};

fn limit(world: &World) -> Quantity {
    world.intents.last().unwrap().1.limit_price.unwrap()
}

/// The order ids of all intents but the latest.
fn earlier(world: &World) -> Vec<i32> {
    let (_, earlier) = world.intents.split_last().unwrap();
    earlier.iter().map(|(_, intent)| intent.order_id).collect()
}

#[test]
fn a_stop_whose_limit_the_market_left_is_cancelled_and_priced_anew_once_that_is_final() {
    let mut world = evening("90");
    assert_eq!(limit(&world), number("89.55"));
    hear(&mut world, BrokerStatus::Working);
    stays(&mut world, "88", 10);
    assert!(world.cancels.is_empty(), "it may come back");
    stays(&mut world, "89.6", 1);
    stays(&mut world, "88", 10);
    assert!(world.cancels.is_empty(), "it did, for a moment");
    stays(&mut world, "88", 1);
    let order_id = world.intents[0].1.order_id;
    assert_eq!(world.cancels, [order_id]);
    // Nothing else goes out before the cancellation is final, however long that takes; it is asked for again.
    stays(&mut world, "80", 60);
    assert!((12..=13).contains(&world.cancels.len()), "{:?}", world.cancels);
    assert_eq!((world.intents.len(), told(&world, "exit-left").len()), (1, 1));
    let id = world.intents[0].0.clone();
    world.fill(&id, "20", "89.55");
    hear(&mut world, BrokerStatus::Cancelled);
    stays(&mut world, "80", 20);
    assert_eq!(earlier(&world), [order_id]);
    assert_eq!(
        (limit(&world), world.intents[1].1.quantity),
        (number("79.6"), number("30"))
    );
}

#[test]
fn a_limit_stays_where_nobody_knows_the_price_or_nothing_else_could_go_out() {
    let mut silent = evening("90");
    hear(&mut silent, BrokerStatus::Working);
    for _ in 0..60 {
        let quote = Quote {
            tradable: false,
            ..silent.quote_of("AAPL", "88")
        };
        silent.step(Input::Quote(quote));
        silent.step(Input::Tick);
        silent.later(1);
    }
    assert!(
        silent.cancels.is_empty(),
        "what may not be traded on says nothing"
    );
    let mut closed = evening("90");
    hear(&mut closed, BrokerStatus::Working);
    closed.step(Input::Gate(Some("the link is down".into())));
    stays(&mut closed, "88", 60);
    assert!(closed.cancels.is_empty());
    closed.step(Input::Gate(None));
    closed.phase(Phase::Closed);
    stays(&mut closed, "88", 60);
    assert!(closed.cancels.is_empty());
}

#[test]
fn what_an_operator_closes_is_made_again_when_its_limit_was_left_unless_all_is_to_stop() {
    for stop in [None, Some(Verb::CancelAll), Some(Verb::Kill)] {
        let mut world = evening("100");
        assert!(world.ask(Verb::Close, Some("AAPL")));
        hear(&mut world, BrokerStatus::Working);
        stays(&mut world, "99.4", 11);
        assert_eq!(world.cancels.len(), 1);
        if let Some(verb) = stop {
            assert!(world.ask(verb, None));
        }
        hear(&mut world, BrokerStatus::Cancelled);
        stays(&mut world, "99.4", 30);
        let made = if stop.is_none() { 2 } else { 1 };
        assert_eq!(world.intents.len(), made, "{stop:?}");
        if stop.is_none() {
            assert_eq!(world.intents[1].1.reason, Reason::Close);
            assert_eq!(limit(&world), number("98.9"));
        }
    }
}

#[test]
fn an_emergency_exit_takes_an_exit_that_stands_still_off_the_market_first() {
    let mut world = evening("100");
    assert!(world.ask(Verb::Close, Some("AAPL")));
    hear(&mut world, BrokerStatus::Working);
    assert!(
        !world.ask(Verb::EmergencyExit, Some("AAPL")),
        "it may fill any moment"
    );
    stays(&mut world, "99.4", 1);
    assert!(world.cancels.is_empty());
    assert!(world.ask(Verb::EmergencyExit, Some("AAPL")));
    let text = &world.replies.last().unwrap().text;
    assert!(
        text.contains("99.5") && text.contains("99.4") && text.contains("cancelled"),
        "{text}"
    );
    assert_eq!(world.cancels.len(), 1, "at once");
    stays(&mut world, "99.4", 5);
    assert_eq!(world.intents.len(), 1, "never two at once");
    hear(&mut world, BrokerStatus::Cancelled);
    stays(&mut world, "99.4", 5);
    assert_eq!(earlier(&world).len(), 1);
    assert_eq!(world.intents[1].1.reason, Reason::EmergencyExit);
}

#[test]
fn an_inactive_exit_says_so_and_makes_way_once_it_is_over() {
    for emergency in [false, true] {
        let mut world = World::new(&[("AAPL", "50")]);
        world.quote("AAPL", "100");
        assert!(world.ask(Verb::Close, Some("AAPL")));
        hear(&mut world, BrokerStatus::Inactive);
        assert_eq!(world.cancels.len(), 1);
        let alerts = told(&world, "order-inactive");
        assert_eq!((alerts.len(), alerts[0].level), (1, Level::Critical));
        assert!(alerts[0].text.contains("made again"), "{}", alerts[0].text);
        if emergency {
            assert!(world.ask(Verb::EmergencyExit, Some("AAPL")));
            let text = &world.replies.last().unwrap().text;
            assert!(
                text.contains("inactive") && text.contains("command.settle"),
                "{text}"
            );
        }
        stays(&mut world, "100", 30);
        assert_eq!(world.intents.len(), 1);
        hear(&mut world, BrokerStatus::Cancelled);
        stays(&mut world, "100", 1);
        let reason = if emergency {
            Reason::EmergencyExit
        } else {
            Reason::Close
        };
        assert_eq!(world.intents.last().unwrap().1.reason, reason);
        assert_eq!(earlier(&world).len(), 1);
    }
}
