//! The judges. They look at the broker's own record, at the raw records of LEDGER and at what each reader shows, and
//! share no code with what decided.

use std::collections::{BTreeMap, BTreeSet};

use engine::venue::order::{Order, Side, Status};
use engine::venue::record::Record;
use protocol::ledger::Reason;
use protocol::{Money, Quantity};

use crate::account::{Books, Decided};
use crate::broker::{CLIENT, Fact};
use crate::process::Stage;
use crate::rests::is_at_rest;
use crate::world::World;

/// Dollars by which sums may differ: half a cent of rounding, since the broker tells its cash in cents.
const CENT: Money = Money::from_parts(1, 0, 0, false, 2);

/// Everything that is wrong with a run; empty when nothing is.
pub fn judge(world: &World) -> Vec<String> {
    let books = Books::of(&world.ledger.records);
    let mut wrong = books.wrong.clone();
    let mut judges = Judges {
        world,
        books: &books,
        wrong: &mut wrong,
    };
    judges.orders();
    judges.broker_day();
    judges.entries();
    judges.absent();
    judges.rejected();
    judges.killed();
    judges.flattened();
    judges.doubled();
    judges.restart();
    judges.rest();
    judges.ends();
    wrong.extend(world.evidence.discord.clone());
    wrong
}

pub struct Judges<'a> {
    pub world: &'a World,
    books: &'a Books,
    pub wrong: &'a mut Vec<String>,
}

impl Judges<'_> {
    fn say(&mut self, text: String) {
        self.wrong.push(text);
    }

    /// Orders of ours that the broker took in, and when.
    fn taken(&self) -> Vec<(u64, &Order)> {
        self.world.broker.facts.iter().filter_map(Fact::taken).collect()
    }

    /// The decisions of these.
    fn references(&self) -> BTreeSet<String> {
        let taken = self.taken().into_iter();
        taken.map(|(_, order)| order.ticket.reference.clone()).collect()
    }

    fn decided(&self, id: &str) -> Option<&Decided> {
        self.books.decided.iter().find(|decided| decided.id == id)
    }

    /// One order for a decision, after its intent, as it was decided, under an id that was never used.
    fn orders(&mut self) {
        let (mut decisions, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let mut wrong = Vec::new();
        for (beat, order) in self.taken() {
            let reference = &order.ticket.reference;
            if !decisions.insert(reference.clone()) {
                wrong.push(format!("two orders of decision {reference}"));
            }
            if !ids.insert(order.order_id) {
                wrong.push(format!("order id {} was used twice", order.order_id));
            }
            match self.decided(reference).filter(|decided| decided.beat < beat) {
                None => wrong.push(format!(
                    "order {reference} is at the broker without an intent before it"
                )),
                Some(decided) => {
                    let same = decided.symbol == order.ticket.symbol.as_str()
                        && decided.buys == (order.ticket.side == Side::Buy)
                        && decided.quantity == order.ticket.quantity;
                    if !same {
                        wrong.push(format!("order {reference} is not what was decided"));
                    }
                }
            }
        }
        let intents: BTreeSet<_> = self.books.decided.iter().map(|decided| &decided.id).collect();
        if intents.len() != self.books.decided.len() {
            wrong.push("two intents of one decision".to_owned());
        }
        let ids: BTreeSet<_> = self
            .books
            .decided
            .iter()
            .map(|decided| decided.order_id)
            .collect();
        if ids.len() != self.books.decided.len() {
            wrong.push("two intents with one order id".to_owned());
        }
        self.wrong.extend(wrong);
    }

    /// The broker's day, fact by fact: never short, never two live entries of a symbol, never an entry on top of a
    /// position, never more than the limits. A symbol that a person trades too is not ours to judge from then on; where
    /// orders rest by hand that is so for entries alone, and a sale that an exit could not know of is excused.
    fn broker_day(&mut self) {
        let limits = self.world.settings.risk.clone();
        let mut held: BTreeMap<String, Quantity> = BTreeMap::new();
        let mut live: BTreeMap<i64, String> = BTreeMap::new();
        let mut by_hand: BTreeSet<String> =
            self.world.broker.booked.keys().map(ToString::to_string).collect();
        let (rested, unforeseen) = (self.rested(), self.unforeseen());
        let mut excused: BTreeMap<String, Quantity> = BTreeMap::new();
        let mut wrong = Vec::new();
        for fact in &self.world.broker.facts {
            match &fact.record {
                Record::Accepted { order } if unforeseen.contains(&order.perm_id) => {
                    *excused.entry(order.ticket.symbol.to_string()).or_default() += order.ticket.quantity;
                }
                Record::Accepted { order } if is_at_rest(order) => {}
                Record::Accepted { order } if order.client != CLIENT => {
                    by_hand.insert(order.ticket.symbol.to_string());
                }
                Record::Accepted { order } if order.status != Status::Rejected => {
                    let symbol = order.ticket.symbol.to_string();
                    let decided = self.decided(&order.ticket.reference);
                    if decided.is_some_and(|decided| self.ended_between(decided.beat, fact.beat)) {
                        // The gateway kept it for longer than its day, and its doubt ended with that.
                        by_hand.insert(symbol.clone());
                    }
                    if decided.is_some_and(|decided| !decided.entry) {
                        // One that was called absent did not hold the next one back, and both may trade.
                        if decided.is_some_and(|decided| decided.was_absent(fact.beat)) {
                            *excused.entry(symbol).or_default() += order.ticket.quantity;
                        }
                        continue;
                    }
                    let shares = held.get(&symbol).copied().unwrap_or_default();
                    let judged = !by_hand.contains(&symbol) && !rested.contains(&symbol);
                    if judged && live.values().any(|other| *other == symbol) {
                        wrong.push(format!("two live entries of {symbol}"));
                    }
                    if judged && !shares.is_zero() {
                        wrong.push(format!("an entry of {symbol} although {shares} shares are held"));
                    }
                    let worth = self
                        .decided(&order.ticket.reference)
                        .map_or(Money::ZERO, |decided| decided.worth);
                    if order.ticket.quantity > limits.shares_per_symbol_max
                        || worth > limits.notional_per_symbol_max
                    {
                        wrong.push(format!("an entry of {symbol} above the limits"));
                    }
                    live.insert(order.perm_id, symbol);
                }
                Record::Filled { fill } => {
                    let symbol = fill.symbol.to_string();
                    let shares = held.entry(symbol.clone()).or_default();
                    *shares += fill.side.sign() * fill.quantity;
                    let excused = excused.get(&symbol).copied().unwrap_or_default();
                    if *shares < -excused && !by_hand.contains(&symbol) {
                        wrong.push(format!("{symbol} is short by {shares}"));
                    }
                    if live.contains_key(&fill.perm_id) && fill.filled == self.ordered(fill.perm_id) {
                        live.remove(&fill.perm_id);
                    }
                }
                Record::Ended { perm_id, .. } => drop(live.remove(perm_id)),
                _ => {}
            }
        }
        self.wrong.extend(wrong);
    }

    /// True when New York's day ended between two instants.
    fn ended_between(&self, before: u64, after: u64) -> bool {
        let midnight = self.world.evidence.midnight;
        midnight.is_some_and(|midnight| before < midnight && midnight <= after)
    }

    fn ordered(&self, perm_id: i64) -> Quantity {
        let of = self
            .taken()
            .into_iter()
            .find(|(_, order)| order.perm_id == perm_id);
        of.map_or(Quantity::ZERO, |(_, order)| order.ticket.quantity)
    }

    /// By LEDGER: no entry was decided while an earlier one of its symbol was live or in doubt.
    fn entries(&mut self) {
        let mut wrong = Vec::new();
        let entries: Vec<_> = self
            .books
            .decided
            .iter()
            .filter(|decided| decided.entry)
            .collect();
        for (place, later) in entries.iter().enumerate() {
            for earlier in entries[..place]
                .iter()
                .filter(|earlier| earlier.symbol == later.symbol)
            {
                let ended = |(kind, sequence, _): &(String, u64, u64)| {
                    *sequence < later.sequence && (kind == "cancelled" || kind == "rejected")
                };
                let filled = self.books.filled(&earlier.id, later.sequence) >= earlier.quantity;
                // What the broker never spoke of is over with its day.
                let at_broker = |(kind, sequence, _): &(String, u64, u64)| {
                    *sequence < later.sequence && ["acknowledged", "late", "fill"].contains(&kind.as_str())
                };
                let doubt_over =
                    self.ended_between(earlier.beat, later.beat) && !earlier.events.iter().any(at_broker);
                if !filled && !doubt_over && !earlier.events.iter().any(ended) {
                    wrong.push(format!(
                        "entry {} was decided while {} was open",
                        later.id, earlier.id
                    ));
                }
            }
        }
        self.wrong.extend(wrong);
    }

    /// What was called absent never comes to the broker, unless the gateway itself kept it back.
    fn absent(&mut self) {
        let mut wrong = Vec::new();
        for (beat, order) in self.taken() {
            let reference = &order.ticket.reference;
            let called = self
                .decided(reference)
                .is_some_and(|decided| decided.was_absent(beat));
            let late = self.world.evidence.late.iter().any(|id| id.as_str() == reference);
            if called && !late {
                wrong.push(format!(
                    "order {reference} came to the broker after it was called absent"
                ));
            }
        }
        self.wrong.extend(wrong);
    }

    /// What was called rejected never works at the broker.
    fn rejected(&mut self) {
        let works = |order: &Order| order.status != Status::Rejected;
        let taken = self.taken().into_iter().map(|(_, order)| order);
        let wrong: Vec<_> = taken
            .filter(|order| works(order))
            .map(|order| &order.ticket.reference)
            .filter(|reference| {
                self.decided(reference)
                    .is_some_and(|decided| decided.has("rejected"))
            })
            .map(|reference| format!("order {reference} was called rejected and works at the broker"))
            .collect();
        self.wrong.extend(wrong);
    }

    /// A symbol of which the broker made two orders of one is halted before the second one counts.
    fn doubled(&mut self) {
        let mut trades: Vec<_> = self.books.trades.values().collect();
        trades.sort_by_key(|trade| trade.first);
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        let mut wrong = Vec::new();
        for trade in trades {
            let known = *first.entry(&trade.order).or_insert(trade.permanent_id);
            let before = self.books.halts.iter().rev();
            let mut of_symbol =
                before.filter(|(symbol, _, sequence)| *symbol == trade.symbol && *sequence < trade.first);
            let halted = of_symbol.next().is_some_and(|(_, halted, _)| *halted);
            if known != trade.permanent_id && !halted {
                wrong.push(format!(
                    "{} trades on though order {} was made twice",
                    trade.symbol, trade.order
                ));
            }
        }
        self.wrong.extend(wrong);
    }

    /// Nothing leaves after a kill was acknowledged, but emergency exits, until it is released.
    fn killed(&mut self) {
        let mut wrong = Vec::new();
        let taken = self.references();
        for sent in &self.world.evidence.sent {
            let mut before = self.books.kills.iter().rev();
            let latest = before.find(|(_, beat)| *beat < sent.beat);
            let latched = latest.is_some_and(|(latched, _)| *latched);
            if (latched || sent.latched)
                && sent.reason != Reason::EmergencyExit
                && taken.contains(sent.id.as_str())
            {
                wrong.push(format!(
                    "order {} left although the kill switch is latched",
                    sent.id
                ));
            }
        }
        self.wrong.extend(wrong);
    }

    /// Nothing is sold for a flatten after what calls it off was acknowledged.
    fn flattened(&mut self) {
        let mut wrong = Vec::new();
        let taken = self.references();
        for sent in &self.world.evidence.sent {
            let decided = self.decided(sent.id.as_str());
            let Some(asked) = decided.and_then(|decided| self.books.flattens.get(&decided.cause)) else {
                continue;
            };
            let mut calls_off = self.books.calls_off.iter();
            let is_over = calls_off.any(|(sequence, beat)| sequence > asked && *beat < sent.beat);
            if is_over && taken.contains(sent.id.as_str()) {
                wrong.push(format!(
                    "order {} left for a flatten that was called off",
                    sent.id
                ));
            }
        }
        self.wrong.extend(wrong);
    }

    /// At rest: one leads, LEDGER and every reader hold what the broker holds, and every trade is counted once.
    fn rest(&mut self) {
        let trading = |host: &crate::process::Host| {
            host.process
                .as_ref()
                .is_some_and(|process| process.stage == Stage::Trading)
        };
        if self.world.hosts.iter().filter(|host| trading(host)).count() != 1 {
            self.say("not exactly one execution trades at the end".to_owned());
        }
        for text in self
            .world
            .hosts
            .iter()
            .filter_map(|host| host.contradiction.clone())
        {
            self.say(format!("an execution halted for good: {text}"));
        }
        self.books
            .twice
            .iter()
            .for_each(|id| self.wrong.push(format!("execution {id} was recorded twice")));
        let (held, cash) = self.world.broker.holdings();
        let held: BTreeMap<_, _> = held
            .into_iter()
            .map(|(symbol, shares)| (symbol.to_string(), shares))
            .collect();
        if self.books.positions() != held {
            self.say(format!(
                "LEDGER holds {:?}, the broker {held:?}",
                self.books.positions()
            ));
        }
        // What is booked by the cent makes no difference until it is a dollar.
        let interest = !self.world.broker.booked_cash.is_zero();
        let most = if interest { CENT + Money::ONE } else { CENT };
        if (self.books.money() - cash).abs() >= most {
            self.say(format!("LEDGER has ${}, the broker ${cash}", self.books.money()));
        }
        self.trades();
        let marks: BTreeSet<_> = self
            .world
            .folds
            .iter()
            .map(|fold| fold.portfolio.mark().digest.0)
            .collect();
        if marks.len() != 1 {
            self.say("readers differ at the end".to_owned());
        }
        for fold in &self.world.folds {
            let shown: BTreeMap<_, _> = fold
                .portfolio
                .open_positions()
                .map(|one| (one.symbol.to_string(), one.quantity))
                .collect();
            if shown != held || (fold.portfolio.cash - cash).abs() >= most {
                self.wrong.push(format!(
                    "{} shows {shown:?} and ${}",
                    fold.name, fold.portfolio.cash
                ));
            }
            for difference in &fold.portfolio.differences {
                self.wrong
                    .push(format!("{} shows a difference: {}", fold.name, difference.text));
            }
        }
    }

    fn trades(&mut self) {
        let ours: BTreeMap<_, _> = self
            .books
            .trades
            .iter()
            .map(|(root, trade)| (root.clone(), trade.revision))
            .collect();
        let theirs = self.world.broker.venue.account().fills.iter().map(|fill| {
            let id = crate::answers::execution_id(fill);
            let root = id.rsplit_once('.').map_or("", |(root, _)| root);
            (root.to_owned(), fill.corrections + 1)
        });
        let theirs: BTreeMap<_, _> = theirs
            .filter(|(root, _)| !self.books.before.contains(root))
            .collect();
        // A correction of what was taken over from the broker is in there, or differs.
        let taken_over = |root: &&String| self.books.trades.get(*root).is_some_and(|one| one.taken_over);
        let differ = |root: &&String| ours.get(*root) != theirs.get(*root);
        let not_as_it_is: Vec<_> = theirs
            .keys()
            .filter(|root| differ(root) && !taken_over(root))
            .collect();
        for root in not_as_it_is {
            self.wrong.push(format!(
                "execution {root} of the broker is not in LEDGER as it is"
            ));
        }
        for root in ours.keys().filter(|root| !theirs.contains_key(*root)) {
            self.wrong
                .push(format!("execution {root} of LEDGER is none of the broker's"));
        }
    }

    /// Every decision ended as the broker says, or its doubt is written down.
    fn ends(&mut self) {
        let account = self.world.broker.venue.account();
        let orders = account.open.values().chain(account.completed.values());
        // More than one where the broker made two of one.
        let mut of_decision: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
        for order in orders {
            let reference = order.ticket.reference.as_str();
            of_decision.entry(reference).or_default().push(order);
        }
        let mut wrong = Vec::new();
        for decided in &self.books.decided {
            let (id, filled) = (&decided.id, self.books.filled(&decided.id, u64::MAX));
            let over = decided.has("cancelled") || decided.has("rejected") || filled >= decided.quantity;
            let known = decided.has("acknowledged") || decided.has("late") || !filled.is_zero();
            let theirs = of_decision.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let traded: Quantity = theirs.iter().map(|order| order.filled).sum();
            let ended = theirs.iter().all(|order| order.end.is_some());
            let right = match theirs {
                [] => {
                    over || decided.has("absent")
                        || (decided.has("unresolved") && decided.epoch == self.books.epoch)
                }
                [_] if !ended => known && (!over || decided.has("absent")),
                _ => (over || !ended) && traded == filled,
            };
            if !right {
                let events: Vec<_> = decided.events.iter().map(|(kind, ..)| kind.as_str()).collect();
                let theirs: Vec<_> = theirs.iter().map(|order| (order.status, order.filled)).collect();
                wrong.push(format!(
                    "decision {id} of {} is not explained: {events:?}, {filled} filled; the broker says {theirs:?}",
                    decided.symbol
                ));
            }
        }
        self.wrong.extend(wrong);
    }
}
