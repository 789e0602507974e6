//! THE fold of LEDGER: orders, positions, cash, profit and loss, trading state. Execution, persistence, bridge and
//! page all run it, and agree when sequence and digest agree. It trusts no record: order, chain and epoch are checked.

mod fold;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use jiff::civil::Date;
use protocol::ledger::{
    Choice, CommandRecord, Difference, Entry, Fill, Identity, Reason, Record, Settled, Side, TradingState,
};
use protocol::operator::StateMark;
use protocol::{Hash, Id, Money, Price, Quantity, Symbol, Timestamp};
use serde::{Deserialize, Serialize};

use crate::order::{Order, OrderState};
pub use crate::position::Position;

/// Orders that are over and still kept.
pub const ORDERS_KEPT_MAX: usize = 500;
/// Trades kept.
pub const TRADES_KEPT_MAX: usize = 500;
/// Execution ids remembered, far more than a broker tells again.
pub const EXECUTIONS_KEPT_MAX: usize = 10_000;
/// Commands kept with their answers.
pub const COMMANDS_KEPT_MAX: usize = 50;
/// Ids remembered of orders that are not kept any more, and of commands: one that is told again is known by its id alone.
pub const IDS_KEPT_MAX: usize = 10_000;

/// Dollars by which a difference of cash may move and still be the one that was told: the broker rounds to cents, and
/// books interest and fees when it likes.
pub const CASH_TOLERANCE: Money = Money::ONE;

/// True when two gaps between broker and ledger are the same difference: of shares to the share, of cash (no symbol) to
/// within [`CASH_TOLERANCE`].
#[must_use]
pub fn is_as_large(symbol: Option<Symbol>, gap: Quantity, other: Quantity) -> bool {
    let tolerance = symbol.map_or(CASH_TOLERANCE, |_| Quantity::ZERO);
    (gap - other).abs() <= tolerance
}

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// Executions counted, so that none counts twice, and when they were executed.
    pub executions: BTreeMap<String, Timestamp>,
    /// Executions up to here may have been forgotten; none of them is counted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten_until: Option<Timestamp>,
    /// `orderRef`s of orders of an earlier ledger that the broker told of when this one began.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub earlier_orders: BTreeSet<String>,
    /// Ids of orders that are over and not kept any more, oldest first. Not in a snapshot: nothing follows from it there.
    #[serde(skip)]
    pub past_orders: VecDeque<Id>,
    /// Figures of the broker that an operator took over, by symbol: what was executed before is in them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken_over: BTreeMap<Symbol, TakenOver>,
    /// What may be traded.
    pub state: TradingState,
    /// Symbols that are halted or only reduce, whatever the account may do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub symbol_states: BTreeMap<Symbol, TradingState>,
    /// True while the kill switch is latched.
    pub killed: bool,
    /// The newest commands, oldest first.
    pub commands: VecDeque<Commanded>,
    /// Ids of commands that are not kept any more, oldest first. Not in a snapshot either.
    #[serde(skip)]
    pub past_commands: VecDeque<Id>,
    /// Figures of the trading day.
    pub day: DayFigures,
    /// When broker and ledger last agreed, wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Timestamp>,
    /// Where broker and ledger differ.
    pub differences: Vec<Difference>,
    /// Differences that an operator keeps or ignores, while they are as large as they were then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Settled>,
    /// Sequence of the last event that ended an order, by symbol: part of the next decision's id.
    pub last_end: BTreeMap<Symbol, u64>,
    /// Highest order id ever used.
    pub order_id_max: i32,
    /// The latest `flatten` while it goes on, and whatever is still or again held is closed: until `cancel-all`, a kill
    /// switch, or a trading state that is not halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flattening: Option<Id>,
}

/// The latest figure of a symbol that was taken over from the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// Earliest instant of its reading, by the broker's clock.
    pub earliest: Timestamp,
    /// Latest instant of its reading, by the broker's clock.
    pub latest: Timestamp,
    /// Highest order id that was used before: what later orders fill is not in it.
    pub order_id_max: i32,
}

/// Shares that changed hands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// The broker's id.
    pub execution_id: String,
    /// Sequence in LEDGER.
    pub sequence: u64,
    /// Sequence of the broker's correction, where it corrected this execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<u64>,
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

impl Trade {
    /// Sequence of the last record that changed it.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.corrected.unwrap_or(self.sequence)
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// The part of an execution's id that its corrections keep, and the revision. IB numbers revisions in the last of four
/// segments: `0000e0d5.67a5d6c8.01.02` corrects `0000e0d5.67a5d6c8.01.01`.
#[must_use]
pub fn revision_of(execution_id: &str) -> (&str, u32) {
    match execution_id.rsplit_once('.') {
        Some((root, last)) if root.split('.').count() == 3 => match last.parse() {
            Ok(revision) => (root, revision),
            Err(_) => (execution_id, 0),
        },
        _ => (execution_id, 0),
    }
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
            forgotten_until: None,
            earlier_orders: BTreeSet::new(),
            past_orders: VecDeque::new(),
            taken_over: BTreeMap::new(),
            state: TradingState::Active,
            symbol_states: BTreeMap::new(),
            killed: false,
            commands: VecDeque::new(),
            past_commands: VecDeque::new(),
            day: DayFigures::default(),
            reconciled_at: None,
            differences: Vec::new(),
            settled: Vec::new(),
            last_end: BTreeMap::new(),
            order_id_max: 0,
            flattening: None,
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

    /// The state that it would be with these records too, for comparing. They count as of a sequence that is past.
    pub(crate) fn with(&self, sequence: u64, records: impl Iterator<Item = Record>) -> Self {
        let mut other = self.clone();
        records.for_each(|record| other.fold(sequence, &record));
        other
    }

    fn check(&self, sequence: u64, record: &Record) -> Result<(), LedgerFault> {
        if sequence != self.sequence + 1 {
            return Err(LedgerFault::Hole {
                expected: self.sequence + 1,
                found: sequence,
            });
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
            return Err(LedgerFault::Epoch {
                sequence,
                leads: self.epoch,
                found: record.epoch,
            });
        }
        match (&record.entry, &self.identity) {
            (Entry::Identity(new), Some(old)) if new.account != old.account => {
                Err(LedgerFault::Identity { sequence })
            }
            _ => Ok(()),
        }
    }

    /// True when an execution is in the fold already, or is so old that it must have been. A correction is new as long
    /// as the trade that it corrects is still known; later, comparing with the broker shows what it changed.
    #[must_use]
    pub fn counted(&self, fill: &Fill) -> bool {
        let (root, revision) = revision_of(&fill.execution_id);
        match self.revision_counted(root) {
            Some(counted) if counted >= revision => true,
            Some(_) => !self
                .trades
                .iter()
                .any(|trade| revision_of(&trade.execution_id).0 == root),
            None => self
                .forgotten_until
                .is_some_and(|until| fill.executed_at <= until),
        }
    }

    /// True when an execution is in the fold, in whatever revision.
    pub(crate) fn knows_execution(&self, execution_id: &str) -> bool {
        self.revision_counted(revision_of(execution_id).0).is_some()
    }

    /// The revision of an execution that is in the fold.
    fn revision_counted(&self, root: &str) -> Option<u32> {
        let from_root = (Bound::Included(root), Bound::Unbounded);
        let alike = self.executions.range::<str, _>(from_root).map(|(id, _)| id);
        let mut same = alike
            .take_while(|id| id.starts_with(root))
            .map(|id| revision_of(id));
        same.find_map(|(other, revision)| (other == root).then_some(revision))
    }

    /// Orders that may still fill.
    pub fn open_orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|order| order.state.may_fill())
    }

    /// Shares held of a symbol, confirmed by fills.
    #[must_use]
    pub fn held(&self, symbol: Symbol) -> Quantity {
        self.positions
            .get(&symbol)
            .map_or(Quantity::ZERO, |position| position.quantity)
    }

    /// True when an operator ignores a difference, for as long as it is as large.
    #[must_use]
    pub fn ignores(&self, difference: &Difference) -> bool {
        self.settled.iter().any(|settled| {
            settled.choice == Choice::Ignore
                && settled.symbol == difference.symbol
                && is_as_large(
                    difference.symbol,
                    settled.broker - settled.ours,
                    difference.broker - difference.ours,
                )
        })
    }

    /// Shares that may be closed: what is held, but no more of it than the broker has where the two differ. The broker's
    /// figure is of the latest comparison; what was sold since is gone there too, and what was bought since is believed
    /// when it is compared.
    #[must_use]
    pub fn certain(&self, symbol: Symbol) -> Quantity {
        let held = self.held(symbol);
        let differs = |difference: &&Difference| difference.symbol == Some(symbol);
        let Some(known) = self.differences.iter().find(differs) else {
            return held;
        };
        let moved = held - known.ours;
        if held > Quantity::ZERO {
            held.min(known.broker + moved.min(Quantity::ZERO))
                .max(Quantity::ZERO)
        } else {
            held.max(known.broker + moved.max(Quantity::ZERO))
                .min(Quantity::ZERO)
        }
    }

    /// Shares of a side that are on their way, but those of the order `but`. An absent order does not count: it must not
    /// block the next exit.
    #[must_use]
    pub fn leaving(&self, symbol: Symbol, side: Side, now: Timestamp, but: Option<&Id>) -> Quantity {
        let on_their_way = self.open_orders().filter(|order| {
            (order.symbol, order.side) == (symbol, side)
                && order.state != OrderState::Absent
                && Some(&order.id) != but
                && order.counts(now)
        });
        on_their_way.map(Order::rest).sum()
    }

    /// Symbols that are not flat.
    pub fn open_positions(&self) -> impl Iterator<Item = &Position> {
        self.positions
            .values()
            .filter(|position| !position.quantity.is_zero())
    }

    /// Cash and positions at their mark. A position without a mark counts at its cost.
    #[must_use]
    pub fn equity(&self, price: impl Fn(Symbol) -> Option<Price>) -> Money {
        let worth = |position: &Position| {
            price(position.symbol).map_or(position.cost, |price| position.quantity * price)
        };
        self.cash + self.open_positions().map(worth).sum::<Money>()
    }

    /// What the open positions gained since they were opened, without commission.
    #[must_use]
    pub fn unrealized(&self, price: impl Fn(Symbol) -> Option<Price>) -> Money {
        let gain = |position: &Position| {
            price(position.symbol).map_or(Money::ZERO, |price| position.quantity * price - position.cost)
        };
        self.open_positions().map(gain).sum()
    }

    /// Names this state: equal marks mean equal state.
    #[must_use]
    pub fn mark(&self) -> StateMark {
        StateMark {
            sequence: self.sequence,
            digest: self.digest(),
        }
    }

    /// A hash of all that money depends on.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let orders: BTreeSet<_> = self
            .orders
            .values()
            .map(|o| (&o.id, o.state, o.filled.normalize(), o.commission.normalize()))
            .collect();
        let positions: BTreeMap<_, _> = self
            .positions
            .iter()
            .map(|(symbol, p)| {
                (
                    symbol,
                    [
                        p.quantity.normalize(),
                        p.cost.normalize(),
                        p.realized.normalize(),
                        p.commission.normalize(),
                    ],
                )
            })
            .collect();
        let state = (
            &self.hash,
            self.epoch,
            self.cash.normalize(),
            positions,
            orders,
            self.state,
            &self.symbol_states,
            self.killed,
        );
        Hash::of(&serde_json::to_vec(&state).expect("plain data is always JSON"))
    }
}
