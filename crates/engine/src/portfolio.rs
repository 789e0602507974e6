//! THE fold of LEDGER: orders, positions, cash, profit and loss, trading state. Execution, persistence, bridge and
//! page all run it, and agree when sequence and digest agree. It trusts no record: order, chain and epoch are checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::civil::Date;
use protocol::ledger::{
    Adjusted, CommandRecord, Difference, Entry, Fill, Holding, Identity, Mode, Opening, OrderChange, OrderEvent, Reason, Record,
    Side, TradingState,
};
use protocol::operator::{StateMark, Verb};
use protocol::{Hash, Id, Money, Price, Quantity, Symbol, Timestamp};
use serde::{Deserialize, Serialize};

use crate::day::trading_day;
use crate::order::{Order, OrderState};

/// Orders that are over and still kept.
pub const ORDERS_KEPT_MAX: usize = 500;
/// Trades kept.
pub const TRADES_KEPT_MAX: usize = 500;
/// Execution ids remembered, far more than a broker tells again.
pub const EXECUTIONS_KEPT_MAX: usize = 10_000;
/// Commands kept.
pub const COMMANDS_KEPT_MAX: usize = 50;

/// The state that LEDGER amounts to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Portfolio {
    /// Sequence of the last record in it; 0 before the first.
    pub sequence: u64,
    /// Hash of the last record.
    pub hash: Hash,
    /// Incarnation that writes.
    pub epoch: u64,
    /// Whose account; absent before the first start.
    pub identity: Option<Identity>,
    /// True once the opening positions are set.
    pub opened: bool,
    /// Dollars.
    pub cash: Money,
    /// Positions, and symbols that were traded and are flat now.
    pub positions: BTreeMap<Symbol, Position>,
    /// Orders that are not over, and the newest that are.
    pub orders: BTreeMap<Id, Order>,
    /// The newest trades, oldest first.
    pub trades: VecDeque<Trade>,
    /// Executions counted, so that none counts twice; by the sequence that told them.
    pub executions: BTreeMap<String, u64>,
    /// What may be traded.
    pub state: TradingState,
    /// True while the kill switch is latched.
    pub killed: bool,
    /// The newest commands, oldest first.
    pub commands: VecDeque<Commanded>,
    /// Figures of the trading day.
    pub day: DayFigures,
    /// When broker and ledger last agreed, wall clock.
    pub reconciled_at: Option<Timestamp>,
    /// Where broker and ledger differ.
    pub differences: Vec<Difference>,
    /// Sequence of the last event that ended an order, by symbol: part of the next decision's id.
    pub last_end: BTreeMap<Symbol, u64>,
    /// Highest order id ever used.
    pub order_id_max: i32,
    /// True after `flatten` until something else is commanded: whatever is still or again held is closed.
    pub flattening: bool,
}

/// What is held of a symbol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Which.
    pub symbol: Symbol,
    /// Shares, signed.
    pub quantity: Quantity,
    /// Dollars paid for what is held, signed like the shares, without commission.
    pub cost: Money,
    /// Dollars gained by what was closed, without commission, ever.
    pub realized: Money,
    /// Dollars gained by what was closed today, without commission.
    pub realized_today: Money,
    /// Dollars the broker took, ever.
    pub commission: Money,
    /// When it was last opened from flat, market clock.
    pub opened_at: Option<Timestamp>,
    /// When it was last closed to flat, market clock.
    pub closed_at: Option<Timestamp>,
    /// The decision that opened it.
    pub opened_by: Option<Id>,
}

/// Shares that changed hands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// The broker's id.
    pub execution_id: String,
    /// Sequence in LEDGER.
    pub sequence: u64,
    /// The order.
    pub order: Id,
    /// When, by the broker's clock.
    pub at: Timestamp,
    /// What.
    pub symbol: Symbol,
    /// Direction.
    pub side: Side,
    /// Shares.
    pub quantity: Quantity,
    /// Dollars a share.
    pub price: Price,
    /// Dollars the broker took, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commission: Option<Money>,
    /// Why the order was decided.
    pub reason: Reason,
    /// Dollars gained by what it closed, without commission; absent when it only opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized: Option<Money>,
    /// Shares held after it.
    pub position_after: Quantity,
}

/// A command and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commanded {
    /// Wall clock.
    pub at: Timestamp,
    /// The command's id.
    pub id: Id,
    /// What was asked and answered.
    #[serde(flatten)]
    pub record: CommandRecord,
}

/// Figures of one trading day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DayFigures {
    /// Which day; absent before the first trade.
    pub date: Option<Date>,
    /// Dollars gained by what was closed, without commission.
    pub realized: Money,
    /// Dollars the broker took.
    pub commission: Money,
    /// Orders decided.
    pub orders: u32,
    /// Entries decided, by symbol.
    pub entries: BTreeMap<Symbol, u32>,
}

/// Why a record can't be what comes next in LEDGER.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// A record is missing.
    #[error("LEDGER has a hole: record {found} came where {expected} belongs")]
    Hole {
        /// The place that is missing.
        expected: u64,
        /// The place that came.
        found: u64,
    },
    /// The record before is not the one that this one follows.
    #[error("LEDGER's chain is broken at record {sequence}: it does not follow the record before it")]
    Chain {
        /// Where.
        sequence: u64,
    },
    /// The writer is not the incarnation that leads.
    #[error("record {sequence} of LEDGER is foreign: it is of epoch {found} while epoch {leads} leads")]
    Epoch {
        /// Where.
        sequence: u64,
        /// The epoch that leads.
        leads: u64,
        /// The epoch of the record.
        found: u64,
    },
    /// The account is another one.
    #[error("record {sequence} of LEDGER names another account than the first record")]
    Identity {
        /// Where.
        sequence: u64,
    },
}

impl Default for Portfolio {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: Hash::zero(),
            epoch: 0,
            identity: None,
            opened: false,
            cash: Money::ZERO,
            positions: BTreeMap::new(),
            orders: BTreeMap::new(),
            trades: VecDeque::new(),
            executions: BTreeMap::new(),
            state: TradingState::Active,
            killed: false,
            commands: VecDeque::new(),
            day: DayFigures::default(),
            reconciled_at: None,
            differences: Vec::new(),
            last_end: BTreeMap::new(),
            order_id_max: 0,
            flattening: false,
        }
    }
}

impl Portfolio {
    /// Takes the next record over. A record that is in it already changes nothing.
    ///
    /// # Errors
    /// When the record can't be the next: a hole, a broken chain, a writer that does not lead. Nothing is changed then.
    pub fn apply(&mut self, sequence: u64, hash: &Hash, record: &Record) -> Result<(), LedgerFault> {
        if sequence <= self.sequence {
            return Ok(());
        }
        self.check(sequence, record)?;
        self.fold(sequence, record);
        self.sequence = sequence;
        self.hash = hash.clone();
        Ok(())
    }

    fn check(&self, sequence: u64, record: &Record) -> Result<(), LedgerFault> {
        if sequence != self.sequence + 1 {
            return Err(LedgerFault::Hole { expected: self.sequence + 1, found: sequence });
        }
        if record.previous_hash != self.hash {
            return Err(LedgerFault::Chain { sequence });
        }
        let right = match record.entry {
            Entry::Epoch(_) => record.epoch == self.epoch + 1,
            // The identity is written before the first epoch.
            Entry::Identity(_) if self.epoch == 0 => record.epoch == 0,
            _ => record.epoch == self.epoch && self.epoch > 0,
        };
        if !right {
            return Err(LedgerFault::Epoch { sequence, leads: self.epoch, found: record.epoch });
        }
        match (&record.entry, &self.identity) {
            (Entry::Identity(new), Some(old)) if new.account != old.account => Err(LedgerFault::Identity { sequence }),
            _ => Ok(()),
        }
    }

    fn fold(&mut self, sequence: u64, record: &Record) {
        match &record.entry {
            Entry::Epoch(_) => self.epoch = record.epoch,
            Entry::Identity(identity) => {
                if identity.mode == Mode::Live && self.identity.is_none() {
                    self.state = TradingState::Halted;
                }
                self.identity = Some(identity.clone());
            }
            Entry::Opening(opening) => self.open(sequence, opening),
            Entry::Intent(intent) => {
                self.roll_day(record.at);
                self.day.orders += 1;
                if intent.reason == Reason::Entry {
                    *self.day.entries.entry(intent.symbol).or_default() += 1;
                }
                self.order_id_max = self.order_id_max.max(intent.order_id);
                let order = Order::of(record.id.clone(), record.cause.clone(), record.at, record.epoch, intent);
                self.orders.insert(record.id.clone(), order);
            }
            Entry::Order(event) => self.order_event(sequence, record, event),
            Entry::Reconciled(_) => {
                self.reconciled_at = Some(record.at);
                self.differences.clear();
            }
            Entry::Difference(difference) => {
                self.differences.retain(|known| known.symbol != difference.symbol);
                self.differences.push(difference.clone());
            }
            Entry::Adjusted(adjusted) => self.adjust(adjusted),
            Entry::State(change) => {
                self.state = change.state;
                self.flattening = false;
            }
            Entry::Kill(kill) => self.killed = kill.latched,
            Entry::Command(command) => {
                if command.accepted && command.verb == Verb::Flatten.as_str() {
                    self.flattening = true;
                }
                let commanded = Commanded { at: record.at, id: record.id.clone(), record: command.clone() };
                self.commands.push_back(commanded);
                while self.commands.len() > COMMANDS_KEPT_MAX {
                    self.commands.pop_front();
                }
            }
        }
    }

    fn open(&mut self, sequence: u64, opening: &Opening) {
        self.opened = true;
        self.cash = opening.cash;
        for (symbol, Holding { quantity, average_cost }) in &opening.positions {
            let position = self.position(*symbol);
            position.quantity = *quantity;
            position.cost = *quantity * *average_cost;
        }
        for execution_id in &opening.execution_ids {
            self.executions.insert(execution_id.clone(), sequence);
        }
    }

    fn adjust(&mut self, adjusted: &Adjusted) {
        self.cash += adjusted.cash;
        if let Some(symbol) = adjusted.symbol {
            let position = self.position(symbol);
            position.quantity += adjusted.quantity;
            position.cost = position.quantity * adjusted.average_cost;
            self.differences.retain(|known| known.symbol != Some(symbol));
        } else {
            self.differences.retain(|known| known.symbol.is_some());
        }
    }

    fn order_event(&mut self, sequence: u64, record: &Record, event: &OrderEvent) {
        let is_new = match &event.change {
            OrderChange::Fill(fill) => self.executions.insert(fill.execution_id.clone(), sequence).is_none(),
            _ => true,
        };
        if !is_new {
            return;
        }
        if let OrderChange::Fill(fill) = &event.change {
            self.roll_day(record.at);
            self.adopt_foreign(record, event, fill);
        }
        let Some(order) = self.orders.get_mut(&event.order) else { return };
        let was_over = order.state.is_terminal();
        order.apply(record.at, &event.change);
        let (reason, is_over) = (order.reason, order.state.is_terminal());
        // An absent order's decision is dead, so the next one of this symbol must have an id of its own.
        if (is_over && !was_over) || matches!(event.change, OrderChange::Absent { .. }) {
            self.last_end.insert(event.symbol, sequence);
        }
        match &event.change {
            OrderChange::Fill(fill) => self.fill(sequence, event, fill, reason),
            OrderChange::Commission { execution_id, commission } => self.commission(event, execution_id, *commission),
            _ => {}
        }
        self.forget();
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
        if let Some(trade) = self.trades.iter_mut().rev().find(|trade| trade.execution_id == execution_id) {
            trade.commission = Some(commission);
        }
    }

    fn position(&mut self, symbol: Symbol) -> &mut Position {
        self.positions.entry(symbol).or_insert_with(|| Position::flat(symbol))
    }

    fn roll_day(&mut self, at: Timestamp) {
        let date = trading_day(at);
        if self.day.date.is_none_or(|day| day < date) {
            self.day = DayFigures { date: Some(date), ..DayFigures::default() };
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
        let over = self.orders.values().filter(|order| order.state.is_terminal()).count();
        if over > ORDERS_KEPT_MAX {
            let oldest = self.orders.values().filter(|order| order.state.is_terminal()).min_by_key(|o| (o.updated_at, o.id.clone()));
            if let Some(id) = oldest.map(|order| order.id.clone()) {
                self.orders.remove(&id);
            }
        }
        if self.executions.len() > EXECUTIONS_KEPT_MAX {
            let oldest = self.executions.iter().min_by_key(|(id, sequence)| (**sequence, (*id).clone()));
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.executions.remove(&id);
            }
        }
    }

    /// Orders that may still fill.
    pub fn open_orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|order| order.state.may_fill())
    }

    /// Shares held of a symbol, confirmed by fills.
    #[must_use]
    pub fn held(&self, symbol: Symbol) -> Quantity {
        self.positions.get(&symbol).map_or(Quantity::ZERO, |position| position.quantity)
    }

    /// Symbols that are not flat.
    pub fn open_positions(&self) -> impl Iterator<Item = &Position> {
        self.positions.values().filter(|position| !position.quantity.is_zero())
    }

    /// Cash and positions at their mark. A position without a mark counts at its cost.
    #[must_use]
    pub fn equity(&self, price: impl Fn(Symbol) -> Option<Price>) -> Money {
        let worth = |position: &Position| price(position.symbol).map_or(position.cost, |price| position.quantity * price);
        self.cash + self.open_positions().map(worth).sum::<Money>()
    }

    /// What the open positions gained since they were opened, without commission.
    #[must_use]
    pub fn unrealized(&self, price: impl Fn(Symbol) -> Option<Price>) -> Money {
        let gain = |position: &Position| price(position.symbol).map_or(Money::ZERO, |price| position.quantity * price - position.cost);
        self.open_positions().map(gain).sum()
    }

    /// Names this state: equal marks mean equal state.
    #[must_use]
    pub fn mark(&self) -> StateMark {
        StateMark { sequence: self.sequence, digest: self.digest() }
    }

    /// A hash of all that money depends on.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let orders: BTreeSet<_> = self.orders.values().map(|o| (&o.id, o.state, o.filled.normalize(), o.commission.normalize())).collect();
        let positions: BTreeMap<_, _> = self
            .positions
            .iter()
            .map(|(symbol, p)| (symbol, [p.quantity.normalize(), p.cost.normalize(), p.realized.normalize(), p.commission.normalize()]))
            .collect();
        let state = (&self.hash, self.epoch, self.cash.normalize(), positions, orders, self.state, self.killed);
        Hash::of(&serde_json::to_vec(&state).expect("plain data is always JSON"))
    }
}

impl Position {
    fn flat(symbol: Symbol) -> Self {
        Self {
            symbol,
            quantity: Quantity::ZERO,
            cost: Money::ZERO,
            realized: Money::ZERO,
            realized_today: Money::ZERO,
            commission: Money::ZERO,
            opened_at: None,
            closed_at: None,
            opened_by: None,
        }
    }

    /// Dollars a share paid on average, without commission; zero when flat.
    #[must_use]
    pub fn average_cost(&self) -> Price {
        if self.quantity.is_zero() { Price::ZERO } else { (self.cost / self.quantity).round_dp(8).normalize() }
    }

    /// Takes a fill over; returns the gain of what it closed. Cost is moved, never made: what leaves the position's
    /// cost is exactly what the gain is reckoned from.
    fn trade(&mut self, fill: &Fill, order: &Id) -> Option<Money> {
        let change = fill.side.signed(fill.quantity);
        let closes = !self.quantity.is_zero() && self.quantity.is_sign_negative() != change.is_sign_negative();
        let mut realized = None;
        let mut rest = change;
        if closes {
            let closed = if change.abs() < self.quantity.abs() { change } else { -self.quantity };
            let cost_of_closed = if closed == -self.quantity {
                self.cost
            } else {
                (self.cost * (-closed) / self.quantity).round_dp(8)
            };
            let gain = -closed * fill.price - cost_of_closed;
            self.quantity += closed;
            self.cost -= cost_of_closed;
            self.realized += gain;
            self.realized_today += gain;
            realized = Some(gain);
            rest = change - closed;
            if self.quantity.is_zero() {
                self.closed_at = Some(fill.executed_at);
                self.opened_at = None;
                self.opened_by = None;
            }
        }
        if !rest.is_zero() {
            if self.quantity.is_zero() {
                self.opened_at = Some(fill.executed_at);
                self.opened_by = Some(order.clone());
            }
            self.quantity += rest;
            self.cost += rest * fill.price;
        }
        realized
    }
}
