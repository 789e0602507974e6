//! Log files of the processes: appended to by the process itself, so that they survive the supervisor, and
//! kept below a size by the supervisor, at the start of a process and while it runs.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A log file larger than this becomes `NAME.log.1` and begins anew; the file before that is forgotten.
pub const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How much of the end of a log is looked at for its last line.
const TAIL_BYTES_MAX: u64 = 64 * 1024;

/// Opens a log for appending, begun anew when it is too long.
///
/// # Errors
/// When the folder can't be written.
pub fn open(file: &Path) -> std::io::Result<File> {
    trim(file)?;
    OpenOptions::new().create(true).append(true).open(file)
}

/// Begins a log that has become too long anew. The process keeps writing into the same file: it appends, so
/// it goes on at the new end. Lines written between the copy and the cut are lost, a few at the most.
///
/// # Errors
/// When the folder can't be written.
pub fn trim(file: &Path) -> std::io::Result<()> {
    let long = std::fs::metadata(file).is_ok_and(|data| data.len() > LOG_BYTES_MAX);
    if long {
        std::fs::copy(file, older(file))?;
        OpenOptions::new().write(true).open(file)?.set_len(0)?;
    }
    Ok(())
}

/// Where the part before the present one lies.
#[must_use]
pub fn older(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The length of a log now, as a mark for [`last_sentence`].
#[must_use]
pub fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |data| data.len())
}

/// The last thing a process said after `mark`, as a person would read it: the message of a JSON line, else
/// the line.
#[must_use]
pub fn last_sentence(file: &Path, mark: u64) -> Option<String> {
    let mut log = File::open(file).ok()?;
    let end = log.metadata().ok()?.len();
    let start = mark.min(end).max(end.saturating_sub(TAIL_BYTES_MAX));
    log.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let message = serde_json::from_str::<serde_json::Value>(line)
        .ok()
        .and_then(|value| {
            let message = value
                .get("message")
                .or_else(|| value.get("fields")?.get("message"))?;
            Some(message.as_str()?.to_owned())
        });
    Some(message.unwrap_or_else(|| without_preamble(line).to_owned()))
}

/// Cuts `TIME LEVEL program: ` off a line, where a log has it.
fn without_preamble(line: &str) -> &str {
    let mut words = line.splitn(3, char::is_whitespace);
    let (Some(time), Some(_), Some(_)) = (words.next(), words.next(), words.next()) else {
        return line;
    };
    if time.parse::<protocol::Timestamp>().is_err() {
        return line;
    }
    let rest = line[time.len()..].trim_start();
    let rest = rest
        .split_once(' ')
        .map_or(rest, |(_level, rest)| rest.trim_start());
    match rest.split_once(": ") {
        Some((program, message)) if !program.contains(' ') => message,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_long_log_begins_anew_and_its_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.log");
        let mut writer = open(&file).unwrap();
        writer
            .write_all(&vec![b'x'; usize::try_from(LOG_BYTES_MAX).unwrap() + 1])
            .unwrap();
        trim(&file).unwrap();
        writer
            .write_all(b"{\"level\":\"ERROR\",\"message\":\"the last word\"}\n")
            .unwrap();
        assert!(length(&file) < 100 && length(&older(&file)) > LOG_BYTES_MAX);
        assert_eq!(last_sentence(&file, 0).as_deref(), Some("the last word"));
        assert_eq!(last_sentence(&file, length(&file)), None);
        writer
            .write_all(b"2026-01-01T00:00:00.1Z ERROR paper_gateway: SPY.csv:3: no price: correct it\n")
            .unwrap();
        assert_eq!(
            last_sentence(&file, 0).as_deref(),
            Some("SPY.csv:3: no price: correct it")
        );
    }
}
