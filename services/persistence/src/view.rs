//! What is in the file, as it was at one commit: later commits don't disturb who reads it.

use protocol::market::Bar;
use protocol::operator::StateMark;
use redb::{ReadTransaction, ReadableTable as _};

use crate::store::{BARS, Cursors, META, POSITIONS, RECORDS, Table, get};

/// The file as it was at one commit.
pub struct View {
    pub(crate) transaction: ReadTransaction,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

impl View {
    /// Where the streams are read up to.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn cursors(&self) -> anyhow::Result<Cursors> {
        Ok(get(&self.transaction.open_table(META)?, "cursors")?.unwrap_or_default())
    }

    /// Where the fold stood at the commit.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn mark(&self) -> anyhow::Result<Option<StateMark>> {
        get(&self.transaction.open_table(META)?, "mark")
    }

    /// The bytes of one LEDGER record.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn record(&self, sequence: u64) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self
            .transaction
            .open_table(RECORDS)?
            .get(sequence)?
            .map(|bytes| bytes.value().to_vec()))
    }

    /// Hands every LEDGER record to `take`, in order.
    ///
    /// # Errors
    /// When the file can't be read, or `take` fails.
    pub fn each_record(&self, mut take: impl FnMut(u64, &[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for record in self.transaction.open_table(RECORDS)?.iter()? {
            let (sequence, bytes) = record?;
            take(sequence.value(), bytes.value())?;
        }
        Ok(())
    }

    /// The newest point of the equity curve, as JSON.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn last_equity(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let table = self.transaction.open_table(Table::Equity.definition())?;
        Ok(table.last()?.map(|(_, value)| value.value().2.to_vec()))
    }

    /// The newest bar of each symbol and size.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn last_bars(&self) -> anyhow::Result<Vec<Bar>> {
        let table = self.transaction.open_table(BARS)?;
        let mut bars = Vec::new();
        for (symbol, size) in self.series()? {
            let mut range = table.range(
                (symbol.as_str(), size.as_str(), i64::MIN)..=(symbol.as_str(), size.as_str(), i64::MAX),
            )?;
            if let Some(item) = range.next_back() {
                bars.push(serde_json::from_slice(item?.1.value().1)?);
            }
        }
        Ok(bars)
    }

    /// Every symbol and size of which bars are held, found by leaping from one to the next.
    pub(crate) fn series(&self) -> anyhow::Result<Vec<(String, String)>> {
        let table = self.transaction.open_table(BARS)?;
        let mut all: Vec<(String, String)> = Vec::new();
        loop {
            let beyond = all.last().map_or(("", "", i64::MIN), |(name, size)| {
                (name.as_str(), size.as_str(), i64::MAX)
            });
            let Some(item) = table.range(beyond..)?.next() else {
                return Ok(all);
            };
            let (key, _) = item?;
            let (name, size, _) = key.value();
            all.push((name.to_owned(), size.to_owned()));
        }
    }

    /// Everything that people can ask for, as one text: equal files have equal texts.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn dump(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut line = |table: &str, key: String, json: &[u8]| {
            text.push_str(&format!("{table} {key} {}\n", String::from_utf8_lossy(json)));
        };
        for item in self.transaction.open_table(RECORDS)?.iter()? {
            let (key, value) = item?;
            line("records", key.value().to_string(), value.value());
        }
        for item in self.transaction.open_table(POSITIONS)?.iter()? {
            let (key, value) = item?;
            line("positions", key.value().to_owned(), value.value());
        }
        for item in self.transaction.open_table(BARS)?.iter()? {
            let (key, value) = item?;
            line("bars", format!("{:?}", key.value()), value.value().1);
        }
        for table in Table::ALL {
            for item in self.transaction.open_table(table.definition())?.iter()? {
                let (key, value) = item?;
                line(
                    &format!("{table:?}"),
                    format!("{:?}", key.value()),
                    value.value().2,
                );
            }
        }
        Ok(text)
    }
}
