//! One line of the control port or of a scenario: a fault, the end of faults, or a question.

use std::time::Duration;

use protocol::{Price, Quantity, Symbol};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names::{Incoming, Outgoing};

/// Longest time that a fault may name, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;
/// Most copies of one message.
const COPIES_MAX: u32 = 100;
/// The message that most faults of orders are about.
const PLACE_ORDER: i32 = 3;
/// IB's limit on messages a second.
const MESSAGES: u32 = 50;
/// IB's limit on requests for history, and the time it is for.
const HISTORY_REQUESTS: u32 = 60;
const HISTORY_SECONDS: f64 = 600.0;

/// What to do, and how long after the start or after the line came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) after: Option<Duration>,
    pub(crate) order: Order,
}

/// What a line orders.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    /// A fault at once.
    Now(Fault),
    /// A fault when a message passes.
    When(Trigger, Fault),
    Clear(Clear),
    Ask(Ask),
}

/// Which messages set a fault off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<i32>,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub(crate) incoming: Option<Incoming>,
    #[serde(rename = "out", skip_serializing_if = "Option::is_none")]
    pub(crate) outgoing: Option<Outgoing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) symbol: Option<Symbol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<i32>,
    /// The first message of those that match which sets it off, from 1.
    #[serde(default = "one")]
    pub(crate) nth: u32,
    /// How many messages set it off, from the nth on.
    #[serde(default)]
    pub(crate) times: Times,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Times {
    Number(u32),
    All(All),
}

/// The word for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum All {
    All,
}

impl Default for Times {
    fn default() -> Self {
        Self::Number(1)
    }
}

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
    /// A notice about nothing in particular.
    Notice {
        code: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<i32>,
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

/// What is to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Clear {
    /// Every fault, also what it left behind.
    All,
    /// The rule of this number.
    Rule(u64),
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// What a made-up stock is doing.
    Regime { symbol: Symbol },
    /// The orders that can still trade.
    Orders {},
    /// Who is connected.
    Clients {},
    /// The rules, and what lasts.
    Faults {},
}

fn one() -> u32 {
    1
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

/// A time that a fault names.
pub(crate) fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, SECONDS_MAX)).unwrap_or_default()
}

/// Reads a line, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Line, String> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("this is no JSON object: {error}"))?;
    let after = match fields.remove("at_seconds") {
        None => None,
        Some(value) => Some(time(legal(value.as_f64().unwrap_or(-1.0), "at_seconds")?)),
    };
    let kinds = ["fault", "clear", "ask"].map(|kind| fields.contains_key(kind));
    let order = match kinds {
        [true, false, false] => fault(fields)?,
        [false, true, false] => Order::Clear(clear(&fields)?),
        [false, false, true] => Order::Ask(read(Value::Object(fields))?),
        _ => return Err("a line has one of the fields `fault`, `clear` and `ask`".into()),
    };
    Ok(Line { after, order })
}

fn fault(mut fields: Map<String, Value>) -> Result<Order, String> {
    let trigger = fields.remove("when").map(read::<Trigger>).transpose()?;
    let fault: Fault = read(Value::Object(fields))?;
    fault.check()?;
    match trigger {
        Some(trigger) => {
            trigger.check()?;
            fault.check_trigger(&trigger)?;
            Ok(Order::When(trigger, fault))
        }
        None if fault.is_of_a_message() => {
            Err("this fault needs `when`, the message that it happens to".into())
        }
        None => {
            fault.check_without_trigger()?;
            Ok(Order::Now(fault))
        }
    }
}

fn clear(fields: &Map<String, Value>) -> Result<Clear, String> {
    if let Some(unknown) = fields.keys().find(|key| *key != "clear") {
        return Err(format!("unknown field `{unknown}`, expected `clear` alone"));
    }
    match &fields["clear"] {
        Value::String(all) if all == "all" => Ok(Clear::All),
        value => value
            .as_u64()
            .map(Clear::Rule)
            .ok_or_else(|| "`clear` is `all` or the number of a rule".into()),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn legal(seconds: f64, name: &str) -> Result<f64, String> {
    if (0.0..=SECONDS_MAX).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("`{name}` must be a number from 0 to {SECONDS_MAX}"))
    }
}

impl Trigger {
    fn check(&self) -> Result<(), String> {
        if self.incoming.is_some() == self.outgoing.is_some() {
            return Err("`when` needs one of `in` and `out`".into());
        }
        if self.nth == 0 || self.times == Times::Number(0) {
            return Err("`nth` and `times` count from 1".into());
        }
        Ok(())
    }
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
        )
    }

    fn check(&self) -> Result<(), String> {
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
            Self::Ghost { seconds, .. } | Self::Restart { seconds, .. } => {
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
                if *shares <= Quantity::ZERO || !shares.fract().is_zero() =>
            {
                Err("shares are a whole number above 0".into())
            }
            Self::ManualTrade { order_id: 1.., .. } => {
                Err("the order id of a trade by hand is 0 or below".into())
            }
            Self::RollBackIds { next: ..1, .. } => Err("the next order id is above 0".into()),
            Self::CorrectExecution { price, .. } if *price <= Price::ZERO => Err("a price is above 0".into()),
            Self::Link { code: Some(code), .. } if ![1100, 2110].contains(code) => {
                Err("a lost link is told with the code 1100 or 2110".into())
            }
            _ => Ok(()),
        }
    }

    fn check_trigger(&self, trigger: &Trigger) -> Result<(), String> {
        let placed = trigger.incoming.is_some_and(|incoming| incoming.is(PLACE_ORDER));
        match self {
            Self::Cut { at: Place::Middle } | Self::Duplicate { .. } | Self::Delay { until: Some(_), .. }
                if trigger.incoming.is_some() =>
            {
                Err("this happens to messages that go out: use `out`".into())
            }
            Self::Reject { .. } | Self::PartialFill { .. } if !placed => {
                Err("this happens to an order that comes in: use `\"in\":\"place-order\"`".into())
            }
            _ => Ok(()),
        }
    }

    fn check_without_trigger(&self) -> Result<(), String> {
        match self {
            Self::HalfOpen { client: None, .. }
            | Self::Ghost { client: None, .. }
            | Self::RollBackIds { client: None, .. } => {
                Err("this fault needs `client`, or `when` with the message that names one".into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = parse(
            r#"{"fault":"cut","at":"after","when":{"client":11,"in":"place-order","nth":2},"at_seconds":1.5}"#,
        );
        let line = line.unwrap();
        assert_eq!(line.after, Some(Duration::from_millis(1500)));
        let Order::When(trigger, Fault::Cut { at: Place::After }) = line.order else {
            panic!("{:?}", line.order)
        };
        assert_eq!(
            (trigger.client, trigger.nth, trigger.times),
            (Some(11), 2, Times::Number(1))
        );
        assert_eq!(
            parse(r#"{"clear":"all"}"#).unwrap().order,
            Order::Clear(Clear::All)
        );
        let asked = parse(r#"{"ask":"regime","symbol":"AAPL"}"#).unwrap().order;
        assert!(matches!(asked, Order::Ask(Ask::Regime { .. })));
        let all = parse(r#"{"fault":"swallow","when":{"out":3,"times":"all"}}"#)
            .unwrap()
            .order;
        assert!(matches!(
            all,
            Order::When(
                Trigger {
                    times: Times::All(_),
                    ..
                },
                _
            )
        ));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (text, said) in [
            ("[]", "this is no JSON object"),
            ("{}", "a line has one of the fields"),
            (
                r#"{"fault":"swallow","ask":"orders"}"#,
                "a line has one of the fields",
            ),
            (r#"{"fault":"rain"}"#, "unknown variant `rain`"),
            (
                r#"{"fault":"notice","code":1100,"colour":1}"#,
                "unknown field `colour`",
            ),
            (r#"{"fault":"port-reset","colour":1}"#, "unknown field `colour`"),
            (r#"{"fault":"cut","at":"after"}"#, "needs `when`"),
            (
                r#"{"fault":"swallow","when":{"client":1}}"#,
                "one of `in` and `out`",
            ),
            (
                r#"{"fault":"swallow","when":{"out":"weather"}}"#,
                "`weather` is no message to a client",
            ),
            (
                r#"{"fault":"swallow","when":{"out":"error","who":1}}"#,
                "unknown field `who`",
            ),
            (
                r#"{"fault":"swallow","when":{"out":"error","nth":0}}"#,
                "count from 1",
            ),
            (r#"{"fault":"duplicate","when":{"in":"ids"}}"#, "use `out`"),
            (
                r#"{"fault":"reject","code":201,"when":{"out":"error"}}"#,
                "use `\"in\":\"place-order\"`",
            ),
            (r#"{"fault":"ghost","seconds":1}"#, "needs `client`"),
            (
                r#"{"fault":"ghost","client":1,"seconds":-1}"#,
                "`seconds` must be",
            ),
            (
                r#"{"fault":"delay","when":{"out":"error"}}"#,
                "one of `seconds` and `until`",
            ),
            (r#"{"fault":"pacing","messages":0}"#, "above 0"),
            (r#"{"ask":"orders","at_seconds":"soon"}"#, "`at_seconds` must be"),
            (r#"{"clear":"some"}"#, "`clear` is `all` or"),
            (r#"{"clear":"all","too":1}"#, "unknown field `too`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
