//! Limits on how fast a client may ask.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Violations after which a client is cut off.
const VIOLATIONS_MAX: u32 = 3;

/// What to do with a request, as far as its pace goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Fine,
    /// One too many: this violation counts so much.
    TooFast(u32),
    /// The violation for which the client is cut off.
    Last(u32),
}

/// A limit on requests within a stretch of time, for each connection.
#[derive(Debug)]
pub(crate) struct Pacing {
    pub(crate) most: u32,
    within: Duration,
    seen: BTreeMap<u64, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    times: VecDeque<Duration>,
    violations: u32,
}

impl Pacing {
    pub(crate) fn new(most: u32, within: Duration) -> Self {
        Self {
            most,
            within,
            seen: BTreeMap::new(),
        }
    }

    /// Counts a request of a connection.
    pub(crate) fn count(&mut self, now: Duration, session: u64) -> Pace {
        let seen = self.seen.entry(session).or_default();
        while seen.times.front().is_some_and(|at| *at + self.within <= now) {
            seen.times.pop_front();
        }
        if seen.times.len() < self.most as usize {
            seen.times.push_back(now);
            return Pace::Fine;
        }
        seen.violations += 1;
        if seen.violations >= VIOLATIONS_MAX {
            Pace::Last(seen.violations)
        } else {
            Pace::TooFast(seen.violations)
        }
    }

    /// A connection ended.
    pub(crate) fn forget(&mut self, session: u64) {
        self.seen.remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_violation_is_the_last_and_time_forgives() {
        let mut pacing = Pacing::new(2, Duration::from_secs(1));
        let at = Duration::from_millis;
        let told: Vec<Pace> = [0, 10, 20, 1000, 1005, 1010, 1020]
            .map(|ms| pacing.count(at(ms), 1))
            .to_vec();
        let expected = [
            Pace::Fine,
            Pace::Fine,
            Pace::TooFast(1),
            Pace::Fine,
            Pace::TooFast(2),
            Pace::Fine,
            Pace::Last(3),
        ];
        assert_eq!(told, expected);
        assert_eq!(
            pacing.count(at(1021), 2),
            Pace::Fine,
            "each connection counts for itself"
        );
    }
}
