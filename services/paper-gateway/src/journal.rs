//! The account on disk: a file of records, one JSON object a line, and a snapshot that shortens it.
//!
//! Records are on the disk before anybody is told of them, and all of one turn wait for it together. What one append holds
//! counts as a whole: of one that the disk has in part, nothing is read. The state folder belongs to one gateway at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use engine::venue::account::Account;
use engine::venue::record::Record;
use protocol::Timestamp;
use serde::{Deserialize, Serialize};

/// Bytes of records after which a snapshot replaces them.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// The state folder belongs to another gateway that runs.
#[derive(Debug, thiserror::Error)]
#[error(
    "another paper gateway already keeps its account in {0}: stop it, or choose another folder with --state"
)]
pub struct Locked(pub PathBuf);

/// What is kept of an account: its records since a snapshot.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    log: File,
    /// Number of the last record.
    last: u64,
    /// Length of the log up to the end of its last whole append.
    length: u64,
    /// Whether something was written that the disk may not have yet.
    ahead: bool,
    /// Holds the folder against a second gateway for as long as it lives.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Line<R> {
    n: u64,
    /// True when the next line is of the same append.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(flatten)]
    record: R,
}

#[derive(Serialize, Deserialize)]
struct Snapshot<A> {
    n: u64,
    account: A,
}

impl Journal {
    /// Opens the folder, takes it, and folds what is there into an account.
    ///
    /// # Errors
    /// [`Locked`] when a gateway already has the folder; otherwise what could not be read or made.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Account)> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make the folder {}", folder.display()))?;
        let lock = open(&folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(Locked(folder.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(error).context("can't lock the state folder"),
        }
        let (mut last, mut account) = read_snapshot(&folder.join("account.json"))?;
        let mut log = open(&folder.join("account.log"))?;
        let length = fold(&mut log, &mut last, &mut account)
            .with_context(|| format!("{} is damaged", folder.join("account.log").display()))?;
        log.set_len(length)?;
        log.seek(SeekFrom::Start(length))?;
        Ok((
            Self {
                folder: folder.to_path_buf(),
                log,
                last,
                length,
                ahead: false,
                _lock: lock,
            },
            account,
        ))
    }

    /// Writes records, of which a later start finds all or none. `account` is what they led to. Nobody may be told of them
    /// before [`Journal::sync`].
    pub(crate) fn append(&mut self, records: &[Record], account: &Account) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut text = Vec::with_capacity(512 * records.len());
        for (place, record) in records.iter().enumerate() {
            self.last += 1;
            let line = Line {
                n: self.last,
                more: place + 1 < records.len(),
                record,
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        let failed = || format!("can't write to {}", self.folder.join("account.log").display());
        self.log.write_all(&text).with_context(failed)?;
        self.ahead = true;
        self.length += text.len() as u64;
        if self.length > LOG_BYTES_MAX {
            self.compact(account)?;
        }
        Ok(())
    }

    /// Waits until the disk has all that was written.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if std::mem::take(&mut self.ahead) {
            let failed = || format!("can't write to {}", self.folder.join("account.log").display());
            self.log.sync_data().with_context(failed)?;
        }
        Ok(())
    }

    /// Whether something was written that the disk may not have yet.
    #[cfg(test)]
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Replaces the records by the account that they led to.
    fn compact(&mut self, account: &Account) -> Result<()> {
        let snapshot = Snapshot {
            n: self.last,
            account,
        };
        // Written piece by piece: the whole text of it would be the most memory that the gateway ever needs.
        replace(&self.folder, "account.json", true, |file| {
            let mut file = BufWriter::new(file);
            serde_json::to_writer(&mut file, &snapshot)?;
            file.flush()
        })?;
        // Should the power fail here, the records are skipped by their numbers.
        self.log.set_len(0)?;
        self.log.seek(SeekFrom::Start(0))?;
        self.log.sync_data()?;
        self.length = 0;
        Ok(())
    }

    /// Notes the market's time, so that a replay goes on where it stopped. Not worth waiting for the disk.
    pub(crate) fn note_clock(&self, at: Timestamp) -> Result<()> {
        replace(&self.folder, "clock", false, |file| {
            file.write_all(at.to_string().as_bytes())
        })
    }

    /// The market's time noted last. One that can't be read is said: the market goes on from the account's own times.
    pub(crate) fn clock(&self) -> Result<Option<Timestamp>> {
        let Some(text) = self.read("clock")? else {
            return Ok(None);
        };
        let at = text.parse().ok();
        if at.is_none() {
            let path = self.folder.join("clock");
            tracing::warn!(
                "{} holds no time, the market's time may run backwards",
                path.display()
            );
        }
        Ok(at)
    }

    /// Keeps the name of the account.
    pub(crate) fn keep_name(&self, name: &str) -> Result<()> {
        replace(&self.folder, "name", true, |file| file.write_all(name.as_bytes()))
    }

    /// The name of the account, if one was kept.
    pub(crate) fn name(&self) -> Result<Option<String>> {
        self.read("name")
    }

    /// The text of a file of the folder, if it is there.
    fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
        .open(path)
        .with_context(|| format!("can't open {}", path.display()))
}

fn read_snapshot(path: &Path) -> Result<(u64, Account)> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let snapshot: Snapshot<Account> =
                serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
            Ok((snapshot.n, snapshot.account))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((0, Account::default())),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// Applies all records that come after `last` and returns where the last whole append ends. One that was not written to
/// its end was never acknowledged to anyone, and is left out.
fn fold(log: &mut File, last: &mut u64, account: &mut Account) -> Result<u64> {
    let mut text = Vec::new();
    log.read_to_end(&mut text)?;
    let (mut read, mut end) = (0, 0);
    let mut begun: Vec<Record> = Vec::new();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.ends_with(b"\n");
        read += line.len();
        let record: Line<Record> = match serde_json::from_slice(line) {
            Ok(record) if whole => record,
            _ if read == text.len() => break,
            Ok(_) => bail!("line {} has no end", index + 1),
            Err(error) => bail!("line {} is no record: {error}", index + 1),
        };
        // A snapshot holds whole appends.
        if record.n > *last {
            let next = *last + begun.len() as u64 + 1;
            if record.n != next {
                bail!("line {} holds record {}, not {next}", index + 1, record.n);
            }
            begun.push(record.record);
        }
        if !record.more {
            *last += begun.len() as u64;
            begun.drain(..).for_each(|record| account.apply(&record));
            end = read;
        }
    }
    Ok(end as u64)
}

/// Puts a file in the place of another in one step.
fn replace(
    folder: &Path,
    name: &str,
    durable: bool,
    text: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<()> {
    let (path, fresh) = (folder.join(name), folder.join(format!("{name}.new")));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        text(&mut file)?;
        if durable {
            file.sync_all()?;
        }
        std::fs::rename(&fresh, &path)?;
        if durable {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use engine::venue::Venue;
    use engine::venue::record::Record;

    use super::*;

    fn day(number: i8) -> Record {
        Record::Day {
            date: jiff::civil::date(2026, 11, number),
            equity: 5.into(),
            gains: Default::default(),
        }
    }

    fn opening() -> Record {
        Venue::opening(100_000.into(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_account_survives_with_a_torn_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = Account::default();
        {
            let (mut journal, account) = Journal::open(folder.path()).unwrap();
            assert_eq!(account, Account::default());
            for record in [opening(), day(2)] {
                expected.apply(&record);
                journal.append(&[record], &expected).unwrap();
            }
            assert!(
                Journal::open(folder.path())
                    .unwrap_err()
                    .downcast_ref::<Locked>()
                    .is_some()
            );
        }
        let path = folder.path().join("account.log");
        let mut log = OpenOptions::new().append(true).open(&path).unwrap();
        log.write_all(b"{\"n\":3,\"record\":\"da").unwrap();
        let (mut journal, account) = Journal::open(folder.path()).unwrap();
        assert_eq!(account, expected);
        // What follows begins on a line of its own.
        journal.append(&[day(3)], &account).unwrap();
        drop(journal);
        assert_eq!(
            Journal::open(folder.path()).unwrap().1.day,
            Some(jiff::civil::date(2026, 11, 3))
        );
    }

    #[test]
    fn an_append_that_was_cut_anywhere_is_there_as_a_whole_or_not_at_all() {
        let appends = [
            vec![opening()],
            vec![day(2), day(3), day(4)],
            vec![day(5), day(6)],
        ];
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut account) = Journal::open(folder.path()).unwrap();
        let mut states = vec![(0, account.clone())];
        for records in &appends {
            records.iter().for_each(|record| account.apply(record));
            journal.append(records, &account).unwrap();
            states.push((journal.length, account.clone()));
        }
        drop(journal);
        let path = folder.path().join("account.log");
        let text = std::fs::read(&path).unwrap();
        for length in 0..=text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            let (mut journal, account) = Journal::open(folder.path()).unwrap();
            let whole = states
                .iter()
                .rev()
                .find(|(end, _)| *end <= length as u64)
                .unwrap();
            assert_eq!((journal.length, &account), (whole.0, &whole.1), "cut at {length}");
            let mut expected = account.clone();
            expected.apply(&day(7));
            journal.append(&[day(7)], &expected).unwrap();
            drop(journal);
            assert_eq!(
                Journal::open(folder.path()).unwrap().1,
                expected,
                "cut at {length}"
            );
        }
    }

    #[test]
    fn a_snapshot_replaces_records_and_counts_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut account) = Journal::open(folder.path()).unwrap();
        account.apply(&opening());
        journal.append(&[opening()], &account).unwrap();
        let before = std::fs::read(folder.path().join("account.log")).unwrap();
        journal.compact(&account).unwrap();
        account.apply(&day(4));
        journal.append(&[day(4)], &account).unwrap();
        let after = std::fs::read(folder.path().join("account.log")).unwrap();
        drop(journal);
        // A crash between snapshot and shortening leaves records that the snapshot already holds.
        std::fs::write(folder.path().join("account.log"), [before, after].concat()).unwrap();
        assert_eq!(Journal::open(folder.path()).unwrap().1, account);
    }

    #[test]
    fn damage_in_the_middle_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("account.log"), "{\"n\":1,\nrubbish\n").unwrap();
        let error = format!("{:#}", Journal::open(folder.path()).unwrap_err());
        assert!(
            error.contains("account.log is damaged: line 1 is no record"),
            "{error}"
        );
    }
}
