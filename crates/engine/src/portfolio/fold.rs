//! What each kind of record does to the state.

use std::collections::{BTreeSet, VecDeque};

use protocol::ledger::{
    Adjusted, Choice, CommandRecord, Difference, Entry, Fill, Holding, Mode, Opening, OrderChange,
    OrderEvent, Reason, Record, Side, StateChange, TradingState,
};
use protocol::operator::Verb;
use protocol::{Id, Money, Quantity, Symbol, Timestamp};

use super::{
    COMMANDS_KEPT_MAX, Commanded, DayFigures, EXECUTIONS_KEPT_MAX, IDS_KEPT_MAX, ORDERS_KEPT_MAX, Portfolio,
    Position, TRADES_KEPT_MAX, TakenOver, Trade, is_as_large, revision_of,
};
use crate::day::trading_day;
use crate::order::{Order, OrderState};

impl Portfolio {
    pub(super) fn fold(&mut self, sequence: u64, record: &Record) {
        match &record.entry {
            Entry::Epoch(_) => self.epoch = record.epoch,
            Entry::Identity(identity) => {
                if identity.mode == Mode::Live && self.identity.is_none() {
                    self.state = TradingState::Halted;
                }
                self.identity = Some(identity.clone());
            }
            Entry::Opening(opening) => self.open(record.at, opening),
            Entry::Intent(intent) => {
                self.roll_day(record.at);
                self.day.orders += 1;
                if intent.reason == Reason::Entry {
                    *self.day.entries.entry(intent.symbol).or_default() += 1;
                }
                self.order_id_max = self.order_id_max.max(intent.order_id);
                let order = Order::of(
                    record.id.clone(),
                    record.cause.clone(),
                    record.at,
                    record.epoch,
                    intent,
                );
                self.orders.insert(record.id.clone(), order);
            }
            Entry::Order(event) => self.order_event(sequence, record, event),
            Entry::Reconciled(_) => {
                self.reconciled_at = Some(record.at);
                self.differences.clear();
                self.settled.clear();
            }
            Entry::Difference(difference) => self.differ(difference),
            Entry::Settled(settled) => {
                self.settled.retain(|known| known.symbol != settled.symbol);
                if settled.choice != Choice::Accept {
                    self.settled.push(settled.clone());
                }
            }
            Entry::Adjusted(adjusted) => self.adjust(adjusted),
            Entry::State(StateChange {
                state,
                symbol: Some(symbol),
                ..
            }) => match state {
                TradingState::Active => drop(self.symbol_states.remove(symbol)),
                state => drop(self.symbol_states.insert(*symbol, *state)),
            },
            Entry::State(change) => {
                self.state = change.state;
                self.flattening.take_if(|_| change.state != TradingState::Halted);
            }
            Entry::Kill(kill) => {
                self.killed = kill.latched;
                self.flattening.take_if(|_| kill.latched);
            }
            Entry::Command(command) => self.command(record, command),
        }
    }

    fn command(&mut self, record: &Record, command: &CommandRecord) {
        match command.verb.parse() {
            Ok(Verb::Flatten) if command.accepted => self.flattening = Some(record.id.clone()),
            Ok(Verb::CancelAll) if command.accepted => self.flattening = None,
            _ => {}
        }
        let commanded = Commanded {
            at: record.at,
            id: record.id.clone(),
            record: command.clone(),
        };
        self.commands.push_back(commanded);
        while self.commands.len() > COMMANDS_KEPT_MAX {
            let oldest = self.commands.pop_front();
            remember(&mut self.past_commands, oldest.map(|command| command.id));
        }
    }

    fn differ(&mut self, difference: &Difference) {
        let gap = difference.broker - difference.ours;
        // Measured from what the operator looked at, so that it can't grow unseen in small steps.
        self.settled.retain(|settled| {
            settled.symbol != difference.symbol
                || is_as_large(settled.symbol, settled.broker - settled.ours, gap)
        });
        self.differences.retain(|known| known.symbol != difference.symbol);
        // Told with equal figures, a difference is over.
        if !gap.is_zero() {
            self.differences.push(difference.clone());
        }
    }

    fn open(&mut self, at: Timestamp, opening: &Opening) {
        self.opened = true;
        self.cash = opening.cash;
        for (
            symbol,
            Holding {
                quantity,
                average_cost,
            },
        ) in &opening.positions
        {
            let position = self.position(*symbol);
            position.quantity = *quantity;
            position.cost = *quantity * *average_cost;
        }
        for execution_id in &opening.execution_ids {
            self.executions.insert(execution_id.clone(), at);
        }
        self.earlier_orders.extend(opening.order_refs.iter().cloned());
    }

    fn adjust(&mut self, adjusted: &Adjusted) {
        self.cash += adjusted.cash;
        if let Some(symbol) = adjusted.symbol {
            self.position(symbol)
                .adjust(adjusted.quantity, adjusted.average_cost);
            if let Some((earliest, latest)) = adjusted.read_between {
                let before = self.taken_over.get(&symbol);
                let taken = TakenOver {
                    // A clock that was set back makes nothing new of what an earlier figure had.
                    earliest: before.map_or(earliest, |before| before.earliest.max(earliest)),
                    latest: before.map_or(latest, |before| before.latest.max(latest)),
                    order_id_max: self.order_id_max,
                };
                self.taken_over.insert(symbol, taken);
            }
            self.differences.retain(|known| known.symbol != Some(symbol));
        } else {
            self.differences.retain(|known| known.symbol.is_some());
        }
    }

    fn order_event(&mut self, sequence: u64, record: &Record, event: &OrderEvent) {
        let mut corrected = None;
        let mut moved = None;
        match &event.change {
            OrderChange::Fill(fill) if self.counted(fill) => return,
            // Its order hears of it; shares and cash have it, or differ and say so.
            OrderChange::Fill(fill) if self.is_taken_over(event, fill) => {
                self.executions
                    .insert(fill.execution_id.clone(), fill.executed_at);
                self.forget();
            }
            OrderChange::Fill(fill) => {
                moved = Some(fill);
                // A time ahead would make the figures of today those of another day.
                self.roll_day(fill.executed_at.min(record.at));
                corrected = self.uncount(fill);
                self.executions
                    .insert(fill.execution_id.clone(), fill.executed_at);
                self.adopt_foreign(record, event, fill);
            }
            // Its order may be forgotten; the money is not.
            OrderChange::Commission {
                execution_id,
                commission,
            } => return self.commission(event, execution_id, *commission),
            _ => {}
        }
        let Some(order) = self.orders.get_mut(&event.order) else {
            return;
        };
        let was_over = order.state.is_terminal();
        order.apply(record.at, &event.change);
        let (reason, is_over) = (order.reason, order.state.is_terminal());
        // An absent order's decision is dead, so the next one of this symbol must have an id of its own.
        if (is_over && !was_over) || matches!(event.change, OrderChange::Absent { .. }) {
            self.last_end.insert(event.symbol, sequence);
        }
        if let Some(fill) = moved {
            self.fill(sequence, event, fill, reason);
            self.take_place(corrected);
        }
        self.forget();
    }

    /// True when an execution is in a figure that was taken over from the broker: it was executed before, by an order of
    /// before. Where the clocks can't tell, a purchase is in it and a sale is not: so the ledger never has more than the
    /// broker, and what it lacks is told as a difference.
    fn is_taken_over(&self, event: &OrderEvent, fill: &Fill) -> bool {
        let Some(taken) = self.taken_over.get(&event.symbol) else {
            return false;
        };
        let order = self.orders.get(&event.order);
        let is_later = order.is_some_and(|order| order.order_id > taken.order_id_max);
        let corrects = self.revision_counted(revision_of(&fill.execution_id).0).is_some();
        let until = match fill.side {
            Side::Buy => taken.latest,
            Side::Sell => taken.earliest,
        };
        !is_later && !corrects && fill.executed_at <= until
    }

    /// Undoes the execution that a fill corrects, to the cent: what it moved is moved back. The figures of the day lose
    /// it too, whenever it was, as they will gain the correction: what is left in them is the difference.
    fn uncount(&mut self, fill: &Fill) -> Option<Trade> {
        let (root, _) = revision_of(&fill.execution_id);
        self.revision_counted(root)?;
        let same = |trade: &Trade| revision_of(&trade.execution_id).0 == root;
        let old = self.trades.remove(self.trades.iter().position(same)?)?;
        let notional = old.quantity * old.price;
        let commission = old.commission.unwrap_or_default();
        self.cash += old.side.signed(old.quantity) * old.price + commission;
        self.position(old.symbol).take_back(&old);
        self.position(old.symbol).commission -= commission;
        self.day.realized -= old.realized.unwrap_or_default();
        self.day.commission -= commission;
        if let Some(order) = self.orders.get_mut(&old.order) {
            order.filled -= old.quantity;
            order.filled_notional -= notional;
            order.commission -= commission;
        }
        self.executions.remove(&old.execution_id);
        Some(old)
    }

    /// Puts the newest trade where the one was that it corrects.
    fn take_place(&mut self, corrected: Option<Trade>) {
        let Some(old) = corrected else { return };
        let Some(mut trade) = self.trades.pop_back() else {
            return;
        };
        let rest = self.position(trade.symbol).settle();
        self.day.realized += rest;
        trade.corrected = Some(trade.sequence);
        trade.sequence = old.sequence;
        let place = self.trades.partition_point(|other| other.sequence < old.sequence);
        self.trades.insert(place, trade);
    }

    /// A fill of an order that nobody here decided makes an order of its own, so that it is seen and counted.
    fn adopt_foreign(&mut self, record: &Record, event: &OrderEvent, fill: &Fill) {
        if self.orders.contains_key(&event.order) {
            return;
        }
        let order = Order {
            id: event.order.clone(),
            cause: record.cause.clone(),
            symbol: event.symbol,
            side: fill.side,
            quantity: fill.quantity,
            filled: Quantity::ZERO,
            filled_notional: Money::ZERO,
            commission: Money::ZERO,
            state: OrderState::Working,
            reason: Reason::Foreign,
            target: Quantity::ZERO,
            order_id: 0,
            permanent_id: fill.permanent_id,
            created_at: record.at,
            updated_at: record.at,
            epoch: record.epoch,
            text: "seen at the broker, not ordered here".to_owned(),
            limit_price: None,
            reference_price: None,
            kinds: BTreeSet::new(),
        };
        self.orders.insert(event.order.clone(), order);
    }

    fn fill(&mut self, sequence: u64, event: &OrderEvent, fill: &Fill, reason: Reason) {
        self.cash -= fill.side.signed(fill.quantity) * fill.price;
        let position = self.position(event.symbol);
        let realized = position.trade(fill, &event.order);
        let position_after = position.quantity;
        self.day.realized += realized.unwrap_or_default();
        self.trades.push_back(Trade {
            execution_id: fill.execution_id.clone(),
            sequence,
            corrected: None,
            order: event.order.clone(),
            at: fill.executed_at,
            symbol: event.symbol,
            side: fill.side,
            quantity: fill.quantity,
            price: fill.price,
            commission: None,
            reason,
            realized,
            position_after,
        });
        if let Some(commission) = fill.commission {
            self.commission(event, &fill.execution_id, commission);
        }
    }

    fn commission(&mut self, event: &OrderEvent, execution_id: &str, commission: Money) {
        self.cash -= commission;
        self.day.commission += commission;
        self.position(event.symbol).commission += commission;
        if let Some(order) = self.orders.get_mut(&event.order) {
            order.commission += commission;
        }
        if let Some(trade) = self
            .trades
            .iter_mut()
            .rev()
            .find(|trade| trade.execution_id == execution_id)
        {
            trade.commission = Some(commission);
        }
    }

    fn position(&mut self, symbol: Symbol) -> &mut Position {
        self.positions
            .entry(symbol)
            .or_insert_with(|| Position::flat(symbol))
    }

    fn roll_day(&mut self, at: Timestamp) {
        let date = trading_day(at);
        if self.day.date.is_none_or(|day| day < date) {
            self.day = DayFigures {
                date: Some(date),
                ..DayFigures::default()
            };
            for position in self.positions.values_mut() {
                position.realized_today = Money::ZERO;
            }
        }
    }

    /// Drops the oldest of what is over, by rules that give the same result everywhere.
    fn forget(&mut self) {
        while self.trades.len() > TRADES_KEPT_MAX {
            self.trades.pop_front();
        }
        let over = self
            .orders
            .values()
            .filter(|order| order.state.is_terminal())
            .count();
        if over > ORDERS_KEPT_MAX {
            let oldest = self
                .orders
                .values()
                .filter(|order| order.state.is_terminal())
                .min_by_key(|o| (o.updated_at, o.id.clone()));
            if let Some(id) = oldest.map(|order| order.id.clone()) {
                self.orders.remove(&id);
                remember(&mut self.past_orders, Some(id));
            }
        }
        if self.executions.len() > EXECUTIONS_KEPT_MAX {
            let oldest = self
                .executions
                .iter()
                .min_by_key(|(id, at)| (**at, (*id).clone()));
            if let Some((id, at)) = oldest.map(|(id, at)| (id.clone(), *at)) {
                self.executions.remove(&id);
                self.forgotten_until = self.forgotten_until.max(Some(at));
            }
        }
    }
}

/// Keeps an id of what is not kept itself, and as many as are allowed.
fn remember(ids: &mut VecDeque<Id>, id: Option<Id>) {
    ids.extend(id);
    while ids.len() > IDS_KEPT_MAX {
        ids.pop_front();
    }
}
