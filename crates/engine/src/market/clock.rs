//! The market clock: what time it is where the prices are made, and how fast that time runs.
//!
//! It is read off the broker: server time replies, starts of bars, times of trades. Between two readings it
//! runs on at the speed seen so far, so that a replay at sixty times speed decides as the day itself did.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Wall time over which the speed is measured.
const WINDOW_SECONDS: i64 = 2;
/// Least wall time between two samples that say something about speed.
const BASE_MS_MIN: i64 = 80;
/// A speed so near to one is one: the rest is the noise of the network.
const NEARLY_ONE: f64 = 0.02;
/// Market time by which a sample must be ahead of what the speed explains to be a leap: a replay that goes on with the
/// next day.
const LEAP_SECONDS_MIN: f64 = 1_800.0;
/// Seconds by which market and wall clock may be apart for the market to be a live one.
pub(crate) const LIVE_SECONDS_MAX: i64 = 3_600;
/// Seconds by which what is told in a live market may be ahead of the clock: clocks differ, and a wrong time must not stop
/// the day.
pub(crate) const AHEAD_SECONDS_MAX: i64 = 60;
/// Most samples kept.
const SAMPLES_MAX: usize = 128;

/// The market clock as seen through one link to the broker. A new link starts a new clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Wall time and server time, oldest first.
    samples: VecDeque<(Timestamp, Timestamp)>,
    /// The latest market time that anything received proves.
    seen: Option<Timestamp>,
    /// The latest time that was told, so that the clock never goes back.
    told: Option<Timestamp>,
}

impl Clock {
    /// Takes in the broker's own time, received at the wall time `now`.
    pub fn sample(&mut self, now: Timestamp, server: Timestamp) {
        if self.samples.back().is_some_and(|(_, last)| server < *last) {
            // A clock that was set back: what was measured before is worth nothing.
            self.samples.clear();
        }
        self.follow_leap(now, server);
        self.samples.push_back((now, server));
        let horizon = now - SignedDuration::from_secs(WINDOW_SECONDS);
        while self.samples.len() > SAMPLES_MAX || (self.samples.len() > 2 && self.samples[0].0 < horizon) {
            self.samples.pop_front();
        }
        self.see(server);
    }

    /// A leap says nothing of the speed: what was measured before it is moved along with it.
    fn follow_leap(&mut self, now: Timestamp, server: Timestamp) {
        let Some(ahead) = self.running(now).map(|expected| server.duration_since(expected)) else {
            return;
        };
        // Further than the speed seen would come in the whole time over which it is measured.
        let explained = LEAP_SECONDS_MIN.max(WINDOW_SECONDS as f64 * self.rate());
        if self.measured() && ahead.as_secs_f64() > explained {
            for (_, sampled) in &mut self.samples {
                *sampled = sampled.checked_add(ahead).unwrap_or(server);
            }
        }
    }

    /// The market time that follows from the last sample and the speed.
    fn running(&self, now: Timestamp) -> Option<Timestamp> {
        let (wall, server) = self.samples.back()?;
        let passed = now.duration_since(*wall).as_secs_f64().max(0.0) * self.rate();
        let passed = SignedDuration::try_from_secs_f64(passed).unwrap_or_default();
        Some(server.checked_add(passed).unwrap_or(*server))
    }

    /// Takes in a market time that something received at the wall time `now` bears: the clock can't be before it. In a
    /// live market it can't be far ahead of the broker's own time either, whatever a trade says.
    pub fn prove(&mut self, now: Timestamp, at: Timestamp) {
        let latest = self.running(now).filter(|_| self.is_live()).map(|running| {
            let latest = running.max(now) + SignedDuration::from_secs(AHEAD_SECONDS_MAX);
            at.min(latest)
        });
        self.see(latest.unwrap_or(at));
    }

    /// True where the broker's time is that of the wall clock and runs like it.
    fn is_live(&self) -> bool {
        let apart = |(wall, server): &(Timestamp, Timestamp)| server.duration_since(*wall).abs();
        let limit = SignedDuration::from_secs(LIVE_SECONDS_MAX);
        self.rate() == 1.0 && self.samples.back().is_some_and(|last| apart(last) <= limit)
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
        let base = self.samples.front().zip(self.samples.back());
        base.is_some_and(|(first, last)| {
            last.0.duration_since(first.0) >= SignedDuration::from_millis(BASE_MS_MIN)
        })
    }

    fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return 1.0;
        };
        if !self.measured() {
            return 1.0;
        }
        let wall = last.0.duration_since(first.0);
        let speed = last.1.duration_since(first.1).as_secs_f64() / wall.as_secs_f64();
        if (speed - 1.0).abs() < NEARLY_ONE || !speed.is_finite() {
            1.0
        } else {
            three_digits(speed)
        }
    }

    /// The market time at the wall time `now`; the wall time itself while nothing is known.
    pub fn at(&mut self, now: Timestamp) -> Timestamp {
        let Some(seen) = self.seen else { return now };
        // Without a server time, the wall clock may be years off a replay: then what was received decides.
        let at = self.running(now).map_or(seen, |running| running.max(seen));
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
        clock.sample(ms(1_000_000), ms(50_000));
        clock.sample(ms(1_001_000), ms(110_030));
        assert_eq!(clock.speed(), 60.0);
        assert_eq!(clock.at(ms(1_001_500)), ms(140_030));
        assert_eq!(clock.at(ms(1_001_400)), ms(140_030), "it never goes back");
    }

    #[test]
    fn an_ordinary_clock_has_speed_one() {
        let mut clock = Clock::default();
        for second in 0..20 {
            clock.sample(ms(second * 1000), ms(7_000 + second * 1000 + second % 3));
        }
        assert_eq!(clock.speed(), 1.0);
        assert!(clock.samples.len() <= 5);
    }

    #[test]
    fn a_night_that_a_replay_leaps_over_says_nothing_of_its_speed() {
        const NIGHT_MS: i64 = 17 * 3_600_000 + 1_800_000;
        for pause in [0, 3_000] {
            let mut clock = Clock::default();
            for sample in 0..20 {
                clock.sample(ms(sample * 200), ms(sample * 200 * 60));
            }
            // The market stands still for a while, or not, and is at the next day's opening then.
            let close = 19 * 200;
            for wall in (close + 200..=close + pause).step_by(200) {
                clock.sample(ms(wall), ms(close * 60));
            }
            let (wall, opening) = (close + pause + 200, close * 60 + NIGHT_MS);
            clock.sample(ms(wall), ms(opening));
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
            clock.sample(ms(sample * 200), ms(sample * 200 * 20_000));
        }
        assert_eq!(clock.speed(), 20_000.0);
    }

    #[test]
    fn a_live_clock_is_not_moved_far_ahead_by_what_a_trade_says() {
        const DAY_MS: i64 = 86_400_000;
        let mut clock = Clock::default();
        clock.sample(ms(DAY_MS), ms(DAY_MS + 700));
        clock.prove(ms(DAY_MS + 100), ms(9 * DAY_MS));
        let at = clock.at(ms(DAY_MS + 100));
        assert_eq!(at, ms(DAY_MS + 60_800));
        clock.sample(ms(DAY_MS + 70_000), ms(DAY_MS + 70_700));
        assert_eq!(clock.at(ms(DAY_MS + 71_000)), ms(DAY_MS + 71_700), "it goes on");
        // A replay leaps over nights, and its trades say so first.
        let mut past = Clock::default();
        past.sample(ms(9 * DAY_MS), ms(DAY_MS));
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
