//! What an operator commands, and how it is carried out.

use protocol::decision::Level;
use protocol::ledger::{
    Choice, Entry, Kill, OrderChange, OrderEvent, Reason, Settled, StateChange, TradingState,
};
use protocol::operator::Verb;
use protocol::{Id, Quantity, Symbol, Timestamp};

use super::decide::Source;
use super::{Ask, Draft, Output, Trader};
use crate::order::OrderState;
use crate::portfolio::Position;

/// What a command comes to: what is done, and the answer.
pub(super) struct Outcome {
    pub outputs: Vec<Output>,
    pub accepted: bool,
    pub text: String,
}

impl Outcome {
    fn done(outputs: Vec<Output>, text: impl Into<String>) -> Self {
        Self {
            outputs,
            accepted: true,
            text: text.into(),
        }
    }

    fn refused(text: impl Into<String>) -> Self {
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

fn is_of_whole_shares(position: &&Position) -> bool {
    !position.quantity.trunc().is_zero()
}

/// The fractions of a share among these, in words; empty when there is none.
fn fractions_left(held: impl Iterator<Item = (Symbol, Quantity)>) -> String {
    let fractions = held
        .map(|(symbol, held)| (symbol, held.fract().normalize()))
        .filter(|(_, fraction)| !fraction.is_zero());
    let named: Vec<_> = fractions
        .map(|(symbol, fraction)| format!("{fraction} of {symbol}"))
        .collect();
    if named.is_empty() {
        return String::new();
    }
    format!(
        "{}, which only the broker's own program can sell, as it takes whole shares from here,",
        named.join(" and ")
    )
}

fn and_stay(fractions: &str) -> String {
    if fractions.is_empty() {
        return String::new();
    }
    format!("; {fractions} stays")
}

impl Trader {
    pub(super) fn carry_out(&mut self, wall: Timestamp, ask: &Ask) -> Outcome {
        match ask.verb {
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
                Outcome::done(
                    cancels,
                    format!("cancellation of {count} working orders is asked for"),
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
        let whose = symbol.map_or(String::new(), |symbol| format!("{symbol}: "));
        Outcome::done(outputs, format!("{whose}{text}"))
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
        Outcome::done(
            outputs,
            "the kill switch is latched: nothing goes out but cancellations and emergency exits",
        )
    }

    fn flatten(&mut self, wall: Timestamp, ask: &Ask) -> Outcome {
        if self.portfolio.killed || self.killed_here {
            return Outcome::refused(
                "the kill switch is latched, so nothing goes out: release it first, or use `command.emergency-exit`",
            );
        }
        let halted = StateChange {
            state: TradingState::Halted,
            symbol: None,
            by: ask.by.clone(),
            text: "flatten".to_owned(),
        };
        let mut outputs = vec![self.account(wall, ask, "state", Entry::State(halted))];
        outputs.extend(self.cancel_entries(None));
        outputs.extend(self.close_all(wall, &ask.id));
        self.flat_told = false;
        self.comparison.agreed = None;
        let count = self.portfolio.open_positions().filter(is_of_whole_shares).count();
        let left = and_stay(&self.fractions());
        Outcome::done(
            outputs,
            format!(
                "trading is halted, and {count} positions are being closed{left}; `flat` is told when the broker confirms"
            ),
        )
    }

    fn close_all(&mut self, wall: Timestamp, command: &Id) -> Vec<Output> {
        let symbols: Vec<Symbol> = self
            .portfolio
            .open_positions()
            .map(|position| position.symbol)
            .collect();
        let source = Source {
            cause: command,
            decided_at: self.now_or(wall),
            model_hash: None,
        };
        symbols
            .into_iter()
            .flat_map(|symbol| self.exit(wall, symbol, Reason::Flatten, &source))
            .collect()
    }

    /// After `flatten`: what filled meanwhile, or failed to close, is closed again; the end is told once.
    pub(super) fn flatten_on(&mut self, wall: Timestamp) -> Vec<Output> {
        let command = self
            .portfolio
            .commands
            .iter()
            .rev()
            .find(|known| known.record.verb == Verb::Flatten.as_str());
        let Some(command) = command.map(|known| known.id.clone()) else {
            return Vec::new();
        };
        let portfolio = &self.portfolio;
        let open = portfolio
            .open_positions()
            .any(|position| is_of_whole_shares(&position))
            || portfolio.open_orders().next().is_some();
        if !open {
            return self.tell_flat(wall, command).into_iter().collect();
        }
        self.flat_told = false;
        let mut outputs = self.close_all(wall, &command);
        // A market that is closed refuses every second; the command's own answer told it once.
        outputs.retain(|output| !matches!(output, Output::Refuse(_)));
        outputs
    }

    /// What no order from here can close.
    fn fractions(&self) -> String {
        let positions = self.portfolio.open_positions();
        fractions_left(positions.map(|position| (position.symbol, position.quantity)))
    }

    /// Nothing is held and nothing works by the ledger: that is told once the broker says so too.
    fn tell_flat(&mut self, wall: Timestamp, command: Id) -> Option<Output> {
        if self.flat_told {
            return None;
        }
        let fractions = self.fractions();
        if !fractions.is_empty() {
            let text = format!("not flat: {fractions} is held");
            let is_news = self.noticed.told.insert(("not-flat-fraction", command));
            return is_news.then(|| self.alert(wall, "not-flat", Level::Warning, None, text));
        }
        let differences = self.portfolio.differences.iter();
        let of_shares = differences.filter(|difference| difference.symbol.is_some());
        let differs: Vec<&str> = of_shares.map(|difference| difference.text.as_str()).collect();
        if !differs.is_empty() {
            let text = format!(
                "not flat: the ledger holds nothing, but {}; look at the broker, then `command.settle` each",
                differs.join("; ")
            );
            let is_news = self.noticed.told.insert(("not-flat", command));
            return is_news.then(|| self.alert(wall, "not-flat", Level::Warning, None, text));
        }
        let traded = self.portfolio.trades.back().map_or(0, |trade| trade.sequence);
        if self.comparison.agreed.is_none_or(|agreed| agreed < traded) {
            return None;
        }
        self.flat_told = true;
        let text = "flat: every position is closed and no order works".to_owned();
        Some(self.alert(wall, "flat", Level::Info, None, text))
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
        let refused = outputs.iter().find_map(|output| match output {
            Output::Refuse(refusal) => Some(refusal.text.clone()),
            _ => None,
        });
        match (refused, outputs.is_empty()) {
            (Some(text), _) => Outcome {
                outputs,
                accepted: false,
                text,
            },
            (None, true) if self.portfolio.certain(symbol).is_zero() => Outcome::refused(format!(
                "the ledger has {} shares of {symbol}, and the broker none of them: settle that first with `command.settle`",
                held.normalize()
            )),
            (None, true) if self.portfolio.certain(symbol).trunc().is_zero() => Outcome::refused(format!(
                "{} is held",
                fractions_left([(symbol, held)].into_iter())
            )),
            (None, true) => match self.wait_for(wall, symbol, reason, &ask.id) {
                Some((outputs, text)) => Outcome::done(outputs, text),
                None => Outcome::refused(self.on_its_way(symbol)),
            },
            (None, false) => Outcome::done(
                outputs,
                format!(
                    "{} shares of {symbol} are being closed{}",
                    held.trunc().normalize(),
                    and_stay(&fractions_left([(symbol, held)].into_iter()))
                ),
            ),
        }
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

    fn account(&self, wall: Timestamp, ask: &Ask, what: &str, entry: Entry) -> Output {
        let id = Id::derive(&[what, ask.id.as_str()]);
        Output::Append(Draft {
            id,
            at: wall,
            cause: Some(ask.id.clone()),
            entry,
        })
    }
}
