//! Exits that stand still: their limit was left by the market, or the broker has them as inactive. An order is never
//! changed, so such an exit is cancelled, and what is held is decided anew once that is final.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use protocol::decision::{Check, Level};
use protocol::ledger::{Reason, Side};
use protocol::{Id, Price, Symbol, Timestamp};

use super::decide::Source;
use super::{Output, Trader};
use crate::order::{Order, OrderState};
use crate::risk::Proposal;

/// Seconds of market time for which the market may be beyond an exit's limit.
const LEFT_SECONDS_MAX: i64 = 10;

/// An operator's exit that is to be made again.
#[derive(Debug, Clone)]
struct Wish {
    /// The order that is in its way.
    order: Id,
    reason: Reason,
    command: Id,
}

/// Exits that stand still.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Since when the market is beyond the limit of an exit, market clock.
    left: BTreeMap<Id, Timestamp>,
    /// What an operator asked for and nothing but this would decide again. Lost with the incarnation.
    wishes: BTreeMap<Symbol, Wish>,
}

impl Standing {
    /// An operator wants that nothing goes out any more.
    pub(super) fn forget(&mut self) {
        self.wishes.clear();
    }
}

impl Trader {
    /// Cancels exits whose limit the market left a while ago.
    pub(super) fn left_exits(&mut self, wall: Timestamp) -> Vec<Output> {
        let now = self.live_clock(wall);
        let open = self.portfolio.open_orders();
        let left: Vec<(Order, Price)> = open
            .filter(|order| !order.cancel_requested() && !self.is_asked_for(order))
            .filter_map(|order| Some((order.clone(), self.beyond(wall, order)?)))
            .collect();
        let before = std::mem::take(&mut self.standing.left);
        let mut outputs = Vec::new();
        for (order, price) in left {
            let since = before.get(&order.id).map_or(now, |since| now.min(*since));
            self.standing.left.insert(order.id.clone(), since);
            if now.duration_since(since) >= SignedDuration::from_secs(LEFT_SECONDS_MAX) {
                outputs.extend(self.cancel_left(wall, &order, price));
            }
        }
        outputs
    }

    /// Makes an operator's exits again whose order is cancelled now: each once, as soon as the way to the broker is open.
    pub(super) fn wished_exits(&mut self, wall: Timestamp) -> Vec<Output> {
        let orders = &self.portfolio.orders;
        let is_over = |wish: &Wish| {
            orders
                .get(&wish.order)
                .is_none_or(|order| order.state.is_terminal())
        };
        let wishes = std::mem::take(&mut self.standing.wishes);
        let (due, later): (BTreeMap<_, _>, _) = wishes.into_iter().partition(|(_, wish)| is_over(wish));
        self.standing.wishes = later;
        let mut outputs = Vec::new();
        for (symbol, wish) in due {
            let source = Source {
                cause: &wish.command,
                decided_at: self.now_or(wall),
                model_hash: None,
            };
            let made = self.exit(wall, symbol, wish.reason, &source);
            match refused(&made) {
                None => outputs.extend(made),
                Some((Check::BrokerGate, _)) => drop(self.standing.wishes.insert(symbol, wish)),
                Some((_, why)) => {
                    let text = format!(
                        "the exit of {symbol} that was to be made again is not: {why}; ask for it again"
                    );
                    outputs.push(self.alert(wall, "exit-refused", Level::Critical, Some(symbol), text));
                }
            }
        }
        outputs
    }

    /// What an operator's exit comes to while an order of its symbol leaves that stands still or is being cancelled: it
    /// goes out once that is over. `None` when there is no such order.
    pub(super) fn wait_for(
        &mut self,
        wall: Timestamp,
        symbol: Symbol,
        reason: Reason,
        command: &Id,
    ) -> Option<(Vec<Output>, String)> {
        let stands = |order: &Order| {
            let is_exit =
                (order.symbol, order.order_id != 0) == (symbol, true) && order.reason != Reason::Entry;
            let price = self.beyond(wall, order);
            let stands =
                price.is_some() || self.is_asked_for(order) || self.noticed.inactive.contains(&order.id);
            (is_exit && stands && order.state != OrderState::Absent).then(|| (order.clone(), price))
        };
        let (order, price) = self.portfolio.open_orders().find_map(stands)?;
        let outputs = match price {
            Some(price) => self.cancel_left(wall, &order, price),
            None => self.cancels("another exit is asked for", |other| other.id == order.id),
        };
        let (id, why) = (&order.id, self.why_it_stands(&order, price));
        let text = format!(
            "exit {id} of {symbol} {why}: it is being cancelled, and once the broker says that it is over, what is left of {symbol} is closed; if that does not come, look at the broker, and if it is over there say so with `command.settle` and {{\"order\":\"{id}\",\"note\":\"why\"}}"
        );
        let wish = Wish {
            order: order.id.clone(),
            reason,
            command: command.clone(),
        };
        self.standing.wishes.insert(symbol, wish);
        Some((outputs, text))
    }

    /// Remembers that an operator's exit is to be made again, unless somebody else cancels it. Its sentence.
    pub(super) fn wish_again(&mut self, order: &Order) -> &'static str {
        match (is_by_name(order.reason), self.wish(order)) {
            (false, _) => "once that is final it is decided anew",
            (true, true) => "once that is final it is made again",
            (true, false) => "once that is final, ask for it again",
        }
    }

    /// The same; true when it is to be made again.
    pub(super) fn wish(&mut self, order: &Order) -> bool {
        let is_wanted =
            is_by_name(order.reason) && !order.cancel_requested() && self.may_be_made(order.reason);
        let Some(command) = order.cause.clone().filter(|_| is_wanted) else {
            return false;
        };
        let wish = Wish {
            order: order.id.clone(),
            reason: order.reason,
            command,
        };
        self.standing.wishes.entry(order.symbol).or_insert(wish);
        true
    }

    fn may_be_made(&self, reason: Reason) -> bool {
        reason == Reason::EmergencyExit || !self.killed()
    }

    fn why_it_stands(&self, order: &Order, price: Option<Price>) -> String {
        match (price, order.limit_price) {
            (Some(price), Some(limit)) => {
                format!("waits at its limit of {limit} while the market is at {price}")
            }
            _ if self.noticed.inactive.contains(&order.id) => "is inactive at the broker".to_owned(),
            _ => "is on its way already".to_owned(),
        }
    }

    fn cancel_left(&mut self, wall: Timestamp, order: &Order, price: Price) -> Vec<Output> {
        let then = self.wish_again(order);
        let mut outputs = self.cancels("the market left its limit", |other| other.id == order.id);
        let (id, symbol) = (&order.id, order.symbol);
        if self.noticed.told.insert(("exit-left", id.clone())) {
            let why = self.why_it_stands(order, Some(price));
            let text = format!("exit {id} of {symbol} {why}: it is cancelled, and {then}");
            outputs.push(self.alert(wall, "exit-left", Level::Warning, Some(symbol), text));
        }
        outputs
    }

    /// The price of the market if it is beyond the limit of an exit that is open, and another one could go out.
    fn beyond(&self, wall: Timestamp, order: &Order) -> Option<Price> {
        let limit = order.limit_price?;
        let is_exit = order.order_id != 0 && order.reason != Reason::Entry;
        if !is_exit || order.state == OrderState::Absent {
            return None;
        }
        let quote = self
            .fresh_quote(wall, order.symbol)
            .filter(|quote| quote.tradable)?;
        let price = match order.side {
            Side::Sell => quote.bid.filter(|bid| *bid < limit)?,
            Side::Buy => quote.ask.filter(|ask| *ask > limit)?,
        };
        let next = Proposal {
            symbol: order.symbol,
            side: order.side,
            quantity: order.rest(),
            reason: order.reason,
            price,
            decided_at: self.now_or(wall),
        };
        self.look(wall, order.symbol).exit(&next).is_ok().then_some(price)
    }
}

/// True for what an operator closes by the symbol's name.
pub(super) fn is_by_name(reason: Reason) -> bool {
    matches!(reason, Reason::Close | Reason::EmergencyExit)
}

/// The check that refused an exit, and its words.
pub(super) fn refused(made: &[Output]) -> Option<(Check, String)> {
    made.iter().find_map(|output| match output {
        Output::Refuse(refusal) => Some((refusal.check, refusal.text.clone())),
        _ => None,
    })
}
