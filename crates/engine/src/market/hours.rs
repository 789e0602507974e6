//! The broker's trading hours, as its contract details spell them, and the phase of the day that follows.
//!
//! `20131007:0400-20131007:2000;20131008:CLOSED` in the time zone that comes with it; older gateways write
//! `20131007:0930-1600`. Nothing is assumed about New York: what the broker says is what holds.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};
use protocol::market::Phase;

/// From an instant up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

/// When a stock trades at all, and when regularly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hours {
    trading: Vec<Span>,
    liquid: Vec<Span>,
}

/// Why hours can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// The zone is not in the time zone database.
    #[error("time zone `{0}` is not known")]
    Zone(String),
    /// An entry has another form.
    #[error("trading hours `{0}` are not of the form 20131007:0400-20131007:2000")]
    Entry(String),
}

impl Hours {
    /// Reads the broker's texts, each entry on its own.
    ///
    /// # Errors
    /// An unknown time zone, or an entry of another form.
    pub fn parse(zone: &str, trading: &[String], liquid: &[String]) -> Result<Self, HoursError> {
        let zone = find_zone(zone)?;
        Ok(Self {
            trading: spans(&zone, trading)?,
            liquid: spans(&zone, liquid)?,
        })
    }

    /// Where in the day an instant is.
    #[must_use]
    pub fn phase(&self, at: Timestamp) -> Phase {
        let within = |span: &&Span| span.start <= at && at < span.end;
        if self.liquid.iter().any(|span| within(&span)) {
            return Phase::Regular;
        }
        match self.trading.iter().find(within) {
            None => Phase::Closed,
            // Before the day's regular hours, if they are still to come in the same span.
            Some(span)
                if self
                    .liquid
                    .iter()
                    .any(|liquid| liquid.start > at && liquid.start < span.end) =>
            {
                Phase::Pre
            }
            Some(_) => Phase::After,
        }
    }

    /// The next instant at which the phase is another one, if these hours reach so far.
    #[must_use]
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let now = self.phase(at);
        let edges = self
            .trading
            .iter()
            .chain(&self.liquid)
            .flat_map(|span| [span.start, span.end]);
        let mut later: Vec<Timestamp> = edges.filter(|edge| *edge > at).collect();
        later.sort_unstable();
        later.into_iter().find(|edge| self.phase(*edge) != now)
    }
}

fn find_zone(name: &str) -> Result<TimeZone, HoursError> {
    // The broker's short names for New York mean its wall clock, summer time included.
    let known = match name {
        "EST" | "EST5EDT" | "EDT" | "US/Eastern" | "Eastern Standard Time" => "America/New_York",
        other => other,
    };
    TimeZoneDatabase::bundled()
        .get(known)
        .map_err(|_| HoursError::Zone(name.chars().take(40).collect()))
}

fn spans(zone: &TimeZone, entries: &[String]) -> Result<Vec<Span>, HoursError> {
    let mut spans = Vec::new();
    for entry in entries.iter().flat_map(|entry| entry.split(';')).map(str::trim) {
        if entry.is_empty() || entry.ends_with(":CLOSED") {
            continue;
        }
        let bad = || HoursError::Entry(entry.chars().take(60).collect());
        let (date, rest) = entry.split_once(':').ok_or_else(bad)?;
        let day = read_date(date).ok_or_else(bad)?;
        for range in rest.split(',') {
            let (from, to) = range.split_once('-').ok_or_else(bad)?;
            let start = read_moment(from, day).ok_or_else(bad)?;
            let mut end = read_moment(to, day).ok_or_else(bad)?;
            if end <= start && !to.contains(':') {
                end = end.checked_add(1.day()).map_err(|_| bad())?;
            }
            let instant = |moment: DateTime| {
                zone.to_ambiguous_timestamp(moment)
                    .compatible()
                    .map_err(|_| bad())
            };
            let span = Span {
                start: instant(start)?,
                end: instant(end)?,
            };
            if span.start < span.end {
                spans.push(span);
            }
        }
    }
    spans.sort_unstable();
    Ok(spans)
}

fn read_date(text: &str) -> Option<Date> {
    if text.len() != 8 || !text.is_ascii() {
        return None;
    }
    let part = |range: std::ops::Range<usize>| text[range].parse::<i16>().ok();
    Date::new(
        part(0..4)?,
        i8::try_from(part(4..6)?).ok()?,
        i8::try_from(part(6..8)?).ok()?,
    )
    .ok()
}

/// `HHMM` of a day, or `YYYYMMDD:HHMM`. 2400 is the next day's midnight.
fn read_moment(text: &str, day: Date) -> Option<DateTime> {
    let (day, clock) = match text.split_once(':') {
        Some((date, clock)) => (read_date(date)?, clock),
        None => (day, text),
    };
    if clock.len() != 4 || !clock.is_ascii() {
        return None;
    }
    let (hour, minute) = (clock[..2].parse::<i8>().ok()?, clock[2..].parse::<i8>().ok()?);
    if (hour, minute) == (24, 0) {
        return Some(day.checked_add(1.day()).ok()?.to_datetime(Time::midnight()));
    }
    Some(day.to_datetime(Time::new(hour, minute, 0, 0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(trading: &str, liquid: &str) -> Hours {
        Hours::parse("US/Eastern", &[trading.to_owned()], &[liquid.to_owned()]).unwrap()
    }

    #[test]
    fn a_day_has_its_phases() {
        let week = hours(
            "20131007:0400-20131007:2000;20131008:0400-20131008:2000;20131009:CLOSED",
            "20131007:0930-20131007:1600;20131008:0930-20131008:1600",
        );
        for (instant, phase, next) in [
            (
                "2013-10-07T07:59:59Z",
                Phase::Closed,
                Some("2013-10-07T08:00:00Z"),
            ),
            ("2013-10-07T08:00:00Z", Phase::Pre, Some("2013-10-07T13:30:00Z")),
            (
                "2013-10-07T13:30:00Z",
                Phase::Regular,
                Some("2013-10-07T20:00:00Z"),
            ),
            ("2013-10-07T20:00:00Z", Phase::After, Some("2013-10-08T00:00:00Z")),
            (
                "2013-10-08T00:00:00Z",
                Phase::Closed,
                Some("2013-10-08T08:00:00Z"),
            ),
            ("2013-10-09T14:00:00Z", Phase::Closed, None),
        ] {
            assert_eq!(week.phase(at(instant)), phase, "{instant}");
            assert_eq!(week.next_change(at(instant)), next.map(at), "{instant}");
        }
    }

    #[test]
    fn a_day_has_its_phases_by_new_yorks_clocks_which_change_on_a_sunday() {
        let weekend = hours(
            "20261030:0400-20261030:2000;20261031:CLOSED;20261101:CLOSED;20261102:0400-20261102:2000",
            "20261030:0930-20261030:1600;20261031:CLOSED;20261101:CLOSED;20261102:0930-20261102:1600",
        );
        let edges = [
            ("2026-10-30T08:00:00Z", Phase::Pre),
            ("2026-10-30T13:30:00Z", Phase::Regular),
            ("2026-10-30T20:00:00Z", Phase::After),
            ("2026-10-31T00:00:00Z", Phase::Closed),
            ("2026-11-02T09:00:00Z", Phase::Pre),
            ("2026-11-02T14:30:00Z", Phase::Regular),
            ("2026-11-02T21:00:00Z", Phase::After),
            ("2026-11-03T01:00:00Z", Phase::Closed),
        ];
        for (number, (instant, phase)) in edges.into_iter().enumerate() {
            assert_eq!(weekend.phase(at(instant)), phase, "{instant}");
            let next = edges.get(number + 1).map(|(next, _)| at(next));
            assert_eq!(weekend.next_change(at(instant)), next, "{instant}");
        }
        // That Sunday has 25 hours.
        let sunday = hours("20261101:0000-20261102:0000", "");
        let (begin, end) = (at("2026-11-01T04:00:00Z"), at("2026-11-02T05:00:00Z"));
        assert_eq!(sunday.next_change(at("2026-11-01T03:59:59Z")), Some(begin));
        assert_eq!(sunday.next_change(begin), Some(end));
    }

    #[test]
    fn older_and_round_the_clock_forms() {
        let old = hours("20131007:0700-0930,1830-0200", "20131007:0700-0930");
        assert_eq!(old.phase(at("2013-10-08T05:59:00Z")), Phase::After);
        assert_eq!(old.phase(at("2013-10-08T06:00:00Z")), Phase::Closed);
        let always = hours(
            "20261123:0000-20261124:0000;20261124:0000-20261124:2400",
            "20261123:0000-20261124:0000;20261124:0000-2400",
        );
        assert_eq!(always.phase(at("2026-11-24T04:59:59Z")), Phase::Regular);
        assert_eq!(
            always.next_change(at("2026-11-23T12:00:00Z")),
            Some(at("2026-11-25T05:00:00Z"))
        );
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        let text = |zone: &str, entry: &str| {
            Hours::parse(zone, &[entry.to_owned()], &[])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(text("Mars/Base", ""), "time zone `Mars/Base` is not known");
        for entry in [
            "20131007",
            "20131007:04-20",
            "x:0400-2000",
            "20131307:0400-2000",
            "20131007:0400-20131007:9900",
            "20131007:é400-2000",
        ] {
            assert!(text("EST", entry).contains("are not of the form"), "{entry}");
        }
    }
}
