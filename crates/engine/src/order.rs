//! The life of an order: one table of state and event. Fills are a set by execution id, and states only move towards
//! the truth, so the same events in any order, any number of times, end in the same state.

use std::collections::BTreeSet;

use protocol::ledger::{Intent, OrderChange, Reason, Side};
use protocol::{Id, Money, Price, Quantity, Symbol, Timestamp, subject};
use serde::{Deserialize, Serialize};

use crate::day::trading_day;

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderState {
    /// Its intent is in the ledger; it was sent at most once, and the broker has not spoken yet.
    Sent,
    /// The broker has it.
    Working,
    /// The broker has it and a part is filled.
    PartlyFilled,
    /// All of it is filled.
    Filled,
    /// The rest is off the market.
    Cancelled,
    /// The broker refused it.
    Rejected,
    /// Its fate is unknown.
    Unresolved,
    /// A later incarnation did not find it, twice.
    Absent,
}

impl OrderState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Sent,
        Self::Working,
        Self::PartlyFilled,
        Self::Filled,
        Self::Cancelled,
        Self::Rejected,
        Self::Unresolved,
        Self::Absent,
    ];

    /// True when nothing more is expected of it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Filled | Self::Cancelled | Self::Rejected)
    }

    /// True while it may still fill: limits count its rest as if it were filled.
    #[must_use]
    pub fn may_fill(self) -> bool {
        !self.is_terminal()
    }
}

/// What an event is to the table, without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStep {
    /// The broker acknowledged it, or it appeared late.
    Acknowledge,
    /// A fill that leaves a rest.
    PartFill,
    /// The fill that leaves none.
    LastFill,
    /// Taken off the market.
    Cancel,
    /// Refused by the broker.
    Reject,
    /// Nobody knows.
    LoseTrack,
    /// Looked for twice, not found.
    NotFound,
    /// It appeared after it was called absent.
    Appear,
}

impl OrderStep {
    /// Every step.
    pub const ALL: [Self; 8] = [
        Self::Acknowledge,
        Self::PartFill,
        Self::LastFill,
        Self::Cancel,
        Self::Reject,
        Self::LoseTrack,
        Self::NotFound,
        Self::Appear,
    ];
}

/// THE table: the state after a step.
#[must_use]
#[rustfmt::skip]
pub fn next(state: OrderState, step: OrderStep) -> OrderState {
    use {OrderState as State, OrderStep as Step};
    match (state, step) {
        // Whatever was said before, all of it is filled now: executions are the truth.
        (_, Step::LastFill) => State::Filled,
        (State::Filled, _) => State::Filled,

        // A fill may be told after the cancellation that it crossed; what is off the market stays off.
        (State::Cancelled, _) => State::Cancelled,
        // A broker may fill a part and refuse the rest; told in the other order it is the same.
        (State::Rejected, _) => State::Rejected,

        (_, Step::Cancel) => State::Cancelled,
        (_, Step::Reject) => State::Rejected,
        (_, Step::PartFill) => State::PartlyFilled,

        // What has filled in part is known to the broker; an acknowledgement says nothing new.
        (State::PartlyFilled, Step::Acknowledge | Step::Appear) => State::PartlyFilled,
        (_, Step::Acknowledge | Step::Appear) => State::Working,

        // A later incarnation's two fresh passes outrank not knowing; not knowing never outranks them.
        (State::Absent, Step::LoseTrack) => State::Absent,
        (_, Step::LoseTrack) => State::Unresolved,
        (_, Step::NotFound) => State::Absent,
    }
}

/// An order as the ledger tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The intent's id, which is the broker's `orderRef`.
    pub id: Id,
    /// The signal or command it follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Id>,
    /// What is traded.
    pub symbol: Symbol,
    /// Direction.
    pub side: Side,
    /// Shares ordered.
    pub quantity: Quantity,
    /// Shares filled.
    pub filled: Quantity,
    /// Dollars of the fills, price times shares.
    pub filled_notional: Money,
    /// Dollars the broker took.
    pub commission: Money,
    /// Where in its life.
    pub state: OrderState,
    /// Why it was decided.
    pub reason: Reason,
    /// The position aimed at.
    pub target: Quantity,
    /// The broker's order id; 0 for what was seen at the broker and is not ours.
    pub order_id: i32,
    /// The broker's permanent id; 0 until known.
    pub permanent_id: i64,
    /// When it was decided, market clock.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Incarnation that decided it.
    pub epoch: u64,
    /// The broker's words, or the evidence for a doubt.
    pub text: String,
    /// Its limit; absent for a market order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_price: Option<Price>,
    /// Price of the market when it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_price: Option<Price>,
    /// Kinds of events recorded, but fills: each has a write-once subject, so none may be recorded twice.
    pub kinds: BTreeSet<String>,
}

impl Order {
    /// The order that an intent makes.
    #[must_use]
    pub fn of(id: Id, cause: Option<Id>, at: Timestamp, epoch: u64, intent: &Intent) -> Self {
        Self {
            id,
            cause,
            symbol: intent.symbol,
            side: intent.side,
            quantity: intent.quantity,
            filled: Quantity::ZERO,
            filled_notional: Money::ZERO,
            commission: Money::ZERO,
            state: OrderState::Sent,
            reason: intent.reason,
            target: intent.target,
            order_id: intent.order_id,
            permanent_id: 0,
            created_at: at,
            updated_at: at,
            epoch,
            text: String::new(),
            limit_price: intent.limit_price,
            reference_price: intent.reference_price,
            kinds: BTreeSet::new(),
        }
    }

    /// True once its cancellation was asked for.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.kinds.contains("cancel-requested")
    }

    /// True when nobody expects anything of it any more, though the broker never spoke of it: it is absent, or an
    /// operator settled it.
    #[must_use]
    pub fn was_given_up(&self) -> bool {
        let in_doubt = self.kinds.contains("absent") || self.kinds.contains("unresolved");
        let settled = self.state == OrderState::Cancelled && self.permanent_id == 0 && in_doubt;
        self.state == OrderState::Absent || settled
    }

    /// True when an event of this kind can still be recorded.
    #[must_use]
    pub fn can_record(&self, change: &OrderChange) -> bool {
        !self.kinds.contains(&subject::kind(change))
    }

    /// True when the day in New York that it was made for is over at `now`: an entry does not outlive it, and an exit only at
    /// the broker.
    #[must_use]
    pub fn day_is_over(&self, now: Timestamp) -> bool {
        trading_day(self.created_at) < trading_day(now)
    }

    /// True for an exit of ours of which nobody knows what became. A second one could trade the same shares again.
    #[must_use]
    pub fn is_exit_in_doubt(&self) -> bool {
        let in_doubt = matches!(self.state, OrderState::Sent | OrderState::Unresolved);
        in_doubt && self.order_id != 0 && self.reason != Reason::Entry
    }

    /// True while its rest counts against the limits, as if it were filled. An entry in doubt counts until its day is
    /// over, and so does what is absent. One that the broker has counts until it is told or seen that it is gone, as
    /// one placed just after the close waits there for the next session. So does an exit in doubt: a clock that leaps
    /// over midnight says nothing of it.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        let at_broker = matches!(self.state, OrderState::Working | OrderState::PartlyFilled);
        at_broker || self.is_exit_in_doubt() || (self.state.may_fill() && !self.day_is_over(now))
    }

    /// Shares that may still fill; zero once it is over.
    #[must_use]
    pub fn rest(&self) -> Quantity {
        if self.state.may_fill() {
            (self.quantity - self.filled).max(Quantity::ZERO)
        } else {
            Quantity::ZERO
        }
    }

    /// Average price of the fills.
    #[must_use]
    pub fn average_price(&self) -> Option<Price> {
        (!self.filled.is_zero()).then(|| (self.filled_notional / self.filled).round_dp(6).normalize())
    }

    /// Takes an event over. A fill's particulars are counted by the portfolio, which knows every execution id.
    pub fn apply(&mut self, at: Timestamp, change: &OrderChange) {
        if !matches!(change, OrderChange::Fill(_) | OrderChange::Commission { .. }) {
            self.kinds.insert(subject::kind(change));
        }
        let step = match change {
            OrderChange::Acknowledged { permanent_id } => {
                self.learn_permanent_id(*permanent_id);
                OrderStep::Acknowledge
            }
            OrderChange::Late { permanent_id } => {
                self.learn_permanent_id(*permanent_id);
                OrderStep::Appear
            }
            OrderChange::Fill(fill) => {
                self.learn_permanent_id(fill.permanent_id);
                self.filled += fill.quantity;
                self.filled_notional += fill.quantity * fill.price;
                if self.filled >= self.quantity {
                    OrderStep::LastFill
                } else {
                    OrderStep::PartFill
                }
            }
            OrderChange::Cancelled { text } => self.note(text, OrderStep::Cancel),
            OrderChange::Rejected { code, text } => self.note(&format!("{code}: {text}"), OrderStep::Reject),
            OrderChange::Unresolved { evidence } => self.note(evidence, OrderStep::LoseTrack),
            OrderChange::Absent { evidence } => self.note(evidence, OrderStep::NotFound),
            OrderChange::Commission { .. } | OrderChange::CancelRequested { .. } => return,
        };
        self.state = next(self.state, step);
        self.updated_at = self.updated_at.max(at);
    }

    fn learn_permanent_id(&mut self, id: i64) {
        // Of two orders that the broker made of this one, the first is it.
        if self.permanent_id == 0 {
            self.permanent_id = id;
        }
    }

    /// True when that permanent id is of another order, whatever else it has of this one: the broker made two of one.
    #[must_use]
    pub fn is_doubled_by(&self, permanent_id: i64) -> bool {
        self.permanent_id != 0 && permanent_id != 0 && self.permanent_id != permanent_id
    }

    fn note(&mut self, text: &str, step: OrderStep) -> OrderStep {
        text.clone_into(&mut self.text);
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, so that a change of it is a visible diff.
    #[test]
    fn the_table() {
        let mut table = String::new();
        for state in OrderState::ALL {
            for step in OrderStep::ALL {
                table += &format!("{state:?} + {step:?} = {:?}\n", next(state, step));
            }
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/order_table.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(file, &table).unwrap();
        }
        assert_eq!(
            table,
            std::fs::read_to_string(file).unwrap(),
            "UPDATE_EXPECT=1 accepts the new table"
        );
    }

    #[test]
    fn a_rest_counts_until_its_day_is_over_or_the_broker_says_it_is_gone() {
        let made: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
        let last_of_the_day: Timestamp = "2026-11-24T04:59:59Z".parse().unwrap();
        let next_day: Timestamp = "2026-11-24T05:00:00Z".parse().unwrap();
        for (reason, is_exit) in [("entry", false), ("stop", true)] {
            let intent: Intent = serde_json::from_value(serde_json::json!({
                "symbol": "AAPL", "side": "buy", "quantity": "10", "order_type": "market",
                "time_in_force": "day", "reason": reason, "target": "10", "basis": "0", "order_id": 1,
            }))
            .unwrap();
            for state in OrderState::ALL {
                let mut order = Order::of(Id::derive(&["one"]), None, made, 1, &intent);
                order.state = state;
                assert_eq!(order.counts(last_of_the_day), !state.is_terminal(), "{state:?}");
                let at_broker = matches!(state, OrderState::Working | OrderState::PartlyFilled);
                let in_doubt = matches!(state, OrderState::Sent | OrderState::Unresolved);
                let counts = at_broker || (is_exit && in_doubt);
                assert_eq!(order.counts(next_day), counts, "{state:?} {reason}");
            }
        }
    }

    #[test]
    fn nothing_leaves_a_terminal_state_but_the_last_fill() {
        for state in OrderState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for step in OrderStep::ALL
                .into_iter()
                .filter(|step| *step != OrderStep::LastFill)
            {
                assert_eq!(next(state, step), state);
            }
        }
    }
}
