//! Tells what becomes of the processes where a person looks for alarms: on the bus, as the service `supervisor`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::decision::{Alert, Level};
use protocol::{Id, subject};
use runtime::{Bus, now};

/// Who says it.
const SERVICE: &str = "supervisor";
/// How long the connection may take to accept an alarm: nothing that stops a process waits for it.
const TELL_MS_MAX: u64 = 500;

/// The way to the bus, shared by those who keep the processes up. There is none before the server is up, and none that
/// leads anywhere once the server was given up: what happens then is only printed.
#[derive(Debug, Clone, Default)]
pub struct Alarm {
    bus: Arc<Mutex<Option<Bus>>>,
}

impl Alarm {
    /// From now on alarms go out here.
    pub fn open(&self, bus: Bus) {
        *self.bus.lock().expect("nobody panics while holding it") = Some(bus);
    }

    /// Lets go of the bus, whose server is about to be stopped.
    pub fn close(&self) {
        *self.bus.lock().expect("nobody panics while holding it") = None;
    }

    /// Tells a person something; a server that is away for a moment is told when it comes back.
    pub async fn tell(&self, kind: &str, level: Level, text: String) {
        let bus = self.bus.lock().expect("nobody panics while holding it").clone();
        let Some(bus) = bus else { return };
        let at = now();
        let alert = Alert {
            id: Id::derive(&["alert", SERVICE, kind, &at.to_string()]),
            at,
            cause: None,
            service: SERVICE.to_owned(),
            kind: kind.to_owned(),
            level,
            symbol: None,
            text,
        };
        let sent = bus.publish(subject::alert(SERVICE, kind), &alert);
        match tokio::time::timeout(Duration::from_millis(TELL_MS_MAX), sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "alert not sent"),
            Err(_) => tracing::warn!("alert not sent: the connection to the bus does not take it"),
        }
    }
}
