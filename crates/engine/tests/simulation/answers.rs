//! How the broker's account looks in its answers: what `services/execution` reads off the wire, without the wire.

use engine::reconcile::{BrokerExecution, BrokerOrder, BrokerStatus, Truth};
use engine::venue::account::Account;
use engine::venue::order::{Order, Side as VenueSide, Status};
use engine::venue::record::{Fill as VenueFill, Record};
use protocol::Money;
use protocol::ledger::{Fill, Holding, Side};

/// One of the questions of a reading, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Open,
    Completed,
    Executions,
    Positions,
    Summary,
}

impl Question {
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Open => Some(Self::Completed),
            Self::Completed => Some(Self::Executions),
            Self::Executions => Some(Self::Positions),
            Self::Positions => Some(Self::Summary),
            Self::Summary => None,
        }
    }
}

/// The answer to one question, as a reading with nothing else in it.
pub fn part(question: Question, account: &Account, equity: Money) -> Truth {
    let mut truth = Truth::default();
    match question {
        Question::Open => {
            truth.open = account
                .open
                .values()
                .map(|order| told(order, order.order_id))
                .collect()
        }
        // The broker tells no order ids of what is over.
        Question::Completed => {
            truth.completed = account.completed.values().map(|order| told(order, 0)).collect()
        }
        Question::Executions => {
            let fills = account.fills.iter();
            truth.executions = fills.map(|fill| execution(fill, Some(fill.commission))).collect();
        }
        Question::Positions => {
            let held = account
                .positions
                .iter()
                .filter(|(_, position)| !position.quantity.is_zero());
            let holding = |position: &engine::venue::account::Position| Holding {
                quantity: position.quantity,
                average_cost: position.average_cost(),
            };
            truth.positions = held
                .map(|(symbol, position)| (*symbol, holding(position)))
                .collect();
        }
        Question::Summary => (truth.cash, truth.equity) = (Some(account.cash.round_dp(2)), Some(equity)),
    }
    truth
}

/// Adds an answer to the reading that it belongs to.
pub fn merge(truth: &mut Truth, question: Question, part: Truth) {
    match question {
        Question::Open => truth.open = part.open,
        Question::Completed => truth.completed = part.completed,
        Question::Executions => truth.executions = part.executions,
        Question::Positions => truth.positions = part.positions,
        Question::Summary => (truth.cash, truth.equity) = (part.cash, part.equity),
    }
}

fn side(side: VenueSide) -> Side {
    match side {
        VenueSide::Buy => Side::Buy,
        VenueSide::Sell => Side::Sell,
    }
}

fn told(order: &Order, order_id: i32) -> BrokerOrder {
    BrokerOrder {
        limit_price: order.limit(),
        order_ref: order.ticket.reference.clone(),
        order_id,
        permanent_id: order.perm_id,
        symbol: order.ticket.symbol,
        side: side(order.ticket.side),
        quantity: order.ticket.quantity,
        status: match order.status {
            Status::Filled => BrokerStatus::Filled,
            Status::Cancelled => BrokerStatus::Cancelled,
            Status::Rejected => BrokerStatus::Rejected,
            _ => BrokerStatus::Working,
        },
        text: order
            .end
            .as_ref()
            .map_or_else(String::new, |end| end.reason.clone()),
    }
}

/// The broker's name for a trade; a correction counts on behind the last dot.
pub fn execution_id(fill: &VenueFill) -> String {
    format!(
        "0000{:04x}.{:08x}.01.{:02}",
        fill.perm_id & 0xFFFF,
        fill.number,
        fill.corrections + 1
    )
}

pub fn execution(fill: &VenueFill, commission: Option<Money>) -> BrokerExecution {
    BrokerExecution {
        order_ref: fill.reference.clone(),
        symbol: fill.symbol,
        fill: Fill {
            execution_id: execution_id(fill),
            side: side(fill.side),
            quantity: fill.quantity,
            price: fill.price,
            commission,
            executed_at: fill.at,
            permanent_id: fill.perm_id,
        },
    }
}

/// A record of the exchange in words.
pub fn words(record: &Record) -> String {
    match record {
        Record::Accepted { order } => format!(
            "order {} of client {} {:?} {} {}: {:?}, ref {}",
            order.order_id,
            order.client,
            order.ticket.side,
            order.ticket.quantity,
            order.ticket.symbol,
            order.status,
            order.ticket.reference
        ),
        Record::Filled { fill } => format!(
            "fill {} of order {}: {:?} {} {} at {}",
            fill.number, fill.order_id, fill.side, fill.quantity, fill.symbol, fill.price
        ),
        other => format!("{other:?}"),
    }
}
