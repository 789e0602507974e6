//! An exit without an answer holds back the next one, and not for longer than it takes to find out about it.

use engine::desk::{Deed, Desk, End, Input};
use engine::portfolio::Portfolio;
use engine::reconcile::{BrokerOrder, BrokerStatus, Pass, Truth};
use engine::testing::settings;
use engine::trader::Ask;
use jiff::SignedDuration;
use protocol::market::Phase;
use protocol::operator::{Command, Verb};
use protocol::{Id, Timestamp};

use crate::desk::{append, notice};
use crate::world::{World, number, symbol};

fn ends(deeds: &[Deed]) -> bool {
    deeds.iter().any(|deed| matches!(deed, Deed::End(End::Again(_))))
}

struct Office {
    desk: Desk,
    now: Timestamp,
}

impl Office {
    /// A desk that trades, on an account with 50 shares of AAPL, whose close was asked for and never answered.
    fn closing() -> Self {
        let world = World::new(&[("AAPL", "50")]);
        let now = "2026-11-23T15:00:00Z".parse().unwrap();
        let mut office = Self::begin(&world.trader.portfolio, now, &[]);
        let quote = world.quote_of("AAPL", "100");
        office.step(Input::Quote(quote));
        assert!(office.close().contains("are being closed"));
        office
    }

    /// A desk begins on this ledger while the broker shows these orders as working.
    fn begin(portfolio: &Portfolio, now: Timestamp, open: &[BrokerOrder]) -> Self {
        let mut desk = Desk::new(settings(), portfolio.clone(), 0, 1);
        desk.hear(notice(2158));
        let mut office = Self { desk, now };
        let identity = portfolio.identity.clone().unwrap();
        let deeds = office.desk.begin(now, identity, "test", "0");
        append(&mut office.desk, &deeds);
        while !office.read(open, Pass::First).contains(&Deed::Trade) {}
        office
    }

    /// The next incarnation, which the broker shows these orders.
    fn again(&self, open: &[BrokerOrder]) -> Self {
        Self::begin(&self.desk.trader.portfolio, self.now, open)
    }

    /// The close as the broker shows it.
    fn shown(&self) -> BrokerOrder {
        let order = self.desk.trader.portfolio.open_orders().next().unwrap();
        BrokerOrder {
            limit_price: None,
            order_ref: order.id.to_string(),
            order_id: order.order_id,
            permanent_id: 7,
            symbol: order.symbol,
            side: order.side,
            quantity: order.quantity,
            status: BrokerStatus::Working,
            text: String::new(),
        }
    }

    fn step(&mut self, input: Input) -> Vec<Deed> {
        let deeds = self.desk.step(self.now, false, input);
        append(&mut self.desk, &deeds);
        deeds
    }

    fn close(&mut self) -> String {
        let ask = Ask {
            id: Id::derive(&["close", &self.now.to_string()]),
            verb: Verb::Close,
            by: "operator".into(),
            command: Command {
                symbol: Some(symbol("AAPL")),
                ..Command::default()
            },
        };
        let deeds = self.step(Input::Ask(ask));
        let text = deeds.into_iter().find_map(|deed| match deed {
            Deed::Reply(reply) => Some(reply.text),
            _ => None,
        });
        text.unwrap()
    }

    fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.step(Input::Tick);
    }

    /// The gateway says this of its link.
    fn hears(&mut self, code: i32) {
        self.desk.hear(notice(code));
        self.step(Input::Heard);
    }

    /// The market is told to be open, and to be a live one: its clock goes on with the wall's.
    fn opens(&mut self) {
        let mut world = World::new(&[]);
        world.now = self.now;
        let session = world.session(Phase::Regular, None);
        self.step(Input::Session(session, self.now));
    }

    /// The wall clock leaps over midnight, and that of a live market with it.
    fn leaps_into_the_next_day(&mut self) {
        self.opens();
        self.later(24 * 3_600);
    }

    /// The broker is read and shows these orders as working.
    fn read(&mut self, open: &[BrokerOrder], pass: Pass) -> Vec<Deed> {
        self.desk.step(self.now, false, Input::Look(pass));
        let truth = Truth {
            folded: self.desk.trader.portfolio.sequence,
            open: open.to_vec(),
            ..World::new(&[("AAPL", "50")]).truth(&[("AAPL", number("50"))])
        };
        self.step(Input::Truth(Ok(truth), pass))
    }
}

#[test]
fn an_exit_that_the_broker_does_not_show_ends_the_incarnation_that_can_not_say_what_became_of_it() {
    let mut office = Office::closing();
    let patience = i64::from(settings().broker.second_pass_seconds);
    assert!(!ends(&office.read(&[], Pass::Running)));
    office.later(patience - 1);
    let text = office.close();
    assert!(text.contains("command.settle"), "{text}");
    assert!(!ends(&office.read(&[], Pass::Running)), "it may be on its way");
    office.later(1);
    assert!(ends(&office.read(&[], Pass::Running)));
}

#[test]
fn an_exit_that_the_broker_shows_or_that_its_link_may_hide_ends_nothing() {
    let mut office = Office::closing();
    office.later(3_600);
    let shown = office.shown();
    assert!(!ends(&office.read(&[shown], Pass::Running)));
    office.desk.hear(engine::desk::Notice {
        code: 1100,
        text: "lost".into(),
        order_id: 0,
    });
    office.step(Input::Heard);
    assert!(!ends(&office.read(&[], Pass::Running)));
}

#[test]
fn an_adopted_exit_that_the_broker_shows_no_more_ends_the_incarnation_and_then_makes_way() {
    let office = Office::closing();
    let shown = office.shown();
    let mut office = office.again(std::slice::from_ref(&shown));
    let patience = i64::from(settings().broker.second_pass_seconds);
    office.later(3_600);
    assert!(!ends(&office.read(std::slice::from_ref(&shown), Pass::Running)));
    office.later(patience - 1);
    assert!(
        !ends(&office.read(&[], Pass::Running)),
        "one reading may be of another moment"
    );
    office.later(1);
    assert!(ends(&office.read(&[], Pass::Running)));
    let mut office = office.again(&[]);
    office.later(patience);
    assert!(!ends(&office.read(&[], Pass::Second)));
    assert!(office.close().contains("are being closed"));
    // What was absent, appears and vanishes again is for a person: nobody can call it absent twice.
    let mut office = office.again(std::slice::from_ref(&shown));
    for _ in 0..3 {
        office.later(patience);
        assert!(!ends(&office.read(&[], Pass::Running)));
    }
}

#[test]
fn an_exit_whose_day_is_over_makes_way_after_two_looks_at_a_link_that_stayed_whole() {
    let office = Office::closing();
    let shown = office.shown();
    // It works, and waits at the broker for the next session.
    let mut office = office.again(std::slice::from_ref(&shown));
    office.leaps_into_the_next_day();
    office.read(std::slice::from_ref(&shown), Pass::Running);
    let id: Id = shown.order_ref.parse().unwrap();
    // True while the ledger has it as open, after so many seconds and a reading that does not show it.
    let is_open = |office: &mut Office, seconds: i64| {
        office.later(seconds);
        office.read(&[], Pass::Running);
        office.desk.trader.portfolio.orders[&id].state.may_fill()
    };
    let patience = i64::from(settings().broker.second_pass_seconds);
    office.hears(1100);
    for _ in 0..3 {
        assert!(is_open(&mut office, patience), "the gateway has forgotten it");
    }
    office.hears(1102);
    assert!(
        is_open(&mut office, 0),
        "what came in the outage counts for nothing"
    );
    assert!(is_open(&mut office, patience - 1));
    office.hears(1100);
    office.hears(1102);
    assert!(is_open(&mut office, 0));
    assert!(is_open(&mut office, 1), "the link changed in between");
    assert!(office.close().contains("on its way"));
    assert!(is_open(&mut office, patience - 2));
    assert!(!is_open(&mut office, 1));
    assert!(office.close().contains("are being closed"));
}

#[test]
fn a_clock_that_leaps_over_midnight_frees_no_exit_in_doubt() {
    let mut office = Office::closing();
    let holds_back = |office: &mut Office| office.close().contains("command.settle");
    office.leaps_into_the_next_day();
    assert!(holds_back(&mut office), "it was sent a moment ago");
    let deeds = office.read(&[], Pass::Running);
    assert!(ends(&deeds), "as on its own day, it is for the next one to say");
    let mut office = office.again(&[]);
    office.opens();
    let patience = i64::from(settings().broker.second_pass_seconds);
    office.later(patience - 1);
    office.read(&[], Pass::Second);
    assert!(holds_back(&mut office));
    office.later(1);
    office.read(&[], Pass::Second);
    assert!(
        office.close().contains("are being closed"),
        "two looks free the next"
    );
}

#[test]
fn an_exit_that_can_not_be_absent_again_makes_way_after_its_day_and_two_looks() {
    let office = Office::closing();
    let shown = office.shown();
    // Absent, found late, and lost again.
    let mut office = office.again(&[]);
    let patience = i64::from(settings().broker.second_pass_seconds);
    office.later(patience);
    office.read(&[], Pass::Second);
    office.read(std::slice::from_ref(&shown), Pass::Running);
    let mut office = office.again(&[]);
    office.later(patience);
    office.read(&[], Pass::Second);
    assert!(!office.close().contains("are being closed"));
    office.leaps_into_the_next_day();
    office.read(&[], Pass::Running);
    office.later(patience - 1);
    office.read(&[], Pass::Running);
    assert!(!office.close().contains("are being closed"));
    office.later(1);
    office.read(&[], Pass::Running);
    assert!(office.close().contains("are being closed"));
}
