//! Every subject of the bus: what it carries, who alone may write it, and which stream keeps it.
//! The only file with subject texts.

use crate::ledger::{Entry, OrderChange, Record};
use crate::{Id, Symbol};

/// Streams, as created by the set-up.
pub mod stream {
    /// Bars and sessions.
    pub const MARKET: &str = "MARKET";
    /// Signals, refusals, alerts and model events.
    pub const EVENTS: &str = "EVENTS";
    /// Orders and the account: what money is folded from.
    pub const LEDGER: &str = "LEDGER";
    /// Bucket of the leases.
    pub const LEASE: &str = "LEASE";
}

/// Subjects that a stage subscribes to.
pub mod filter {
    /// All quotes.
    pub const QUOTES: &str = "market.quote.>";
    /// All bars.
    pub const BARS: &str = "market.bar.>";
    /// The session.
    pub const SESSION: &str = "market.session";
    /// All signals.
    pub const SIGNALS: &str = "signal.>";
    /// All model events.
    pub const MODELS: &str = "model.>";
    /// All refusals.
    pub const REFUSALS: &str = "refusal.>";
    /// All alerts.
    pub const ALERTS: &str = "alert.>";
    /// All heartbeats.
    pub const HEALTH: &str = "health.>";
    /// All orders.
    pub const ORDERS: &str = "order.>";
    /// The account.
    pub const ACCOUNT: &str = "account.>";
    /// Commands of the operator.
    pub const COMMANDS: &str = "command.*";
    /// Commands from signed-in browsers.
    pub const WEB_COMMANDS: &str = "command.web.*";
    /// Queries.
    pub const QUERIES: &str = "query.*";
}

/// `market.quote.{symbol}`, written by market-data.
#[must_use]
pub fn quote(symbol: Symbol) -> String {
    format!("market.quote.{symbol}")
}

/// `market.bar.{symbol}`, written by market-data, kept in MARKET.
#[must_use]
pub fn bar(symbol: Symbol) -> String {
    format!("market.bar.{symbol}")
}

/// `signal.{symbol}`, written by signal, kept in EVENTS.
#[must_use]
pub fn signal(symbol: Symbol) -> String {
    format!("signal.{symbol}")
}

/// `model.{event}`, written by signal, kept in EVENTS.
#[must_use]
pub fn model(change: crate::decision::ModelChange) -> String {
    let event = match change {
        crate::decision::ModelChange::Loaded => "loaded",
        crate::decision::ModelChange::Refused => "refused",
    };
    format!("model.{event}")
}

/// `refusal.{symbol}`, written by execution, kept in EVENTS.
#[must_use]
pub fn refusal(symbol: Symbol) -> String {
    format!("refusal.{symbol}")
}

/// `alert.{service}.{kind}`, written by that service, kept in EVENTS. `kind` is one legal token.
#[must_use]
pub fn alert(service: &str, kind: &str) -> String {
    format!("alert.{service}.{kind}")
}

/// `health.{service}.{instance}`, written by that service.
#[must_use]
pub fn health(service: &str, instance: &str) -> String {
    format!("health.{service}.{instance}")
}

/// `command.{verb}`, asked by the operator, answered by the owner of the verb.
#[must_use]
pub fn command(verb: &str) -> String {
    format!("command.{verb}")
}

/// `command.web.{verb}`, asked by the bridge for a signed-in browser.
#[must_use]
pub fn web_command(verb: &str) -> String {
    format!("command.web.{verb}")
}

/// `query.{name}`, answered by persistence.
#[must_use]
pub fn query(name: &str) -> String {
    format!("query.{name}")
}

/// The write-once subject of a LEDGER record that is appended as number `sequence`.
#[must_use]
pub fn record(record: &Record, sequence: u64) -> String {
    match &record.entry {
        Entry::Epoch(_) => format!("order.epoch.{sequence}"),
        Entry::Intent(_) => format!("order.intent.{}", record.id),
        Entry::Order(event) => format!("order.event.{}.{}", event.order, kind(&event.change)),
        Entry::Identity(_) => format!("account.identity.{sequence}"),
        Entry::Opening(_) => format!("account.opening.{sequence}"),
        Entry::Reconciled(_) => format!("account.reconciled.{sequence}"),
        Entry::Difference(_) => format!("account.difference.{sequence}"),
        Entry::Adjusted(_) => format!("account.adjusted.{sequence}"),
        Entry::Settled(_) => format!("account.settled.{sequence}"),
        Entry::State(_) => format!("account.state.{sequence}"),
        Entry::Kill(_) => format!("account.kill.{sequence}"),
        Entry::Command(_) => format!("account.command.{sequence}"),
    }
}

/// The last token of an order event's subject: each can happen once to an order, a fill once for each execution.
#[must_use]
pub fn kind(change: &OrderChange) -> String {
    let token = |execution_id: &str| {
        let legal = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        execution_id.chars().map(legal).collect::<String>()
    };
    match change {
        OrderChange::Acknowledged { .. } => "acknowledged".to_owned(),
        OrderChange::Fill(fill) => format!("fill-{}", token(&fill.execution_id)),
        OrderChange::Commission { execution_id, .. } => format!("commission-{}", token(execution_id)),
        OrderChange::Cancelled { .. } => "cancelled".to_owned(),
        OrderChange::Rejected { .. } => "rejected".to_owned(),
        OrderChange::Unresolved { .. } => "unresolved".to_owned(),
        OrderChange::Absent { .. } => "absent".to_owned(),
        OrderChange::Late { .. } => "late".to_owned(),
        OrderChange::CancelRequested { .. } => "cancel-requested".to_owned(),
    }
}

/// The id of the record of an order's event: follows from order and kind.
#[must_use]
pub fn event_id(order: &Id, change: &OrderChange) -> Id {
    Id::derive(&[order.as_str(), &kind(change)])
}
