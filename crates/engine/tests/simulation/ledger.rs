//! LEDGER as the server keeps it: appends conditional on the position and on a subject that is written once.

use std::collections::BTreeSet;

use protocol::ledger::Record;
use protocol::{Hash, subject};

use crate::world::Run;

/// A record as stored, with what is known of its way.
pub struct Stored {
    pub sequence: u64,
    pub hash: Hash,
    pub record: Record,
    /// What a reader gets.
    pub bytes: Vec<u8>,
    /// When it was stored, in steps of the world.
    pub beat: u64,
    /// When its writer learned that it is stored, if it ever did.
    pub acknowledged: Option<u64>,
}

/// An append on its way.
pub struct Append {
    pub run: Run,
    pub number: u64,
    /// The position that the writer knows.
    pub after: u64,
    pub record: Record,
    pub bytes: Vec<u8>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Stored,
    Refused,
}

#[derive(Default)]
pub struct Ledger {
    pub records: Vec<Stored>,
    subjects: BTreeSet<String>,
}

impl Ledger {
    /// Stores a record if it comes at its place and its subject was never written. `guarded` is false for the ledger of
    /// a negative control, which stores whatever comes.
    pub fn append(&mut self, append: &Append, beat: u64, guarded: bool) -> Outcome {
        let sequence = self.records.len() as u64 + 1;
        let subject = subject::record(&append.record, append.after + 1);
        if guarded && (append.after + 1 != sequence || self.subjects.contains(&subject)) {
            return Outcome::Refused;
        }
        self.subjects.insert(subject);
        self.records.push(Stored {
            sequence,
            hash: Hash::of(&append.bytes),
            record: append.record.clone(),
            bytes: append.bytes.clone(),
            beat,
            acknowledged: None,
        });
        Outcome::Stored
    }
}
