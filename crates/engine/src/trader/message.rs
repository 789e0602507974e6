//! What the trader hears and what it says.

use protocol::decision::{Alert, Refusal, Signal};
use protocol::ledger::{Entry, Record};
use protocol::market::{Quote, Session};
use protocol::operator::{Command, Reply, Verb};
use protocol::{Hash, Id, Quantity, Symbol, Timestamp};

use crate::reconcile::{BrokerStatus, Pass, Truth};

/// What can happen.
#[derive(Debug, Clone)]
pub enum Input {
    /// A model's opinion.
    Signal(Signal),
    /// A newer quote.
    Quote(Quote),
    /// A newer session, and when it was published, wall clock.
    Session(Session, Timestamp),
    /// The broker spoke of an order.
    Broker(Heard),
    /// The broker's whole truth was read.
    Truth(Truth, Pass),
    /// An operator asks.
    Ask(Ask),
    /// Somebody asked what can't be understood.
    Unclear(Unclear),
    /// A message of the market or of a model can't be read.
    Garbled(Garbled),
    /// Why nothing may be sent just now; `None` opens the gate.
    Gate(Option<String>),
    /// The local kill switch, a file or a signal, was latched or released.
    KillHere(bool),
    /// Time passes.
    Tick,
}

/// What the broker says of one order as it happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Our decision's id, when the message carries it.
    pub order_ref: String,
    /// The broker's order id within our client; 0 when the message carries none.
    pub order_id: i32,
    /// The broker's permanent id; 0 when the message carries none.
    pub permanent_id: i64,
    /// What it says.
    pub news: News,
}

/// The content of a broker's message.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// How the order is, how many of its shares are filled where the message tells it, and the broker's words.
    Status(BrokerStatus, Option<Quantity>, String),
    /// An error that names the order.
    Error(i32, String),
    /// An execution.
    Execution(Symbol, protocol::ledger::Fill),
    /// What an execution cost.
    Commission(String, protocol::Money),
}

/// A command with its asker.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Its id.
    pub id: Id,
    /// What.
    pub verb: Verb,
    /// Who: `operator` or `web`.
    pub by: String,
    /// Particulars.
    pub command: Command,
}

/// A command that can't be understood: it is refused, and recorded as that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// The id that it gets.
    pub id: Id,
    /// What was asked for, in the asker's word.
    pub verb: String,
    /// Who: `operator` or `web`.
    pub by: String,
    /// Why it can't be understood, as a sentence.
    pub text: String,
}

/// A message that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbled {
    /// The subject that it came on.
    pub subject: String,
    /// Why it can't be read.
    pub why: String,
}

/// What must be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Append to the ledger, tell [`Trader::applied`], and if it is an intent, send it once.
    Append(Draft),
    /// Ask the broker to cancel the order with this id. Harmless to repeat.
    Cancel(i32),
    /// Tell that an order was not made.
    Refuse(Refusal),
    /// Tell a person.
    Alert(Alert),
    /// Answer the asker.
    Reply(Reply),
}

/// A record that is not in the ledger yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its id.
    pub id: Id,
    /// When.
    pub at: Timestamp,
    /// What it follows from.
    pub cause: Option<Id>,
    /// What it says.
    pub entry: Entry,
}

impl Draft {
    /// The record of an incarnation; the ledger adds the chain.
    #[must_use]
    pub fn record(self, epoch: u64) -> Record {
        Record {
            id: self.id,
            at: self.at,
            cause: self.cause,
            epoch,
            previous_hash: Hash::zero(),
            entry: self.entry,
        }
    }
}
