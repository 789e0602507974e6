//! What runs, on disk: `STATE/stack.json`. Written by run-all at every change; read by `status`, `stop` and
//! the next run-all, which thereby finds what a killed supervisor left behind.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::process::Identity;
use crate::state::write_private;

/// The whole of `stack.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The run-all that wrote it.
    pub supervisor: Identity,
    /// Name of the market.
    pub market: String,
    /// Where NATS listens.
    pub nats: String,
    /// Where the dashboard is served.
    pub dashboard: String,
    /// Where the broker's gateway listens.
    pub broker: String,
    /// The processes, in the order of their start.
    pub members: Vec<MemberRecord>,
}

/// A process of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its name.
    pub name: String,
    /// The process, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Identity>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it is kept up.
    pub state: Kept,
    /// How it ended the last time, if it ever did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_end: String,
    /// Where its log is.
    pub log: PathBuf,
}

/// Whether a process is kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// It runs.
    Running,
    /// It ended and will be started again.
    Waiting,
    /// It ended too often, or for a reason that starting again does not cure.
    GivenUp,
    /// It was stopped.
    Stopped,
}

impl Record {
    /// What was written last; `None` when nothing ever ran here or it was stopped properly.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::file(folder)).ok()?).ok()
    }

    /// Where it lies.
    #[must_use]
    pub fn file(folder: &Path) -> PathBuf {
        folder.join("stack.json")
    }

    /// Every process that is recorded, in the order in which they are to be stopped.
    #[must_use]
    pub fn processes(&self) -> Vec<Identity> {
        self.members
            .iter()
            .rev()
            .filter_map(|member| member.process.clone())
            .collect()
    }
}

/// The record of the running stack, shared by those who keep its processes up.
#[derive(Debug, Clone)]
pub struct Board {
    folder: PathBuf,
    record: Arc<Mutex<Record>>,
}

impl Board {
    /// Begins a record.
    #[must_use]
    pub fn new(folder: &Path, record: Record) -> Self {
        let board = Self {
            folder: folder.to_owned(),
            record: Arc::new(Mutex::new(record)),
        };
        board.write(&board.read());
        board
    }

    /// The record as it is now.
    #[must_use]
    pub fn read(&self) -> Record {
        self.record
            .lock()
            .expect("nobody panics while holding it")
            .clone()
    }

    /// The record of one process.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<MemberRecord> {
        self.read().members.into_iter().find(|member| member.name == name)
    }

    /// Changes the record of one process, which is added when it is not there, and writes it down.
    pub fn update(&self, name: &str, log: &Path, change: impl FnOnce(&mut MemberRecord)) {
        let mut record = self.record.lock().expect("nobody panics while holding it");
        let place = record
            .members
            .iter()
            .position(|member| member.name == name)
            .unwrap_or_else(|| {
                record.members.push(MemberRecord {
                    name: name.to_owned(),
                    process: None,
                    restarts: 0,
                    state: Kept::Waiting,
                    last_end: String::new(),
                    log: log.to_owned(),
                });
                record.members.len() - 1
            });
        change(&mut record.members[place]);
        self.write(&record);
    }

    /// Forgets the record: everything was stopped.
    pub fn remove(&self) {
        let _record = self.record.lock().expect("nobody panics while holding it");
        // A record that can't be removed names processes that run no longer, which every reader checks.
        let _ = std::fs::remove_file(Record::file(&self.folder));
    }

    fn write(&self, record: &Record) {
        let text = serde_json::to_string_pretty(record).expect("a record is plain data");
        if let Err(error) = write_private(&Record::file(&self.folder), &text) {
            tracing::error!(error = format!("{error:#}"), "what runs can't be written down");
        }
    }
}
