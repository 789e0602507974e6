//! The gateway's daily restart. It is known beforehand, so nothing is sent into it.

use jiff::civil::Time;
use protocol::Timestamp;
use protocol::settings::Broker;

use crate::day::new_york;

/// Minutes of a day.
const DAY_MINUTES: i32 = 24 * 60;

/// Why nothing may be sent meanwhile.
pub const REASON: &str =
    "the gateway restarts about now, as it does daily: nothing is ordered until that is over";

/// True while the gateway of an account restarts, by the wall clock.
#[must_use]
pub fn is_on(broker: &Broker, live: bool, wall: Timestamp) -> bool {
    let Some(start) = broker.restart(live) else {
        return false;
    };
    let of_day = |time: Time| i32::from(time.hour()) * 60 + i32::from(time.minute());
    let since = of_day(wall.to_zoned(new_york().clone()).time()) - of_day(start);
    let minutes = i32::try_from(broker.restart_minutes).unwrap_or(DAY_MINUTES);
    since.rem_euclid(DAY_MINUTES) < minutes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_over_midnight_and_is_of_live_accounts_unless_told() {
        let mut broker = crate::testing::settings().broker;
        let on = |broker: &Broker, live: bool, wall: &str| is_on(broker, live, wall.parse().unwrap());
        // 23:45 in New York is 04:45 in winter and 03:45 in summer.
        for (wall, expected) in [
            ("2026-11-24T04:44:59Z", false),
            ("2026-11-24T04:45:00Z", true),
            ("2026-11-24T05:44:59Z", true),
            ("2026-11-24T05:45:00Z", false),
            ("2026-07-24T03:45:00Z", true),
            ("2026-07-24T03:44:00Z", false),
        ] {
            assert_eq!(on(&broker, true, wall), expected, "{wall}");
            assert!(!on(&broker, false, wall), "a paper account has none unless told");
        }
        broker.restart_at = "09:30".to_owned();
        broker.restart_minutes = 5;
        assert!(on(&broker, false, "2026-11-24T14:34:00Z"));
        assert!(!on(&broker, false, "2026-11-24T14:35:00Z"));
        broker.restart_at = "none".to_owned();
        assert!(!on(&broker, true, "2026-11-24T04:45:00Z"));
    }
}
