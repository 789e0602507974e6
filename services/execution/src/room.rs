//! How full LEDGER is. A full one takes no record, and what is not recorded is not ordered: a person must know long before.

use std::convert::Infallible;
use std::time::Duration;

use protocol::decision::Level;
use protocol::operator::HealthState;
use runtime::ledger::Room;
use runtime::{Bus, Context};
use tokio::time::sleep;

use crate::broker::Broker;
use crate::latch::Latch;
use crate::leader::{again, doubt};
use crate::sweep;

/// Hundredths of LEDGER from which on it is told.
const TOLD_PERCENT: u64 = 80;
/// Time between two looks while it is written, each of which may tell.
const LOOK_SECONDS: u64 = 3_600;
/// Time between two looks at a full one.
const FULL_LOOK_MS: u64 = 1_000;
/// The kind of what is told.
const KIND: &str = "ledger-full";
/// What helps. Old records can't be removed: every reader folds from the first one on.
const HELP: &str = "raise its max_bytes as the user admin (docs/safety.md)";

/// Looks at LEDGER for as long as this incarnation leads, beside all that it does, and tells when little room is left.
pub async fn watch(bus: &Bus) -> Infallible {
    loop {
        match bus.ledger_room().await {
            Ok(room) if room.percent() >= TOLD_PERCENT => {
                let text = format!(
                    "LEDGER uses {}: once it is full nothing is ordered, no exit either; {HELP}",
                    words(room)
                );
                bus.alert(KIND, Level::Critical, text).await;
            }
            Ok(_) => {}
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "how full LEDGER is can't be read");
            }
        }
        sleep(Duration::from_secs(LOOK_SECONDS)).await;
    }
}

/// Waits while LEDGER is full, and says so: an incarnation that began would end at one of its first records. The kill
/// switch of this machine goes on meanwhile.
///
/// # Errors
/// [`runtime::code::AGAIN`] once there is room, since what was read before is old by then, and at any doubt.
pub async fn wait(context: &Context, latch: &Latch, broker: &Broker) -> anyhow::Result<()> {
    let mut told = false;
    loop {
        let room = context.bus.ledger_room().await.map_err(doubt)?;
        match (room.takes_any_record(), told) {
            (true, false) => return Ok(()),
            (true, true) => return Err(again("LEDGER has room again")),
            (false, _) => {}
        }
        if !broker.client.is_connected() {
            return Err(again("the connection to the gateway is lost"));
        }
        let text = format!(
            "LEDGER is full, it uses {}: nothing is ordered, no exit either; {HELP}, and close in the broker's own program until then",
            words(room)
        );
        context.health.set(HealthState::Degraded, text.clone());
        if !std::mem::replace(&mut told, true) {
            context.bus.alert(KIND, Level::Critical, text).await;
        }
        sweep::obey(latch, broker).await;
        sleep(Duration::from_millis(FULL_LOOK_MS)).await;
    }
}

fn words(room: Room) -> String {
    format!(
        "{} of {} bytes ({} %)",
        room.bytes,
        room.bytes_max,
        room.percent()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Id;
    use protocol::decision::Alert;
    use protocol::subject::filter;
    use runtime::testing::Server;
    use serde_json::{Value, json};
    use tokio::time::timeout;

    /// Time in which a look is over.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_ledger_that_will_be_full_is_told_and_one_with_room_is_not() {
        let server = Server::start().await;
        let (bus, admin) = (server.bus("execution").await, server.bus("admin").await);
        let mut alerts = admin.subscribe::<Alert>(filter::ALERTS).await.unwrap();
        let record = json!({"text": "x".repeat(1_000)});
        bus.keep("order.intent.a", &Id::derive(&["a"]), &record)
            .await
            .unwrap();
        timeout(Duration::from_millis(500), watch(&bus))
            .await
            .expect_err("it looks for as long as it leads");

        let info: Value = admin
            .request("$JS.API.STREAM.INFO.LEDGER", &json!({}))
            .await
            .unwrap();
        let mut config = info["config"].clone();
        let bytes = info["state"]["bytes"].as_u64().unwrap();
        config["max_bytes"] = (bytes * 100 / TOLD_PERCENT).into();
        let answer: Value = admin
            .request("$JS.API.STREAM.UPDATE.LEDGER", &config)
            .await
            .unwrap();
        assert!(answer["error"].is_null(), "{answer}");
        let told = async {
            tokio::select! {
                alert = alerts.next() => alert.unwrap().body,
                never = watch(&bus) => match never {},
            }
        };
        let alert = timeout(PATIENCE, told).await.expect("an alert");
        assert_eq!((alert.level, alert.kind.as_str()), (Level::Critical, KIND));
        let used = format!("LEDGER uses {bytes} of ");
        assert!(alert.text.starts_with(&used), "{}", alert.text);
    }

    #[test]
    fn what_has_no_room_for_the_largest_record_is_full() {
        let (bytes, largest) = (1_000_000_000, runtime::ledger::RECORD_BYTES_MAX as u64);
        let room = |more: u64| Room {
            bytes,
            bytes_max: bytes + more,
        };
        assert!(!room(0).takes_any_record());
        assert!(!room(largest).takes_any_record());
        assert!(room(largest + 1).takes_any_record());
        let smaller = Room {
            bytes,
            bytes_max: bytes / 2,
        };
        assert_eq!((smaller.takes_any_record(), smaller.percent()), (false, 200));
    }
}
