//! The market's clock: wall time, or a time of its own at a chosen speed, which can be held.

use std::time::Duration;

use jiff::SignedDuration;
use protocol::Timestamp;
use tokio::time::Instant;

/// How fast the market's own time runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many seconds of the market in one second, above zero.
    Times(f64),
    /// From event to event without a wait, as fast as the bars can be told at [`MAX_BARS_A_SECOND`].
    Max,
}

/// Five-second bars that are told each second at most when the market runs as fast as it can. Clients keep a
/// limited number of bars that they have not handled yet, and the socket does not show how many, so this
/// pace is what keeps a busy one from losing any.
pub const MAX_BARS_A_SECOND: u32 = 4_000;

/// How far ahead of the market the noted time is: what passes in a second, at full speed so many seconds.
const AHEAD: Duration = Duration::from_secs(1);
const AHEAD_SECONDS_AT_FULL_SPEED: f64 = 60.0;

/// Most time behind its pace that a market at full speed makes up for.
const CATCH_UP: Duration = Duration::from_millis(50);

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 && times <= 1e6 => Ok(Self::Times(times)),
            _ => Err(format!(
                "`{text}` is no speed: use a number above 0 and up to 1000000, or `max`"
            )),
        }
    }
}

/// A wall clock that leapt further than this (a laptop that slept) leaves out what it missed.
const SLEPT: SignedDuration = SignedDuration::from_secs(60);
/// A wall clock that is further behind its market than this was set back.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Tells the market's time and when on the wall something of the market is due.
#[derive(Debug)]
pub(crate) enum Clock {
    /// The market runs on wall time.
    Wall(Wall),
    /// The market runs on a time of its own: of the past, or faster than the wall's.
    Past(Past),
}

/// Wall time, for a market that never goes back: where the wall's clock is set back, it goes on ahead of that.
#[derive(Debug, Default)]
pub(crate) struct Wall {
    ahead: SignedDuration,
}

/// What a wall's clock did by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leap {
    /// It was set back; the market goes on all the same.
    Back,
    /// It is far ahead of the market now.
    Ahead,
}

impl Wall {
    fn at(&self, wall: Timestamp) -> Timestamp {
        wall.checked_add(self.ahead).unwrap_or(wall)
    }

    /// Looks where the wall's clock is while the market is somewhere. Once it is ahead of the market again, it is the
    /// market's time again.
    pub(crate) fn follow(&mut self, wall: Timestamp, market: Timestamp) -> Option<Leap> {
        let ahead = market.duration_since(wall);
        if ahead - self.ahead > SET_BACK {
            self.ahead = ahead;
            return Some(Leap::Back);
        }
        if self.ahead - ahead > SLEPT {
            self.ahead = ahead.max(SignedDuration::ZERO);
        }
        (self.ahead - ahead > SLEPT).then_some(Leap::Ahead)
    }
}

/// A clock of the market's own: a point at which both times were the same, and whether it runs.
#[derive(Debug)]
pub(crate) struct Past {
    speed: Speed,
    market: Timestamp,
    wall: Instant,
    running: bool,
}

impl Past {
    /// A clock that stands at `market` until it is set going.
    pub(crate) fn new(speed: Speed, market: Timestamp) -> Self {
        Self {
            speed,
            market,
            wall: Instant::now(),
            running: false,
        }
    }

    fn now(&self) -> Timestamp {
        let Speed::Times(times) = self.speed else {
            return self.market;
        };
        if !self.running {
            return self.market;
        }
        let nanos = (self.wall.elapsed().as_secs_f64() * times * 1e9) as i128;
        Timestamp::from_nanosecond(self.market.as_nanosecond() + nanos).unwrap_or(self.market)
    }

    /// Sets the clock going or holds it.
    pub(crate) fn run(&mut self, running: bool) {
        if running != self.running {
            self.market = self.now();
            self.wall = Instant::now();
            self.running = running;
        }
    }

    /// Moves the clock on to a time, if it is not there yet.
    pub(crate) fn leap(&mut self, to: Timestamp) {
        if self.now() < to {
            self.market = to;
            self.wall = Instant::now();
        }
    }

    /// Waits at a time: the clock must not run further ahead of what it drives.
    pub(crate) fn wait_at(&mut self, at: Timestamp) {
        if self.now() > at {
            self.market = at;
            self.wall = Instant::now();
        }
    }

    /// At full speed: moves on to the next event.
    pub(crate) fn leap_at_full_speed(&mut self, to: Timestamp) {
        if self.speed == Speed::Max {
            self.market = self.market.max(to);
        }
    }

    /// At full speed: tells that so many bars were just told, which puts the next event off.
    pub(crate) fn told(&mut self, bars: u32) {
        if self.speed == Speed::Max {
            let pause = Duration::from_secs(1) * bars / MAX_BARS_A_SECOND;
            // A short delay, such as a timer's grain, is made up for; a long one is not.
            let earliest = Instant::now().checked_sub(CATCH_UP).unwrap_or(self.wall);
            self.wall = self.wall.max(earliest) + pause;
        }
    }

    /// Whether the market runs from event to event.
    pub(crate) fn is_at_full_speed(&self) -> bool {
        self.speed == Speed::Max
    }

    /// The time to note at `now`, for a gateway that begins again: later than all that is told before the next note
    /// while time passes.
    pub(crate) fn mark(&self, now: Timestamp) -> Timestamp {
        let seconds = match self.speed {
            _ if !self.running => return now,
            Speed::Times(times) => times * AHEAD.as_secs_f64(),
            Speed::Max => AHEAD_SECONDS_AT_FULL_SPEED,
        };
        let nanos = (seconds * 1e9).max(1.0) as i128;
        Timestamp::from_nanosecond(now.as_nanosecond() + nanos).unwrap_or(Timestamp::MAX)
    }

    /// Whether time passes.
    pub(crate) fn is_running(&self) -> bool {
        self.running
    }
}

impl Clock {
    /// The market's time now.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Wall(wall) => wall.at(Timestamp::now()),
            Self::Past(past) => past.now(),
        }
    }

    /// When a time of the market comes on the wall; `None` while the clock is held.
    pub(crate) fn wall(&self, market: Timestamp) -> Option<Instant> {
        let ahead = |from: Timestamp, times: f64| {
            let nanos = (market.as_nanosecond() - from.as_nanosecond()).max(0) as f64 / times;
            // A year is as good as never, and can be added to any instant.
            Duration::from_nanos(nanos.min(3e16) as u64)
        };
        match self {
            Self::Wall(_) => Some(Instant::now() + ahead(self.now(), 1.0)),
            Self::Past(past) if !past.running => None,
            Self::Past(past) => match past.speed {
                Speed::Times(times) => Some(past.wall + ahead(past.market, times)),
                Speed::Max => Some(past.wall),
            },
        }
    }

    /// The market's own clock, if it has one.
    pub(crate) fn past(&mut self) -> Option<&mut Past> {
        match self {
            Self::Wall(_) => None,
            Self::Past(past) => Some(past),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_market_on_the_wall_never_goes_back_and_joins_it_again() {
        let begin: Timestamp = "2026-11-23T15:00:00Z".parse().unwrap();
        let at = |seconds| begin + SignedDuration::from_secs(seconds);
        let mut clock = Wall::default();
        assert_eq!(clock.follow(at(10), at(9)), None);
        assert_eq!(clock.at(at(10)), at(10));
        // An hour back: it is said once, and the market goes on.
        assert_eq!(clock.follow(at(-3_590), at(10)), Some(Leap::Back));
        for second in 10..20 {
            assert_eq!(clock.follow(at(second - 3_600), at(second)), None);
            assert_eq!(clock.at(at(second - 3_600)), at(second));
        }
        // Set right again, nothing was missed; after a sleep, something was.
        assert_eq!(clock.follow(at(25), at(20)), None);
        assert_eq!(clock.at(at(25)), at(25));
        assert_eq!(clock.follow(at(90), at(25)), Some(Leap::Ahead));
        assert_eq!(clock.at(at(90)), at(90));
    }
}
