//! A CSV file of bars as text: `timestamp,open,high,low,close,volume`, one bar a line, in order of time.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::{Price, Quantity};
use rust_decimal::Decimal;

use super::calendar;
use super::unfold::interval;

/// Lengths that a file's bars may have, in seconds.
const LENGTHS: [i64; 19] = [
    1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 14_400, 28_800, 86_400,
];
const DAY_SECONDS: i64 = 86_400;
/// The length assumed where a single bar can't tell.
const LENGTH_DEFAULT: i64 = 60;
/// Greatest price and volume: far above any real one, far below what arithmetic could not hold.
const PRICE_MAX: Decimal = Decimal::from_parts(10_000_000, 0, 0, false, 0);
const VOLUME_MAX: Decimal = Decimal::from_parts(0, 1 << 16, 0, false, 0);
/// Most decimal places of a price or volume.
const PLACES_MAX: u32 = 6;

/// One line: a bar of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Start of the bar.
    pub start: Timestamp,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Shares traded.
    pub volume: Quantity,
}

/// All bars of a file and their length.
#[derive(Debug, Clone)]
pub struct Rows {
    /// In order of time.
    pub rows: Vec<Row>,
    /// Seconds from a bar's start to its end.
    pub seconds: i64,
}

impl Rows {
    /// Bars in order of time. A day's bar that says midnight in UTC means its date: it starts at New York's midnight.
    fn of(mut rows: Vec<Row>) -> Self {
        let seconds = length(&rows);
        let is_day = |row: &&mut Row| seconds >= DAY_SECONDS && row.start.as_second() % DAY_SECONDS == 0;
        for row in rows.iter_mut().filter(is_day) {
            row.start = calendar::midnight(TimeZone::UTC.to_datetime(row.start).date());
        }
        Self { rows, seconds }
    }

    /// When the bar ends whose trades have begun before an instant and are not over; `None` where there is none.
    #[must_use]
    pub fn end_of_bar_at(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self
            .rows
            .partition_point(|row| interval(row, self.seconds).0 < at);
        let (start, seconds) = interval(self.rows.get(next.checked_sub(1)?)?, self.seconds);
        let end = Timestamp::from_second(start.as_second() + seconds).ok()?;
        (end > at).then_some(end)
    }
}

/// What is wrong with a file, and in which line (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct RowError {
    /// The line.
    pub line: usize,
    /// What is wrong, for people.
    pub what: String,
}

/// Reads a file's text.
///
/// # Errors
/// The first line that is not a bar, is out of order, or contradicts itself.
pub fn parse(text: &str) -> Result<Rows, RowError> {
    let mut rows: Vec<Row> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let refuse = |what: String| RowError {
            line: index + 1,
            what,
        };
        let line = line.trim_end();
        if index == 0 {
            if line.trim_start_matches('\u{feff}') != "timestamp,open,high,low,close,volume" {
                return Err(refuse(
                    "the header must be `timestamp,open,high,low,close,volume`".into(),
                ));
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let row = parse_row(line).map_err(refuse)?;
        if let Some(last) = rows.last().filter(|last| last.start >= row.start) {
            return Err(refuse(format!(
                "{} does not come after {}, the bar before it",
                row.start, last.start
            )));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(RowError {
            line: 1,
            what: "there is no bar in the file".into(),
        });
    }
    Ok(Rows::of(rows))
}

/// Joins the bars of several files of one stock in order of time; `None` where they overlap or there are none.
#[must_use]
pub fn join(mut files: Vec<Rows>) -> Option<Rows> {
    files.sort_by_key(|file| file.rows.first().map(|row| row.start));
    let rows: Vec<Row> = files.into_iter().flat_map(|file| file.rows).collect();
    let in_order = rows.windows(2).all(|pair| pair[0].start < pair[1].start);
    (in_order && !rows.is_empty()).then(|| Rows::of(rows))
}

fn parse_row(line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [start, open, high, low, close, volume] = fields[..] else {
        return Err(format!("6 fields are needed, {} are there", fields.len()));
    };
    let start: Timestamp = start
        .parse()
        .map_err(|_| format!("`{}` is not a time such as 2013-10-07T13:30:00Z", clip(start)))?;
    if start.subsec_nanosecond() != 0 {
        return Err(format!("{start} is not a whole second"));
    }
    let number = |name: &str, text: &str, most: Decimal| match text.parse::<Decimal>() {
        Ok(value) if value.normalize().scale() > PLACES_MAX => Err(format!(
            "{name} {} has more than {PLACES_MAX} decimal places",
            clip(text)
        )),
        Ok(value) if value >= Decimal::ZERO && value <= most => Ok(value.normalize()),
        Ok(_) => Err(format!("{name} {} is not between 0 and {most}", clip(text))),
        Err(_) => Err(format!("{name} `{}` is not a number", clip(text))),
    };
    let [open, high, low, close] =
        [("open", open), ("high", high), ("low", low), ("close", close)].map(|(name, text)| {
            number(name, text, PRICE_MAX).and_then(|price| match price.is_zero() {
                true => Err(format!("{name} is zero")),
                false => Ok(price),
            })
        });
    let (open, high, low, close) = (open?, high?, low?, close?);
    if high < open.max(close).max(low) {
        return Err(format!("high {high} is below another price of the bar"));
    }
    if low > open.min(close) {
        return Err(format!("low {low} is above another price of the bar"));
    }
    Ok(Row {
        start,
        open,
        high,
        low,
        close,
        volume: number("volume", volume, VOLUME_MAX)?,
    })
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// The length of the bars: the longest known one that no two neighbours contradict.
fn length(rows: &[Row]) -> i64 {
    let gap = rows
        .windows(2)
        .map(|pair| pair[1].start.as_second() - pair[0].start.as_second())
        .min();
    let Some(gap) = gap else { return LENGTH_DEFAULT };
    // A day is 23 hours long once a year.
    let gap = if gap >= 82_800 { 86_400 } else { gap };
    LENGTHS
        .iter()
        .copied()
        .rev()
        .find(|length| *length <= gap)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "timestamp,open,high,low,close,volume\n";

    #[test]
    fn good_rows_are_read_exactly() {
        let rows = parse(&format!(
            "{HEADER}2013-10-07T08:00:00Z,167.41,167.41,167.25,167.27,3197\n2013-10-07T08:01:00Z,1,1.5,0.5,1.2500,0\n"
        ))
        .unwrap();
        assert_eq!((rows.rows.len(), rows.seconds), (2, 60));
        assert_eq!(rows.rows[1].close.to_string(), "1.25");
    }

    #[test]
    fn a_bad_row_is_named() {
        for (line, what) in [
            ("2013-10-07T08:00:00Z,1,1,1,1", "6 fields are needed, 5 are there"),
            (
                "yesterday,1,1,1,1,1",
                "`yesterday` is not a time such as 2013-10-07T13:30:00Z",
            ),
            ("2013-10-07T08:00:00Z,1,x,1,1,1", "high `x` is not a number"),
            (
                "2013-10-07T08:00:00Z,1,1,1,-1,1",
                "close -1 is not between 0 and 10000000",
            ),
            ("2013-10-07T08:00:00Z,1,2,0,1,1", "low is zero"),
            (
                "2013-10-07T08:00:00Z,3,2,1,1,1",
                "high 2 is below another price of the bar",
            ),
            (
                "2013-10-07T08:00:00Z,1,2,1.5,2,1",
                "low 1.5 is above another price of the bar",
            ),
            (
                "2013-10-07T08:00:00Z,1.1234567,2,1,2,1",
                "open 1.1234567 has more than 6 decimal places",
            ),
        ] {
            let error = parse(&format!("{HEADER}{line}\n")).unwrap_err();
            assert_eq!((error.line, error.what.as_str()), (2, what));
        }
        assert_eq!(parse("a,b\n").unwrap_err().line, 1);
        let twice = format!("{HEADER}2013-10-07T08:00:00Z,1,1,1,1,1\n2013-10-07T08:00:00Z,1,1,1,1,1\n");
        assert_eq!(parse(&twice).unwrap_err().line, 3);
    }
}
