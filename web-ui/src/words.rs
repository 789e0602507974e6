//! The wire's words as people say them.

use engine::order::OrderState;
use engine::portfolio::Portfolio;
use protocol::decision::{Check, Regime};
use protocol::ledger::{Choice, Entry, OrderChange, OrderEvent, Reason, Record, Side, TradingState};

use crate::format::{dollars, price, shares};

/// The trading state.
#[must_use]
pub fn state(state: TradingState) -> &'static str {
    match state {
        TradingState::Active => "Active",
        TradingState::Reducing => "Reducing",
        TradingState::Halted => "Halted",
    }
}

/// Where an order is.
#[must_use]
pub fn order_state(state: OrderState) -> &'static str {
    match state {
        OrderState::Sent => "Sent",
        OrderState::Working => "Working",
        OrderState::PartlyFilled => "Part",
        OrderState::Filled => "Filled",
        OrderState::Cancelled => "Cancelled",
        OrderState::Rejected => "Rejected",
        OrderState::Unresolved => "Unresolved",
        OrderState::Absent => "Absent",
    }
}

/// The class of an order's pill.
#[must_use]
pub fn order_class(state: OrderState) -> &'static str {
    match state {
        OrderState::Sent => "pill sent",
        OrderState::Working => "pill working",
        OrderState::PartlyFilled => "pill partly-filled",
        OrderState::Filled => "pill filled",
        OrderState::Cancelled => "pill cancelled",
        OrderState::Rejected => "pill rejected",
        OrderState::Unresolved => "pill unresolved",
        OrderState::Absent => "pill absent",
    }
}

/// Why an order was decided.
#[must_use]
pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Entry => "entry",
        Reason::Signal => "signal",
        Reason::Regime => "regime",
        Reason::Stop => "stop",
        Reason::Target => "target",
        Reason::Flatten => "flatten",
        Reason::Close => "closed by hand",
        Reason::EmergencyExit => "emergency exit",
        Reason::Foreign => "not ours",
    }
}

/// What a symbol's market is like.
#[must_use]
pub fn regime(regime: Regime) -> &'static str {
    match regime {
        Regime::Bull => "Bull",
        Regime::Bear => "Bear",
        Regime::Sideways => "Sideways",
        Regime::Volatile => "Volatile",
    }
}

/// The check that refused an order.
#[must_use]
pub fn check(check: Check) -> &'static str {
    match check {
        Check::KillSwitch => "Kill switch is latched",
        Check::TradingState => "Trading state",
        Check::BrokerGate => "Broker not ready",
        Check::SessionClosed => "Session closed",
        Check::StaleQuote => "Stale quote",
        Check::StaleSignal => "Stale signal",
        Check::Unsettled => "Order unsettled",
        Check::Working => "Order still working",
        Check::NotWatched => "Not on the watchlist",
        Check::Cooldown => "Cooldown after an exit",
        Check::TradesPerDay => "Trades per day",
        Check::SharesPerSymbol => "Shares per symbol",
        Check::NotionalPerSymbol => "Dollars per symbol",
        Check::GrossExposure => "Gross exposure",
        Check::DailyLoss => "Daily loss",
        Check::BuyingPower => "Buying power",
        Check::OrdersPerMinute => "Orders per minute",
        Check::Duplicate => "Likely a duplicate",
    }
}

/// The kind of a record, as LEDGER's subjects name it.
#[must_use]
pub fn record_kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::Epoch(_) => "order.epoch",
        Entry::Intent(_) => "order.intent",
        Entry::Order(_) => "order.event",
        Entry::Identity(_) => "account.identity",
        Entry::Opening(_) => "account.opening",
        Entry::Reconciled(_) => "account.reconciled",
        Entry::Difference(_) => "account.difference",
        Entry::Adjusted(_) => "account.adjusted",
        Entry::Settled(_) => "account.settled",
        Entry::State(_) => "account.state",
        Entry::Kill(_) => "account.kill",
        Entry::Command(_) => "account.command",
    }
}

/// A record in a sentence. `portfolio` has it folded in already.
#[must_use]
pub fn record(portfolio: &Portfolio, record: &Record) -> String {
    match &record.entry {
        Entry::Epoch(epoch) => format!("Epoch {} is led by {}", record.epoch, epoch.instance),
        Entry::Intent(intent) => {
            let verb = if intent.side == Side::Buy { "Buy" } else { "Sell" };
            format!(
                "{verb} {} {}, {}",
                shares(intent.quantity),
                intent.symbol,
                reason(intent.reason)
            )
        }
        Entry::Order(event) => order_event(portfolio, event),
        Entry::Identity(identity) => format!("Account {} at {}", identity.account, identity.gateway),
        Entry::Opening(opening) => {
            format!(
                "Opened with {} and {} positions",
                dollars(opening.cash),
                opening.positions.len()
            )
        }
        Entry::Reconciled(reconciled) => reconciled.text.clone(),
        Entry::Difference(difference) => difference.text.clone(),
        Entry::Adjusted(adjusted) => adjusted.text.clone(),
        Entry::Settled(settled) => {
            let done = match settled.choice {
                Choice::Accept => "accepted",
                Choice::Keep => "kept waiting",
                Choice::Ignore => "ignored",
            };
            let whose = settled
                .symbol
                .map_or_else(|| "cash".to_owned(), |symbol| symbol.to_string());
            format!(
                "Difference of {whose} ({} here, {} at the broker) is {done} by {}: {}",
                settled.ours, settled.broker, settled.by, settled.text
            )
        }
        Entry::State(change) => format!(
            "Trading{} is {} now, by {}: {}",
            change
                .symbol
                .map_or(String::new(), |symbol| format!(" of {symbol} alone")),
            state(change.state).to_lowercase(),
            change.by,
            change.text
        ),
        Entry::Kill(kill) => {
            format!(
                "Kill switch {} by {}: {}",
                if kill.latched { "latched" } else { "released" },
                kill.by,
                kill.text
            )
        }
        Entry::Command(command) => format!("`{}` by {}: {}", command.verb, command.by, command.text),
    }
}

fn order_event(portfolio: &Portfolio, event: &OrderEvent) -> String {
    let order = portfolio.orders.get(&event.order);
    let name = order.map_or_else(
        || event.symbol.to_string(),
        |order| {
            let verb = if order.side == Side::Buy { "buy" } else { "sell" };
            format!("{} {verb} {}", event.symbol, shares(order.quantity))
        },
    );
    match &event.change {
        OrderChange::Acknowledged { permanent_id } => format!("{name}: the broker has it as {permanent_id}"),
        OrderChange::Fill(fill) => {
            let verb = if fill.side == Side::Buy { "Bought" } else { "Sold" };
            let why = order.map_or(String::new(), |order| format!(", {}", reason(order.reason)));
            format!(
                "{verb} {} {} at {}{why}",
                shares(fill.quantity),
                event.symbol,
                price(fill.price)
            )
        }
        OrderChange::Commission { commission, .. } => format!("{name}: commission {}", dollars(*commission)),
        OrderChange::Cancelled { text } => format!("{name} is cancelled: {text}"),
        OrderChange::Rejected { code, text } => format!("{name} was rejected by the broker: {code}, {text}"),
        OrderChange::Unresolved { evidence } => format!("{name} is unresolved: {evidence}"),
        OrderChange::Absent { evidence } => format!("{name} was not found: {evidence}"),
        OrderChange::Late { .. } => format!("{name} appeared late and is taken over"),
        OrderChange::CancelRequested { text } => format!("{name}: cancellation asked for, {text}"),
    }
}
