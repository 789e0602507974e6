//! The folder with bars of the past: one `SYMBOL.csv` for each stock.

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
    /// A file can't be read.
    #[error("{0} can't be read: {1}")]
    File(PathBuf, std::io::Error),
    /// A file's name is no stock symbol.
    #[error("{0}: the name of the file is not a stock symbol, rename it to one such as AAPL.csv")]
    Name(PathBuf),
    /// Two files name the same stock.
    #[error("{0}: another file in the folder holds bars of the same stock, remove one of them")]
    Twice(PathBuf),
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
    paths.sort();
    let mut files = BTreeMap::new();
    for path in paths {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let Ok(symbol) = name.parse::<Symbol>() else {
            return Err(FilesError::Name(path));
        };
        if !only.is_empty() && !only.contains(&symbol) {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| FilesError::File(path.clone(), error))?;
        let rows = rows::parse(&text).map_err(|error| FilesError::Row(path.clone(), error))?;
        if files.insert(symbol, rows).is_some() {
            return Err(FilesError::Twice(path));
        }
    }
    if files.is_empty() {
        return Err(FilesError::Empty(folder.to_path_buf()));
    }
    Ok(files)
}
