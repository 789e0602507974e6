//! The gateway's daily restart. It is known beforehand, so nothing is sent into it.

use jiff::SignedDuration;
use jiff::civil::Date;
use protocol::Timestamp;
use protocol::settings::Broker;

use crate::day::new_york;

/// Why nothing may be sent meanwhile.
pub const REASON: &str =
    "the gateway restarts about now, as it does daily: nothing is ordered until that is over";

/// Why nothing may be sent afterwards, for a while.
pub const NOT_COMPARED: &str =
    "the gateway restarted: nothing is ordered until the broker is compared with the ledger";

/// When the latest restart of an account's gateway that has begun by `wall` is over; `None` when it has none.
#[must_use]
pub fn over_at(broker: &Broker, live: bool, wall: Timestamp) -> Option<Timestamp> {
    let start = broker.restart(live)?;
    let begins = |date: Date| -> Option<Timestamp> {
        let begins = date.to_datetime(start).to_zoned(new_york().clone());
        begins.ok().map(|begins| begins.timestamp())
    };
    let today = wall.to_zoned(new_york().clone()).date();
    let begun = begins(today)
        .filter(|begun| *begun <= wall)
        .or_else(|| begins(today.yesterday().ok()?))?;
    let minutes = i64::from(broker.restart_minutes);
    begun.checked_add(SignedDuration::from_mins(minutes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_over_midnight_and_is_of_live_accounts_unless_told() {
        let mut broker = crate::testing::settings().broker;
        let on = |broker: &Broker, live: bool, wall: &str| {
            let wall: Timestamp = wall.parse().unwrap();
            over_at(broker, live, wall).is_some_and(|over| wall < over)
        };
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
        let over = over_at(&broker, true, "2026-11-25T04:44:59Z".parse().unwrap());
        assert_eq!(
            over,
            "2026-11-24T05:45:00Z".parse().ok(),
            "until the next one begins"
        );
        broker.restart_at = "09:30".to_owned();
        broker.restart_minutes = 5;
        assert!(on(&broker, false, "2026-11-24T14:34:00Z"));
        assert!(!on(&broker, false, "2026-11-24T14:35:00Z"));
        broker.restart_at = "none".to_owned();
        assert!(!on(&broker, true, "2026-11-24T04:45:00Z"));
    }
}
