//! Tells the others how this stage is: a heartbeat a second on `health.{service}.{instance}`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::operator::{Health, HealthState};
use protocol::{Id, WIRE_VERSION, subject};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::run::now;

/// Time between two heartbeats.
pub const HEARTBEAT_MS: u64 = 1_000;

/// The stage's own word on how it is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    health: Mutex<Health>,
    changed: Notify,
}

impl HealthHandle {
    /// Starts the heartbeat; it ends with `stop`.
    #[must_use]
    pub fn start(name: &str, instance: &str, bus: Bus, stop: CancellationToken) -> Self {
        let health = Health {
            id: Id::derive(&["health", name, instance]),
            at: now(),
            service: name.to_owned(),
            instance: instance.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wire: WIRE_VERSION,
            state: HealthState::Starting,
            text: "starting".to_owned(),
            figures: std::collections::BTreeMap::new(),
        };
        let subject = subject::health(name, instance);
        let handle = Self {
            shared: Arc::new(Shared {
                health: Mutex::new(health),
                changed: Notify::new(),
            }),
        };
        let shared = handle.shared.clone();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = beat.tick() => {}
                    () = shared.changed.notified() => {}
                    () = stop.cancelled() => return,
                }
                let health = {
                    let mut health = shared.health.lock().expect("nobody panics while holding it");
                    health.at = now();
                    health.id = Id::derive(&[
                        "health",
                        &health.service,
                        &health.instance,
                        &health.at.to_string(),
                    ]);
                    health
                        .figures
                        .insert("slow_consumer_count".to_owned(), bus.slow_consumers() as f64);
                    health.clone()
                };
                if let Err(error) = bus.publish(subject.as_str(), &health).await {
                    tracing::debug!(error = format!("{error:#}"), "heartbeat not sent");
                }
            }
        });
        handle
    }

    /// Says how the stage is. `text` is one sentence for the operator, empty when all is well.
    pub fn set(&self, state: HealthState, text: impl Into<String>) {
        let text = text.into();
        let mut health = self.shared.health.lock().expect("nobody panics while holding it");
        if health.state != state || health.text != text {
            tracing::info!(state = ?state, text, "health changed");
            health.state = state;
            health.text = text;
            self.shared.changed.notify_one();
        }
    }

    /// How the stage last said it is.
    #[must_use]
    pub fn state(&self) -> HealthState {
        self.shared
            .health
            .lock()
            .expect("nobody panics while holding it")
            .state
    }

    /// Sets a figure that goes with the next heartbeat; the name ends with its unit.
    pub fn figure(&self, name: &str, value: f64) {
        let mut health = self.shared.health.lock().expect("nobody panics while holding it");
        if let Some(slot) = health.figures.get_mut(name) {
            *slot = value;
        } else {
            health.figures.insert(name.to_owned(), value);
        }
    }
}
