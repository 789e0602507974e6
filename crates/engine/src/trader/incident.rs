//! What should never happen and may all the same: the broker works an order that was given up, or made two of one. The
//! symbol is halted, so that a person looks before anything is added to it; exits still pass.

use protocol::decision::Level;
use protocol::ledger::{Entry, OrderChange, OrderEvent, StateChange, TradingState};
use protocol::{Id, Symbol, Timestamp};

use super::{Draft, Heard, Output, Trader};
use crate::order::Order;
use crate::reconcile::{self, Truth};

impl Trader {
    /// What follows from events about to be recorded: an order that appears, or is filled, after it was given up.
    pub(super) fn late_orders(&self, wall: Timestamp, events: &[OrderEvent]) -> Vec<Output> {
        let given_up = |id: &Id| self.portfolio.orders.get(id).is_some_and(Order::was_given_up);
        let late = events.iter().filter(|event| match event.change {
            OrderChange::Late { .. } => true,
            OrderChange::Fill(_) => given_up(&event.order),
            _ => false,
        });
        let incidents = late.flat_map(|event| {
            let text = format!(
                "order {} of {} appeared at the broker after it was lost from sight",
                event.order, event.symbol
            );
            self.halt_symbol(wall, "order-late", event.symbol, text)
        });
        incidents.collect()
    }

    /// The broker has a second permanent id for one order of ours: it made two of one.
    pub(super) fn doubled(&self, wall: Timestamp, heard: &Heard) -> Vec<Output> {
        let known = heard
            .order_ref
            .parse::<Id>()
            .ok()
            .and_then(|id| self.portfolio.orders.get(&id));
        match known {
            Some(order) => self.second_id(wall, order, heard.permanent_id),
            None => Vec::new(),
        }
    }

    fn second_id(&self, wall: Timestamp, order: &Order, permanent_id: i64) -> Vec<Output> {
        if permanent_id == 0 || order.permanent_id == 0 || order.permanent_id == permanent_id {
            return Vec::new();
        }
        let text = format!(
            "the broker has order {} of {} twice, as {} and {permanent_id}",
            order.id, order.symbol, order.permanent_id
        );
        self.halt_symbol(wall, "order-doubled", order.symbol, text)
    }

    /// What the broker's open orders say that can't be: two of one, or one that is over. The latter is cancelled.
    pub(super) fn ghosts(&self, wall: Timestamp, truth: &Truth) -> Vec<Output> {
        let mut outputs = Vec::new();
        for (order, theirs) in reconcile::ours_at_broker(&self.portfolio, truth) {
            outputs.extend(self.second_id(wall, order, theirs.permanent_id));
            let ended = self.portfolio.last_end.get(&order.symbol).copied();
            let settled = ended.is_none_or(|sequence| sequence <= truth.folded);
            if order.state.is_terminal() && order.order_id != 0 && settled {
                let text = format!(
                    "order {} of {} is {:?} in the ledger and works at the broker: it is cancelled",
                    order.id, order.symbol, order.state
                );
                outputs.extend(self.halt_symbol(wall, "order-undead", order.symbol, text));
                outputs.push(Output::Cancel(order.order_id));
            }
        }
        outputs
    }

    /// Halts a symbol and says why; nothing when it is halted already.
    fn halt_symbol(&self, wall: Timestamp, kind: &str, symbol: Symbol, text: String) -> Vec<Output> {
        if self.portfolio.symbol_states.get(&symbol) == Some(&TradingState::Halted) {
            return Vec::new();
        }
        let change = StateChange {
            state: TradingState::Halted,
            symbol: Some(symbol),
            by: "execution".to_owned(),
            text: text.clone(),
        };
        let halt = Output::Append(Draft {
            id: Id::derive(&["halt", kind, &self.portfolio.sequence.to_string(), &text]),
            at: wall,
            cause: None,
            entry: Entry::State(change),
        });
        let text = format!("{text}; {symbol} is halted until `command.resume` with its symbol");
        let alert = self.alert(wall, kind, Level::Critical, Some(symbol), text);
        let mut outputs = vec![halt, alert];
        outputs.extend(self.cancel_entries(Some(symbol)));
        outputs
    }
}
