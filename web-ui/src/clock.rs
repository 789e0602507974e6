//! Two clocks: the wall's, for ages of links, and the market's, which follows the newest instant heard.

use engine::day::trading_day;
use jiff::Zoned;
use protocol::Timestamp;

/// A replay that falls silent is over: its clock runs on by this much wall time at the most, milliseconds.
const SILENCE_MS_MAX: f64 = 3_000.0;

/// Milliseconds of the wall clock since 1970.
#[must_use]
pub fn wall_ms() -> f64 {
    js_sys::Date::now()
}

/// The wall clock as an instant.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::from_millisecond(wall_ms() as i64).unwrap_or_default()
}

/// The market's clock as the page follows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarketClock {
    at: Timestamp,
    came_ms: f64,
    speed: f64,
}

impl MarketClock {
    /// Begins at an instant of the market that was heard at `wall_ms`.
    #[must_use]
    pub fn new(at: Timestamp, wall_ms: f64, speed: f64) -> Self {
        Self {
            at,
            came_ms: wall_ms,
            speed,
        }
    }

    /// Hears of an instant of the market: only a newer one moves the clock.
    pub fn hear(&mut self, at: Timestamp, wall_ms: f64) {
        if at > self.at {
            (self.at, self.came_ms) = (at, wall_ms);
        }
    }

    /// Follows a change of speed from `wall_ms` on.
    pub fn run_at(&mut self, speed: f64, wall_ms: f64) {
        *self = Self::new(self.now(wall_ms), wall_ms, speed);
    }

    /// What the clock shows at `wall_ms`.
    #[must_use]
    pub fn now(&self, wall_ms: f64) -> Timestamp {
        let silence = (wall_ms - self.came_ms).max(0.0);
        let silence = if self.speed == 1.0 {
            silence
        } else {
            silence.min(SILENCE_MS_MAX)
        };
        let ahead =
            jiff::SignedDuration::try_from_secs_f64(silence / 1_000.0 * self.speed).unwrap_or_default();
        self.at.checked_add(ahead).unwrap_or(self.at)
    }

    /// Wall seconds since something happened at an instant of the market.
    #[must_use]
    pub fn wall_age(&self, at: Timestamp, wall_ms: f64) -> f64 {
        let age = crate::format::seconds_between(at, self.now(wall_ms));
        if self.speed > 0.0 { age / self.speed } else { age }
    }

    /// How fast it runs against the wall's clock.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed
    }
}

/// An instant in New York.
#[must_use]
pub fn new_york(at: Timestamp) -> Zoned {
    at.to_zoned(engine::day::new_york().clone())
}

/// `14:07:32`.
#[must_use]
pub fn hms(at: Timestamp) -> String {
    new_york(at).strftime("%H:%M:%S").to_string()
}

/// `14:07`.
#[must_use]
pub fn hm(at: Timestamp) -> String {
    new_york(at).strftime("%H:%M").to_string()
}

/// `19 Nov 2026`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    new_york(at).strftime("%-d %b %Y").to_string()
}

/// When the trading day of an instant began.
#[must_use]
pub fn day_start(at: Timestamp) -> Timestamp {
    let start = trading_day(at).to_zoned(engine::day::new_york().clone());
    start.map_or(Timestamp::MIN, |start| start.timestamp())
}

/// Whether two instants are on the same day in New York.
#[must_use]
pub fn same_day(one: Timestamp, other: Timestamp) -> bool {
    trading_day(one) == trading_day(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn new_york_keeps_summer_time() {
        assert_eq!(hms(at("2026-11-19T19:07:32Z")), "14:07:32");
        assert_eq!(hm(at("2013-10-07T13:30:00Z")), "09:30");
        assert_eq!(day(at("2026-11-20T04:59:59Z")), "19 Nov 2026");
        assert_eq!(day_start(at("2026-11-20T04:59:59Z")), at("2026-11-19T05:00:00Z"));
        assert!(same_day(at("2026-11-19T19:00:00Z"), at("2026-11-20T04:00:00Z")));
    }

    #[test]
    fn a_fast_market_ages_by_the_wall() {
        let mut clock = MarketClock::new(at("2013-10-07T13:30:00Z"), 0.0, 60.0);
        assert_eq!(clock.now(1_000.0), at("2013-10-07T13:31:00Z"));
        assert_eq!(clock.wall_age(at("2013-10-07T13:30:00Z"), 1_000.0), 1.0);
        clock.hear(at("2013-10-07T13:29:00Z"), 1_000.0);
        assert_eq!(
            clock.now(1_000.0),
            at("2013-10-07T13:31:00Z"),
            "an older instant moves nothing"
        );
        assert_eq!(
            clock.now(60_000.0),
            at("2013-10-07T13:33:00Z"),
            "silence does not run on for ever"
        );
    }
}
