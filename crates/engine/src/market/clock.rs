//! The market clock: what time it is where the prices are made, and how fast that time runs.
//!
//! It is read off the broker: server time replies, starts of bars, times of trades. Between two readings it
//! runs on at the speed seen so far, so that a replay at sixty times speed decides as the day itself did.
//!
//! It must not be ahead of the broker's. An answer may have waited anywhere on its way, so all that is known of a
//! reading is that it was made between the question and the answer, and the clock runs at the least speed that
//! two readings allow.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Wall time over which the speed is measured.
const WINDOW_SECONDS: i64 = 2;
/// Least wall time between two readings that say something about speed.
const BASE_MS_MIN: i64 = 80;
/// A speed that may be as near to one is one: the rest is the drift of clocks.
const NEARLY_ONE: f64 = 0.02;
/// Market time by which a reading must be ahead of what the speed explains to be a leap: a replay that goes on with the
/// next day.
const LEAP_SECONDS_MIN: f64 = 1_800.0;
/// Wall seconds for which the clock runs on after a reading where it is not the wall's: the broker's may be held.
const RUN_ON_SECONDS: f64 = 0.5;
/// Seconds by which market and wall clock may be apart for the market to be a live one.
pub(crate) const LIVE_SECONDS_MAX: i64 = 3_600;
/// Seconds by which what a trade says may be ahead of both clocks in a live market: clocks differ, and a wrong time must
/// not stop the day.
const AHEAD_SECONDS_MAX: i64 = 2;
/// Wall seconds for which the clock may stand still while the broker's goes on, and by which the broker's answers may be
/// late. Beyond, what comes may be older than it says.
pub(super) const DOUBT_SECONDS: i64 = 3;
/// Most readings kept.
const READINGS_MAX: usize = 128;

/// One reading of the broker's clock, made at some moment between two of the wall's.
#[derive(Debug, Clone, Copy)]
struct Reading {
    asked: Timestamp,
    heard: Timestamp,
    shown: Timestamp,
}

/// The market clock as seen through one link to the broker. A new link starts a new clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Oldest first.
    readings: VecDeque<Reading>,
    /// The latest market time that anything received proves.
    seen: Option<Timestamp>,
    /// The latest time that was told, so that the clock never goes back.
    told: Option<Timestamp>,
    /// What was told when the broker's clock was read last, and the wall time since when that did not change though the
    /// broker's clock moved on behind it.
    stood: Option<(Timestamp, Timestamp)>,
}

impl Clock {
    /// Takes in the broker's own time, asked for at the wall time `asked` and received at `now`.
    pub fn sample(&mut self, asked: Timestamp, now: Timestamp, server: Timestamp) {
        let before = self.readings.back().copied();
        if before.is_some_and(|last| server < last.shown || now < last.heard) {
            // A clock that was set back: what was measured before is worth nothing.
            self.readings.clear();
        }
        self.follow_leap(now, server);
        self.readings.push_back(Reading {
            asked: asked.min(now),
            heard: now,
            shown: server,
        });
        let horizon = now - SignedDuration::from_secs(WINDOW_SECONDS);
        while self.readings.len() > READINGS_MAX
            || (self.readings.len() > 2 && self.readings[0].heard < horizon)
        {
            self.readings.pop_front();
        }
        self.watch(now, before.is_some_and(|last| last.shown != server));
        self.see(server);
    }

    /// Notes since when the clock stands still though the broker's moves.
    fn watch(&mut self, now: Timestamp, moves: bool) {
        let told = self.told.filter(|told| moves && Some(*told) > self.latest(now));
        self.stood = told.map(|told| match self.stood {
            Some((same, since)) if same == told => (told, since.min(now)),
            _ => (told, now),
        });
    }

    /// By how much the clock is ahead of the broker's, once it has stood still for too long because of that.
    #[must_use]
    pub fn ahead(&self, now: Timestamp) -> Option<SignedDuration> {
        let (told, since) = self.stood?;
        let long = now.duration_since(since) > SignedDuration::from_secs(DOUBT_SECONDS);
        long.then(|| told.duration_since(self.latest(now).unwrap_or(told)))
    }

    /// True when the broker's latest answer is to a question of too long ago: what it sent since may still be on its way.
    #[must_use]
    pub fn is_late(&self, now: Timestamp) -> bool {
        let limit = SignedDuration::from_secs(DOUBT_SECONDS);
        self.readings
            .back()
            .is_some_and(|last| now.duration_since(last.asked) > limit)
    }

    /// A leap says nothing of the speed: what was measured before it is moved along with it.
    fn follow_leap(&mut self, now: Timestamp, server: Timestamp) {
        let Some(ahead) = self
            .running(now, f64::INFINITY)
            .map(|expected| server.duration_since(expected))
        else {
            return;
        };
        // Further than the speed seen would come in the whole time over which it is measured.
        let explained = LEAP_SECONDS_MIN.max(WINDOW_SECONDS as f64 * self.rate());
        if self.measured() && ahead.as_secs_f64() > explained {
            for reading in &mut self.readings {
                reading.shown = reading.shown.checked_add(ahead).unwrap_or(server);
            }
        }
    }

    /// The market time that follows from the last reading and the speed, so many wall seconds after it at the most.
    fn running(&self, now: Timestamp, seconds_max: f64) -> Option<Timestamp> {
        let last = self.readings.back()?;
        let wall = now.duration_since(last.heard).as_secs_f64();
        let passed = SignedDuration::try_from_secs_f64(wall.clamp(0.0, seconds_max) * self.rate());
        Some(
            last.shown
                .checked_add(passed.unwrap_or_default())
                .unwrap_or(last.shown),
        )
    }

    /// The same as far as it is known. The wall's own speed goes on without readings, any other may change.
    fn known(&self, now: Timestamp) -> Option<Timestamp> {
        let seconds_max = if self.rate() == 1.0 {
            f64::INFINITY
        } else {
            RUN_ON_SECONDS
        };
        self.running(now, seconds_max)
    }

    /// The latest that it can be by the broker's clock, and in a live market by the wall's.
    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let wall = self.is_live().then_some(now);
        self.known(now)
            .map(|known| wall.map_or(known, |wall| known.max(wall)))
    }

    /// Takes in a market time that something received at the wall time `now` bears: the clock can't be before it. In a
    /// live market it can't be ahead of both clocks either, whatever a trade says.
    pub fn prove(&mut self, now: Timestamp, at: Timestamp) {
        let latest = self.latest(now).filter(|_| self.is_live());
        let limit = SignedDuration::from_secs(AHEAD_SECONDS_MAX);
        self.see(latest.map_or(at, |latest| at.min(latest + limit)));
    }

    /// By how much a time is later than both clocks of a live market. `None` in a replay, whose trades say first that it
    /// leapt over a night, and before the speed is known, when a fast market looks like a live one.
    #[must_use]
    pub fn lead(&self, now: Timestamp, at: Timestamp) -> Option<SignedDuration> {
        let is_live = self.measured() && self.is_live();
        let latest = self.latest(now).filter(|_| is_live)?;
        Some(at.duration_since(latest))
    }

    /// True where the broker's time is that of the wall clock and runs like it.
    fn is_live(&self) -> bool {
        let apart = |last: &Reading| last.shown.duration_since(last.heard).abs();
        let limit = SignedDuration::from_secs(LIVE_SECONDS_MAX);
        self.rate() == 1.0 && self.readings.back().is_some_and(|last| apart(last) <= limit)
    }

    fn see(&mut self, at: Timestamp) {
        self.seen = Some(self.seen.map_or(at, |seen| seen.max(at)));
    }

    /// The latest market time that was proved, whatever the wall clock says.
    #[must_use]
    pub fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// How fast the market clock runs against the wall clock, to three digits; one until it is known, and
    /// while it stands still.
    #[must_use]
    pub fn speed(&self) -> f64 {
        let rate = self.rate();
        if rate > 0.0 { rate } else { 1.0 }
    }

    /// True once the speed is known: before, the clock's lead over what is still on its way can't be told.
    #[must_use]
    pub fn measured(&self) -> bool {
        let base = self.readings.front().zip(self.readings.back());
        base.is_some_and(|(first, last)| {
            last.heard.duration_since(first.heard) >= SignedDuration::from_millis(BASE_MS_MIN)
        })
    }

    fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return 1.0;
        };
        if !self.measured() {
            return 1.0;
        }
        let passed = last.shown.duration_since(first.shown).as_secs_f64();
        let longest = last.heard.duration_since(first.asked).as_secs_f64();
        let shortest = last.asked.duration_since(first.heard).as_secs_f64();
        let least = passed / longest;
        // Without a shortest time there is no greatest speed.
        let may_be_one = shortest <= 0.0 || passed / shortest > 1.0 - NEARLY_ONE;
        if least < 1.0 + NEARLY_ONE && may_be_one {
            1.0
        } else {
            three_digits(least)
        }
    }

    /// The market time at the wall time `now`; the wall time itself while nothing is known.
    pub fn at(&mut self, now: Timestamp) -> Timestamp {
        let Some(seen) = self.seen else { return now };
        // Without a server time, the wall clock may be years off a replay: then what was received decides.
        let at = self.known(now).map_or(seen, |known| known.max(seen));
        let at = self.told.map_or(at, |told| told.max(at));
        self.told = Some(at);
        at
    }
}

fn three_digits(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: i64) -> Timestamp {
        Timestamp::from_millisecond(value).unwrap()
    }

    #[test]
    fn speed_is_measured_and_time_runs_on_between_samples() {
        let mut clock = Clock::default();
        assert_eq!(clock.speed(), 1.0);
        clock.sample(ms(1_000_000), ms(1_000_000), ms(50_000));
        clock.sample(ms(1_001_000), ms(1_001_000), ms(110_030));
        assert_eq!(clock.speed(), 60.0);
        assert_eq!(clock.at(ms(1_001_500)), ms(140_030));
        assert_eq!(clock.at(ms(1_001_400)), ms(140_030), "it never goes back");
    }

    #[test]
    fn an_ordinary_clock_has_speed_one() {
        let mut clock = Clock::default();
        for second in 0..20 {
            clock.sample(
                ms(second * 1000),
                ms(second * 1000),
                ms(7_000 + second * 1000 + second % 3),
            );
        }
        assert_eq!(clock.speed(), 1.0);
        assert!(clock.readings.len() <= 5);
    }

    #[test]
    fn a_night_that_a_replay_leaps_over_says_nothing_of_its_speed() {
        const NIGHT_MS: i64 = 17 * 3_600_000 + 1_800_000;
        for pause in [0, 3_000] {
            let mut clock = Clock::default();
            for sample in 0..20 {
                clock.sample(ms(sample * 200), ms(sample * 200), ms(sample * 200 * 60));
            }
            // The market stands still for a while, or not, and is at the next day's opening then.
            let close = 19 * 200;
            for wall in (close + 200..=close + pause).step_by(200) {
                clock.sample(ms(wall), ms(wall), ms(close * 60));
            }
            let (wall, opening) = (close + pause + 200, close * 60 + NIGHT_MS);
            clock.sample(ms(wall), ms(wall), ms(opening));
            for later in [100, 1_000, 60_000] {
                let at = clock.at(ms(wall + later));
                let fastest = ms(opening + later * 61);
                assert!(ms(opening) <= at && at <= fastest, "{at} is beyond {fastest}");
            }
        }
    }

    #[test]
    fn a_very_fast_replay_is_measured_though_each_sample_is_far_from_the_last() {
        let mut clock = Clock::default();
        for sample in 0..20 {
            clock.sample(ms(sample * 200), ms(sample * 200), ms(sample * 200 * 20_000));
        }
        assert_eq!(clock.speed(), 20_000.0);
    }

    #[test]
    fn a_live_clock_is_not_moved_far_ahead_by_what_a_trade_says() {
        const DAY_MS: i64 = 86_400_000;
        let mut clock = Clock::default();
        clock.sample(ms(DAY_MS), ms(DAY_MS), ms(DAY_MS + 700));
        clock.prove(ms(DAY_MS + 100), ms(9 * DAY_MS));
        let at = clock.at(ms(DAY_MS + 100));
        assert_eq!(at, ms(DAY_MS + 2_800));
        clock.sample(ms(DAY_MS + 70_000), ms(DAY_MS + 70_000), ms(DAY_MS + 70_700));
        assert_eq!(clock.at(ms(DAY_MS + 71_000)), ms(DAY_MS + 71_700), "it goes on");
        // A replay leaps over nights, and its trades say so first.
        let mut past = Clock::default();
        past.sample(ms(9 * DAY_MS), ms(9 * DAY_MS), ms(DAY_MS));
        past.prove(ms(9 * DAY_MS), ms(2 * DAY_MS));
        assert_eq!(past.at(ms(9 * DAY_MS)), ms(2 * DAY_MS));
    }

    #[test]
    fn what_was_received_proves_a_time() {
        let mut clock = Clock::default();
        clock.prove(ms(0), ms(5_000));
        clock.prove(ms(0), ms(4_000));
        assert_eq!(clock.seen(), Some(ms(5_000)));
        assert_eq!(clock.at(ms(9_999_999)), ms(5_000));
    }
}
