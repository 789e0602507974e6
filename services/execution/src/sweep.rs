//! What the kill switch of this machine does while this execution does not lead: it cancels what works at the broker.

use std::time::Duration;

use anyhow::Context as _;
use engine::reconcile;
use futures::StreamExt as _;
use ibapi::orders::Orders;
use ibapi::subscriptions::SubscriptionItem;
use protocol::settings::Broker as Settings;
use runtime::CancellationToken;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::broker::{self, ANSWER_SECONDS_MAX, Broker};
use crate::latch::Latch;

/// Time between two looks at the switch, and between two sweeps while it is latched. A bus that is there is found sooner.
const LOOK_MS: u64 = 2_000;
/// Time between two readings of what still works.
const READ_MS: u64 = 250;
/// Readings of one sweep, at most.
const READINGS_MAX: u32 = 20;

/// Looks at the switch until this incarnation has a bus.
#[derive(Debug)]
pub struct Sweep {
    over: CancellationToken,
    task: JoinHandle<()>,
}

impl Sweep {
    /// Begins.
    pub fn start(latch: Latch, settings: &Settings) -> Self {
        let over = CancellationToken::new();
        let task = tokio::spawn(watch(latch, settings.clone(), over.clone()));
        Self { over, task }
    }

    /// Ends, and frees the client id for the one that is to lead.
    pub async fn end(self) {
        self.over.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = error.to_string(), "the kill switch was not looked at");
        }
    }
}

async fn watch(latch: Latch, settings: Settings, over: CancellationToken) {
    let pause = || over.run_until_cancelled(sleep(Duration::from_millis(LOOK_MS)));
    while pause().await.is_some() {
        if latch.is_set() {
            sweep(&settings, &over).await;
        }
    }
}

/// Connects as the one that orders, cancels, and lets go: one whose bus is whole may lead elsewhere.
async fn sweep(settings: &Settings, over: &CancellationToken) {
    let connecting = Broker::connect(&settings.address, settings.ordering_client_id);
    let mut broker = match over.run_until_cancelled(connecting).await {
        Some(Ok((broker, _))) => broker,
        Some(Err(error)) => {
            return tracing::error!(
                error = error.to_string(),
                "the kill switch is latched and nothing is cancelled"
            );
        }
        None => return,
    };
    match broker.account_of(settings) {
        Ok(account) => broker.account = account,
        Err(error) => tracing::error!(error, "the kill switch is latched and nothing is cancelled"),
    }
    if !broker.account.is_empty()
        && let Some(Err(error)) = over.run_until_cancelled(cancel_all(&broker)).await
    {
        let error = format!("{error:#}");
        tracing::error!(error, "the kill switch is latched and not all is cancelled");
    }
    broker.client.disconnect().await;
}

/// Does over a connection that is there what the switch wants, if it is latched. A failure is told: the next look, or the
/// next incarnation, tries again.
pub async fn obey(latch: &Latch, broker: &Broker) {
    if latch.is_set()
        && let Err(error) = cancel_all(broker).await
    {
        let error = format!("{error:#}");
        tracing::error!(error, "the kill switch is latched and not all is cancelled");
    }
}

/// Cancels what a pipeline like this one decided, until none of it works.
async fn cancel_all(broker: &Broker) -> anyhow::Result<()> {
    for _ in 0..READINGS_MAX {
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        let working = timeout(limit, working(broker)).await;
        let working = working.context("the gateway did not tell open orders in time")??;
        if working.is_empty() {
            return Ok(());
        }
        for order_id in working {
            tracing::warn!(order_id, "cancelled by the kill switch, without the lead");
            broker.cancel(order_id).await?;
        }
        sleep(Duration::from_millis(READ_MS)).await;
    }
    anyhow::bail!("orders still work after {READINGS_MAX} readings")
}

/// The orders of this client alone are asked for: ids of others mean other orders. Those of another account are another
/// pipeline's.
async fn working(broker: &Broker) -> anyhow::Result<Vec<i32>> {
    let mut open = Vec::new();
    let mut rows = broker.client.open_orders().await?;
    while let Some(row) = rows.next().await {
        if let SubscriptionItem::Data(Orders::OrderData(data)) = row? {
            // What can't be read exactly must not keep the rest from being cancelled.
            open.extend(broker::order(&data, &broker.account).unwrap_or_default());
        }
    }
    Ok(reconcile::decided(&open))
}
