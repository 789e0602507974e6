//! One line of the control port or of a scenario: a fault, the end of faults, or a question.

use std::time::Duration;

use protocol::Symbol;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kind::Fault;
use super::names::{Incoming, Outgoing};

/// Longest time that a fault may name, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// Messages that are about an order, for people.
pub(super) const ABOUT_AN_ORDER: &str = "a message about an order: `in` with place-order or cancel-order, \
     or `out` with order-status, open-order, execution, commission-report or error";

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

impl Order {
    /// The stocks that it names.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let (trigger, fault) = match self {
            Self::Now(fault) => (None, Some(fault)),
            Self::When(trigger, fault) => (trigger.symbol, Some(fault)),
            Self::Ask(Ask::Regime { symbol }) => (Some(*symbol), None),
            Self::Clear(_) | Self::Ask(_) => (None, None),
        };
        let traded = match fault {
            Some(Fault::ManualTrade { symbol, .. }) => Some(*symbol),
            _ => None,
        };
        [trigger, traded].into_iter().flatten()
    }
}

/// What is wrong with a line that names a stock which is not traded here.
pub(crate) fn unknown(symbol: Symbol) -> String {
    format!("{} is not traded here", symbol.broker_text())
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

/// What is counted from 1 is 1 where it is left out.
pub(super) fn one() -> u32 {
    1
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
        [false, false, true] if after.is_some() => return Err("a question has no `at_seconds`".into()),
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

/// A time in seconds, if it is one that a fault may name.
pub(super) fn legal(seconds: f64, name: &str) -> Result<f64, String> {
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
        let names_order = self.order_id.is_some() || self.order_ref.is_some() || self.symbol.is_some();
        if names_order && !self.is_about_an_order() {
            return Err(format!(
                "`order_id`, `order_ref` and `symbol` need {ABOUT_AN_ORDER}"
            ));
        }
        if self.status.is_some() && !self.can_be(&[], &[3, 5]) {
            return Err("`status` needs `out` with order-status or open-order".into());
        }
        if self.code.is_some() && !self.can_be(&[], &[4]) {
            return Err("`code` needs `out` with error".into());
        }
        Ok(())
    }

    /// Whether a message that sets it off can be about an order.
    pub(super) fn is_about_an_order(&self) -> bool {
        self.can_be(&[3, 4], &[3, 4, 5, 11, 59])
    }

    /// Whether one of these messages sets it off, of those that come in and of those that go out.
    fn can_be(&self, incoming: &[i32], outgoing: &[i32]) -> bool {
        let is_in = |wanted: Incoming| incoming.iter().any(|number| wanted.is(*number));
        let is_out = |wanted: Outgoing| outgoing.iter().any(|number| wanted.is(*number));
        self.incoming.is_some_and(is_in) || self.outgoing.is_some_and(is_out)
    }
}
