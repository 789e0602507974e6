//! Compares the broker with the fold: what the ledger has not heard of, what became of each order, what differs.
//! It only ever says what is so; it never orders anything.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ledger::{Difference, Fill, Holding, Opening, OrderChange, OrderEvent, Reason, Side};
use protocol::{Id, Money, Price, Quantity, Symbol, Timestamp};

use crate::order::{Order, OrderState};
use crate::portfolio::{Portfolio, is_as_large, revision_of};

/// What the broker says, read to the end markers of one connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// Wall clock when the reading began.
    pub began: Timestamp,
    /// Wall clock when the first reading began that was compared since the gateway's link is whole and did not change.
    /// None while it is not whole: the gateway tells what it remembers then, and what it does not show says nothing.
    pub whole_since: Option<Timestamp>,
    /// Dollars of cash, when told.
    pub cash: Option<Money>,
    /// Net liquidation, when told.
    pub equity: Option<Money>,
    /// Positions that are not flat.
    pub positions: BTreeMap<Symbol, Holding>,
    /// Working orders of the account.
    pub open: Vec<BrokerOrder>,
    /// Orders of the day that are over.
    pub completed: Vec<BrokerOrder>,
    /// Executions of the last days.
    pub executions: Vec<BrokerExecution>,
    /// What else it told and nobody can read, in sentences: it is left out. Shares and prices never are.
    pub left_out: Vec<String>,
    /// Last LEDGER sequence that was folded before reading began: what came later is not compared.
    pub folded: u64,
}

impl Truth {
    /// True when nothing was traded from before `earlier` was read until after this was: then each is what the account
    /// was at one moment.
    #[must_use]
    pub fn is_of_the_same_moment(&self, earlier: &Self) -> bool {
        let ids = |truth: &Self| -> BTreeSet<String> {
            let all = truth.executions.iter();
            all.map(|execution| execution.fill.execution_id.clone()).collect()
        };
        let shares = |truth: &Self| -> BTreeMap<Symbol, Quantity> {
            let all = truth.positions.iter();
            all.map(|(symbol, holding)| (*symbol, holding.quantity)).collect()
        };
        ids(self) == ids(earlier) && shares(self) == shares(earlier) && self.cash == earlier.cash
    }
}

/// An order as the broker tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerOrder {
    /// Our decision's id, if it is ours.
    pub order_ref: String,
    /// The broker's order id, within its client; 0 where the broker does not tell it.
    pub order_id: i32,
    /// The broker's permanent id.
    pub permanent_id: i64,
    /// What.
    pub symbol: Symbol,
    /// Direction.
    pub side: Side,
    /// Shares.
    pub quantity: Quantity,
    /// Its limit, where it is told and the order has one.
    pub limit_price: Option<Price>,
    /// How it is.
    pub status: BrokerStatus,
    /// The broker's words.
    pub text: String,
}

/// The broker's word on an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerStatus {
    /// It has it.
    Working,
    /// All is filled.
    Filled,
    /// The rest is off the market.
    Cancelled,
    /// It refused it.
    Rejected,
    /// It has it and does not trade it: it refused it, or will work it yet.
    Inactive,
}

/// An execution as the broker tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerExecution {
    /// Our decision's id, if it is ours.
    pub order_ref: String,
    /// What.
    pub symbol: Symbol,
    /// The execution.
    pub fill: Fill,
}

/// How hard an order of an earlier incarnation was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Inside a running incarnation: nothing is declared about what is not found.
    Running,
    /// The first of a new incarnation: what is not found is unresolved.
    First,
    /// The second, some time later: what is not found is absent.
    Second,
}

/// The order of the fold that an execution or order of the broker belongs to, or an id for a foreign one.
#[must_use]
pub fn order_of(portfolio: &Portfolio, order_ref: &str, permanent_id: i64) -> Id {
    let by_ref = order_ref
        .parse::<Id>()
        .ok()
        .filter(|id| portfolio.orders.contains_key(id));
    let by_permanent_id = || {
        let same = |order: &&Order| permanent_id != 0 && order.permanent_id == permanent_id;
        portfolio.orders.values().find(same).map(|order| order.id.clone())
    };
    by_ref
        .or_else(by_permanent_id)
        .unwrap_or_else(|| Id::derive(&["foreign", &permanent_id.to_string()]))
}

/// Events that the ledger has not heard of: missed fills first, then what became of each order that is not over.
#[must_use]
pub fn missing(portfolio: &Portfolio, truth: &Truth, pass: Pass) -> Vec<OrderEvent> {
    let mut events = Vec::new();
    let mut seen = BTreeSet::new();
    let mut filled: BTreeMap<Id, Quantity> = BTreeMap::new();
    let mut newest: BTreeMap<&str, u32> = BTreeMap::new();
    for execution in &truth.executions {
        let (root, revision) = revision_of(&execution.fill.execution_id);
        let known = newest.entry(root).or_default();
        *known = revision.max(*known);
    }
    let is_newest = |execution: &&BrokerExecution| {
        let (root, revision) = revision_of(&execution.fill.execution_id);
        newest.get(root) == Some(&revision)
    };
    for execution in truth.executions.iter().filter(is_newest) {
        let fill = &execution.fill;
        let order = order_of(portfolio, &execution.order_ref, fill.permanent_id);
        *filled.entry(order.clone()).or_default() += fill.quantity;
        if portfolio.counted(fill) {
            events.extend(late_commission(portfolio, &order, execution));
        } else if seen.insert(fill.execution_id.clone()) {
            events.push(OrderEvent {
                order,
                symbol: execution.symbol,
                change: OrderChange::Fill(fill.clone()),
            });
        }
    }
    for order in portfolio.open_orders() {
        let all_filled = filled
            .get(&order.id)
            .copied()
            .unwrap_or_default()
            .max(order.filled)
            >= order.quantity;
        if all_filled {
            continue;
        }
        if let Some(change) = became(portfolio, order, truth, pass).filter(|change| order.can_record(change))
        {
            events.push(OrderEvent {
                order: order.id.clone(),
                symbol: order.symbol,
                change,
            });
        }
    }
    events
}

/// The account as a ledger takes it over when it begins. `None` when its cash is not known: a ledger that begins with
/// too little or too much would be wrong for good.
#[must_use]
pub fn opening(truth: &Truth) -> Option<Opening> {
    let executions = truth.executions.iter();
    let orders = truth.open.iter().chain(&truth.completed);
    // An order may be told late as completed, and its executions are here before it.
    let refs = orders
        .map(|order| &order.order_ref)
        .chain(executions.clone().map(|execution| &execution.order_ref));
    let order_refs: BTreeSet<String> = refs
        .filter(|order_ref| decision_of(order_ref).is_some())
        .cloned()
        .collect();
    Some(Opening {
        cash: truth.cash?,
        positions: truth.positions.clone(),
        execution_ids: executions
            .map(|execution| execution.fill.execution_id.clone())
            .collect(),
        order_refs: order_refs.into_iter().collect(),
    })
}

/// The decision that an order of a pipeline like this one carries.
fn decision_of(order_ref: &str) -> Option<Id> {
    order_ref.parse::<Id>().ok().filter(Id::is_derived)
}

/// The ids of those open orders that a pipeline like this one decided and that are not over: what the kill switch
/// cancels where no ledger can be read.
#[must_use]
pub fn decided(open: &[BrokerOrder]) -> Vec<i32> {
    let alive = |status| matches!(status, BrokerStatus::Working | BrokerStatus::Inactive);
    let ours = |order: &&BrokerOrder| decision_of(&order.order_ref).is_some() && alive(order.status);
    open.iter().filter(ours).map(|order| order.order_id).collect()
}

/// True for the reference of an order that a pipeline like this one sent and this ledger has never heard of: a copy of the
/// ledger traded on elsewhere. Orders that a person made are no such thing, nor those of an earlier ledger that were told
/// when this one began, nor those that the fold does not keep any more.
#[must_use]
pub fn is_unwritten(portfolio: &Portfolio, order_ref: &str) -> bool {
    let heard_of = |id: &Id| {
        portfolio.orders.contains_key(id)
            || portfolio.earlier_orders.contains(order_ref)
            || portfolio.past_orders.contains(id)
    };
    portfolio.opened && decision_of(order_ref).is_some_and(|id| !heard_of(&id))
}

/// The reference of an order that is open, over or executed at the broker and [`is_unwritten`]. An execution that was
/// counted when the ledger began is none of it.
#[must_use]
pub fn unwritten<'a>(portfolio: &Portfolio, truth: &'a Truth) -> Option<&'a str> {
    let counted = |execution: &BrokerExecution| {
        let root = revision_of(&execution.fill.execution_id).0;
        let mut known = portfolio.executions.keys();
        portfolio.counted(&execution.fill) || known.any(|id| revision_of(id).0 == root)
    };
    let of_copy = |order_ref: &&String| is_unwritten(portfolio, order_ref);
    let orders = truth.open.iter().chain(&truth.completed);
    let mut executions = truth.executions.iter();
    let executed = executions.find(|execution| of_copy(&&execution.order_ref) && !counted(execution));
    executed
        .map(|execution| &execution.order_ref)
        .or_else(|| orders.map(|order| &order.order_ref).find(of_copy))
        .map(String::as_str)
}

/// True when the ledger has another execution under this one's id: of another order, symbol or side, or of other shares. A
/// broker gives an id once, so this is not the broker that the ledger is of.
#[must_use]
pub fn is_another(portfolio: &Portfolio, execution: &BrokerExecution) -> bool {
    let fill = &execution.fill;
    let mut trades = portfolio.trades.iter();
    let Some(trade) = trades.find(|trade| trade.execution_id == fill.execution_id) else {
        return false;
    };
    let is_ours = |id: &Id| portfolio.orders.get(id).is_some_and(|order| order.order_id != 0);
    let of_another_order =
        |id: Id| id != trade.order && (is_ours(&trade.order) || portfolio.orders.contains_key(&id));
    (trade.symbol, trade.side, trade.quantity) != (execution.symbol, fill.side, fill.quantity)
        || decision_of(&execution.order_ref).is_some_and(of_another_order)
}

/// True when the broker corrected an execution of an order, so that its fills need not add up to what was ordered.
fn was_corrected(portfolio: &Portfolio, order: &Order) -> bool {
    let mut trades = portfolio.trades.iter();
    trades.any(|trade| trade.order == order.id && trade.corrected.is_some())
}

/// Working orders of the broker that carry the id of one of ours, with that order.
pub fn ours_at_broker<'a>(
    portfolio: &'a Portfolio,
    truth: &'a Truth,
) -> impl Iterator<Item = (&'a Order, &'a BrokerOrder)> {
    truth.open.iter().filter_map(|theirs| {
        let id = theirs.order_ref.parse::<Id>().ok()?;
        let order = portfolio.orders.get(&id)?;
        (theirs.status == BrokerStatus::Working).then_some((order, theirs))
    })
}

/// Orders of ours that work at the broker although they are over: ended here before the reading, or entries of another day.
#[must_use]
pub fn undead<'a>(portfolio: &'a Portfolio, truth: &'a Truth, now: Timestamp) -> Vec<&'a Order> {
    let is_over = |order: &Order| {
        let ended = portfolio.last_end.get(&order.symbol).copied();
        let before_reading = ended.is_none_or(|sequence| sequence <= truth.folded);
        // An exit that was placed at night waits there for the next session.
        let is_stale = order.reason == Reason::Entry && order.day_is_over(now);
        (order.state.is_terminal() && before_reading) || is_stale
    };
    ours_at_broker(portfolio, truth)
        .map(|(order, _)| order)
        .filter(|order| order.order_id != 0 && is_over(order))
        .collect()
}

/// Orders of ours that the broker has open and does not trade.
pub fn inactive<'a>(
    portfolio: &'a Portfolio,
    truth: &'a Truth,
) -> impl Iterator<Item = (&'a Order, &'a BrokerOrder)> {
    let dormant = truth
        .open
        .iter()
        .filter(|theirs| theirs.status == BrokerStatus::Inactive);
    dormant.filter_map(|theirs| {
        let mut ours = portfolio.open_orders();
        Some((ours.find(|order| is_same(order, theirs))?, theirs))
    })
}

/// True when the broker tells of an order, open or over.
#[must_use]
pub fn tells_of(truth: &Truth, order: &Order) -> bool {
    let mut all = truth.open.iter().chain(&truth.completed);
    all.any(|theirs| is_same(order, theirs))
}

fn is_same(order: &Order, theirs: &BrokerOrder) -> bool {
    let by_ref = theirs.order_ref == order.id.as_str() && !order.is_doubled_by(theirs.permanent_id);
    by_ref || (order.permanent_id != 0 && theirs.permanent_id == order.permanent_id)
}

/// Orders of ours that the broker works.
#[must_use]
pub fn at_work(portfolio: &Portfolio, truth: &Truth) -> BTreeSet<Id> {
    let is_worked = |order: &&Order| {
        let mut open = truth.open.iter();
        open.any(|theirs| theirs.status == BrokerStatus::Working && is_same(order, theirs))
    };
    let ours = portfolio.open_orders().filter(is_worked);
    ours.map(|order| order.id.clone()).collect()
}

fn late_commission(portfolio: &Portfolio, order: &Id, execution: &BrokerExecution) -> Option<OrderEvent> {
    let commission = execution.fill.commission?;
    let trade = portfolio
        .trades
        .iter()
        .find(|trade| trade.execution_id == execution.fill.execution_id)?;
    let change = OrderChange::Commission {
        execution_id: trade.execution_id.clone(),
        commission,
    };
    trade.commission.is_none().then(|| OrderEvent {
        order: order.clone(),
        symbol: execution.symbol,
        change,
    })
}

fn became(portfolio: &Portfolio, order: &Order, truth: &Truth, pass: Pass) -> Option<OrderChange> {
    let same = |theirs: &&BrokerOrder| is_same(order, theirs);
    // An order that moved from open to completed while reading is in both; what is over is the later word.
    if let Some(theirs) = truth.completed.iter().find(same) {
        return match theirs.status {
            BrokerStatus::Cancelled => Some(OrderChange::Cancelled {
                text: theirs.text.clone(),
            }),
            BrokerStatus::Rejected | BrokerStatus::Inactive => Some(OrderChange::Rejected {
                code: 201,
                text: theirs.text.clone(),
            }),
            BrokerStatus::Filled if was_corrected(portfolio, order) => Some(OrderChange::Cancelled {
                text: "filled, and corrected to fewer shares".to_owned(),
            }),
            // Its executions say so, or will.
            BrokerStatus::Filled | BrokerStatus::Working => None,
        };
    }
    if let Some(theirs) = truth.open.iter().find(same) {
        return match order.state {
            // Its doubt is recorded with its cancellation.
            OrderState::Sent | OrderState::Unresolved if theirs.status == BrokerStatus::Inactive => None,
            OrderState::Sent | OrderState::Unresolved if !order.kinds.contains("acknowledged") => {
                Some(OrderChange::Acknowledged {
                    permanent_id: theirs.permanent_id,
                })
            }
            OrderState::Sent | OrderState::Unresolved | OrderState::Absent => Some(OrderChange::Late {
                permanent_id: theirs.permanent_id,
            }),
            _ => None,
        };
    }
    let of_earlier_incarnation = order.epoch < portfolio.epoch;
    let evidence = |passes: &str| {
        format!(
            "{passes}: not among {} open and {} completed orders and {} executions of the broker",
            truth.open.len(),
            truth.completed.len(),
            truth.executions.len()
        )
    };
    match pass {
        Pass::First if of_earlier_incarnation && order.state != OrderState::Absent => {
            Some(OrderChange::Unresolved {
                evidence: evidence("first look after a restart"),
            })
        }
        Pass::Second if of_earlier_incarnation => Some(OrderChange::Absent {
            evidence: evidence("second look after a restart"),
        }),
        _ => None,
    }
}

/// Where positions and cash differ, for symbols that nothing happened to since reading began.
#[must_use]
pub fn differences(portfolio: &Portfolio, truth: &Truth) -> Vec<Difference> {
    let symbols: BTreeSet<Symbol> = portfolio
        .positions
        .keys()
        .chain(truth.positions.keys())
        .copied()
        .collect();
    let mut found = Vec::new();
    for symbol in symbols {
        if !compares(portfolio, truth, Some(symbol)) {
            continue;
        }
        let ours = portfolio.held(symbol);
        let broker = truth
            .positions
            .get(&symbol)
            .map_or(Quantity::ZERO, |holding| holding.quantity);
        if ours != broker {
            let text = format!(
                "{symbol}: the ledger has {ours} shares, the broker {broker}; entries wait until `command.settle` says which counts"
            );
            found.push(Difference {
                symbol: Some(symbol),
                ours,
                broker,
                text,
            });
        }
    }
    if let Some(cash) = truth.cash
        && compares(portfolio, truth, None)
        && !is_as_large(None, cash - portfolio.cash, Money::ZERO)
    {
        let text = format!(
            "cash: the ledger has ${}, the broker ${cash}",
            portfolio.cash.round_dp(2)
        );
        found.push(Difference {
            symbol: None,
            ours: portfolio.cash,
            broker: cash,
            text,
        });
    }
    found
}

/// True when what was found is told already: of shares with these very figures, of cash about as large.
#[must_use]
pub fn is_told(portfolio: &Portfolio, found: &Difference) -> bool {
    let same = |known: &Difference| match found.symbol {
        Some(_) => known == found,
        None => {
            known.symbol.is_none() && is_as_large(None, known.broker - known.ours, found.broker - found.ours)
        }
    };
    portfolio.differences.iter().any(same)
}

/// True when a reading says something of a symbol, or of cash: not when that moved after the reading began, nor of cash
/// before all commissions are known.
#[must_use]
pub fn compares(portfolio: &Portfolio, truth: &Truth, symbol: Option<Symbol>) -> bool {
    let mut since = portfolio
        .trades
        .iter()
        .filter(|trade| trade.changed() > truth.folded);
    match symbol {
        Some(symbol) => since.all(|trade| trade.symbol != symbol),
        None => since.next().is_none() && truth.cash.is_some() && commissions_known(portfolio),
    }
}

fn commissions_known(portfolio: &Portfolio) -> bool {
    portfolio
        .trades
        .iter()
        .rev()
        .take(50)
        .all(|trade| trade.commission.is_some())
}
