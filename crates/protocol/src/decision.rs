//! What the stages decide on the way to an order: signals, refusals, and what becomes of models; and alerts.

use serde::{Deserialize, Serialize};

use crate::{Hash, Id, Symbol, Timestamp};

/// What a symbol's market is like, seen without looking ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regime {
    /// Trends up.
    Bull,
    /// Trends down.
    Bear,
    /// Neither, calmly.
    Sideways,
    /// Moves too much to call a trend.
    Volatile,
}

/// A model's opinion on the next few bars of a symbol. Published on `signal.{symbol}`, one per complete bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Follows from bar and model.
    pub id: Id,
    /// Market clock: the end of the bar.
    pub at: Timestamp,
    /// The bar it follows from.
    pub cause: Id,
    /// Whose next bars.
    pub symbol: Symbol,
    /// Share of belief in a fall; the three add up to one.
    pub down: f64,
    /// Share of belief in no move worth trading.
    pub flat: f64,
    /// Share of belief in a rise.
    pub up: f64,
    /// What the market is like.
    pub regime: Regime,
    /// Close of the bar, for people and charts.
    #[serde(deserialize_with = "crate::units::read_price")]
    pub price: crate::Price,
    /// Name of the model.
    pub model: String,
    /// Hash of the model's file and card.
    pub model_hash: Hash,
}

/// What became of a model. Published on `model.{event}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelEvent {
    /// Follows from file hash and event.
    pub id: Id,
    /// Wall clock.
    pub at: Timestamp,
    /// What happened.
    pub event: ModelChange,
    /// Name of the model: its file without the ending.
    pub model: String,
    /// Hash of its file and card.
    pub model_hash: Hash,
    /// One sentence: for a refusal the exact reason, and what stays in force.
    pub text: String,
}

/// What can become of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelChange {
    /// It decides from the next bar on.
    Loaded,
    /// It was not taken up; the old one stays.
    Refused,
}

/// An order that was not made, and why. Published on `refusal.{symbol}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Follows from cause and check.
    pub id: Id,
    /// Market clock.
    pub at: Timestamp,
    /// The signal or command it follows from.
    pub cause: Id,
    /// Whose order.
    pub symbol: Symbol,
    /// The check that refused.
    pub check: Check,
    /// The check's numbers in one sentence, such as `12 trades today, limit 12`.
    pub text: String,
}

/// The checks that an order passes before it is made. In this order, the first that fails is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The kill switch is latched.
    KillSwitch,
    /// Trading is halted, or only reduces.
    TradingState,
    /// Broker truth is not loaded, the link is down, or a reconciliation is under way.
    BrokerGate,
    /// The market's session does not allow it.
    SessionClosed,
    /// No quote, an old one, or one that may not be traded on.
    StaleQuote,
    /// The decision is older than allowed, or of a time that is yet to come.
    StaleSignal,
    /// An order of this symbol is unresolved or absent.
    Unsettled,
    /// An order of this symbol is still working.
    Working,
    /// A symbol that nobody asked us to trade.
    NotWatched,
    /// Time after an exit has not passed.
    Cooldown,
    /// Trades of this symbol today.
    TradesPerDay,
    /// Shares of this symbol.
    SharesPerSymbol,
    /// Dollars in this symbol.
    NotionalPerSymbol,
    /// Dollars in all symbols.
    GrossExposure,
    /// Loss of the day.
    DailyLoss,
    /// Cash at the broker.
    BuyingPower,
    /// Orders in the last minute.
    OrdersPerMinute,
    /// The same decision again.
    Duplicate,
}

/// How much an alert asks of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Needs somebody.
    Warning,
    /// Broken.
    Critical,
}

/// Something a person should know. Published on `alert.{service}.{kind}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Follows from service, kind and instant.
    pub id: Id,
    /// Wall clock.
    pub at: Timestamp,
    /// What it follows from, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Id>,
    /// Who says it.
    pub service: String,
    /// What kind, one legal subject token such as `broker-link`.
    pub kind: String,
    /// How much it asks of a person.
    pub level: Level,
    /// Whose, if it is about one symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// One sentence: what happened, where, what to do.
    pub text: String,
}
