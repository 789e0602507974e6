//! What an operator says and hears: commands, queries, and the health of the stages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ledger::Choice;
use crate::{Id, Symbol, Timestamp};

/// What can be commanded on `command.{verb}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// No entries from now on; working entries are cancelled; exits still pass.
    Halt,
    /// No entries from now on; exits pass.
    Reduce,
    /// Entries and exits from now on.
    Resume,
    /// Latch the kill switch: nothing goes out.
    Kill,
    /// Release the kill switch.
    Release,
    /// Close one symbol although the kill switch is latched.
    EmergencyExit,
    /// Cancel every working order of ours.
    CancelAll,
    /// Halt, cancel working entries, then close every position.
    Flatten,
    /// Close the position of one symbol.
    Close,
    /// Decide what became of an unresolved order, or what is to become of a difference.
    Settle,
}

/// What a verb is, for lists and checks.
impl Verb {
    /// Every verb, in the order people expect them.
    pub const ALL: [Self; 10] = [
        Self::Halt,
        Self::Reduce,
        Self::Resume,
        Self::Kill,
        Self::Release,
        Self::EmergencyExit,
        Self::CancelAll,
        Self::Flatten,
        Self::Close,
        Self::Settle,
    ];

    /// The verb as its subject token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Reduce => "reduce",
            Self::Resume => "resume",
            Self::Kill => "kill",
            Self::Release => "release",
            Self::EmergencyExit => "emergency-exit",
            Self::CancelAll => "cancel-all",
            Self::Flatten => "flatten",
            Self::Close => "close",
            Self::Settle => "settle",
        }
    }

    /// True for verbs that can only lower risk: all that a browser may say in live mode.
    #[must_use]
    pub fn only_reduces_risk(self) -> bool {
        matches!(
            self,
            Self::Halt | Self::Reduce | Self::Kill | Self::CancelAll | Self::Flatten | Self::Close
        )
    }
}

/// Why a text is not a verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a command; the commands are halt, reduce, resume, kill, release, emergency-exit, cancel-all, flatten, close and settle"
)]
pub struct VerbError(String);

impl FromStr for Verb {
    type Err = VerbError;

    fn from_str(text: &str) -> Result<Self, VerbError> {
        let found = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        found.ok_or_else(|| VerbError(text.chars().take(30).collect()))
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of a request on `command.{verb}`. An empty body is the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The asker's id for it, so that asking again is recognised. Absent: execution makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// Whose, for verbs on one symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Which order, for `settle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Id>,
    /// What is to become of a difference, for `settle`; absent: the broker's figure is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's id.
    pub id: Id,
    /// Wall clock.
    pub at: Timestamp,
    /// What was asked.
    pub verb: String,
    /// Whether it is carried out.
    pub accepted: bool,
    /// One sentence: what happens now, or why nothing does.
    pub text: String,
}

/// The body of a request on `query.{name}`. An empty body is the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Only this symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before, not at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// At most so many items; the default is [`QUERY_LIMIT_DEFAULT`], the most [`QUERY_LIMIT_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Go on after this point: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Items in a page when nobody says how many.
pub const QUERY_LIMIT_DEFAULT: u32 = 100;
/// Most items in a page.
pub const QUERY_LIMIT_MAX: u32 = 1_000;

/// The answer to a query: a page, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer<T> {
    /// Some items.
    Page {
        /// The items, oldest first.
        items: Vec<T>,
        /// Where the next page begins; absent at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
        /// The LEDGER sequence and digest of the fold that answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<StateMark>,
    },
    /// Nothing, and why.
    Error {
        /// What went wrong.
        error: QueryError,
    },
}

/// Names the state of a fold: equal marks mean equal state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMark {
    /// Sequence of the last LEDGER record in it.
    pub sequence: u64,
    /// Hash of positions, cash and orders.
    pub digest: crate::Hash,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryError {
    /// For programs: `unknown-symbol`, `bad-query`, `unknown-query`, `not-ready`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A heartbeat. Published on `health.{service}.{instance}` about once a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Follows from service, instance and instant.
    pub id: Id,
    /// Wall clock.
    pub at: Timestamp,
    /// Which stage.
    pub service: String,
    /// Which process of it, `host-pid`.
    pub instance: String,
    /// Its version.
    pub version: String,
    /// The wire it speaks, [`crate::WIRE_VERSION`].
    pub wire: u32,
    /// How it is.
    pub state: HealthState,
    /// One sentence when it is not ready, for the operator.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Figures worth seeing, such as lags and counts, by name with the unit at its end.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub figures: std::collections::BTreeMap<String, f64>,
}

/// How a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Not there yet.
    Starting,
    /// Does its work.
    Ready,
    /// Works with less than it needs; the text says what is missing.
    Degraded,
    /// Another incarnation leads.
    Standby,
}
