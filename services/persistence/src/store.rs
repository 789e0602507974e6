//! The redb file: everything of one market and account that people ask for later. A projection: the truth
//! is in LEDGER and MARKET, so deleting the file is allowed, and it is then rebuilt from them.
//!
//! Rows are kept as the JSON that a query answers with. The places up to which the streams were read are
//! committed with the rows that follow from them, so that a kill at any instant neither loses nor doubles
//! a row.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protocol::ledger::Identity;
use protocol::market::Bar;
use protocol::operator::StateMark;
use protocol::{Symbol, Timestamp, WIRE_VERSION};
use redb::{
    CommitError, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageError, TableDefinition, TableError, TransactionError,
    WriteTransaction,
};
use runtime::{Exit, code};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::view::View;

/// Version of the tables below. Another one is refused; the file is then deleted and rebuilt.
const FORMAT: u32 = 1;
/// Memory that redb may use to hold pages. Its own default is a gigabyte.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// LEDGER sequence to the record's bytes as stored there.
pub(crate) const RECORDS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("records");
/// Symbol to the position's JSON.
pub(crate) const POSITIONS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("positions");
/// Symbol, size, start in epoch seconds; to the rank of the bar's origin and its JSON.
pub(crate) const BARS: TableDefinition<'static, BarKey<'static>, (u8, &[u8])> = TableDefinition::new("bars");
/// Names to JSON: `format`, `wire`, `market`, `identity`, `cursors`, `mark`.
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// Key of a bar.
pub(crate) type BarKey<'a> = (&'a str, &'a str, i64);
/// Key of a row: what it is ordered by, and an id that makes it the only one.
pub(crate) type RowKey<'a> = (i64, &'a str);
/// A row: symbol (empty when it is of none), instant in nanoseconds, JSON.
pub(crate) type RowValue<'a> = (&'a str, i64, &'a [u8]);

/// The tables that hold rows in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Orders, by the LEDGER sequence that first named them.
    Orders,
    /// Fills, by the LEDGER sequence that told them.
    Trades,
    /// The equity curve, by instant.
    Equity,
    /// Signals, by instant.
    Signals,
    /// Refusals, by instant.
    Refusals,
    /// Alerts, by instant.
    Alerts,
}

impl Table {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Orders,
        Self::Trades,
        Self::Equity,
        Self::Signals,
        Self::Refusals,
        Self::Alerts,
    ];

    pub(crate) fn definition(self) -> TableDefinition<'static, RowKey<'static>, RowValue<'static>> {
        TableDefinition::new(match self {
            Self::Orders => "orders",
            Self::Trades => "trades",
            Self::Equity => "equity",
            Self::Signals => "signals",
            Self::Refusals => "refusals",
            Self::Alerts => "alerts",
        })
    }

    /// True when rows are ordered by their instant, false when by their place in LEDGER.
    #[must_use]
    pub fn by_time(self) -> bool {
        !matches!(self, Self::Orders | Self::Trades)
    }

    /// Rows kept; the oldest go first. What follows from LEDGER is kept for ever.
    #[must_use]
    pub fn rows_max(self) -> Option<u64> {
        match self {
            Self::Orders | Self::Trades => None,
            Self::Equity => Some(1_000_000),
            Self::Signals => Some(200_000),
            Self::Refusals | Self::Alerts => Some(20_000),
        }
    }
}

/// One row of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it belongs.
    pub table: Table,
    /// What it is ordered by: LEDGER sequence, or nanoseconds.
    pub number: i64,
    /// Makes it the only one at `number`; a row of equal number and id is replaced.
    pub id: String,
    /// Whose, if it is of one symbol.
    pub symbol: Option<Symbol>,
    /// When, market or wall clock as the message has it.
    pub at: Timestamp,
    /// The answer's item.
    pub json: Vec<u8>,
}

/// The streams up to where they were read: sequence of the last message taken in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursors {
    /// LEDGER.
    pub ledger: u64,
    /// MARKET.
    pub market: u64,
    /// EVENTS.
    pub events: u64,
}

/// What is committed at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// LEDGER records: sequence and bytes as stored there.
    pub records: Vec<(u64, Vec<u8>)>,
    /// Rows that are new or changed, in the order they came to be.
    pub rows: Vec<Row>,
    /// Complete bars with their JSON as published.
    pub bars: Vec<(Bar, Vec<u8>)>,
    /// Positions that changed, with their JSON.
    pub positions: Vec<(Symbol, Vec<u8>)>,
    /// The account, when it became known.
    pub identity: Option<Identity>,
    /// Where the fold stands after it.
    pub mark: Option<StateMark>,
    /// Where the streams are read up to after it.
    pub cursors: Cursors,
    /// Messages in it, taken in or passed over.
    pub messages: usize,
}

impl Batch {
    /// Adds a bar as published; only complete ones are kept.
    pub(crate) fn keep_bar(&mut self, bar: Bar, bytes: &[u8]) {
        if bar.complete {
            self.bars.push((bar, bytes.to_vec()));
        }
    }
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    file: PathBuf,
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`code::LOCKED`] when another process has it open, [`code::DATA`] when it is damaged or
    /// of another format or market; each in one sentence that says how to go on.
    pub fn open(file: &Path, market: &str) -> anyhow::Result<Self> {
        // A damaged file can trip redb's own asserts; that is an operating error here, not a bug.
        let opened = runtime::guarded(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES);
            let database = builder.create(file).map_err(|error| refusal(file, &error))?;
            let store = Self {
                database,
                file: file.to_owned(),
            };
            store.prepare(market).map_err(|error| {
                if error.is::<Exit>() {
                    error
                } else if is_of_the_disk(&error) {
                    unwritten(file, &error)
                } else {
                    damaged(file, &format!("{error:#}"))
                }
            })?;
            Ok(store)
        });
        opened.unwrap_or_else(|_| Err(damaged(file, "its pages contradict each other")))
    }

    fn prepare(&self, market: &str) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        {
            let mut meta = transaction
                .open_table(META)
                .map_err(|error| damaged(&self.file, &error.to_string()))?;
            let found: Option<u32> = get(&meta, "format")?;
            if found.is_some_and(|found| found != FORMAT) {
                return Err(damaged(&self.file, "it was written by another version"));
            }
            let found: Option<u32> = get(&meta, "wire")?;
            if found.is_some_and(|found| found != WIRE_VERSION) {
                return Err(damaged(
                    &self.file,
                    "it was written for another version of the wire",
                ));
            }
            let found: Option<String> = get(&meta, "market")?;
            if let Some(found) = found.filter(|found| found != market) {
                let text = format!(
                    "{} belongs to the market `{found}` and not to `{market}`: \
                     use another state folder, or delete the file, which is then rebuilt",
                    self.file.display()
                );
                return Err(Exit::error(code::DATA, text));
            }
            put(&mut meta, "format", &FORMAT)?;
            put(&mut meta, "wire", &WIRE_VERSION)?;
            put(&mut meta, "market", &market)?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(POSITIONS)?;
            transaction.open_table(BARS)?;
            for table in Table::ALL {
                transaction.open_table(table.definition())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn begin(&self) -> anyhow::Result<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }

    /// Commits a batch with its cursors; when this returns, it survives a loss of power.
    ///
    /// # Errors
    /// [`code::AGAIN`] when the file can't be written, such as on a full disk. Nothing of the batch is then in it.
    pub fn commit(&self, batch: &Batch) -> anyhow::Result<()> {
        self.take_in(batch).map_err(|error| unwritten(&self.file, &error))
    }

    fn take_in(&self, batch: &Batch) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for (sequence, bytes) in &batch.records {
                let before = records.insert(sequence, bytes.as_slice())?;
                assert!(before.is_none(), "LEDGER record {sequence} is taken in once");
            }
            let mut positions = transaction.open_table(POSITIONS)?;
            for (symbol, json) in &batch.positions {
                positions.insert(symbol.as_str(), json.as_slice())?;
            }
            let mut bars = transaction.open_table(BARS)?;
            for (bar, json) in &batch.bars {
                let size = bar.size.to_string();
                let key = (bar.symbol.as_str(), size.as_str(), bar.start.as_second());
                let held = bars.get(key)?.map(|held| held.value().0);
                if held.is_none_or(|held| held <= rank(bar)) {
                    bars.insert(key, (rank(bar), json.as_slice()))?;
                }
            }
            self.write_rows(&transaction, batch)?;
            let mut meta = transaction.open_table(META)?;
            put(&mut meta, "cursors", &batch.cursors)?;
            if let Some(mark) = &batch.mark {
                put(&mut meta, "mark", mark)?;
            }
            if let Some(identity) = &batch.identity {
                put(&mut meta, "identity", identity)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn write_rows(&self, transaction: &WriteTransaction, batch: &Batch) -> anyhow::Result<()> {
        for table in Table::ALL {
            let mut rows = batch.rows.iter().filter(|row| row.table == table).peekable();
            if rows.peek().is_none() {
                continue;
            }
            let mut open = transaction.open_table(table.definition())?;
            for row in rows {
                let symbol = row.symbol.as_ref().map_or("", Symbol::as_str);
                open.insert(
                    (row.number, row.id.as_str()),
                    (symbol, nanoseconds(row.at), row.json.as_slice()),
                )?;
            }
            let surplus = table
                .rows_max()
                .map_or(0, |rows_max| open.len().unwrap_or(0).saturating_sub(rows_max));
            for _ in 0..surplus {
                open.pop_first()?;
            }
        }
        Ok(())
    }

    /// Empties what follows from LEDGER's records but the records themselves, for a fold that reads them
    /// anew.
    ///
    /// # Errors
    /// [`code::AGAIN`] when the file can't be written.
    pub fn reproject(&self, batch: &Batch) -> anyhow::Result<()> {
        self.begin_anew(batch)
            .map_err(|error| unwritten(&self.file, &error))
    }

    fn begin_anew(&self, batch: &Batch) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        transaction.open_table(POSITIONS)?.retain(|_, _| false)?;
        for table in [Table::Orders, Table::Trades] {
            transaction.open_table(table.definition())?.retain(|_, _| false)?;
        }
        {
            let mut positions = transaction.open_table(POSITIONS)?;
            for (symbol, json) in &batch.positions {
                positions.insert(symbol.as_str(), json.as_slice())?;
            }
            self.write_rows(&transaction, batch)?;
            let mut meta = transaction.open_table(META)?;
            if let Some(mark) = &batch.mark {
                put(&mut meta, "mark", mark)?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// A view of the file as it is now, undisturbed by later commits.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn view(&self) -> anyhow::Result<View> {
        Ok(View {
            transaction: self.database.begin_read()?,
        })
    }
}

/// Nanoseconds since the epoch; what lies beyond the year 2262 counts as its end.
#[must_use]
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A bar seen live beats one from history, which beats one with a gap; between equals the newer one counts.
fn rank(bar: &Bar) -> u8 {
    match (bar.gap, bar.warm_up) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// Reads an entry of the file's head.
pub(crate) fn get<T: DeserializeOwned>(
    meta: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> anyhow::Result<Option<T>> {
    let Some(found) = meta.get(name)? else {
        return Ok(None);
    };
    Ok(Some(
        serde_json::from_slice(found.value())
            .with_context(|| format!("entry `{name}` of the file's head"))?,
    ))
}

fn put<T: Serialize>(
    meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
    name: &str,
    value: &T,
) -> anyhow::Result<()> {
    meta.insert(name, serde_json::to_vec(value)?.as_slice())?;
    Ok(())
}

fn refusal(file: &Path, error: &DatabaseError) -> anyhow::Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let text = format!(
                "{} is held by another process: \
                 stop the one that runs on this state folder (`./just stop`), or use another folder",
                file.display()
            );
            Exit::error(code::LOCKED, text)
        }
        DatabaseError::Storage(StorageError::Io(io)) if !is_content(io.kind()) => {
            let text = format!(
                "{} can't be opened ({io}): correct the folder's rights or room",
                file.display()
            );
            Exit::error(code::MISSING, text)
        }
        other => damaged(file, &other.to_string()),
    }
}

/// True for an error of the disk, which says nothing of what is in the file.
fn is_of_the_disk(error: &anyhow::Error) -> bool {
    let storage = match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
        (Some(TransactionError::Storage(storage)), ..)
        | (_, Some(TableError::Storage(storage)), _)
        | (.., Some(CommitError::Storage(storage))) => Some(storage),
        _ => error.downcast_ref(),
    };
    match storage {
        Some(StorageError::Io(io)) => !is_content(io.kind()),
        other => matches!(other, Some(StorageError::PreviousIo)),
    }
}

/// The next incarnation takes in from the streams what this one could not write.
fn unwritten(file: &Path, error: &anyhow::Error) -> anyhow::Error {
    let text = format!(
        "{} can't be written ({error:#}): make room on its disk; nothing is lost, what is missing is read again",
        file.display()
    );
    Exit::error(code::AGAIN, text)
}

/// True for an error that speaks of what is in the file, not of the way to it.
fn is_content(kind: std::io::ErrorKind) -> bool {
    matches!(
        kind,
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
    )
}

fn damaged(file: &Path, why: &str) -> anyhow::Error {
    let text = format!(
        "{} can't be used ({}): delete it, it is then rebuilt from LEDGER and MARKET",
        file.display(),
        why.trim_end_matches('.')
    );
    Exit::error(code::DATA, text)
}

#[cfg(test)]
mod tests;
