//! What an operator commands, and how it is carried out.

use protocol::ledger::{
    Choice, Entry, Kill, OrderChange, OrderEvent, Reason, Settled, StateChange, TradingState,
};
use protocol::operator::Verb;
use protocol::{Id, Symbol, Timestamp};

use super::decide::Source;
use super::flatten::{and_stay, fractions_left};
use super::limit::refused;
use super::{Ask, BY_WEB, Draft, Output, Trader};
use crate::order::OrderState;

/// What a command comes to: what is done, and the answer.
pub(super) struct Outcome {
    pub outputs: Vec<Output>,
    pub accepted: bool,
    pub text: String,
}

impl Outcome {
    pub(super) fn done(outputs: Vec<Output>, text: impl Into<String>) -> Self {
        Self {
            outputs,
            accepted: true,
            text: text.into(),
        }
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self {
            outputs: Vec::new(),
            accepted: false,
            text: text.into(),
        }
    }
}

/// True for verbs that are about everything, so that a symbol with them is a mistake.
fn is_of_the_account(verb: Verb) -> bool {
    !matches!(
        verb,
        Verb::Close | Verb::EmergencyExit | Verb::Settle | Verb::Halt | Verb::Reduce | Verb::Resume
    )
}

impl Trader {
    pub(super) fn carry_out(&mut self, wall: Timestamp, ask: &Ask) -> Outcome {
        match ask.verb {
            verb if ask.by == BY_WEB && self.is_live() && !verb.only_reduces_risk() => {
                Outcome::refused(format!(
                    "a browser may only reduce risk on a live account: ask `command.{verb}` with the nats CLI"
                ))
            }
            verb if ask.command.symbol.is_some() && is_of_the_account(verb) => Outcome::refused(format!(
                "`{verb}` is of the whole account: leave the symbol out, or close one with `command.close`"
            )),
            // A kill switch is thrown whatever else is said.
            verb if !matches!(verb, Verb::Settle | Verb::Kill)
                && (ask.command.choice.is_some() || ask.command.order.is_some()) =>
            {
                Outcome::refused(format!(
                    "`{verb}` knows no choice and no order, only `command.settle` does: leave them out"
                ))
            }
            Verb::Halt => self.set_state(
                wall,
                ask,
                TradingState::Halted,
                "trading is halted: no entries, exits still pass",
            ),
            Verb::Reduce => self.set_state(
                wall,
                ask,
                TradingState::Reducing,
                "trading only reduces: no entries, exits pass",
            ),
            Verb::Resume => self.resume(wall, ask),
            Verb::Kill => self.kill(wall, ask, true),
            Verb::Release => self.kill(wall, ask, false),
            Verb::CancelAll => {
                let cancels = self.cancel_all("cancel-all");
                let count = cancels
                    .iter()
                    .filter(|output| matches!(output, Output::Cancel(_)))
                    .count();
                let flatten = self.and_the_flatten(false);
                Outcome::done(
                    cancels,
                    format!("cancellation of {count} working orders is asked for{flatten}"),
                )
            }
            Verb::Flatten => self.flatten(wall, ask),
            Verb::Close => self.close(wall, ask, Reason::Close),
            Verb::EmergencyExit => self.close(wall, ask, Reason::EmergencyExit),
            Verb::Settle => self.settle(wall, ask),
        }
    }

    fn resume(&mut self, wall: Timestamp, ask: &Ask) -> Outcome {
        if self.portfolio.killed || self.killed_here {
            return Outcome::refused(
                "the kill switch is latched: release it first with `command.release`, or by removing the file KILL",
            );
        }
        let text = format!(
            "trading is active: entries and exits{}",
            self.still_held_back(ask.command.symbol)
        );
        self.set_state(wall, ask, TradingState::Active, &text)
    }

    /// What holds entries back after a resume: of a symbol the account's state, of the account its symbols' states.
    fn still_held_back(&self, resumed: Option<Symbol>) -> String {
        let portfolio = &self.portfolio;
        if resumed.is_some() {
            return match portfolio.state {
                TradingState::Active => String::new(),
                TradingState::Reducing => {
                    "; but the account still only reduces: `command.resume` without a symbol".to_owned()
                }
                TradingState::Halted => {
                    "; but the account is still halted: `command.resume` without a symbol".to_owned()
                }
            };
        }
        if portfolio.symbol_states.is_empty() {
            return String::new();
        }
        let names: Vec<_> = portfolio.symbol_states.keys().map(Symbol::as_str).collect();
        format!(
            "; but {} still halted by name, or only reducing: `command.resume` with the symbol",
            names.join(", ")
        )
    }

    /// True for symbols that may have a state of their own: so they are as few as what is watched, held or worked.
    fn concerns(&self, symbol: Symbol) -> bool {
        let portfolio = &self.portfolio;
        self.settings.market.watchlist.contains(&symbol)
            || portfolio.symbol_states.contains_key(&symbol)
            || !portfolio.held(symbol).is_zero()
            || portfolio.open_orders().any(|order| order.symbol == symbol)
    }

    fn set_state(&mut self, wall: Timestamp, ask: &Ask, state: TradingState, text: &str) -> Outcome {
        let symbol = ask.command.symbol;
        if let Some(unknown) = symbol.filter(|symbol| !self.concerns(*symbol)) {
            return Outcome::refused(format!(
                "{unknown} is not in market.watchlist, and nothing of it is held or on order"
            ));
        }
        let change = StateChange {
            state,
            symbol,
            by: ask.by.clone(),
            text: ask.command.note.clone(),
        };
        let mut outputs = vec![self.account(wall, ask, "state", Entry::State(change))];
        if state != TradingState::Active {
            outputs.extend(self.cancel_entries(symbol));
        }
        let text = match symbol {
            Some(symbol) => format!("{symbol}: {text}"),
            None => format!("{text}{}", self.and_the_flatten(state == TradingState::Halted)),
        };
        Outcome::done(outputs, text)
    }

    fn kill(&mut self, wall: Timestamp, ask: &Ask, latched: bool) -> Outcome {
        if !latched && self.killed_here {
            return Outcome::refused(
                "the file KILL in the state folder latches the kill switch: remove the file",
            );
        }
        if !latched && !self.portfolio.killed {
            return Outcome::refused("the kill switch is not latched");
        }
        let entry = Entry::Kill(Kill {
            latched,
            by: ask.by.clone(),
            text: ask.command.note.clone(),
        });
        let mut outputs = vec![self.account(wall, ask, "kill", entry)];
        if !latched {
            return Outcome::done(
                outputs,
                "the kill switch is released; the trading state is as before",
            );
        }
        outputs.extend(self.cancel_all("the kill switch is latched"));
        let flatten = self.and_the_flatten(false);
        Outcome::done(
            outputs,
            format!(
                "the kill switch is latched: nothing goes out but cancellations and emergency exits{flatten}"
            ),
        )
    }

    fn close(&mut self, wall: Timestamp, ask: &Ask, reason: Reason) -> Outcome {
        let Some(symbol) = ask.command.symbol else {
            return Outcome::refused(format!(
                "name the symbol: {{\"symbol\":\"AAPL\"}} as the body of `command.{}`",
                ask.verb
            ));
        };
        let held = self.portfolio.held(symbol);
        if held.is_zero() {
            return Outcome::refused(format!("nothing is held of {symbol}"));
        }
        let source = Source {
            cause: &ask.id,
            decided_at: self.now_or(wall),
            model_hash: None,
        };
        let outputs = self.exit(wall, symbol, reason, &source);
        match (refused(&outputs), outputs.is_empty()) {
            (Some((_, text)), _) => Outcome {
                outputs,
                accepted: false,
                text,
            },
            (None, true) => match self.nothing_certain(symbol) {
                Some(text) => Outcome::refused(text),
                None => match self.wait_for(wall, symbol, reason, &ask.id) {
                    Some((outputs, text)) => Outcome::done(outputs, text),
                    None => Outcome::refused(self.on_its_way(symbol)),
                },
            },
            (None, false) => {
                let closed = self.reduced(&outputs).unwrap_or_else(|| {
                    format!("{} shares of {symbol} are being closed", held.trunc().normalize())
                });
                let stays = and_stay(&fractions_left([(symbol, held)].into_iter()));
                Outcome::done(outputs, closed + &stays)
            }
        }
    }

    /// Why nothing of what is held of a symbol may be closed, if so, whatever is on its way.
    pub(super) fn nothing_certain(&self, symbol: Symbol) -> Option<String> {
        let (held, certain) = (self.portfolio.held(symbol), self.portfolio.certain(symbol));
        if certain.is_zero() {
            return Some(format!(
                "the ledger has {} shares of {symbol}, and the broker none of them: settle that first with `command.settle`",
                held.normalize()
            ));
        }
        let fraction = || fractions_left([(symbol, held)].into_iter());
        certain
            .trunc()
            .is_zero()
            .then(|| format!("{} is held", fraction()))
    }

    /// The operator's word on what could not be decided: an order in doubt is over, or a difference is accepted, kept or
    /// ignored.
    fn settle(&mut self, wall: Timestamp, ask: &Ask) -> Outcome {
        if let Some(order) = &ask.command.order {
            if ask.command.choice.is_some() {
                return Outcome::refused("an order in doubt is settled as over: leave the choice out");
            }
            return self.settle_order(wall, ask, order);
        }
        let symbol = ask.command.symbol;
        let differences = &self.portfolio.differences;
        let Some(mut difference) = differences.iter().find(|known| known.symbol == symbol).cloned() else {
            return Outcome::refused(
                "nothing differs there: name the symbol of a difference, or the id of an order in doubt",
            );
        };
        let choice = ask.command.choice.unwrap_or(Choice::Accept);
        let whose = symbol.map_or_else(|| "cash".to_owned(), |symbol| symbol.to_string());
        let (text, adjusted) = match choice {
            Choice::Keep => (
                format!("the ledger's figure of {whose} is kept: entries wait until the broker agrees"),
                None,
            ),
            Choice::Ignore => (
                format!("the difference of {whose} is ignored for as long as it is as large"),
                None,
            ),
            Choice::Accept => {
                difference = match self.compared(symbol) {
                    Ok(compared) => compared.clone(),
                    Err(text) => return Outcome::refused(text),
                };
                let Some(adjusted) = self.taken_over(ask, &difference) else {
                    return Outcome::refused(format!("no price of {whose} is known: wait for a quote"));
                };
                (
                    format!("the broker's figure of {whose} is taken over"),
                    Some(adjusted),
                )
            }
        };
        let settled = Settled {
            symbol,
            choice,
            ours: difference.ours,
            broker: difference.broker,
            by: ask.by.clone(),
            text: ask.command.note.clone(),
        };
        let adjusted =
            adjusted.map(|adjusted| self.account(wall, ask, "adjusted", Entry::Adjusted(adjusted)));
        let settled = self.account(wall, ask, "settled", Entry::Settled(settled));
        Outcome::done(adjusted.into_iter().chain([settled]).collect(), text)
    }

    fn settle_order(&mut self, wall: Timestamp, ask: &Ask, id: &Id) -> Outcome {
        let Some(order) = self.portfolio.orders.get(id) else {
            return Outcome::refused(format!("there is no order {id}"));
        };
        if self.comparison.at_work.contains(id) {
            return Outcome::refused(format!(
                "the broker works order {id}: cancel it, with `command.cancel-all` for one"
            ));
        }
        let doubtful = matches!(order.state, OrderState::Unresolved | OrderState::Absent);
        // An order of an earlier incarnation that works on paper only can be settled too.
        if order.state.is_terminal() || !(doubtful || order.epoch < self.portfolio.epoch) {
            return Outcome::refused(format!("order {id} is not in doubt: it is {:?}", order.state));
        }
        // What the broker may have all the same must not trade behind the ledger's back.
        let mut outputs = self.cancels("it is settled as over", |order| order.id == *id);
        let change = OrderChange::Cancelled {
            text: format!("settled by {}: {}", ask.by, ask.command.note),
        };
        let event = OrderEvent {
            order: id.clone(),
            symbol: order.symbol,
            change,
        };
        outputs.push(self.event(self.now_or(wall), event));
        Outcome::done(outputs, format!("order {id} counts as cancelled"))
    }

    pub(super) fn account(&self, wall: Timestamp, ask: &Ask, what: &str, entry: Entry) -> Output {
        let id = Id::derive(&[what, ask.id.as_str()]);
        Output::Append(Draft {
            id,
            at: wall,
            cause: Some(ask.id.clone()),
            entry,
        })
    }
}
