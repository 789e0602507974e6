//! Rows of EVENTS: signals, refusals and alerts, kept as published.

use protocol::{Id, Symbol, Timestamp};
use runtime::Stored;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::store::{Row, Table, nanoseconds};

/// What every event has.
#[derive(Debug, Deserialize)]
struct Head {
    id: Id,
    at: Timestamp,
    symbol: Option<Symbol>,
}

/// The row of an event; `None` for those that are not kept.
pub(crate) fn row(stored: &Stored<IgnoredAny>) -> Option<Row> {
    let table = match stored.subject.split('.').next()? {
        "signal" => Table::Signals,
        "refusal" => Table::Refusals,
        "alert" => Table::Alerts,
        _ => return None,
    };
    match serde_json::from_slice::<Head>(&stored.bytes) {
        Ok(Head { id, at, symbol }) => {
            let json = stored.bytes.to_vec();
            Some(Row {
                table,
                number: nanoseconds(at),
                id: id.to_string(),
                symbol,
                at,
                json,
            })
        }
        Err(error) => {
            tracing::warn!(
                subject = stored.subject,
                error = error.to_string(),
                "unreadable event left out"
            );
            None
        }
    }
}
