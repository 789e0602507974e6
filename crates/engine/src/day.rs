//! The trading day: the date in New York, by which trades are counted and profit and loss is told.

use std::sync::OnceLock;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use protocol::Timestamp;

/// The time zone of the US stock markets.
///
/// # Panics
/// Never: the time zone database is part of the program.
pub fn new_york() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| TimeZone::get("America/New_York").expect("the time zone database is built in"))
}

/// The date in New York at an instant.
#[must_use]
pub fn trading_day(at: Timestamp) -> Date {
    at.to_zoned(new_york().clone()).date()
}
