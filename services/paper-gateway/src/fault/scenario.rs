//! A file of faults, one line each, with the time after the start at which each happens.

use std::path::{Path, PathBuf};

use protocol::Symbol;

use super::delays::DELAYS_MAX;
use super::line::{Line, Order, parse, unknown};
use super::rules::RULES_MAX;
use crate::files;

/// Most bytes of a scenario.
const BYTES_MAX: u64 = 1 << 20;

/// Why a scenario can't be played.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// There is no such file, or it can't be read.
    #[error("the scenario {0} can't be read ({1}): give --scenario a file with one JSON object a line")]
    File(PathBuf, std::io::Error),
    /// A line is no fault.
    #[error("{0}, line {1}: {2}; correct or remove the line")]
    Line(PathBuf, usize, String),
}

/// Reads a scenario, if there is one, for a market of some stocks. Blank lines and those that begin with `#` are for people.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub(crate) fn read(path: Option<&Path>, traded: &[Symbol]) -> Result<Option<Vec<Line>>, ScenarioError> {
    let Some(path) = path else { return Ok(None) };
    let refuse = |error| ScenarioError::File(path.to_path_buf(), error);
    if std::fs::metadata(path).map_err(refuse)?.len() > BYTES_MAX {
        let why = std::io::Error::other(format!("it is longer than {BYTES_MAX} bytes"));
        return Err(refuse(why));
    }
    let bytes = std::fs::read(path).map_err(refuse)?;
    let text = files::text(bytes).map_err(|line| {
        let why = files::NO_TEXT.to_owned();
        ScenarioError::Line(path.to_path_buf(), line, why)
    })?;
    let lines = text.lines().enumerate();
    let (mut count, mut rules) = (0, 0);
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(index, line)| {
            let wrong = |why| ScenarioError::Line(path.to_path_buf(), index + 1, why);
            let line = parse(line).map_err(wrong)?;
            count += 1;
            rules += usize::from(matches!(line.order, Order::When(..)));
            if count > DELAYS_MAX || rules > RULES_MAX {
                let why =
                    format!("a scenario has at most {DELAYS_MAX} lines, {RULES_MAX} of them with `when`");
                return Err(wrong(why));
            }
            if matches!(line.order, Order::Ask(_)) {
                return Err(wrong("a scenario asks nothing".into()));
            }
            if let Some(symbol) = line.order.symbols().find(|symbol| !traded.contains(symbol)) {
                return Err(wrong(unknown(symbol)));
            }
            Ok(line)
        })
        .collect::<Result<_, _>>()
        .map(Some)
}
