//! `flatten`: all that is held is closed, and what fills or fails meanwhile is closed again, until it is
//! called off.

use std::collections::BTreeMap;

use protocol::decision::Level;
use protocol::ledger::{Entry, Reason, StateChange, TradingState};
use protocol::{Id, Quantity, Symbol, Timestamp};

use super::command::Outcome;
use super::decide::Source;
use super::limit::refused;
use super::{Ask, EXIT_RETRY_SECONDS, Output, Trader};

/// The fractions of a share among these, in words; empty when there is none.
pub(super) fn fractions_left(held: impl Iterator<Item = (Symbol, Quantity)>) -> String {
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

pub(super) fn and_stay(fractions: &str) -> String {
    if fractions.is_empty() {
        return String::new();
    }
    format!("; {fractions} stays")
}

/// Positions that are not being closed yet, by what holds them back.
fn and_not_yet(waiting: &BTreeMap<String, Vec<String>>) -> String {
    let waiting = waiting
        .iter()
        .map(|(why, symbols)| format!("; not yet {}, which is tried again: {why}", symbols.join(", ")));
    waiting.collect()
}

impl Trader {
    pub(super) fn flatten(&mut self, wall: Timestamp, ask: &Ask) -> Outcome {
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
        let (mut closing, mut waiting) = (0, BTreeMap::<String, Vec<String>>::new());
        for (symbol, made) in self.close_all(wall, &ask.id) {
            match self.why_not_yet(wall, symbol, &made) {
                Some(why) => waiting.entry(why).or_default().push(symbol.to_string()),
                None => closing += 1,
            }
            outputs.extend(made);
        }
        self.flat_told = false;
        self.comparison.agreed = None;
        let (left, not_yet) = (and_stay(&self.fractions()), and_not_yet(&waiting));
        let others = self.works_of_others().map(|text| format!("; but {text}"));
        Outcome::done(
            outputs,
            format!(
                "trading is halted, and {closing} positions are being closed{not_yet}{left}; `flat` is told when the broker confirms{}",
                others.unwrap_or_default()
            ),
        )
    }

    /// Exits of all whole shares that are held, as far as they may be made.
    fn close_all(&mut self, wall: Timestamp, command: &Id) -> Vec<(Symbol, Vec<Output>)> {
        let source = Source {
            cause: command,
            decided_at: self.now_or(wall),
            model_hash: None,
        };
        self.whole_positions()
            .into_iter()
            .map(|symbol| (symbol, self.exit(wall, symbol, Reason::Flatten, &source)))
            .collect()
    }

    fn whole_positions(&self) -> Vec<Symbol> {
        let held = self.portfolio.open_positions();
        held.filter(|position| !position.quantity.trunc().is_zero())
            .map(|position| position.symbol)
            .collect()
    }

    /// Why a position is not being closed, by what its exit came to; `None` while an exit of it is on its way.
    fn why_not_yet(&mut self, wall: Timestamp, symbol: Symbol, made: &[Output]) -> Option<String> {
        if !made.is_empty() {
            return refused(made).map(|(_, why)| why);
        }
        if let Some(why) = self.nothing_certain(symbol).or_else(|| self.in_doubt(symbol)) {
            return Some(why);
        }
        self.exit_waits(wall, symbol)
            .then(|| format!("an exit failed less than {EXIT_RETRY_SECONDS} s ago"))
    }

    /// What another command says of a flatten that is under way.
    pub(super) fn and_the_flatten(&self, goes_on: bool) -> &'static str {
        match (&self.portfolio.flattening, goes_on) {
            (None, _) => "",
            (Some(_), true) => "; the flatten goes on",
            (Some(_), false) => "; the flatten is over, and closes nothing any more",
        }
    }

    /// After `flatten`: what filled meanwhile, or failed to close, is closed again; the end is told once.
    pub(super) fn flatten_on(&mut self, wall: Timestamp, command: &Id) -> Vec<Output> {
        if self.whole_positions().is_empty() && self.portfolio.open_orders().next().is_none() {
            return self.tell_flat(wall, command).into_iter().collect();
        }
        self.flat_told = false;
        let closed = self.close_all(wall, command).into_iter();
        // A market that is closed refuses every second; the command's own answer told it once.
        closed
            .flat_map(|(_, made)| made)
            .filter(|output| !matches!(output, Output::Refuse(_)))
            .collect()
    }

    /// What no order from here can close.
    fn fractions(&self) -> String {
        let positions = self.portfolio.open_positions();
        fractions_left(positions.map(|position| (position.symbol, position.quantity)))
    }

    /// Nothing is held and nothing works by the ledger: that is told once the broker says so too.
    fn tell_flat(&mut self, wall: Timestamp, command: &Id) -> Option<Output> {
        if self.flat_told {
            return None;
        }
        let fractions = self.fractions();
        if !fractions.is_empty() {
            let text = format!("not flat: {fractions} is held");
            let is_news = self.noticed.told.insert(("not-flat-fraction", command.clone()));
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
            let is_news = self.noticed.told.insert(("not-flat", command.clone()));
            return is_news.then(|| self.alert(wall, "not-flat", Level::Warning, None, text));
        }
        let traded = self.portfolio.trades.back().map_or(0, |trade| trade.sequence);
        if self.comparison.agreed.is_none_or(|agreed| agreed < traded) {
            return None;
        }
        if let Some(others) = self.works_of_others() {
            let text = format!("not flat: the ledger holds nothing, but {others}");
            let is_news = self.noticed.told.insert(("not-flat-others", command.clone()));
            return is_news.then(|| self.alert(wall, "not-flat", Level::Warning, None, text));
        }
        self.flat_told = true;
        let text = "flat: every position is closed and no order works".to_owned();
        Some(self.alert(wall, "flat", Level::Info, None, text))
    }
}
