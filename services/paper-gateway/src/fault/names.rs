//! Names of the messages, as faults are told of them; their numbers do as well.

use serde::{Deserialize, Serialize};

/// Stands for every message of a direction.
const ANY: i32 = 0;

const INCOMING: [(i32, &str); 51] = [
    (1, "market-data"),
    (2, "cancel-market-data"),
    (3, "place-order"),
    (4, "cancel-order"),
    (5, "open-orders"),
    (6, "account-data"),
    (7, "executions"),
    (8, "ids"),
    (9, "contract-data"),
    (10, "market-depth"),
    (11, "cancel-market-depth"),
    (14, "server-log-level"),
    (15, "auto-open-orders"),
    (16, "all-open-orders"),
    (17, "managed-accounts"),
    (20, "historical-data"),
    (25, "cancel-historical-data"),
    (49, "current-time"),
    (50, "real-time-bars"),
    (51, "cancel-real-time-bars"),
    (58, "global-cancel"),
    (59, "market-data-type"),
    (61, "positions"),
    (62, "account-summary"),
    (63, "cancel-account-summary"),
    (64, "cancel-positions"),
    (71, "start-api"),
    (74, "positions-multi"),
    (75, "cancel-positions-multi"),
    (76, "account-updates-multi"),
    (77, "cancel-account-updates-multi"),
    (81, "matching-symbols"),
    (82, "depth-exchanges"),
    (87, "head-timestamp"),
    (88, "histogram"),
    (90, "cancel-head-timestamp"),
    (91, "market-rule"),
    (92, "pnl"),
    (93, "cancel-pnl"),
    (94, "pnl-single"),
    (95, "cancel-pnl-single"),
    (96, "historical-ticks"),
    (97, "tick-by-tick"),
    (98, "cancel-tick-by-tick"),
    (99, "completed-orders"),
    (104, "user-info"),
    (105, "current-time-in-millis"),
    (106, "cancel-contract-data"),
    (107, "cancel-historical-ticks"),
    (83, "smart-components"),
    (ANY, "any"),
];

const OUTGOING: [(i32, &str); 56] = [
    (1, "tick-price"),
    (2, "tick-size"),
    (3, "order-status"),
    (4, "error"),
    (5, "open-order"),
    (6, "account-value"),
    (7, "portfolio-value"),
    (8, "account-update-time"),
    (9, "next-valid-id"),
    (10, "contract-data"),
    (11, "execution"),
    (12, "market-depth"),
    (13, "market-depth-l2"),
    (15, "managed-accounts"),
    (17, "historical-data"),
    (45, "tick-generic"),
    (46, "tick-string"),
    (49, "current-time"),
    (50, "real-time-bar"),
    (52, "contract-data-end"),
    (53, "open-orders-end"),
    (54, "account-data-end"),
    (55, "executions-end"),
    (57, "snapshot-end"),
    (58, "market-data-type"),
    (59, "commission-report"),
    (61, "position"),
    (62, "positions-end"),
    (63, "account-summary"),
    (64, "account-summary-end"),
    (71, "position-multi"),
    (72, "positions-multi-end"),
    (73, "account-update-multi"),
    (74, "account-update-multi-end"),
    (79, "symbol-samples"),
    (80, "depth-exchanges"),
    (81, "tick-parameters"),
    (82, "smart-components"),
    (88, "head-timestamp"),
    (89, "histogram"),
    (90, "historical-update"),
    (93, "market-rule"),
    (94, "pnl"),
    (95, "pnl-single"),
    (96, "historical-ticks"),
    (97, "historical-ticks-bid-ask"),
    (98, "historical-ticks-last"),
    (99, "tick-by-tick"),
    (100, "order-bound"),
    (101, "completed-order"),
    (102, "completed-orders-end"),
    (106, "schedule"),
    (107, "user-info"),
    (108, "historical-end"),
    (109, "current-time-in-millis"),
    (ANY, "any"),
];

/// A name or a number, as it was written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i32),
    Name(String),
}

/// Which message of a client is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct Incoming(i32);

/// Which message to a client is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct Outgoing(i32);

impl Incoming {
    /// Whether a message's number is meant.
    pub(crate) fn is(self, number: i32) -> bool {
        self.0 == ANY || self.0 == number
    }
}

impl Outgoing {
    /// Whether a message's number is meant.
    pub(crate) fn is(self, number: i32) -> bool {
        self.0 == ANY || self.0 == number
    }
}

impl TryFrom<Written> for Incoming {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        number_of(written, &INCOMING, "from a client").map(Self)
    }
}

impl TryFrom<Written> for Outgoing {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        number_of(written, &OUTGOING, "to a client").map(Self)
    }
}

impl From<Incoming> for Written {
    fn from(Incoming(number): Incoming) -> Self {
        written(number, &INCOMING)
    }
}

impl From<Outgoing> for Written {
    fn from(Outgoing(number): Outgoing) -> Self {
        written(number, &OUTGOING)
    }
}

fn number_of(written: Written, names: &[(i32, &str)], way: &str) -> Result<i32, String> {
    match written {
        Written::Number(number) if (1..1000).contains(&number) => Ok(number),
        Written::Number(number) => Err(format!("{number} is no message's number: use 1 to 999")),
        Written::Name(name) => {
            let found = names.iter().find(|(_, known)| *known == name);
            found.map(|(number, _)| *number).ok_or_else(|| {
                let known: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
                format!("`{name}` is no message {way}: use one of {}", known.join(", "))
            })
        }
    }
}

fn written(number: i32, names: &[(i32, &str)]) -> Written {
    let found = names.iter().find(|(known, _)| *known == number);
    found.map_or(Written::Number(number), |(_, name)| {
        Written::Name((*name).to_owned())
    })
}
