//! LEDGER as the model sees it: real records, each with the engine's own fold of everything up to it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash as Hashed, Hasher};
use std::sync::{Arc, LazyLock, Mutex};

use engine::portfolio::Portfolio;
use protocol::ledger::Record;
use protocol::{Hash, Id, subject};

/// A ledger up to a record. Two are equal when all of their records are.
#[derive(Clone)]
pub struct Log(Arc<Node>);

struct Node {
    sequence: u64,
    /// Names the whole ledger up to here.
    key: Hash,
    /// Hash of the last record, which the next one names.
    hash: Hash,
    subject: String,
    portfolio: Portfolio,
    fault: Option<String>,
    previous: Option<Log>,
}

/// Equal ledgers are one in memory: the search meets the same one along many ways.
static KNOWN: LazyLock<Mutex<HashMap<Hash, Log>>> = LazyLock::new(Mutex::default);

impl Log {
    /// A ledger without records.
    pub fn empty() -> Self {
        Self(Arc::new(Node {
            sequence: 0,
            key: Hash::zero(),
            hash: Hash::zero(),
            subject: String::new(),
            portfolio: Portfolio::default(),
            fault: None,
            previous: None,
        }))
    }

    /// The ledger with one more record, as its writer made it.
    pub fn with(&self, record: &Record) -> Self {
        let bytes = serde_json::to_vec(record).unwrap();
        let hash = Hash::of(&bytes);
        let key = Hash::of(format!("{}{}", self.0.key.0, hash.0).as_bytes());
        if let Some(known) = KNOWN.lock().unwrap().get(&key) {
            return known.clone();
        }
        let sequence = self.sequence() + 1;
        let mut portfolio = self.0.portfolio.clone();
        let fault = portfolio.apply(sequence, &hash, record).err();
        let log = Self(Arc::new(Node {
            sequence,
            key: key.clone(),
            hash,
            subject: subject::record(record, sequence),
            portfolio,
            fault: fault.map(|fault| fault.to_string()).or(self.0.fault.clone()),
            previous: Some(self.clone()),
        }));
        KNOWN.lock().unwrap().insert(key, log.clone());
        log
    }

    /// Hash of the last record.
    pub fn hash(&self) -> &Hash {
        &self.0.hash
    }

    /// Records in it.
    pub fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// The fold of it.
    pub fn portfolio(&self) -> &Portfolio {
        &self.0.portfolio
    }

    /// What the fold refused, if anything: a record that its writer had no right to write.
    pub fn fault(&self) -> Option<&str> {
        self.0.fault.as_deref()
    }

    /// Times a subject was written.
    pub fn written(&self, subject: &str) -> usize {
        let mut count = 0;
        let mut at = self;
        while let Some(previous) = &at.0.previous {
            count += usize::from(at.0.subject == subject);
            at = previous;
        }
        count
    }

    /// Times a fill of an order was written.
    pub fn fills(&self, order: &Id) -> usize {
        let prefix = format!("order.event.{order}.fill-");
        let mut count = 0;
        let mut at = self;
        while let Some(previous) = &at.0.previous {
            count += usize::from(at.0.subject.starts_with(&prefix));
            at = previous;
        }
        count
    }

    /// The subject of a record that would come next.
    pub fn next_subject(&self, record: &Record) -> String {
        subject::record(record, self.sequence() + 1)
    }
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Log {}

impl Hashed for Log {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.0.hash(state);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut subjects = Vec::new();
        let mut at = self;
        while let Some(previous) = &at.0.previous {
            subjects.push(at.0.subject.as_str());
            at = previous;
        }
        subjects.reverse();
        write!(f, "{subjects:?}")
    }
}
