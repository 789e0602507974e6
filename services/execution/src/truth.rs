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
use ibapi::accounts::{AccountSummaryResult, PositionUpdate};
use ibapi::orders::{ExecutionFilter, Executions, Orders};
use ibapi::subscriptions::SubscriptionItem;
use protocol::ledger::Holding;
use protocol::units::exact;
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
/// When an answer breaks off, takes too long, or can't be read exactly: then nothing of it is used.
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
                .extend(broker::order(&data).map_err(anyhow::Error::msg)?);
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
                .extend(broker::order(&data).map_err(anyhow::Error::msg)?);
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
        match row? {
            SubscriptionItem::Data(Executions::ExecutionData(data)) => {
                let execution = broker::execution(&data, runtime::now()).map_err(anyhow::Error::msg)?;
                truth.executions.extend(execution);
            }
            SubscriptionItem::Data(Executions::CommissionReport(report)) => {
                let commission = broker::commission(&report).map_err(anyhow::Error::msg)?;
                let told = truth
                    .executions
                    .iter_mut()
                    .find(|execution| execution.fill.execution_id == report.execution_id);
                if let Some(execution) = told {
                    execution.fill.commission = Some(commission);
                }
            }
            SubscriptionItem::Notice(_) => {}
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
                let Some(symbol) = broker::stock_of(&position.contract) else {
                    continue;
                };
                let quantity = exact(position.position).context("a position that is no number")?;
                let average_cost =
                    exact(position.average_cost).context("an average cost that is no number")?;
                if !quantity.is_zero() {
                    truth.positions.insert(
                        symbol,
                        Holding {
                            quantity,
                            average_cost,
                        },
                    );
                }
            }
            SubscriptionItem::Data(PositionUpdate::PositionEnd) => return Ok(()),
            _ => {}
        }
    }
    anyhow::bail!("the rows ended without their end marker")
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
                let amount = value
                    .value
                    .parse()
                    .with_context(|| format!("{} is `{}`", value.tag, value.value))?;
                match value.tag.as_str() {
                    "TotalCashValue" => truth.cash = Some(amount),
                    "NetLiquidation" => truth.equity = Some(amount),
                    _ => {}
                }
            }
            SubscriptionItem::Data(AccountSummaryResult::End) => return Ok(()),
            _ => {}
        }
    }
    anyhow::bail!("the rows ended without their end marker")
}
