//! The last gate: one pure function that every order passes immediately before it is written to the broker. It counts
//! for itself what went out and knows nothing of how an order was decided, so that a mistake in deciding stops here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use protocol::ledger::{Intent, Reason, Side};
use protocol::settings::Risk;
use protocol::{Id, Money, Quantity, Symbol, Timestamp};

use crate::day::trading_day;
use crate::others::Others;
use crate::portfolio::Portfolio;

/// Wall seconds that an entry may wait from its decision until it is written. An exit may wait: it only reduces.
pub const ENTRY_WAIT_SECONDS_MAX: u64 = 3;

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
    #[error(
        "it is to reduce a position of {held} shares, {leaving} of them on their way, and does not only do that"
    )]
    NotAnExit {
        /// Shares that may be closed now.
        held: Quantity,
        /// Shares of other orders that close them already.
        leaving: Quantity,
    },
    /// An entry that waited too long for its record.
    #[error("it waited {} ms for its record, and an entry may wait {ENTRY_WAIT_SECONDS_MAX} s", .0.as_millis())]
    Waited(Duration),
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

/// How things are at the moment before an order is written: looked at then, not when it was decided.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Market clock of the decision.
    pub at: Timestamp,
    /// Wall time since the decision.
    pub waited: Duration,
    /// True when any kill switch is latched: record, file or signal.
    pub killed: bool,
    /// Why nothing may be sent, if so.
    pub closed: Option<&'a str>,
    /// The fold, the intent included.
    pub portfolio: &'a Portfolio,
    /// Orders at the broker that are none of this ledger, by the latest reading.
    pub others: &'a Others,
}

/// What was sent, and the limits that may not be passed whatever was decided. What earlier incarnations sent is taken from
/// the ledger once, at the beginning: so that one that ends and begins again does not multiply the limits.
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
    /// Begins with the fold of the ledger before this incarnation's first order: each intent in it may have been sent.
    /// `order_id_max` is the highest order id ever used.
    #[must_use]
    pub fn new(limits: Risk, order_id_max: i32, portfolio: &Portfolio) -> Self {
        let decided = portfolio.orders.values().filter(|order| order.order_id != 0);
        let mut minute: Vec<_> = decided.map(|order| order.created_at).collect();
        minute.sort_unstable();
        Self {
            limits,
            sent: portfolio.orders.keys().cloned().collect(),
            order_id_max,
            minute: minute.into(),
            day: portfolio.day.date,
            entries_today: portfolio.day.entries.clone(),
        }
    }

    /// Lets an order pass, and counts it, or says why not. Limits hold entries back and never an exit that only reduces;
    /// the kill switch holds back all but an emergency exit. What an exit reduces is what is held now, less what other
    /// orders close already, whoever's they are: what the intent says of it is not believed.
    ///
    /// # Errors
    /// Why it does not leave.
    pub fn pass(&mut self, moment: &Moment<'_>, id: &Id, intent: &Intent) -> Result<(), Stopped> {
        if self.sent.contains(id) {
            return Err(Stopped::Repeated);
        }
        if intent.order_id <= self.order_id_max {
            return Err(Stopped::OrderId(intent.order_id));
        }
        if moment.killed && intent.reason != Reason::EmergencyExit {
            return Err(Stopped::Killed);
        }
        if let Some(reason) = moment.closed {
            return Err(Stopped::Closed(reason.to_owned()));
        }
        self.turn(moment);
        if intent.reason == Reason::Entry {
            if moment.waited > Duration::from_secs(ENTRY_WAIT_SECONDS_MAX) {
                return Err(Stopped::Waited(moment.waited));
            }
            self.entry(intent)?;
            *self.entries_today.entry(intent.symbol).or_default() += 1;
        } else {
            only_reduces(moment, id, intent)?;
        }
        self.sent.insert(id.clone());
        self.order_id_max = intent.order_id;
        self.minute.push_back(moment.at);
        Ok(())
    }

    /// Forgets what is older than a minute, and on another day its entries and the orders that are over.
    fn turn(&mut self, moment: &Moment<'_>) {
        let minute_ago = moment.at - SignedDuration::from_secs(60);
        while self.minute.front().is_some_and(|sent| *sent <= minute_ago) {
            self.minute.pop_front();
        }
        let today = Some(trading_day(moment.at));
        // Where the ledger's day is one that the market's clock has not reached, its entries count as today's.
        if self.day < today {
            self.day = today;
            self.entries_today.clear();
            let orders = &moment.portfolio.orders;
            self.sent
                .retain(|id| orders.get(id).is_some_and(|order| order.counts(moment.at)));
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

fn only_reduces(moment: &Moment<'_>, id: &Id, intent: &Intent) -> Result<(), Stopped> {
    let (portfolio, symbol) = (moment.portfolio, intent.symbol);
    let held = portfolio.certain(symbol);
    let ours = portfolio.leaving(symbol, intent.side, moment.at, Some(id));
    let leaving = ours + moment.others.rest(symbol, intent.side);
    let against = match intent.side {
        Side::Sell => held > Quantity::ZERO,
        Side::Buy => held < Quantity::ZERO,
    };
    if against && intent.quantity + leaving <= held.abs() {
        Ok(())
    } else {
        Err(Stopped::NotAnExit { held, leaving })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use protocol::ledger::{OrderType, TimeInForce};

    use super::*;
    use crate::order::{Order, OrderState};
    use crate::position::Position;
    use crate::reconcile::{BrokerOrder, BrokerStatus, Truth};

    static NONE: LazyLock<Others> = LazyLock::new(Others::default);

    fn gate() -> Gate {
        Gate::new(crate::testing::settings().risk, 100, &Portfolio::default())
    }

    fn at(seconds: i64) -> Timestamp {
        let start: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
        start + SignedDuration::from_secs(seconds)
    }

    fn id(number: i32) -> Id {
        Id::derive(&["test", &number.to_string()])
    }

    fn symbol() -> Symbol {
        "AAPL".parse().unwrap()
    }

    /// A fold in which so many shares are held.
    fn holding(shares: i64) -> Portfolio {
        let mut portfolio = Portfolio::default();
        let position = Position {
            quantity: shares.into(),
            ..Position::flat(symbol())
        };
        portfolio.positions.insert(symbol(), position);
        portfolio
    }

    /// A moment in which nothing stands in the way.
    fn calm(portfolio: &Portfolio, seconds: i64) -> Moment<'_> {
        Moment {
            at: at(seconds),
            waited: Duration::ZERO,
            killed: false,
            closed: None,
            portfolio,
            others: &NONE,
        }
    }

    fn order(order_id: i32, reason: Reason) -> Intent {
        let entry = reason == Reason::Entry;
        Intent {
            symbol: symbol(),
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
        let (mut gate, held) = (gate(), holding(10));
        let now = calm(&held, 0);
        let entry = order(101, Reason::Entry);
        assert_eq!(gate.pass(&now, &id(1), &entry), Ok(()));
        assert_eq!(
            gate.pass(&now, &id(1), &order(102, Reason::Entry)),
            Err(Stopped::Repeated)
        );
        assert_eq!(gate.pass(&now, &id(2), &entry), Err(Stopped::OrderId(101)));
        assert_eq!(
            gate.pass(&now, &id(3), &order(100, Reason::Stop)),
            Err(Stopped::OrderId(100))
        );
    }

    #[test]
    fn the_kill_switch_stops_all_but_an_emergency_exit_and_a_closed_way_stops_that_too() {
        let (mut gate, held) = (gate(), holding(10));
        let killed = Moment {
            killed: true,
            ..calm(&held, 0)
        };
        for reason in [Reason::Entry, Reason::Stop, Reason::Flatten] {
            assert_eq!(
                gate.pass(&killed, &id(1), &order(101, reason)),
                Err(Stopped::Killed)
            );
        }
        let exit = order(101, Reason::EmergencyExit);
        let closed = Moment {
            closed: Some("the link is down"),
            ..killed
        };
        assert_eq!(
            gate.pass(&closed, &id(1), &exit),
            Err(Stopped::Closed("the link is down".into()))
        );
        assert_eq!(
            gate.pass(&killed, &id(1), &exit),
            Ok(()),
            "what was stopped was not counted"
        );
    }

    #[test]
    fn an_entry_that_waited_too_long_stays_and_an_exit_leaves() {
        let (mut gate, held) = (gate(), holding(10));
        let waited = |milliseconds| Moment {
            waited: Duration::from_millis(milliseconds),
            ..calm(&held, 0)
        };
        let limit = ENTRY_WAIT_SECONDS_MAX * 1_000;
        assert_eq!(
            gate.pass(&waited(limit + 1), &id(1), &order(101, Reason::Entry)),
            Err(Stopped::Waited(Duration::from_millis(limit + 1)))
        );
        assert_eq!(
            gate.pass(&waited(limit), &id(1), &order(101, Reason::Entry)),
            Ok(())
        );
        assert_eq!(
            gate.pass(&waited(limit * 100), &id(2), &order(102, Reason::Stop)),
            Ok(())
        );
    }

    #[test]
    fn what_is_called_an_exit_only_reduces_what_is_held_now() {
        let tried = |shares: i64, intent: Intent| gate().pass(&calm(&holding(shares), 0), &id(1), &intent);
        let not = |held: i64| {
            Err(Stopped::NotAnExit {
                held: held.into(),
                leaving: Quantity::ZERO,
            })
        };
        let exit = || order(101, Reason::Stop);
        let buy = || Intent {
            side: Side::Buy,
            ..exit()
        };
        assert_eq!(tried(10, exit()), Ok(()));
        assert_eq!(tried(-10, buy()), Ok(()), "it covers");
        assert_eq!(tried(10, buy()), not(10), "it adds");
        // The intent says that 10 are held; what is held decides.
        assert_eq!(tried(9, exit()), not(9));
        assert_eq!(tried(0, exit()), not(0));
        assert_eq!(tried(-10, exit()), not(-10));
    }

    #[test]
    fn the_exits_that_are_on_their_way_are_less_to_reduce() {
        let mut held = holding(15);
        let first = order(101, Reason::Stop);
        let folded = Order::of(id(1), None, at(0), 1, &first);
        held.orders.insert(id(1), folded);
        let mut gate = gate();
        let leaving = |shares: i64| {
            Err(Stopped::NotAnExit {
                held: 15.into(),
                leaving: shares.into(),
            })
        };
        assert_eq!(
            gate.pass(&calm(&held, 0), &id(1), &first),
            Ok(()),
            "it does not count against itself"
        );
        let second = order(102, Reason::Close);
        assert_eq!(gate.pass(&calm(&held, 0), &id(2), &second), leaving(10));
        held.orders.get_mut(&id(1)).unwrap().filled = 5.into();
        assert_eq!(gate.pass(&calm(&held, 0), &id(2), &second), Ok(()));
        // An absent exit must not block the next one.
        let third = order(103, Reason::Close);
        held.orders.get_mut(&id(1)).unwrap().filled = Quantity::ZERO;
        assert_eq!(gate.pass(&calm(&held, 0), &id(3), &third), leaving(10));
        held.orders.get_mut(&id(1)).unwrap().state = OrderState::Absent;
        assert_eq!(gate.pass(&calm(&held, 0), &id(3), &third), Ok(()));
    }

    #[test]
    fn what_others_have_on_sale_is_less_to_reduce() {
        let held = holding(15);
        let tried = |others: &Others| {
            let moment = Moment {
                others,
                ..calm(&held, 0)
            };
            gate().pass(&moment, &id(1), &order(101, Reason::EmergencyExit))
        };
        let on_sale = |shares: i64| {
            let theirs = BrokerOrder {
                order_ref: String::new(),
                order_id: 0,
                permanent_id: 7,
                symbol: symbol(),
                side: Side::Sell,
                quantity: shares.into(),
                limit_price: None,
                status: BrokerStatus::Working,
                text: String::new(),
            };
            let truth = Truth {
                open: vec![theirs],
                ..Truth::default()
            };
            Others::of(&held, &truth)
        };
        assert_eq!(tried(&on_sale(5)), Ok(()));
        let leaving = 6.into();
        assert_eq!(
            tried(&on_sale(6)),
            Err(Stopped::NotAnExit {
                held: 15.into(),
                leaving
            })
        );
    }

    #[test]
    fn entries_have_limits_and_exits_pass_beyond_them() {
        let (mut gate, held) = (gate(), holding(10));
        let large = Intent {
            quantity: 1_000_000.into(),
            ..order(101, Reason::Entry)
        };
        assert!(matches!(
            gate.pass(&calm(&held, 0), &id(0), &large),
            Err(Stopped::TooLarge { .. })
        ));
        let per_day = gate.limits.trades_per_symbol_per_day_max;
        let mut number = 100;
        let mut next = |gate: &mut Gate, seconds: i64, reason: Reason| {
            number += 1;
            gate.pass(&calm(&held, seconds), &id(number), &order(number, reason))
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
        // A day later the symbol may be bought again, the minute is over, and what ended is forgotten.
        assert_eq!(next(&mut gate, 86_400, Reason::Entry), Ok(()));
        assert_eq!(gate.sent.len(), 1);
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
