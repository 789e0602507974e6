//! What can go wrong, and which of it makes sense.

use protocol::{Price, Quantity, Symbol};
use serde::{Deserialize, Serialize};

use super::line::{ABOUT_AN_ORDER, Trigger, legal, one};
use super::names::Outgoing;
use crate::message::request::ORDER_ID_END;

/// Most copies of one message.
const COPIES_MAX: u32 = 100;
/// Most shares and dollars that a fault may name, so that no sum of them is too large.
const SHARES_MAX: u32 = 1_000_000_000;
const PRICE_MAX: u32 = 1_000_000;
/// The message that most faults of orders are about.
const PLACE_ORDER: i32 = 3;
/// IB's limit on messages a second.
const MESSAGES: u32 = 50;
/// IB's limit on requests for history, and the time it is for.
const HISTORY_REQUESTS: u32 = 60;
const HISTORY_SECONDS: f64 = 600.0;

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    Before,
    After,
    Middle,
}

/// Whether something that lasts begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Begins,
    Ends,
}

/// The gateway's link to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LinkState {
    Lost,
    Restored,
    RestoredDataLost,
}

/// A data farm of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Farm {
    MarketData,
    History,
    Definitions,
}

/// What the port does during a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Port {
    /// Nobody listens.
    Closed,
    /// Connections are accepted and closed at once.
    Refuses,
}

/// A side of a trade by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    Buy,
    Sell,
}

/// A type of market data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DataType {
    Live,
    Frozen,
    Delayed,
    DelayedFrozen,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// The connection ends at a message.
    Cut { at: Place },
    /// The message is lost.
    Swallow {},
    /// The message comes later, or behind the next message of another kind.
    Delay {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Outgoing>,
    },
    /// The message comes again.
    Duplicate {
        #[serde(default = "one")]
        copies: u32,
    },
    /// From now on the order's owner hears nothing of the order by itself.
    Silence {},
    /// The order is refused.
    Reject {
        code: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The order exists, and is Inactive.
        #[serde(default)]
        inactive: bool,
    },
    /// The broker has the order and does not trade it, for so long; then it does.
    Inactive { seconds: f64 },
    /// The order trades so many shares and no more.
    PartialFill { shares: Quantity },
    /// The connection stays, and nothing is read from it or written to it any more.
    HalfOpen {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<i32>,
        /// After so long the gateway gives it up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// A notice about nothing in particular, or about an order.
    Notice {
        code: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order_id: Option<i32>,
    },
    /// The gateway's link to the broker is lost, or back.
    Link {
        state: LinkState,
        /// The notice of the loss: 1100, or 2110.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
    },
    /// A data farm's connection is broken, or back.
    Farm { farm: Farm, state: State },
    /// The port is reset: everybody is told, and dropped.
    PortReset {},
    /// Another session of the same user gets the market data.
    CompetingSession { state: State },
    /// A client id stays in use, though nobody has it.
    Ghost {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<i32>,
        seconds: f64,
    },
    /// The gateway is away for a while, as every night.
    Restart {
        seconds: f64,
        #[serde(default = "closed")]
        port: Port,
    },
    /// A client's next order id is smaller than ids that it used.
    RollBackIds {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<i32>,
        next: i32,
    },
    /// A person trades at the broker's own screen.
    ManualTrade {
        symbol: Symbol,
        side: Side,
        quantity: Quantity,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Price>,
        /// Zero or below.
        #[serde(default)]
        order_id: i32,
    },
    /// The price of the last execution, or of the last of an order, was wrong.
    CorrectExecution {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order_id: Option<i32>,
        price: Price,
    },
    /// Market data is of another type from now on.
    DataType {
        #[serde(rename = "type")]
        kind: DataType,
    },
    /// More messages a second than this are too many.
    Pacing {
        #[serde(default = "messages")]
        messages: u32,
    },
    /// More requests for history than this are too many.
    HistoryPacing {
        #[serde(default = "history_requests")]
        requests: u32,
        #[serde(default = "history_seconds")]
        seconds: f64,
    },
}

fn closed() -> Port {
    Port::Closed
}

fn messages() -> u32 {
    MESSAGES
}

fn history_requests() -> u32 {
    HISTORY_REQUESTS
}

fn history_seconds() -> f64 {
    HISTORY_SECONDS
}

impl Fault {
    /// Whether it is something that happens to a message, rather than at an instant.
    pub(crate) fn is_of_a_message(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::Swallow {}
                | Self::Delay { .. }
                | Self::Duplicate { .. }
                | Self::Silence {}
                | Self::Reject { .. }
                | Self::PartialFill { .. }
                | Self::Inactive { .. }
        )
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Delay {
                seconds: Some(seconds),
                until: None,
            } => legal(*seconds, "seconds").map(drop),
            Self::Delay {
                seconds: None,
                until: Some(_),
            } => Ok(()),
            Self::Delay { .. } => Err("a delay needs one of `seconds` and `until`".into()),
            Self::HalfOpen { seconds, .. } => legal(seconds.unwrap_or(0.0), "seconds").map(drop),
            Self::Ghost { seconds, .. } | Self::Restart { seconds, .. } | Self::Inactive { seconds } => {
                legal(*seconds, "seconds").map(drop)
            }
            Self::HistoryPacing { seconds, requests } if *requests > 0 => {
                legal(*seconds, "seconds").map(drop)
            }
            Self::Pacing { messages: 0 } | Self::HistoryPacing { .. } => {
                Err("a limit of requests is above 0".into())
            }
            Self::Duplicate { copies } if !(1..=COPIES_MAX).contains(copies) => {
                Err(format!("`copies` must be from 1 to {COPIES_MAX}"))
            }
            Self::Reject {
                code, inactive: true, ..
            } if *code != 201 => Err("an order that is Inactive is refused with the code 201".into()),
            Self::PartialFill { shares } | Self::ManualTrade { quantity: shares, .. }
                if *shares <= Quantity::ZERO || *shares > SHARES_MAX.into() || !shares.fract().is_zero() =>
            {
                Err(format!("shares are a whole number from 1 to {SHARES_MAX}"))
            }
            // On the wire, -1 means no request.
            Self::ManualTrade {
                order_id: -1 | 1.., ..
            } => Err("the order id of a trade by hand is 0, or -2 or below".into()),
            Self::RollBackIds { next, .. } if !(1..ORDER_ID_END).contains(next) => {
                Err(format!("the next order id is above 0 and below {ORDER_ID_END}"))
            }
            Self::CorrectExecution { price, .. }
            | Self::ManualTrade {
                limit: Some(price), ..
            } if *price <= Price::ZERO || *price > PRICE_MAX.into() => {
                Err(format!("a price is above 0 and at most {PRICE_MAX}"))
            }
            Self::Link { code: Some(code), .. } if ![1100, 2110].contains(code) => {
                Err("a lost link is told with the code 1100 or 2110".into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_trigger(&self, trigger: &Trigger) -> Result<(), String> {
        let placed = trigger.incoming.is_some_and(|incoming| incoming.is(PLACE_ORDER));
        match self {
            Self::Cut { at: Place::Middle } | Self::Duplicate { .. } | Self::Delay { until: Some(_), .. }
                if trigger.incoming.is_some() =>
            {
                Err("this happens to messages that go out: use `out`".into())
            }
            Self::Reject { .. } | Self::PartialFill { .. } | Self::Inactive { .. } if !placed => {
                Err("this happens to an order that comes in: use `\"in\":\"place-order\"`".into())
            }
            Self::Silence {} if !trigger.is_about_an_order() => {
                Err(format!("silence needs {ABOUT_AN_ORDER}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_without_trigger(&self) -> Result<(), String> {
        match self {
            Self::HalfOpen { client: None, .. }
            | Self::Ghost { client: None, .. }
            | Self::RollBackIds { client: None, .. }
            | Self::Notice {
                client: None,
                order_id: Some(_),
                ..
            } => Err("this fault needs `client`, or `when` with the message that names one".into()),
            _ => Ok(()),
        }
    }
}
