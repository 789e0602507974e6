//! Orders of others at the broker, beside the latest comparison: what a person is told of them, and what they hold back.

use std::collections::BTreeSet;

use protocol::decision::{Check, Level};
use protocol::ledger::{Entry, Side};
use protocol::{Quantity, Symbol, Timestamp};

use super::{Output, Trader};
use crate::others::{Other, Others};
use crate::reconcile::Truth;
use crate::risk::{Proposal, Refused};

/// What a person can do about them.
const CANCEL_THERE: &str =
    "cancel there, in the broker's own program, what should not work: the next reading sees it";

/// What the latest reading shows of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign {
    orders: Others,
    /// What was told of each, for as long as it works.
    told: BTreeSet<(&'static str, (i64, i32))>,
}

impl Trader {
    /// Orders that work at the broker and are none of this ledger, as the latest reading tells them.
    #[must_use]
    pub fn others(&self) -> &Others {
        &self.foreign.orders
    }

    /// Takes over which orders of others a reading shows, and tells each that is new.
    pub(super) fn see_others(&mut self, wall: Timestamp, truth: &Truth) -> Vec<Output> {
        let orders = Others::of(&self.portfolio, truth);
        let keys: BTreeSet<_> = orders.iter().map(Other::key).collect();
        self.foreign.told.retain(|(_, key)| keys.contains(key));
        self.foreign.orders = orders;
        let kind = "order-of-others";
        let mut news = self.foreign.orders.clone();
        news.retain(|other| self.foreign.told.insert((kind, other.key())));
        let told = news.iter().map(|other| {
            let counts = match other.side {
                Side::Buy => "count as bought in the limits",
                Side::Sell => "are not sold a second time from here, by a stop neither, and entries of it wait",
            };
            let text = format!(
                "{other} works at the broker and is not of this ledger: its shares {counts}, and what it fills is taken over as traded by hand; {CANCEL_THERE}"
            );
            self.alert(wall, kind, Level::Warning, Some(other.symbol), text)
        });
        told.collect()
    }

    /// Of the shares that an exit may close, those that no order of others closes already.
    pub(super) fn left_by_others(&self, symbol: Symbol, side: Side, shares: Quantity) -> Quantity {
        (shares - self.others().rest(symbol, side)).max(Quantity::ZERO)
    }

    /// Tells once of each order of others that keeps an exit from going out, or makes it smaller, which of both it is.
    pub(super) fn tell_in_the_way(&mut self, wall: Timestamp, exit: &Proposal) -> Option<Output> {
        let held_back = exit.quantity.is_zero();
        let (kind, level) = if held_back {
            ("exit-held-back", Level::Critical)
        } else {
            ("exit-reduced", Level::Warning)
        };
        let in_the_way: Vec<_> = self.others().on(exit.symbol, exit.side).map(Other::key).collect();
        let mut is_news = false;
        for key in in_the_way {
            is_news |= self.foreign.told.insert((kind, key));
        }
        let text = self.in_the_way(exit.symbol, exit.side, exit.quantity);
        is_news.then(|| self.alert(wall, kind, level, Some(exit.symbol), text))
    }

    /// What an exit comes to that orders of others are in the way of: a sentence.
    fn in_the_way(&self, symbol: Symbol, side: Side, quantity: Quantity) -> String {
        let what = if quantity.is_zero() {
            format!("the exit of {symbol} is held back")
        } else {
            format!("the exit of {symbol} is for {} shares only", quantity.normalize())
        };
        let named = named(self.others().on(symbol, side));
        format!("{what}, as {named}, not of this ledger, may trade the same shares: {CANCEL_THERE}")
    }

    /// The refusal of an exit of which others leave nothing.
    pub(super) fn held_back(&self, exit: &Proposal) -> Result<(), Refused> {
        if !exit.quantity.is_zero() {
            return Ok(());
        }
        Err(Refused {
            check: Check::Working,
            text: self.in_the_way(exit.symbol, exit.side, exit.quantity),
        })
    }

    /// That the exit which was made is smaller because of others, if so.
    pub(super) fn reduced(&self, made: &[Output]) -> Option<String> {
        let exit = made.iter().find_map(|output| match output {
            Output::Append(draft) => match &draft.entry {
                Entry::Intent(intent) => Some(intent),
                _ => None,
            },
            _ => None,
        })?;
        let mut others = self.others().on(exit.symbol, exit.side);
        others.next()?;
        Some(self.in_the_way(exit.symbol, exit.side, exit.quantity))
    }

    /// What of others keeps the account from being flat, if anything does.
    pub(super) fn works_of_others(&self) -> Option<String> {
        let named = named(self.others().iter());
        (!named.is_empty())
            .then(|| format!("{named} works at the broker and is not of this ledger: {CANCEL_THERE}"))
    }
}

fn named<'a>(others: impl Iterator<Item = &'a Other>) -> String {
    let named: Vec<String> = others.map(ToString::to_string).collect();
    named.join(" and ")
}
