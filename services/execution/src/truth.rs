//! Reads the broker's whole truth: one question after the other, each to its end marker and within its time. And says
//! when it is time for the next reading.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use engine::desk::Input;
use engine::reconcile::{Pass, Truth};
use futures::StreamExt as _;
use ibapi::accounts::types::AccountGroup;
use ibapi::accounts::{AccountSummary, AccountSummaryResult, Position, PositionUpdate};
use ibapi::orders::{ExecutionFilter, Executions, Orders};
use ibapi::subscriptions::SubscriptionItem;
use protocol::Price;
use protocol::ledger::Holding;
use protocol::units::{exact, exact_price, is_amount};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::broker::{self, ANSWER_SECONDS_MAX, Broker};

/// Days of executions that are asked for: a weekend and a holiday may lie between two starts.
const EXECUTION_DAYS: i32 = 7;

/// The reading under way, and when the next ones are due.
#[derive(Debug)]
pub struct Readings {
    ended: mpsc::Receiver<(anyhow::Result<Truth>, Pass)>,
    tell: mpsc::Sender<(anyhow::Result<Truth>, Pass)>,
    due: BTreeMap<Pass, Instant>,
}

impl Default for Readings {
    fn default() -> Self {
        // One reading at a time.
        let (tell, ended) = mpsc::channel(1);
        let due = BTreeMap::new();
        Self { ended, tell, due }
    }
}

impl Readings {
    /// Begins a reading beside the loop. `folded` is the last LEDGER sequence before it.
    pub fn begin(&self, broker: &Broker, folded: u64, pass: Pass) {
        let (broker, tell) = (broker.clone(), self.tell.clone());
        tokio::spawn(async move {
            let truth = read(&broker, folded).await;
            // The leader may have ended meanwhile.
            let _ = tell.send((truth, pass)).await;
        });
    }

    /// Lets [`Input::Look`] come in so many milliseconds.
    pub fn look_in(&mut self, pass: Pass, ms: u64) {
        self.due.insert(pass, Instant::now() + Duration::from_millis(ms));
    }

    /// Waits for the end of a reading, or for the time of the next. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Input {
        let first = self.due.iter().min_by_key(|(_, at)| **at);
        let first = first.map(|(pass, at)| (*pass, *at));
        let look = async {
            match first {
                Some((pass, at)) => {
                    tokio::time::sleep_until(at).await;
                    pass
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((truth, pass)) = self.ended.recv() => {
                let truth = truth.map_err(|error| format!("{error:#}"));
                if let Err(error) = &truth {
                    tracing::warn!(error, "broker truth not read");
                }
                Input::Truth(truth, pass)
            }
            pass = look => {
                self.due.remove(&pass);
                Input::Look(pass)
            }
        }
    }
}

/// Reads everything. `folded` is the last LEDGER sequence before the reading.
///
/// # Errors
/// When an answer breaks off, takes too long, or tells shares, a price or a time that can't be read exactly: then nothing
/// of it is used. Any other figure that can't is left out, so that it keeps no exit from going out.
async fn read(broker: &Broker, folded: u64) -> anyhow::Result<Truth> {
    let mut truth = Truth {
        folded,
        ..Truth::default()
    };
    within("open orders", open_orders(broker, &mut truth)).await?;
    within("completed orders", completed_orders(broker, &mut truth)).await?;
    within("executions", executions(broker, &mut truth)).await?;
    within("positions", positions(broker, &mut truth)).await?;
    within("account summary", summary(broker, &mut truth)).await?;
    Ok(truth)
}

async fn within(what: &str, answer: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
    let outcome = tokio::time::timeout(limit, answer).await;
    outcome
        .with_context(|| format!("the gateway did not tell {what} within {ANSWER_SECONDS_MAX} s"))?
        .with_context(|| format!("read {what}"))
}

async fn open_orders(broker: &Broker, truth: &mut Truth) -> anyhow::Result<()> {
    let mut rows = broker.client.all_open_orders().await?;
    while let Some(row) = rows.next().await {
        if let SubscriptionItem::Data(Orders::OrderData(data)) = row? {
            truth
                .open
                .extend(broker::order(&data, &broker.account).map_err(anyhow::Error::msg)?);
        }
    }
    Ok(())
}

async fn completed_orders(broker: &Broker, truth: &mut Truth) -> anyhow::Result<()> {
    let mut rows = broker.client.completed_orders(false).await?;
    while let Some(row) = rows.next().await {
        if let SubscriptionItem::Data(Orders::OrderData(data)) = row? {
            truth
                .completed
                .extend(broker::order(&data, &broker.account).map_err(anyhow::Error::msg)?);
        }
    }
    Ok(())
}

async fn executions(broker: &Broker, truth: &mut Truth) -> anyhow::Result<()> {
    let filter = ExecutionFilter {
        account_code: broker.account.clone(),
        last_n_days: EXECUTION_DAYS,
        ..ExecutionFilter::default()
    };
    let mut rows = broker.client.executions(filter).await?;
    while let Some(row) = rows.next().await {
        if let SubscriptionItem::Data(row) = row? {
            take_execution(truth, &broker.account, &row).map_err(anyhow::Error::msg)?;
        }
    }
    Ok(())
}

fn take_execution(truth: &mut Truth, account: &str, row: &Executions) -> Result<(), String> {
    match row {
        Executions::ExecutionData(data) => truth.executions.extend(broker::execution(data, account)?),
        Executions::CommissionReport(report) => {
            let told = truth
                .executions
                .iter_mut()
                .find(|execution| execution.fill.execution_id == report.execution_id);
            match (told, broker::commission(report)) {
                (Some(execution), Ok(commission)) => execution.fill.commission = Some(commission),
                (Some(_), Err(text)) => truth.left_out.push(text),
                (None, _) => {}
            }
        }
    }
    Ok(())
}

async fn positions(broker: &Broker, truth: &mut Truth) -> anyhow::Result<()> {
    let mut rows = broker.client.positions().await?;
    while let Some(row) = rows.next().await {
        match row? {
            SubscriptionItem::Data(PositionUpdate::Position(position))
                if position.account == broker.account =>
            {
                take_position(truth, &position)?;
            }
            SubscriptionItem::Data(PositionUpdate::PositionEnd) => return Ok(()),
            _ => {}
        }
    }
    anyhow::bail!("the rows ended without their end marker")
}

fn take_position(truth: &mut Truth, position: &Position) -> anyhow::Result<()> {
    let Some(symbol) = broker::stock_of(&position.contract) else {
        return Ok(());
    };
    let quantity = exact(position.position).context("a position that is no number")?;
    if quantity.is_zero() {
        return Ok(());
    }
    let average_cost = exact_price(position.average_cost).unwrap_or_else(|| {
        truth.left_out.push(format!(
            "the average cost of {symbol} is {}, which is no price: a position taken over without one has no stop and no target",
            position.average_cost
        ));
        Price::ZERO
    });
    let holding = Holding {
        quantity,
        average_cost,
    };
    truth.positions.insert(symbol, holding);
    Ok(())
}

async fn summary(broker: &Broker, truth: &mut Truth) -> anyhow::Result<()> {
    let group = AccountGroup("All".to_owned());
    let mut rows = broker
        .client
        .account_summary(&group, &["TotalCashValue", "NetLiquidation"])
        .await?;
    while let Some(row) = rows.next().await {
        match row? {
            SubscriptionItem::Data(AccountSummaryResult::Summary(value))
                if value.account == broker.account =>
            {
                take_value(truth, &value);
            }
            SubscriptionItem::Data(AccountSummaryResult::End) => return Ok(()),
            _ => {}
        }
    }
    anyhow::bail!("the rows ended without their end marker")
}

fn take_value(truth: &mut Truth, value: &AccountSummary) {
    let AccountSummary {
        tag, value, currency, ..
    } = value;
    let figure = match tag.as_str() {
        "TotalCashValue" => &mut truth.cash,
        "NetLiquidation" => &mut truth.equity,
        _ => return,
    };
    *figure = None;
    if currency != "USD" {
        let text = format!("{tag} is told in `{currency}`: the base currency of the account must be USD");
        return truth.left_out.push(text);
    }
    // A figure near the end of a decimal would panic where it is reckoned with.
    match value.parse() {
        Ok(amount) if is_amount(amount) => *figure = Some(amount),
        _ => truth
            .left_out
            .push(format!("{tag} is `{value}`, which is no amount")),
    }
}

#[cfg(test)]
mod tests {
    use ibapi::contracts::Contract;
    use ibapi::orders::{CommissionReport, ExecutionData};

    use super::*;

    #[test]
    fn a_commission_that_is_no_number_is_left_out_of_the_reading() {
        let mut data = ExecutionData {
            contract: Contract::stock("AAPL").build(),
            ..ExecutionData::default()
        };
        data.execution.execution_id = "one".into();
        data.execution.time = "20131007 09:30:00 US/Eastern".into();
        let mut truth = Truth::default();
        let mut told = |row| take_execution(&mut truth, "DU1", &row);
        told(Executions::ExecutionData(data.clone())).unwrap();
        let report = |commission| {
            Executions::CommissionReport(CommissionReport {
                execution_id: "one".into(),
                commission,
                ..CommissionReport::default()
            })
        };
        told(report(f64::MAX)).unwrap();
        data.execution.shares = f64::MAX;
        assert!(told(Executions::ExecutionData(data)).is_err(), "shares are money");
        assert_eq!(truth.executions.len(), 1);
        assert_eq!(truth.executions[0].fill.commission, None);
        assert_eq!(truth.left_out.len(), 1, "{:?}", truth.left_out);
        take_execution(&mut truth, "DU1", &report(1.25)).unwrap();
        assert!(truth.executions[0].fill.commission.is_some());
    }

    #[test]
    fn a_position_whose_average_cost_is_no_number_is_held_all_the_same() {
        let mut position = Position {
            account: "DU1".into(),
            contract: Contract::stock("AAPL").build(),
            position: 3.0,
            average_cost: f64::MAX,
        };
        let mut truth = Truth::default();
        take_position(&mut truth, &position).unwrap();
        let holding = truth.positions.values().next().unwrap();
        assert_eq!(
            (holding.quantity, holding.average_cost),
            (Price::from(3), Price::ZERO)
        );
        assert!(truth.left_out[0].contains("AAPL"), "{:?}", truth.left_out);
        position.position = f64::NAN;
        assert!(take_position(&mut truth, &position).is_err());
    }

    #[test]
    fn cash_counts_in_dollars_only() {
        let told = |value: &str, currency: &str| {
            let mut truth = Truth::default();
            let summary = AccountSummary {
                account: "DU1".into(),
                tag: "TotalCashValue".into(),
                value: value.into(),
                currency: currency.into(),
            };
            take_value(&mut truth, &summary);
            (truth.cash, truth.left_out.len())
        };
        assert_eq!(told("100.5", "USD"), ("100.5".parse().ok(), 0));
        assert_eq!(told("100.5", "EUR"), (None, 1));
        assert_eq!(told("much", "USD"), (None, 1));
        assert_eq!(told("79228162514264337593543950335", "USD"), (None, 1));
    }
}
