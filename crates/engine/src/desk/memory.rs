//! What a machine remembers of LEDGER beside NATS, and what a ledger must contain because of it.

use protocol::Hash;
use protocol::ledger::Record;

use crate::portfolio::Portfolio;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Last acknowledged sequence; 0 before the first.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
    /// Highest order id that was ever about to be sent.
    pub order_id_max: i32,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: Hash::zero(),
            order_id_max: 0,
        }
    }
}

impl Memory {
    /// What a ledger that is not there means: nothing before the first record, and a contradiction afterwards.
    ///
    /// # Errors
    /// When it must be there.
    pub fn of_no_ledger(&self) -> Result<(), String> {
        match self.sequence {
            0 => Ok(()),
            sequence => Err(format!(
                "LEDGER is not there, and this machine remembers record {sequence}: it was deleted; restore it, or ask what happened"
            )),
        }
    }
}

/// Folds the whole ledger, and compares it with what is remembered of it.
#[derive(Debug)]
pub struct Recall<'a> {
    memory: &'a Memory,
    portfolio: Portfolio,
    found: bool,
}

impl<'a> Recall<'a> {
    /// Begins before the first record.
    #[must_use]
    pub fn new(memory: &'a Memory) -> Self {
        Self {
            memory,
            portfolio: Portfolio::default(),
            found: memory.sequence == 0,
        }
    }

    /// The sequence of the last record that was taken in; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.portfolio.sequence
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// When it can't follow the one before it: nothing may be ordered on such a ledger.
    pub fn apply(&mut self, sequence: u64, hash: &Hash, record: &Record) -> Result<(), String> {
        let applied = self.portfolio.apply(sequence, hash, record);
        applied.map_err(|fault| format!("{fault}; nothing is ordered until a person has looked at it"))?;
        if sequence == self.memory.sequence {
            self.found = *hash == self.memory.hash;
        }
        Ok(())
    }

    /// The fold, when it has what is remembered.
    ///
    /// # Errors
    /// When the ledger ends before that, or is another one.
    pub fn end(self) -> Result<Portfolio, String> {
        let (head, remembered) = (self.portfolio.sequence, self.memory.sequence);
        if head < remembered {
            return Err(format!(
                "LEDGER ends at record {head} but this machine remembers {remembered}: it was lost or is an older copy; restore it, or ask what happened"
            ));
        }
        if !self.found {
            return Err(format!(
                "record {remembered} of LEDGER is not the one that this machine remembers: it is another ledger; restore the right one"
            ));
        }
        Ok(self.portfolio)
    }
}
