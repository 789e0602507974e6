//! When the market is open: New York time, regular and extended hours, computed without reading a clock
//! or a time zone database.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// First and last minute of trading as New York wall time: 04:00, 09:30, 16:00, 20:00.
const PRE_OPEN: Time = Time::constant(4, 0, 0, 0);
const OPEN: Time = Time::constant(9, 30, 0, 0);
const CLOSE: Time = Time::constant(16, 0, 0, 0);
const AFTER_CLOSE: Time = Time::constant(20, 0, 0, 0);

/// The same on a day before a holiday: 13:00, 17:00.
const CLOSE_EARLY: Time = Time::constant(13, 0, 0, 0);
const AFTER_CLOSE_EARLY: Time = Time::constant(17, 0, 0, 0);

/// What the market does at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No trading at all.
    Closed,
    /// Extended hours before the regular session.
    Pre,
    /// The regular session.
    Regular,
    /// Extended hours after the regular session.
    After,
}

/// One day's trading interval, as instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Date in New York that the session is named after.
    pub date: Date,
    /// First instant of trading.
    pub open: Timestamp,
    /// First instant after trading.
    pub close: Timestamp,
}

/// The days and hours on which a market trades.
#[derive(Debug, Clone)]
pub enum Calendar {
    /// Around the clock, every day; each New York date is one session, and orders for the close trade at 16:00.
    Always,
    /// On these New York dates only, with extended hours 04:00-20:00 and regular hours 09:30-16:00.
    Days(BTreeSet<Date>),
}

/// The rules of New York's clock in force in a year.
fn zone(year: i16) -> &'static TimeZone {
    static SINCE_2007: LazyLock<TimeZone> = LazyLock::new(|| rule("EST5EDT,M3.2.0,M11.1.0"));
    static BEFORE: LazyLock<TimeZone> = LazyLock::new(|| rule("EST5EDT,M4.1.0,M10.5.0"));
    if year >= 2007 { &SINCE_2007 } else { &BEFORE }
}

fn rule(text: &str) -> TimeZone {
    TimeZone::posix(text).expect("the rule is a constant that parses")
}

/// The instant as wall time in New York.
#[must_use]
pub fn local(at: Timestamp) -> DateTime {
    // The year decides the rule; New York is never more than five hours behind UTC, and no change of rule
    // falls into those hours, so UTC's year serves.
    zone(at.to_zoned(TimeZone::UTC).year()).to_datetime(at)
}

/// The instant at which New York's wall clock shows a date and time. A time skipped in spring moves on by an hour.
#[must_use]
pub fn instant(date: Date, time: Time) -> Timestamp {
    let ambiguous = zone(date.year()).to_ambiguous_timestamp(date.to_datetime(time));
    ambiguous.compatible().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The instant at which a date begins in New York.
#[must_use]
pub fn midnight(date: Date) -> Timestamp {
    instant(date, Time::midnight())
}

/// When trading ends on a date: of the regular session, and of all hours. It ends early on the Friday after
/// Thanksgiving, and before Independence Day and Christmas unless those follow a weekend.
fn ends(date: Date) -> (Time, Time) {
    let weekday = date.weekday();
    let is_eve = matches!((date.month(), date.day()), (7, 3) | (12, 24))
        && !matches!(weekday, Weekday::Friday | Weekday::Saturday | Weekday::Sunday);
    let after_thanksgiving =
        date.month() == 11 && weekday == Weekday::Friday && (23..=29).contains(&date.day());
    if is_eve || after_thanksgiving {
        (CLOSE_EARLY, AFTER_CLOSE_EARLY)
    } else {
        (CLOSE, AFTER_CLOSE)
    }
}

/// When the exchanges' regular session begins on a date, and its seconds.
pub(super) fn regular_hours(date: Date) -> (Timestamp, i64) {
    let (open, close) = (instant(date, OPEN), instant(date, ends(date).0));
    (open, close.as_second() - open.as_second())
}

fn next_day(date: Date) -> Date {
    date.checked_add(1.day()).unwrap_or(Date::MAX)
}

impl Calendar {
    /// Whether the market trades on a New York date.
    #[must_use]
    pub fn trades_on(&self, date: Date) -> bool {
        match self {
            Self::Always => true,
            Self::Days(days) => days.contains(&date),
        }
    }

    /// What the market does at an instant.
    #[must_use]
    pub fn phase(&self, at: Timestamp) -> Phase {
        let Self::Days(days) = self else {
            return Phase::Regular;
        };
        let now = local(at);
        if !days.contains(&now.date()) {
            return Phase::Closed;
        }
        let (close, after_close) = ends(now.date());
        match now.time() {
            time if time < PRE_OPEN || time >= after_close => Phase::Closed,
            time if time < OPEN => Phase::Pre,
            time if time < close => Phase::Regular,
            _ => Phase::After,
        }
    }

    /// The next instant after `at` at which the phase or the session's date changes, or orders for the close trade;
    /// `None` when nothing more comes.
    #[must_use]
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let today = local(at).date();
        let Self::Days(days) = self else {
            let close = instant(today, CLOSE);
            return Some(if close > at {
                close
            } else {
                midnight(next_day(today))
            });
        };
        days.range(today..)
            .flat_map(|day| {
                let (close, after_close) = ends(*day);
                [PRE_OPEN, OPEN, close, after_close].map(|time| instant(*day, time))
            })
            .find(|change| *change > at)
    }

    /// Whether the regular session's closing trade has just been: at 16:00 in New York, around the clock too, and at
    /// 13:00 on a day that ends early.
    #[must_use]
    pub fn closes_at(&self, at: Timestamp) -> bool {
        let now = local(at);
        let close = match self {
            Self::Always => CLOSE,
            Self::Days(_) => ends(now.date()).0,
        };
        self.trades_on(now.date()) && now.time() == close
    }

    /// The session of a date: all hours in which orders may trade.
    #[must_use]
    pub fn extended(&self, date: Date) -> Option<Session> {
        self.session(date, PRE_OPEN, ends(date).1)
    }

    /// The regular session of a date.
    #[must_use]
    pub fn regular(&self, date: Date) -> Option<Session> {
        self.session(date, OPEN, ends(date).0)
    }

    fn session(&self, date: Date, open: Time, close: Time) -> Option<Session> {
        if !self.trades_on(date) {
            return None;
        }
        let (open, close) = match self {
            Self::Always => (midnight(date), midnight(next_day(date))),
            Self::Days(_) => (instant(date, open), instant(date, close)),
        };
        Some(Session { date, open, close })
    }
}

/// The start of the bar that holds an instant, for bars counted from New York's midnight.
#[must_use]
pub fn bar_start(at: Timestamp, seconds: i64) -> Timestamp {
    let day = midnight(local(at).date());
    let past = at.as_second() - day.as_second();
    Timestamp::from_second(day.as_second() + past - past.rem_euclid(seconds)).unwrap_or(day)
}

/// The Monday of the week of a date.
#[must_use]
pub fn week_start(date: Date) -> Date {
    let back = i64::from(date.weekday().since(Weekday::Monday));
    date.checked_sub(back.days()).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn new_york_in_summer_winter_and_before_2007() {
        for (instant, wall) in [
            ("2013-10-07T13:30:00Z", "2013-10-07T09:30:00"),
            ("2026-11-23T14:30:00Z", "2026-11-23T09:30:00"),
            ("1998-04-03T14:30:00Z", "1998-04-03T09:30:00"),
            ("1998-04-06T13:30:00Z", "1998-04-06T09:30:00"),
        ] {
            assert_eq!(local(at(instant)).to_string(), wall);
        }
    }

    #[test]
    fn phases_follow_the_days_of_the_data() {
        let calendar = Calendar::Days([Date::constant(2013, 10, 7)].into());
        for (text, phase) in [
            ("2013-10-07T07:59:59Z", Phase::Closed),
            ("2013-10-07T08:00:00Z", Phase::Pre),
            ("2013-10-07T13:30:00Z", Phase::Regular),
            ("2013-10-07T20:00:00Z", Phase::After),
            ("2013-10-08T00:00:00Z", Phase::Closed),
            ("2013-10-08T14:00:00Z", Phase::Closed),
        ] {
            assert_eq!(calendar.phase(at(text)), phase, "{text}");
        }
        assert_eq!(
            calendar.next_change(at("2013-10-07T13:30:00Z")),
            Some(at("2013-10-07T20:00:00Z"))
        );
        assert_eq!(calendar.next_change(at("2013-10-08T00:00:00Z")), None);
    }

    #[test]
    fn days_before_holidays_end_early() {
        for (date, hour) in [
            ("2013-11-29", 13),
            ("2013-11-22", 16),
            ("2013-12-24", 13),
            ("2013-07-03", 13),
            ("2015-07-03", 16),
            ("2026-11-27", 13),
            ("2013-10-07", 16),
        ] {
            let date: Date = date.parse().unwrap();
            let calendar = Calendar::Days([date].into());
            let close = calendar.regular(date).unwrap().close;
            assert_eq!(local(close).hour(), hour, "{date}");
            assert_eq!(calendar.phase(close), Phase::After);
            assert_eq!(local(calendar.next_change(close).unwrap()).hour(), hour + 4);
        }
    }

    #[test]
    fn bars_count_from_midnight() {
        assert_eq!(
            bar_start(at("2013-10-07T13:59:59Z"), 7200),
            at("2013-10-07T12:00:00Z")
        );
        assert_eq!(
            week_start(Date::constant(2013, 10, 10)),
            Date::constant(2013, 10, 7)
        );
    }
}
