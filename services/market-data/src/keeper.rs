//! Puts complete bars into the stream MARKET: those of one symbol in order, each until it is acknowledged,
//! and no symbol waits for another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::market::Bar;
use protocol::{Symbol, subject};
use runtime::{Bus, CancellationToken};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bars of one symbol that wait for their acknowledgement; more hold the stage up.
const WAITING_MAX: usize = 4096;
/// Wall time between two tries.
const RETRY_MS: u64 = 250;
/// Wall time that bars have to be kept once the stage must end.
const FINISH_MS_MAX: u64 = 2_000;

/// The rim to the stream.
#[derive(Debug)]
pub struct Keeper {
    queues: BTreeMap<Symbol, mpsc::Sender<Bar>>,
    tasks: JoinSet<()>,
    waiting: Arc<AtomicUsize>,
}

impl Keeper {
    /// Starts one writer for each symbol.
    pub fn start(bus: &Bus, watchlist: &[Symbol], stop: &CancellationToken) -> Self {
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut keeper = Self {
            queues: BTreeMap::new(),
            tasks: JoinSet::new(),
            waiting: waiting.clone(),
        };
        for symbol in watchlist {
            let (sender, queue) = mpsc::channel(WAITING_MAX);
            keeper.queues.insert(*symbol, sender);
            keeper
                .tasks
                .spawn(write(bus.clone(), queue, waiting.clone(), stop.clone()));
        }
        keeper
    }

    /// Takes a bar over; waits only when its symbol has too many waiting already.
    pub async fn keep(&self, bar: Bar) {
        let Some(queue) = self.queues.get(&bar.symbol) else {
            return;
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if queue.send(bar).await.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Bars that are not acknowledged yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until every bar is kept, but not for long.
    pub async fn finish(self) {
        let Self {
            queues,
            mut tasks,
            waiting,
        } = self;
        drop(queues);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_millis(FINISH_MS_MAX), all)
            .await
            .is_err()
        {
            tracing::warn!(
                bars = waiting.load(Ordering::Relaxed),
                "bars were not acknowledged before the end"
            );
        }
    }
}

async fn write(bus: Bus, mut queue: mpsc::Receiver<Bar>, waiting: Arc<AtomicUsize>, stop: CancellationToken) {
    while let Some(bar) = queue.recv().await {
        // The id makes a repeated try harmless.
        while let Err(error) = bus.keep(subject::bar(bar.symbol), &bar.id, &bar).await {
            tracing::warn!(
                bar = bar.id.as_str(),
                error = format!("{error:#}"),
                "bar not acknowledged, trying again"
            );
            if stop.is_cancelled() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
