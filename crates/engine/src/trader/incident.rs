//! What should never happen and may all the same: the broker works an order that was given up or is over, made two of
//! one, or works more exits than there are shares. The symbol is halted, so that a person looks before anything is
//! added to it, and what should not work is cancelled; exits still pass.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use protocol::decision::Level;
use protocol::ledger::{Entry, Fill, OrderChange, OrderEvent, Reason, Side, StateChange, TradingState};
use protocol::{Id, Quantity, Symbol, Timestamp};

use super::{Draft, Heard, Output, Trader};
use crate::order::{Order, OrderState};
use crate::reconcile::{self, Truth};

/// What this incarnation noticed. No more of it is kept than orders are.
#[derive(Debug, Clone, Default)]
pub(super) struct Noticed {
    /// Incidents that were told, by kind and order.
    pub(super) told: BTreeSet<(&'static str, Id)>,
    /// Orders that the last reading of the broker contradicts, and since which wall time: one reading may be of another
    /// moment, two that are some time apart are not.
    suspects: BTreeMap<Id, Timestamp>,
    /// Orders whose day is over and that the last reading does not show, and when the first one began that does not.
    pub(super) unseen: BTreeMap<Id, Timestamp>,
    /// Orders that were late and that the last reading does not show again, and since which wall time.
    pub(super) vanished: BTreeMap<Id, Timestamp>,
    /// True when the last reading brought news, or contradicts an order and is not yet enough.
    pub(super) another_look: bool,
    /// What the last reading left out.
    pub(super) left_out: BTreeSet<String>,
    /// Symbols held at no known cost.
    pub(super) cost_unknown: BTreeSet<Symbol>,
    /// Orders that the broker has as inactive.
    pub(super) inactive: BTreeSet<Id>,
    /// Exits whose cancellation was asked for because there were too many.
    asked: BTreeSet<Id>,
}

/// An order that is over here and works at the broker.
pub(super) const UNDEAD: &str = "order-undead";
/// Wall time between two readings that confirm each other.
pub(super) const CONFIRMED_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// Something that should never have happened.
struct Incident {
    kind: &'static str,
    order: Id,
    symbol: Symbol,
    text: String,
}

impl Trader {
    /// True when the broker should be read again soon: the last reading said what only a second one can confirm.
    #[must_use]
    pub fn wants_another_look(&self) -> bool {
        self.noticed.another_look
    }

    /// What follows from events about to be recorded: an order that appears, or is filled, after it was given up, or that
    /// the broker made twice. It is recorded before them: an incarnation that dies in between leaves both to the next.
    pub(super) fn incidents_of(&mut self, wall: Timestamp, events: &[OrderEvent]) -> Vec<Output> {
        let (mut found, mut appeared) = (Vec::new(), BTreeSet::new());
        let mut ids: BTreeMap<&Id, i64> = BTreeMap::new();
        for event in events {
            let Some(order) = self.portfolio.orders.get(&event.order) else {
                continue;
            };
            let theirs = permanent_id(&event.change);
            let known = ids.entry(&event.order).or_insert(order.permanent_id);
            found.extend(second_id(order, *known, theirs));
            if *known == 0 {
                *known = theirs;
            }
            match event.change {
                OrderChange::Late { .. } => drop(appeared.insert(event.order.clone())),
                OrderChange::Fill(ref fill)
                    if order.was_given_up() || self.comes_after_the_end(order, fill) => {}
                _ => continue,
            }
            found.push(Incident {
                kind: "order-late",
                order: event.order.clone(),
                symbol: event.symbol,
                text: format!(
                    "order {} of {} appeared at the broker after it was lost from sight",
                    event.order, event.symbol
                ),
            });
        }
        let mut outputs: Vec<Output> = found
            .into_iter()
            .flat_map(|incident| self.incident(wall, incident))
            .collect();
        if !appeared.is_empty() {
            outputs.extend(self.excess(wall, &appeared));
        }
        outputs
    }

    /// True for a new execution of an order that was cancelled: that is recorded once its executions are known.
    fn comes_after_the_end(&self, order: &Order, fill: &Fill) -> bool {
        order.state == OrderState::Cancelled && !self.portfolio.knows_execution(&fill.execution_id)
    }

    /// The broker has a second permanent id for one order of ours: it made two of one.
    pub(super) fn doubled(&mut self, wall: Timestamp, heard: &Heard) -> Vec<Output> {
        let known = heard
            .order_ref
            .parse::<Id>()
            .ok()
            .and_then(|id| self.portfolio.orders.get(&id));
        match known.and_then(|order| second_id(order, order.permanent_id, heard.permanent_id)) {
            Some(incident) => self.incident(wall, incident),
            None => Vec::new(),
        }
    }

    /// What a reading says that can't be: two orders of one, one that works and is over, one whose day is over and that
    /// the broker does not have. The first is sure at once, the others when a second reading says the same.
    pub(super) fn ghosts(&mut self, wall: Timestamp, truth: &Truth) -> Vec<Output> {
        let now = self.live_clock(wall);
        let all = reconcile::ours_at_broker(&self.portfolio, truth);
        let doubled: Vec<Incident> = all
            .filter_map(|(order, theirs)| second_id(order, order.permanent_id, theirs.permanent_id))
            .collect();
        let undead = reconcile::undead(&self.portfolio, truth, now);
        let undead: Vec<Order> = undead.into_iter().cloned().collect();
        let expired = self.expired(truth, now);
        let gone = self.gone(truth, now);
        let confirmed = self.suspect(wall, undead.iter().chain(&gone));

        let mut outputs: Vec<Output> = doubled
            .into_iter()
            .flat_map(|incident| self.incident(wall, incident))
            .collect();
        for order in undead.into_iter().filter(|order| confirmed.contains(&order.id)) {
            let text = format!(
                "order {} of {} is over ({:?} in the ledger) and works at the broker: it is cancelled",
                order.id, order.symbol, order.state
            );
            outputs.extend(self.incident(
                wall,
                Incident {
                    kind: UNDEAD,
                    order: order.id,
                    symbol: order.symbol,
                    text,
                },
            ));
            outputs.push(Output::Cancel(order.order_id));
        }
        outputs.extend(self.tell_vanished(wall, truth, now));
        let expired = expired
            .into_iter()
            .map(|order| (order, "its day is over, and the broker does not have it"));
        let gone = gone
            .into_iter()
            .filter(|order| confirmed.contains(&order.id))
            .map(|order| (order, "it was inactive, and the broker does not have it any more"));
        outputs.extend(expired.chain(gone).map(|(order, text)| {
            let change = OrderChange::Cancelled {
                text: text.to_owned(),
            };
            self.event(
                now,
                OrderEvent {
                    order: order.id,
                    symbol: order.symbol,
                    change,
                },
            )
        }));
        outputs
    }

    /// Remembers the orders that a reading contradicts; tells those that a reading some time before contradicts too.
    fn suspect<'a>(&mut self, wall: Timestamp, orders: impl Iterator<Item = &'a Order>) -> BTreeSet<Id> {
        let confirmed = confirmed(&mut self.noticed.suspects, wall, CONFIRMED_AFTER, orders);
        self.noticed.another_look = confirmed.len() < self.noticed.suspects.len();
        confirmed
    }

    /// Working exits beyond what is held, less what others may trade of it, would open a position the other way: they are
    /// cancelled, late ones first.
    /// `appeared` are absent orders that the broker has after all.
    pub(super) fn excess(&mut self, wall: Timestamp, appeared: &BTreeSet<Id>) -> Vec<Output> {
        let (portfolio, now) = (&self.portfolio, self.live_clock(wall));
        let is_late = |order: &Order| order.kinds.contains("late") || appeared.contains(&order.id);
        let mut exits: Vec<&Order> = portfolio
            .open_orders()
            .filter(|order| order.order_id != 0 && order.reason != Reason::Entry && order.counts(now))
            .filter(|order| order.state != OrderState::Absent || appeared.contains(&order.id))
            .collect();
        exits.sort_by_key(|order| (is_late(order), order.order_id));
        let mut left: BTreeMap<Symbol, Quantity> = BTreeMap::new();
        let mut too_many = BTreeSet::new();
        for order in exits {
            let left = left
                .entry(order.symbol)
                .or_insert_with(|| self.closable(order.symbol));
            let closes = -order.side.signed(order.rest());
            let reduces = closes.is_sign_negative() == left.is_sign_negative() && closes.abs() <= left.abs();
            if reduces {
                *left -= closes;
            } else {
                too_many.insert(order.id.clone());
            }
        }
        let new: BTreeSet<Id> = too_many.difference(&self.noticed.asked).cloned().collect();
        self.noticed.asked = too_many;
        let mut outputs = self.cancels("more would be closed than is held", |order| {
            new.contains(&order.id)
        });
        for order in new.iter().filter_map(|id| self.portfolio.orders.get(id)) {
            let text = format!(
                "exit {} of {} is cancelled: with it more would be closed than the {} shares that are held and that no order of others may trade",
                order.id,
                order.symbol,
                self.closable(order.symbol)
            );
            outputs.push(self.alert(wall, "exit-excess", Level::Warning, Some(order.symbol), text));
        }
        outputs
    }

    /// Shares that our exits may close, all of them together.
    fn closable(&self, symbol: Symbol) -> Quantity {
        let certain = self.portfolio.certain(symbol);
        if certain.is_sign_negative() {
            -self.left_by_others(symbol, Side::Buy, -certain)
        } else {
            self.left_by_others(symbol, Side::Sell, certain)
        }
    }

    /// Says what happened, once an order, halts its symbol unless it is halted, and cancels its entries.
    fn incident(&mut self, wall: Timestamp, incident: Incident) -> Vec<Output> {
        let Incident {
            kind,
            order,
            symbol,
            text,
        } = incident;
        let orders = &self.portfolio.orders;
        self.noticed.told.retain(|(_, id)| orders.contains_key(id));
        let is_news = self.noticed.told.insert((kind, order));
        let halted = self.portfolio.symbol_states.get(&symbol) == Some(&TradingState::Halted);
        if halted && !is_news {
            return Vec::new();
        }
        let mut outputs = Vec::new();
        if !halted {
            let change = StateChange {
                state: TradingState::Halted,
                symbol: Some(symbol),
                by: "execution".to_owned(),
                text: text.clone(),
            };
            outputs.push(Output::Append(Draft {
                id: Id::derive(&["halt", kind, &self.portfolio.sequence.to_string(), &text]),
                at: wall,
                cause: None,
                entry: Entry::State(change),
            }));
        }
        let text = format!("{text}; {symbol} is halted until `command.resume` with its symbol");
        outputs.push(self.alert(wall, kind, Level::Critical, Some(symbol), text));
        outputs.extend(self.cancel_entries(Some(symbol)));
        outputs
    }
}

/// Keeps since when orders are suspected, of those that still are; those that were so for as long as it takes.
pub(super) fn confirmed<'a>(
    suspects: &mut BTreeMap<Id, Timestamp>,
    wall: Timestamp,
    after: SignedDuration,
    orders: impl Iterator<Item = &'a Order>,
) -> BTreeSet<Id> {
    let before = std::mem::take(suspects);
    // A wall clock that was set back must not put the second reading off for as long.
    let since = |id: &Id| before.get(id).map_or(wall, |since| wall.min(*since));
    *suspects = orders.map(|order| (order.id.clone(), since(&order.id))).collect();
    let is_old = |since: Timestamp| wall.duration_since(since) >= after;
    let old = suspects.iter().filter(|(_, since)| is_old(**since));
    old.map(|(id, _)| id.clone()).collect()
}

/// The broker's permanent id that an event tells; 0 when it tells none.
fn permanent_id(change: &OrderChange) -> i64 {
    match change {
        OrderChange::Acknowledged { permanent_id } | OrderChange::Late { permanent_id } => *permanent_id,
        OrderChange::Fill(fill) => fill.permanent_id,
        _ => 0,
    }
}

/// That the broker made two of one, when it tells another permanent id than the `known` one.
fn second_id(order: &Order, known: i64, theirs: i64) -> Option<Incident> {
    if known == 0 || theirs == 0 || known == theirs {
        return None;
    }
    Some(Incident {
        kind: "order-doubled",
        order: order.id.clone(),
        symbol: order.symbol,
        text: format!(
            "the broker has order {} of {} twice, as {known} and {theirs}",
            order.id, order.symbol
        ),
    })
}
