//! A folder of CSV bars as a market: its symbols are its files, its bar size at least the distance of its
//! rows.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use protocol::market::BarSize;
use protocol::{Symbol, Timestamp};
use runtime::{Exit, code};

/// Rows of each file that are looked at for the distance between bars.
const ROWS_MAX: usize = 50;
/// Bar sizes, shortest first.
const SIZES: [&str; 11] = [
    "5s", "10s", "15s", "30s", "1m", "2m", "5m", "15m", "30m", "1h", "1d",
];

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Name of its market, `replay-NAME`.
    pub name: String,
    /// Its symbols, in order.
    pub symbols: Vec<Symbol>,
    /// Seconds between two rows, at the least.
    pub spacing_seconds: u32,
}

/// Looks at a folder. The files are read whole and checked by the paper gateway; here only what names the
/// market.
///
/// # Errors
/// [`code::MISSING`] when there is no such folder or no CSV file in it; [`code::DATA`] when a file's name is
/// no symbol.
pub fn look(folder: &Path) -> anyhow::Result<Folder> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).map_err(|error| {
        Exit::error(
            code::MISSING,
            format!(
                "the market folder {shown} can't be read ({error}): name a folder of CSV bars with --market"
            ),
        )
    })?;
    let mut symbols = BTreeSet::new();
    let mut spacing = u32::MAX;
    for entry in entries.flatten() {
        let file = entry.path();
        if file.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        let stem = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = stem.split('-').next().unwrap_or_default();
        let symbol = text.parse().map_err(|error| {
            Exit::error(
                code::DATA,
                format!(
                    "{}: {error}; name the file SYMBOL.csv or SYMBOL-DAY.csv",
                    file.display()
                ),
            )
        })?;
        symbols.insert(symbol);
        spacing = spacing.min(spacing_of(&file).unwrap_or(u32::MAX));
    }
    if symbols.is_empty() {
        let text = format!(
            "the market folder {shown} has no CSV file: put SYMBOL.csv there, \
             with columns timestamp,open,high,low,close,volume"
        );
        return Err(Exit::error(code::MISSING, text));
    }
    let name = folder
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '_'
        }
    };
    let name = name
        .unwrap_or_else(|| "csv".to_owned())
        .chars()
        .map(legal)
        .collect::<String>();
    let spacing_seconds = if spacing == u32::MAX { 0 } else { spacing };
    Ok(Folder {
        name: format!("replay-{name}"),
        symbols: symbols.into_iter().collect(),
        spacing_seconds,
    })
}

impl Folder {
    /// The size of the bars that decide: the wanted one, or a longer one when the rows are farther apart.
    #[must_use]
    pub fn bar_size(&self, wanted: BarSize) -> BarSize {
        if self.spacing_seconds <= wanted.seconds() {
            return wanted;
        }
        let sizes = SIZES.iter().filter_map(|text| text.parse::<BarSize>().ok());
        sizes
            .filter(|size| size.seconds() >= self.spacing_seconds)
            .min()
            .unwrap_or(wanted)
    }
}

/// The smallest distance between the first rows; `None` when they can't be read, which the gateway will say
/// better.
fn spacing_of(file: &Path) -> Option<u32> {
    let lines = BufReader::new(File::open(file).ok()?)
        .lines()
        .map_while(Result::ok)
        .skip(1)
        .take(ROWS_MAX);
    let seconds: Vec<i64> = lines
        .filter_map(|line| {
            Some(
                line.split(',')
                    .next()?
                    .trim()
                    .parse::<Timestamp>()
                    .ok()?
                    .as_second(),
            )
        })
        .collect();
    seconds
        .windows(2)
        .filter_map(|pair| u32::try_from(pair[1] - pair[0]).ok())
        .filter(|gap| *gap > 0)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_the_symbols_and_rows_the_bar_size() {
        let folder = tempfile::tempdir().unwrap();
        let rows = "timestamp,open,high,low,close,volume\n\
                    2013-10-07T13:00:00Z,1,1,1,1,1\n2013-10-07T14:00:00Z,1,1,1,1,1\n";
        for name in ["SPY-20131007.csv", "SPY-20131008.csv", "BRK.B.csv", "notes.txt"] {
            std::fs::write(folder.path().join(name), rows).unwrap();
        }
        let found = look(folder.path()).unwrap();
        let names: Vec<_> = found.symbols.iter().map(Symbol::as_str).collect();
        assert_eq!(
            (names.as_slice(), found.spacing_seconds),
            (["BRK_B", "SPY"].as_slice(), 3_600)
        );
        assert_eq!(found.bar_size(BarSize::ONE_MINUTE).to_string(), "1h");
        assert!(found.name.starts_with("replay-"));
    }

    #[test]
    fn an_empty_folder_and_a_nameless_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            look(folder.path())
                .unwrap_err()
                .to_string()
                .contains("no CSV file")
        );
        std::fs::write(folder.path().join("*.csv"), "").unwrap();
        assert!(
            look(folder.path())
                .unwrap_err()
                .to_string()
                .contains("not a stock symbol")
        );
        assert!(look(&folder.path().join("none")).is_err());
    }
}
