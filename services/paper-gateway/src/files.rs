//! The folder with bars of the past: `SYMBOL.csv` for each stock, or several `SYMBOL-anything.csv`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::venue::rows::{self, RowError, Rows};
use protocol::Symbol;

/// Why a folder can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is no such folder, or it can't be read.
    #[error("the market folder {0} can't be read ({1}): give --market a folder with files such as AAPL.csv")]
    Folder(PathBuf, std::io::Error),
    /// The folder holds no CSV file.
    #[error("the market folder {0} holds no CSV file: put files such as AAPL.csv into it")]
    Empty(PathBuf),
    /// No file is of a stock that is asked for.
    #[error("the market folder {0} holds no file of {1}: give --symbols stocks that it has files of")]
    Missing(PathBuf, String),
    /// A file can't be read.
    #[error("{0} can't be read: {1}")]
    File(PathBuf, std::io::Error),
    /// A file's name is no stock symbol.
    #[error("{0}: the name of the file is not a stock symbol, rename it to one such as AAPL.csv")]
    Name(PathBuf),
    /// Two files of a stock hold bars of the same time.
    #[error("{0}: its bars overlap with those of another file of the same stock, remove one of them")]
    Overlap(PathBuf),
    /// A file holds something else than bars.
    #[error("{0}, {1}; correct or remove the line")]
    Row(PathBuf, RowError),
}

/// Reads all files of a folder; of `only`, unless that is empty.
///
/// # Errors
/// The first thing that is wrong, with the file and line.
pub fn read(folder: &Path, only: &[Symbol]) -> Result<BTreeMap<Symbol, Rows>, FilesError> {
    let refuse = |error| FilesError::Folder(folder.to_path_buf(), error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
        {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(FilesError::Empty(folder.to_path_buf()));
    }
    paths.sort();
    let mut files: BTreeMap<Symbol, (PathBuf, Vec<Rows>)> = BTreeMap::new();
    for path in paths {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        // What follows a dash is for people: a year, say.
        let stock = name.split('-').next().unwrap_or_default();
        let Ok(symbol) = stock.parse::<Symbol>() else {
            return Err(FilesError::Name(path));
        };
        if !only.is_empty() && !only.contains(&symbol) {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|error| FilesError::File(path.clone(), error))?;
        let rows = text(bytes)
            .map_err(|line| RowError {
                line,
                what: NO_TEXT.into(),
            })
            .and_then(|text| rows::parse(&text))
            .map_err(|error| FilesError::Row(path.clone(), error))?;
        let (latest, of_stock) = files.entry(symbol).or_default();
        *latest = path;
        of_stock.push(rows);
    }
    let missing = only.iter().filter(|symbol| !files.contains_key(symbol));
    let missing: Vec<String> = missing.map(Symbol::broker_text).collect();
    if !missing.is_empty() {
        return Err(FilesError::Missing(folder.to_path_buf(), missing.join(", ")));
    }
    let join = |(symbol, (path, of_stock))| {
        let joined = rows::join(of_stock).ok_or(FilesError::Overlap(path))?;
        Ok((symbol, joined))
    };
    let files = files
        .into_iter()
        .map(join)
        .collect::<Result<BTreeMap<_, Rows>, _>>()?;
    Ok(of_one_length(files))
}

/// Bars of a folder are of one length, the shortest distance between two rows in any of its files: the rows of a stock that
/// seldom trades are far apart, whatever the length of its bars.
fn of_one_length(mut files: BTreeMap<Symbol, Rows>) -> BTreeMap<Symbol, Rows> {
    let shortest = files.values().map(|rows| rows.seconds).min().unwrap_or(1);
    for (symbol, rows) in &mut files {
        if rows.seconds != shortest {
            let apart = rows.seconds;
            tracing::warn!(
                "rows of {symbol} are {apart} s apart or more: they count as bars of {shortest} s, as other files of the folder have them; put bars of another length in a folder of their own"
            );
        }
        rows.seconds = shortest;
    }
    files
}

/// What is wrong with a line that can't be read.
pub(crate) const NO_TEXT: &str = "the line is not UTF-8 text";

/// A file's text, or the first line that is none.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, usize> {
    String::from_utf8(bytes).map_err(|error| {
        let (text, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        text.iter().filter(|byte| **byte == b'\n').count() + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_stock_are_joined_in_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, minutes: &[u32]| {
            let mut text = String::from("timestamp,open,high,low,close,volume\n");
            for minute in minutes {
                text += &format!("2013-10-07T13:{minute:02}:00Z,1,1,1,1,5\n");
            }
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("SPY-b.csv", &[30, 31]);
        write("SPY-a.csv", &[32, 33]);
        write("BRK.B-2013-10.csv", &[30, 35]);
        let files = read(folder.path(), &[]).unwrap();
        let spy = &files[&"SPY".parse().unwrap()];
        assert_eq!((spy.rows.len(), spy.seconds), (4, 60));
        assert!(spy.rows.windows(2).all(|pair| pair[0].start < pair[1].start));
        assert_eq!(
            files[&"BRK_B".parse().unwrap()].seconds,
            60,
            "one that seldom trades"
        );

        write("SPY.csv", &[33, 34]);
        let refused = read(folder.path(), &[]).unwrap_err();
        assert!(matches!(refused, FilesError::Overlap(_)), "{refused}");
    }
}
