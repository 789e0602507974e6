//! Orders that the last gate stops: nothing of them was sent, so they are over. What an operator closed by name is made
//! again once the way to the broker is open, and the answer to a command says what became of its orders.

use protocol::Id;
use protocol::Timestamp;
use protocol::decision::Level;
use protocol::ledger::{OrderChange, OrderEvent, Reason};
use protocol::operator::{Reply, Verb};

use super::{Output, Trader};
use crate::gate::{Stopped, Unsent};

/// An order of a command that was stopped before the command is answered.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    command: Id,
    /// What happened, and what follows.
    text: String,
    /// True when it is made again without another command.
    again: bool,
}

impl Trader {
    /// What follows when the last gate stops an order whose intent is written: it is over, as nothing of it was sent.
    /// `ends` is true when this incarnation ends over it.
    #[must_use]
    pub fn never_sent(&mut self, wall: Timestamp, unsent: &Unsent, ends: bool) -> Vec<Output> {
        let (id, symbol, why) = (&unsent.id, unsent.intent.symbol, &unsent.why);
        let change = OrderChange::Cancelled {
            text: format!("never sent: {why}"),
        };
        let event = OrderEvent {
            order: id.clone(),
            symbol,
            change,
        };
        let mut text = format!("order {id} of {symbol} was stopped at the last gate: {why}");
        if unsent.intent.reason.is_by_operator() {
            let (again, then) = self.after_stop(unsent, ends);
            text = format!("{text}; {then}");
            let order = self.portfolio.orders.get(id);
            let command = order.and_then(|order| order.cause.clone());
            self.stopped.extend(command.map(|command| Stop {
                command,
                text: text.clone(),
                again,
            }));
        }
        vec![
            self.event(self.now_or(wall), event),
            self.alert(wall, "order-stopped", Level::Critical, Some(symbol), text),
        ]
    }

    /// Whether an operator's order that was stopped is made again by itself, and the sentence that says so.
    fn after_stop(&mut self, unsent: &Unsent, ends: bool) -> (bool, &'static str) {
        match (unsent.intent.reason, &unsent.why) {
            (Reason::Flatten, Stopped::Killed) => (false, "the kill switch ends the flatten"),
            (Reason::Flatten, _) => (true, "it is tried again for as long as the flatten goes on"),
            (_, Stopped::Closed(_)) if !ends => {
                let order = self.portfolio.orders.get(&unsent.id).cloned();
                if order.is_some_and(|order| self.wish(&order)) {
                    let then = "it is made again as soon as the way to the broker is open, unless a kill switch or `command.cancel-all` comes first";
                    (true, then)
                } else {
                    (false, "ask for it again")
                }
            }
            _ => (false, "ask for it again"),
        }
    }

    /// The answer to a command as things are right before it is told: the last gate may have stopped what it promises.
    #[must_use]
    pub fn answer(&self, mut reply: Reply) -> Reply {
        let stops = self.stopped.iter().filter(|stop| stop.command == reply.id);
        let (again, texts): (Vec<bool>, Vec<&str>) =
            stops.map(|stop| (stop.again, stop.text.as_str())).unzip();
        if texts.is_empty() {
            return reply;
        }
        reply.accepted &= !again.contains(&false);
        reply.text = match reply.verb.parse() {
            Ok(Verb::Flatten) => format!("{}; but {}", reply.text, texts.join("; ")),
            _ => texts.join("; "),
        };
        reply
    }
}
