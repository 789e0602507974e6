//! The last gate: one pure function that every order passes immediately before it is written to the broker. It counts
//! for itself what went out and knows nothing of how an order was decided, so that a mistake in deciding stops here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::SignedDuration;
use jiff::civil::Date;
use protocol::ledger::{Intent, Reason, Side};
use protocol::settings::Risk;
use protocol::{Id, Money, Quantity, Symbol, Timestamp};

use crate::day::trading_day;

/// Why an order does not leave, although its intent is written. Nothing of it was sent, so it is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The decision was sent before.
    #[error("this very decision was sent before")]
    Repeated,
    /// The order id is not above all that were used.
    #[error("order id {0} was used before, or a higher one was")]
    OrderId(i32),
    /// The kill switch was latched meanwhile.
    #[error("the kill switch is latched")]
    Killed,
    /// The way to the broker was closed meanwhile.
    #[error("{0}")]
    Closed(String),
    /// It is called an exit and would not only reduce.
    #[error("it is to reduce a position of {held} shares and does not only do that")]
    NotAnExit {
        /// Shares held when it was decided.
        held: Quantity,
    },
    /// An entry above a limit of one order.
    #[error("{quantity} shares worth ${notional} are above the limits of one order")]
    TooLarge {
        /// Shares.
        quantity: Quantity,
        /// Their worth at the price it was decided at.
        notional: Money,
    },
    /// Too many orders went out in a minute.
    #[error("{0} orders went out within a minute")]
    PerMinute(usize),
    /// Too many entries of the symbol went out today.
    #[error("{0} entries of the symbol went out today")]
    PerDay(u32),
}

/// An order that the gate stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsent {
    /// The decision.
    pub id: Id,
    /// What would have been sent.
    pub intent: Intent,
    /// Why it was not.
    pub why: Stopped,
}

/// What this incarnation sent, and the limits that it may not pass whatever was decided.
#[derive(Debug)]
pub struct Gate {
    limits: Risk,
    sent: BTreeSet<Id>,
    order_id_max: i32,
    minute: VecDeque<Timestamp>,
    day: Option<Date>,
    entries_today: BTreeMap<Symbol, u32>,
}

impl Gate {
    /// Begins with nothing sent; `order_id_max` is the highest order id ever used.
    #[must_use]
    pub fn new(limits: Risk, order_id_max: i32) -> Self {
        Self {
            limits,
            sent: BTreeSet::new(),
            order_id_max,
            minute: VecDeque::new(),
            day: None,
            entries_today: BTreeMap::new(),
        }
    }

    /// Lets an order pass, and counts it, or says why not. `at` is the market clock; `closed` says why nothing may be
    /// sent now, if so. Limits hold entries back and never an exit that only reduces; the kill switch holds back all but
    /// an emergency exit.
    ///
    /// # Errors
    /// Why it does not leave.
    pub fn pass(
        &mut self,
        at: Timestamp,
        id: &Id,
        intent: &Intent,
        killed: bool,
        closed: Option<&str>,
    ) -> Result<(), Stopped> {
        if self.sent.contains(id) {
            return Err(Stopped::Repeated);
        }
        if intent.order_id <= self.order_id_max {
            return Err(Stopped::OrderId(intent.order_id));
        }
        if killed && intent.reason != Reason::EmergencyExit {
            return Err(Stopped::Killed);
        }
        if let Some(reason) = closed {
            return Err(Stopped::Closed(reason.to_owned()));
        }
        self.turn(at);
        if intent.reason == Reason::Entry {
            self.entry(intent)?;
            *self.entries_today.entry(intent.symbol).or_default() += 1;
        } else {
            only_reduces(intent)?;
        }
        self.sent.insert(id.clone());
        self.order_id_max = intent.order_id;
        self.minute.push_back(at);
        Ok(())
    }

    /// Forgets what is older than a minute, and the entries of another day.
    fn turn(&mut self, at: Timestamp) {
        let minute_ago = at - SignedDuration::from_secs(60);
        while self.minute.front().is_some_and(|sent| *sent <= minute_ago) {
            self.minute.pop_front();
        }
        let today = Some(trading_day(at));
        if self.day != today {
            self.day = today;
            self.entries_today.clear();
        }
    }

    fn entry(&self, intent: &Intent) -> Result<(), Stopped> {
        let (limits, quantity) = (&self.limits, intent.quantity);
        let notional = quantity * intent.reference_price.unwrap_or_default();
        if quantity > limits.shares_per_symbol_max || notional > limits.notional_per_symbol_max {
            return Err(Stopped::TooLarge { quantity, notional });
        }
        if self.minute.len() >= limits.orders_per_minute_max as usize {
            return Err(Stopped::PerMinute(self.minute.len()));
        }
        let entries = self
            .entries_today
            .get(&intent.symbol)
            .copied()
            .unwrap_or_default();
        if entries >= limits.trades_per_symbol_per_day_max {
            return Err(Stopped::PerDay(entries));
        }
        Ok(())
    }
}

fn only_reduces(intent: &Intent) -> Result<(), Stopped> {
    let against = match intent.side {
        Side::Sell => intent.basis.is_sign_positive(),
        Side::Buy => intent.basis.is_sign_negative(),
    };
    if against && intent.quantity <= intent.basis.abs() {
        Ok(())
    } else {
        Err(Stopped::NotAnExit { held: intent.basis })
    }
}

#[cfg(test)]
mod tests {
    use protocol::ledger::{OrderType, TimeInForce};

    use super::*;

    fn gate() -> Gate {
        Gate::new(crate::testing::settings().risk, 100)
    }

    fn at(seconds: i64) -> Timestamp {
        let start: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
        start + SignedDuration::from_secs(seconds)
    }

    fn id(number: i32) -> Id {
        Id::derive(&["test", &number.to_string()])
    }

    fn order(order_id: i32, reason: Reason) -> Intent {
        let entry = reason == Reason::Entry;
        Intent {
            symbol: "AAPL".parse().unwrap(),
            side: if entry { Side::Buy } else { Side::Sell },
            quantity: 10.into(),
            order_type: OrderType::Market,
            limit_price: None,
            time_in_force: TimeInForce::Day,
            outside_regular_hours: false,
            reason,
            target: if entry { 10.into() } else { Quantity::ZERO },
            basis: if entry { Quantity::ZERO } else { 10.into() },
            order_id,
            reference_price: Some(100.into()),
        }
    }

    #[test]
    fn a_decision_and_an_order_id_leave_once() {
        let mut gate = gate();
        let entry = order(101, Reason::Entry);
        assert_eq!(gate.pass(at(0), &id(1), &entry, false, None), Ok(()));
        assert_eq!(
            gate.pass(at(0), &id(1), &order(102, Reason::Entry), false, None),
            Err(Stopped::Repeated)
        );
        assert_eq!(
            gate.pass(at(0), &id(2), &entry, false, None),
            Err(Stopped::OrderId(101))
        );
        assert_eq!(
            gate.pass(at(0), &id(3), &order(100, Reason::Stop), false, None),
            Err(Stopped::OrderId(100))
        );
    }

    #[test]
    fn the_kill_switch_stops_all_but_an_emergency_exit_and_a_closed_way_stops_that_too() {
        let mut gate = gate();
        for reason in [Reason::Entry, Reason::Stop, Reason::Flatten] {
            assert_eq!(
                gate.pass(at(0), &id(1), &order(101, reason), true, None),
                Err(Stopped::Killed)
            );
        }
        let exit = order(101, Reason::EmergencyExit);
        let closed = gate.pass(at(0), &id(1), &exit, true, Some("the link is down"));
        assert_eq!(closed, Err(Stopped::Closed("the link is down".into())));
        assert_eq!(
            gate.pass(at(0), &id(1), &exit, true, None),
            Ok(()),
            "what was stopped was not counted"
        );
    }

    #[test]
    fn what_is_called_an_exit_only_reduces() {
        let mut gate = gate();
        let more = Intent {
            quantity: 11.into(),
            ..order(101, Reason::Stop)
        };
        let held = Quantity::from(10);
        assert_eq!(
            gate.pass(at(0), &id(1), &more, false, None),
            Err(Stopped::NotAnExit { held })
        );
        let adds = Intent {
            side: Side::Buy,
            ..order(101, Reason::Stop)
        };
        assert_eq!(
            gate.pass(at(0), &id(1), &adds, false, None),
            Err(Stopped::NotAnExit { held })
        );
        let flat = Intent {
            basis: Quantity::ZERO,
            ..order(101, Reason::Close)
        };
        assert_eq!(
            gate.pass(at(0), &id(1), &flat, false, None),
            Err(Stopped::NotAnExit { held: Quantity::ZERO })
        );
        let covers = Intent {
            side: Side::Buy,
            basis: Quantity::from(-10),
            ..order(101, Reason::Stop)
        };
        assert_eq!(gate.pass(at(0), &id(1), &covers, false, None), Ok(()));
    }

    #[test]
    fn entries_have_limits_and_exits_pass_beyond_them() {
        let mut gate = gate();
        let large = Intent {
            quantity: 1_000_000.into(),
            ..order(101, Reason::Entry)
        };
        assert!(matches!(
            gate.pass(at(0), &id(0), &large, false, None),
            Err(Stopped::TooLarge { .. })
        ));
        let per_day = gate.limits.trades_per_symbol_per_day_max;
        let mut number = 100;
        let mut next = |gate: &mut Gate, seconds: i64, reason: Reason| {
            number += 1;
            gate.pass(at(seconds), &id(number), &order(number, reason), false, None)
        };
        for _ in 0..per_day {
            assert_eq!(next(&mut gate, 0, Reason::Entry), Ok(()));
        }
        assert_eq!(next(&mut gate, 0, Reason::Entry), Err(Stopped::PerDay(per_day)));
        let per_minute = gate.limits.orders_per_minute_max as usize;
        while gate.minute.len() < per_minute {
            assert_eq!(next(&mut gate, 30, Reason::Stop), Ok(()));
        }
        assert_eq!(
            next(&mut gate, 30, Reason::Stop),
            Ok(()),
            "an exit passes every limit"
        );
        // A day later the symbol may be bought again, and the minute is over.
        assert_eq!(next(&mut gate, 86_400, Reason::Entry), Ok(()));
        let full = Gate {
            minute: vec![at(86_400); per_minute].into(),
            ..gate
        };
        let mut gate = full;
        assert_eq!(
            next(&mut gate, 86_401, Reason::Entry),
            Err(Stopped::PerMinute(per_minute))
        );
    }
}
