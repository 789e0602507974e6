//! What the bridge tells a browser on `/ws`, and what a browser may say.

use serde::{Deserialize, Serialize};

use crate::decision::{Alert, ModelEvent, Refusal, Signal};
use crate::ledger::{Mode, Record};
use crate::market::{Bar, BarSize, Quote, Session};
use crate::operator::{Health, Reply, StateMark};
use crate::settings::{Exits, Risk};
use crate::{Id, Money, Symbol, Timestamp};

/// One message to a browser. `P` is the portfolio fold: the page runs the same fold as the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "kebab-case")]
pub enum Frame<P> {
    /// Everything, at first and whenever the browser was too slow.
    Snapshot(Box<Snapshot<P>>),
    /// A newer quote; those in between may have been left out.
    Quote(Quote),
    /// A newer state of a bar, or a complete one.
    Bar(Bar),
    /// The session changed.
    Session(Session),
    /// A new signal.
    Signal(Signal),
    /// The next record of LEDGER. None is ever left out.
    Record {
        /// Its place in LEDGER.
        sequence: u64,
        /// [`crate::Hash::of`] its bytes as stored, for the chain.
        hash: crate::Hash,
        /// The record.
        record: Box<Record>,
    },
    /// An order that was not made.
    Refusal(Refusal),
    /// Something to know.
    Alert(Alert),
    /// What became of a model.
    Model(ModelEvent),
    /// A heartbeat of a stage.
    Health(Health),
    /// The answer to this browser's command.
    Reply(Reply),
    /// Where the bridge's own fold stands, so that the page can compare.
    Mark {
        /// Sequence and digest.
        state: StateMark,
        /// Wall clock at the bridge.
        at: Timestamp,
    },
}

/// Everything a page needs to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<P> {
    /// Wall clock at the bridge.
    pub at: Timestamp,
    /// Version of the wire; a page of another version reloads itself.
    pub wire: u32,
    /// Name of the market: `demo`, `replay of bars-1m`, `broker`.
    pub market: String,
    /// Play money or real money.
    pub mode: Mode,
    /// What is watched, in the operator's order.
    pub watchlist: Vec<Symbol>,
    /// Length of the bars that decide.
    pub bar_size: BarSize,
    /// Limits in force, for the meters.
    pub risk: Risk,
    /// Exits in force.
    pub exits: Exits,
    /// The fold of LEDGER.
    pub portfolio: P,
    /// The newest quote of each symbol.
    pub quotes: Vec<Quote>,
    /// The newest complete bars of each symbol, oldest first.
    pub bars: Vec<Bar>,
    /// The newest signal of each symbol.
    pub signals: Vec<Signal>,
    /// The newest refusals, oldest first.
    pub refusals: Vec<Refusal>,
    /// The newest alerts, oldest first.
    pub alerts: Vec<Alert>,
    /// The newest model events, oldest first.
    pub models: Vec<ModelEvent>,
    /// The newest heartbeat of each stage.
    pub health: Vec<Health>,
    /// The session, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The equity curve so far, oldest first.
    pub equity: Vec<EquityPoint>,
}

/// What the account was worth. One point each bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EquityPoint {
    /// Market clock.
    pub at: Timestamp,
    /// Cash and positions at their mark, dollars.
    pub equity: Money,
    /// Cash, dollars.
    pub cash: Money,
}

/// One message from a browser. The first must be `Hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Say {
    /// Proves that the operator gave this page the token.
    Hello {
        /// The token of the address's fragment.
        token: String,
    },
    /// Asks for a command to be carried out.
    Command {
        /// The page's id for it.
        id: Id,
        /// Which, such as `halt`.
        verb: String,
        /// Whose, for verbs on one symbol.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<Symbol>,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
}
