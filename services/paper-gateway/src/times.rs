//! Times as IB writes and reads them: New York wall time with the zone's name, or UTC with a dash.

use engine::venue::calendar;
use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};
use protocol::Timestamp;

/// The zone that all hours and times are told in.
pub(crate) const ZONE: &str = "US/Eastern";

/// `YYYYMMDD HH:MM:SS US/Eastern`.
pub(crate) fn with_zone(at: Timestamp) -> String {
    let wall = calendar::local(at);
    format!("{} {} {ZONE}", date(wall.date()), clock(wall.time()))
}

/// `YYYY-MM-DD HH:MM:SS US/Eastern`, for sentences.
pub(crate) fn spoken(at: Timestamp) -> String {
    let wall = calendar::local(at);
    format!("{} {} {ZONE}", wall.date(), clock(wall.time()))
}

/// `YYYYMMDD-HH:MM:SS` in New York's wall time, for messages that name the zone elsewhere.
pub(crate) fn dashed(at: Timestamp) -> String {
    let wall = calendar::local(at);
    format!("{}-{}", date(wall.date()), clock(wall.time()))
}

/// `YYYYMMDD-HH:MM:SS` in UTC.
pub(crate) fn universal(at: Timestamp) -> String {
    at.strftime("%Y%m%d-%H:%M:%S").to_string()
}

/// `YYYYMMDD`.
pub(crate) fn date(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
}

/// `YYYYMMDD:HHMM` in New York's wall time.
pub(crate) fn hour(at: Timestamp) -> String {
    let wall = calendar::local(at);
    format!("{}:{:02}{:02}", date(wall.date()), wall.hour(), wall.minute())
}

/// `HH:MM` in New York's wall time.
pub(crate) fn minute(at: Timestamp) -> String {
    let wall = calendar::local(at);
    format!("{:02}:{:02}", wall.hour(), wall.minute())
}

fn clock(time: Time) -> String {
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// Reads `YYYYMMDD HH:MM:SS zone`, `YYYYMMDD-HH:MM:SS` (UTC) or `YYYYMMDD HH:MM:SS` (New York).
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some((date, time)) = text.split_once('-') {
        let wall = DateTime::from_parts(parse_date(date)?, parse_time(time)?);
        return wall
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp());
    }
    let mut parts = text.split_whitespace();
    let date = parse_date(parts.next()?)?;
    let time = parts.next().map_or(Some(Time::midnight()), parse_time)?;
    match parts.next() {
        Some("UTC" | "GMT") => {
            let wall = DateTime::from_parts(date, time);
            wall.to_zoned(jiff::tz::TimeZone::UTC)
                .ok()
                .map(|zoned| zoned.timestamp())
        }
        None | Some("US/Eastern" | "America/New_York" | "EST" | "EST5EDT") => {
            Some(calendar::instant(date, time))
        }
        Some(zone) => {
            let zone = jiff::tz::TimeZone::get(zone).ok()?;
            DateTime::from_parts(date, time)
                .to_zoned(zone)
                .ok()
                .map(|zoned| zoned.timestamp())
        }
    }
}

/// Reads the instant until which something is good: as [`parse`], and a date alone is good until its end.
pub(crate) fn parse_end(text: &str) -> Option<Timestamp> {
    match parse_date(text.trim()) {
        Some(date) => date.checked_add(1.day()).ok().map(calendar::midnight),
        None => parse(text),
    }
}

fn parse_date(text: &str) -> Option<Date> {
    if text.len() != 8 || !text.is_ascii() {
        return None;
    }
    Date::new(
        text[..4].parse().ok()?,
        text[4..6].parse().ok()?,
        text[6..].parse().ok()?,
    )
    .ok()
}

fn parse_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut next = || parts.next()?.parse::<i8>().ok();
    Time::new(next()?, next()?, next().unwrap_or(0), 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes_name_the_same_instant() {
        let at: Timestamp = "2013-10-07T13:30:05Z".parse().unwrap();
        for text in [
            "20131007 13:30:05 UTC",
            "20131007-13:30:05",
            "20131007 09:30:05 US/Eastern",
            "20131007 09:30:05",
            "20131007 15:30:05 Europe/Berlin",
        ] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        assert_eq!(with_zone(at), "20131007 09:30:05 US/Eastern");
        assert_eq!(universal(at), "20131007-13:30:05");
        assert_eq!(parse_end("20131007-13:30:05"), Some(at));
        assert_eq!(parse_end("20131007"), "2013-10-08T04:00:00Z".parse().ok());
        for text in [
            "",
            "2013-10-07",
            "20131007 9",
            "20131007 25:00:00",
            "20131007 09:30:05 Mars/Base",
            "2013100é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
