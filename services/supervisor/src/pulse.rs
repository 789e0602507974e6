//! Hears the heartbeats of the stages.

use std::collections::BTreeMap;

use protocol::operator::Health;
use protocol::subject::filter;
use runtime::Bus;
use tokio::sync::watch;

/// The newest heartbeat of each process of each stage, by instance.
pub type Heard = BTreeMap<String, Health>;

/// Instances that are remembered; older ones are forgotten when there are more.
const INSTANCES_MAX: usize = 64;

/// Listens to all heartbeats for as long as it lives.
#[derive(Debug)]
pub struct Pulse {
    heard: watch::Receiver<Heard>,
    task: tokio::task::JoinHandle<()>,
}

impl Pulse {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the bus is closed.
    pub async fn listen(bus: &Bus) -> anyhow::Result<Self> {
        let mut beats = bus.subscribe::<Health>(filter::HEALTH).await?;
        let (sender, heard) = watch::channel(Heard::new());
        let task = tokio::spawn(async move {
            while let Some(beat) = beats.next().await {
                sender.send_modify(|heard| {
                    heard.insert(format!("{}.{}", beat.body.service, beat.body.instance), beat.body);
                    if heard.len() > INSTANCES_MAX {
                        let oldest = heard
                            .iter()
                            .min_by_key(|(_, health)| health.at)
                            .map(|(key, _)| key.clone());
                        if let Some(oldest) = oldest {
                            heard.remove(&oldest);
                        }
                    }
                });
            }
        });
        Ok(Self { heard, task })
    }

    /// What was heard, now and as it changes.
    #[must_use]
    pub fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.clone()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The heartbeat of the process `pid` of a stage.
#[must_use]
pub fn of<'a>(heard: &'a Heard, service: &str, pid: u32) -> Option<&'a Health> {
    let end = format!("-{pid}");
    heard
        .values()
        .filter(|health| health.service == service && health.instance.ends_with(&end))
        .max_by_key(|health| health.at)
}
