//! The records of LEDGER: everything that positions, cash and orders are folded from. One writer: execution.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Hash, Id, Money, Price, Quantity, Symbol, Timestamp};

/// One record. Carries the epoch of its writer and the hash of the record before, so that a reader
/// recognises a foreign, a missing and a changed record by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The record's id. An intent's is the decision's id.
    pub id: Id,
    /// Market clock for intents and order events, wall clock else.
    pub at: Timestamp,
    /// What it follows from: signal, command, intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Id>,
    /// Incarnation of the writer.
    pub epoch: u64,
    /// [`Hash::of`] the bytes of the record before; [`Hash::zero`] for the first.
    pub previous_hash: Hash,
    /// What is recorded.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a record says. The `kind` field names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// A new incarnation of the writer begins. `order.epoch.{n}`
    Epoch(Epoch),
    /// An order is decided and will be sent once, by the incarnation that wrote this. `order.intent.{id}`
    Intent(Intent),
    /// Something became of an order. `order.event.{id}.{k}`
    Order(OrderEvent),
    /// Which account and mode this ledger is of. `account.identity.{n}`
    Identity(Identity),
    /// What the account held before the first record. `account.opening.{n}`
    Opening(Opening),
    /// Broker and ledger were compared and agree. `account.reconciled.{n}`
    Reconciled(Reconciled),
    /// Broker and ledger differ. `account.difference.{n}`
    Difference(Difference),
    /// The broker's word was taken for what the ledger could not explain. `account.adjusted.{n}`
    Adjusted(Adjusted),
    /// An operator said what is to become of a difference. `account.settled.{n}`
    Settled(Settled),
    /// What may be traded changed. `account.state.{n}`
    State(StateChange),
    /// The kill switch was latched or released. `account.kill.{n}`
    Kill(Kill),
    /// An operator's command and the answer it got. `account.command.{n}`
    Command(CommandRecord),
}

/// A new incarnation of execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Which process on which machine, `host-pid`.
    pub instance: String,
    /// Its version.
    pub version: String,
}

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Adds shares.
    Buy,
    /// Takes shares away.
    Sell,
}

impl Side {
    /// A quantity with the sign it has in a position.
    #[must_use]
    pub fn signed(self, quantity: Quantity) -> Quantity {
        match self {
            Self::Buy => quantity,
            Self::Sell => -quantity,
        }
    }
}

/// How an order meets the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderType {
    /// At the price there is.
    Market,
    /// At the limit price or better.
    Limit,
}

/// How long an order lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeInForce {
    /// Until the close.
    Day,
    /// What can't be filled at once is cancelled.
    ImmediateOrCancel,
}

/// Why an order was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A bullish signal opened it.
    Entry,
    /// A bearish signal closed it.
    Signal,
    /// The regime turned against it.
    Regime,
    /// Its loss reached the limit.
    Stop,
    /// Its profit reached the target.
    Target,
    /// The operator closed everything.
    Flatten,
    /// The operator closed this one.
    Close,
    /// The operator closed this one although the kill switch is latched.
    EmergencyExit,
    /// Nobody here: it was seen at the broker and taken over.
    Foreign,
}

impl Reason {
    /// Whether an operator asked for it.
    #[must_use]
    pub fn is_by_operator(self) -> bool {
        matches!(self, Self::Flatten | Self::Close | Self::EmergencyExit)
    }
}

/// A decided order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// What to trade.
    pub symbol: Symbol,
    /// Direction.
    pub side: Side,
    /// Shares.
    pub quantity: Quantity,
    /// How.
    pub order_type: OrderType,
    /// Limit price; absent for a market order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_price: Option<Price>,
    /// How long.
    pub time_in_force: TimeInForce,
    /// True when it may trade outside the regular session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside_regular_hours: bool,
    /// Why.
    pub reason: Reason,
    /// The position it aims at.
    pub target: Quantity,
    /// The position (confirmed) it was decided from.
    pub basis: Quantity,
    /// The broker's order id it is sent under, once.
    pub order_id: i32,
    /// Price of the market when it was decided, for slippage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_price: Option<Price>,
}

/// Something became of the order whose intent has the id `order`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// The intent's id, which is also the broker's `orderRef`.
    pub order: Id,
    /// Whose order.
    pub symbol: Symbol,
    /// What became of it.
    #[serde(flatten)]
    pub change: OrderChange,
}

/// What can become of an order. The `event` field names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum OrderChange {
    /// The broker has it.
    Acknowledged {
        /// The broker's permanent id.
        permanent_id: i64,
    },
    /// Shares changed hands.
    Fill(Fill),
    /// What a fill cost, told after the fill.
    Commission {
        /// Which fill.
        execution_id: String,
        /// What the broker took.
        commission: Money,
    },
    /// The rest is off the market.
    Cancelled {
        /// The broker's words.
        text: String,
    },
    /// The broker refused it.
    Rejected {
        /// The broker's code.
        code: i32,
        /// The broker's words.
        text: String,
    },
    /// Its fate is unknown; silence is not an answer.
    Unresolved {
        /// What is known.
        evidence: String,
    },
    /// A later incarnation looked for it in two fresh passes and did not find it.
    Absent {
        /// What was looked at.
        evidence: String,
    },
    /// It appeared after it was called absent, and is taken over.
    Late {
        /// The broker's permanent id, when known.
        permanent_id: i64,
    },
    /// The operator asked the broker to cancel it.
    CancelRequested {
        /// Who asked and why.
        text: String,
    },
}

/// An execution at the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// The broker's execution id; a fill is counted once for each.
    pub execution_id: String,
    /// Direction.
    pub side: Side,
    /// Shares.
    pub quantity: Quantity,
    /// Dollars a share.
    pub price: Price,
    /// What the broker took, when it is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commission: Option<Money>,
    /// When it was executed, by the broker's clock.
    pub executed_at: Timestamp,
    /// The broker's permanent id of the order.
    #[serde(default)]
    pub permanent_id: i64,
}

/// Which account a ledger is of. A mismatch does not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The broker's account.
    pub account: String,
    /// Paper or live.
    pub mode: Mode,
    /// The gateway's name, its address unless the settings name it. Only one gateway keeps a second client of the same id
    /// out.
    pub gateway: String,
    /// The ordering client's id.
    pub client_id: i32,
}

/// Play money or real money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Play money.
    Paper,
    /// Real money.
    Live,
}

/// A position as the broker has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// Shares, signed.
    pub quantity: Quantity,
    /// Dollars a share paid on average.
    pub average_cost: Price,
}

/// What the account held when the ledger began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Dollars.
    pub cash: Money,
    /// Positions by symbol.
    pub positions: BTreeMap<Symbol, Holding>,
    /// Executions of the day that are in the positions already, and so are not added again.
    pub execution_ids: Vec<String>,
    /// `orderRef`s of the pipeline's kind that the broker told of then: orders of an earlier ledger. What they still fill
    /// was not ordered here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order_refs: Vec<String>,
}

/// Broker and ledger agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconciled {
    /// What was compared.
    pub text: String,
    /// Positions compared.
    pub positions: u32,
    /// Executions read.
    pub executions: u32,
    /// Net liquidation as the broker states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_equity: Option<Money>,
}

/// Broker and ledger differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Whose position; absent when it is cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Our figure.
    pub ours: Quantity,
    /// The broker's figure.
    pub broker: Quantity,
    /// One sentence for the operator.
    pub text: String,
}

/// The broker's figure is taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// Whose position; absent when only cash changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Shares added, signed.
    pub quantity: Quantity,
    /// Dollars a share that what is added counts at; what was known keeps its cost.
    pub average_cost: Price,
    /// Dollars added to cash, signed.
    pub cash: Money,
    /// Between which instants by the broker's clock, and surely so, the positions were read that it was taken from. What
    /// was executed before is in it. Absent for cash, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_between: Option<(Timestamp, Timestamp)>,
    /// Why.
    pub text: String,
}

/// What an operator makes of a difference between broker and ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The broker is right: its figure is taken over.
    Accept,
    /// The ledger is right: entries of the symbol wait until the broker agrees.
    Keep,
    /// It is known and explained: entries go on for as long as it is as large.
    Ignore,
}

/// An operator's word on a difference. What is accepted is also [`Adjusted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// Whose position; absent when it is cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// What is to become of it.
    pub choice: Choice,
    /// Our figure.
    pub ours: Quantity,
    /// The broker's figure.
    pub broker: Quantity,
    /// Who, `operator` or `web`.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What may be traded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TradingState {
    /// Entries and exits.
    Active,
    /// Exits only.
    Reducing,
    /// No entries; exits that only reduce still pass.
    Halted,
}

/// What may be traded changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    /// From now on.
    pub state: TradingState,
    /// Of this symbol alone; absent: of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Who, `operator`, `web` or `execution`.
    pub by: String,
    /// Why.
    pub text: String,
}

/// The kill switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// True: nothing goes out but an emergency exit. Stays until released.
    pub latched: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub text: String,
}

/// An operator's command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// `halt`, `flatten`, ...
    pub verb: String,
    /// Who, `operator` or `web`.
    pub by: String,
    /// Whose, for verbs on one symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Which order, for `settle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Id>,
    /// What was to become of a difference, for `settle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// What was asked, in the operator's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether it was carried out.
    pub accepted: bool,
    /// The answer given.
    pub text: String,
}
