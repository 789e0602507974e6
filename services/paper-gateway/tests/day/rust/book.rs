//! What an account must hold, counted from executions and commissions alone, beside what the gateway says.

use std::collections::BTreeMap;

use ibapi::accounts::types::AccountId;
use ibapi::accounts::{AccountUpdate, PositionUpdate};
use ibapi::orders::{Execution, ExecutionSide, Executions};
use protocol::units::exact;
use rust_decimal::{Decimal, RoundingStrategy};

use super::trader::Trader;
use crate::harness::until;

/// Amounts are told in cents; the rest is what averages lose in their last digits.
const CLOSE: Decimal = Decimal::from_parts(5_001, 0, 0, false, 6);

/// Cash, shares and gains by average cost, commissions included, as IB counts them.
#[derive(Debug)]
pub struct Book {
    pub cash: Decimal,
    pub shares: BTreeMap<String, Decimal>,
    pub costs: BTreeMap<String, Decimal>,
    pub realized: Decimal,
}

impl Book {
    /// Takes an execution in and returns the gain that it makes real.
    fn trade(&mut self, symbol: &str, execution: &Execution, fee: Decimal) -> Decimal {
        let shares = number(execution.shares);
        let price = number(execution.price);
        let sign = match execution.side {
            ExecutionSide::Bought => Decimal::ONE,
            ExecutionSide::Sold => Decimal::NEGATIVE_ONE,
        };
        let held = self.shares.entry(symbol.into()).or_default();
        let cost = self.costs.entry(symbol.into()).or_default();
        let closed = if *held * sign < Decimal::ZERO {
            shares.min(held.abs())
        } else {
            Decimal::ZERO
        };
        let fee_closed = fee * closed / shares;
        let mut gain = Decimal::ZERO;
        if !closed.is_zero() {
            let part = *cost * closed / held.abs();
            gain = -sign * closed * price - part - fee_closed;
            *cost -= part;
        }
        let opened = shares - closed;
        if !opened.is_zero() {
            *cost += sign * opened * price + fee - fee_closed;
        }
        *held += sign * shares;
        self.cash -= sign * shares * price + fee;
        self.realized += gain;
        gain
    }
}

/// The shortest decimal of a number of the wire.
pub fn number(value: f64) -> Decimal {
    exact(value).unwrap_or_else(|| panic!("{value} is no amount"))
}

fn close(what: &str, found: Decimal, wanted: Decimal) {
    let cents = wanted.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
    assert!(
        (found - wanted).abs() <= CLOSE,
        "{what}: expected {cents} ({wanted}), got {found}"
    );
}

/// Cash, positions and gains of the account must follow from its executions, to the cent. Gains are those of the
/// executions whose time begins with `today`.
pub async fn reconcile(trader: &Trader, start: Decimal, today: &str) -> Book {
    let told = trader.all_executions().await;
    let mut book = Book {
        cash: start,
        shares: BTreeMap::new(),
        costs: BTreeMap::new(),
        realized: Decimal::ZERO,
    };
    for item in &told {
        let Executions::ExecutionData(data) = item else {
            continue;
        };
        let id = &data.execution.execution_id;
        let reports = told.iter().filter_map(|item| match item {
            Executions::CommissionReport(report) if report.execution_id == *id => Some(report),
            _ => None,
        });
        let reports: Vec<_> = reports.collect();
        assert_eq!(reports.len(), 1, "one commission for {id}");
        let report = reports[0];
        let symbol = data.contract.symbol.to_string();
        let gain = book.trade(&symbol, &data.execution, number(report.commission));
        close(
            "the gain of an execution",
            report.realized_pnl.map_or(Decimal::ZERO, number),
            gain,
        );
        if !data.execution.time.starts_with(today) {
            book.realized = Decimal::ZERO;
        }
    }
    book.shares.retain(|_, shares| !shares.is_zero());
    compare(trader, &book).await;
    book
}

async fn compare(trader: &Trader, book: &Book) {
    let account = AccountId(trader.client.managed_accounts().await.unwrap()[0].clone());
    let updates = trader.client.account_updates(&account).await.unwrap();
    let told = until("account", updates, |update| matches!(update, AccountUpdate::End)).await;
    let value = |key: &str| {
        let found = told.iter().find_map(|update| match update {
            AccountUpdate::AccountValue(value) if value.key == key => value.value.parse::<Decimal>().ok(),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no {key}"))
    };
    let mut worth = Decimal::ZERO;
    let mut shares = BTreeMap::new();
    for update in &told {
        let AccountUpdate::PortfolioValue(holding) = update else {
            continue;
        };
        worth += number(holding.market_value);
        let (symbol, held) = (holding.contract.symbol.to_string(), number(holding.position));
        if !held.is_zero() {
            close(
                "the cost of a holding",
                number(holding.average_cost) * held,
                book.costs[&symbol],
            );
            shares.insert(symbol, held);
        }
    }
    assert_eq!(shares, book.shares, "the holdings");
    close("cash", value("TotalCashValue"), book.cash);
    close("the account's worth", value("NetLiquidation"), book.cash + worth);
    close("gains of today", value("RealizedPnL"), book.realized);

    let positions = trader.client.positions().await.unwrap();
    let told = until("positions", positions, |item| {
        matches!(item, PositionUpdate::PositionEnd)
    })
    .await;
    let told = told.into_iter().filter_map(|item| match item {
        PositionUpdate::Position(position) => {
            Some((position.contract.symbol.to_string(), number(position.position)))
        }
        PositionUpdate::PositionEnd => None,
    });
    assert_eq!(told.collect::<BTreeMap<_, _>>(), book.shares, "the positions");
    let gains = trader.client.pnl(&account, None).await.unwrap();
    let told = until("gains", gains, |_| true).await;
    close(
        "gains on request",
        number(told[0].realized_pnl.unwrap()),
        book.realized,
    );
}
