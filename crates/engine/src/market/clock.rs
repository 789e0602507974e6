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
        self.samples.push_back((now, server));
        let horizon = now - SignedDuration::from_secs(WINDOW_SECONDS);
        while self.samples.len() > SAMPLES_MAX || (self.samples.len() > 2 && self.samples[0].0 < horizon) {
            self.samples.pop_front();
        }
        self.prove(server);
    }

    /// Takes in a market time that something received bears: the clock can't be before it.
    pub fn prove(&mut self, at: Timestamp) {
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
        if self.seen.is_none() {
            return now;
        }
        let running = self.samples.back().map_or(now, |(wall, server)| {
            let passed = now.duration_since(*wall).as_secs_f64().max(0.0) * self.rate();
            let passed = SignedDuration::try_from_secs_f64(passed).unwrap_or_default();
            server.checked_add(passed).unwrap_or(*server)
        });
        // Without a server time, the wall clock may be years off a replay: then what was received decides.
        let known = if self.samples.is_empty() {
            self.seen.unwrap_or(running)
        } else {
            running
        };
        let at = self.seen.map_or(known, |seen| seen.max(known));
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
    fn what_was_received_proves_a_time() {
        let mut clock = Clock::default();
        clock.prove(ms(5_000));
        clock.prove(ms(4_000));
        assert_eq!(clock.seen(), Some(ms(5_000)));
        assert_eq!(clock.at(ms(9_999_999)), ms(5_000));
    }
}
