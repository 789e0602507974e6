//! What is to happen later, and what waits for another message.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::line::Order;
use super::names::Outgoing;
use crate::outbox::Outbox;
use crate::request::Request;

/// Most things that wait at a time; a message that finds no room goes at once.
pub(super) const DELAYS_MAX: usize = 10_000;

/// What comes when its time is there.
#[derive(Debug)]
pub(crate) enum Due {
    /// A line of a scenario, or one with a time of its own.
    Order(Order),
    /// A message to a client.
    Frame(u64, Bytes),
    /// A message from a client.
    Request(u64, i32, Box<Request>),
    /// The start of a client.
    Start(u64, i32, Outbox),
    /// The gateway is back after its restart. At most one waits.
    Reopen,
    /// A half-open connection is given up. At most one waits for each client.
    GiveUp(u64),
    /// The broker trades an order of this client and id that it had as inactive.
    Activate(i32, i32),
}

/// Everything that waits.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    last: u64,
    timed: BTreeMap<(Duration, u64), Due>,
    behind: Vec<(u64, Outgoing, Bytes)>,
}

impl Delays {
    /// Puts something off to an instant. What finds no room comes back; the end of a half-open connection
    /// always finds some.
    pub(crate) fn put(&mut self, at: Duration, due: Due) -> Option<Due> {
        if self.timed.len() >= DELAYS_MAX && !matches!(due, Due::GiveUp(_)) {
            return Some(due);
        }
        self.insert(at, due);
        None
    }

    /// Opens the port at an instant, and not before. There is always room: a port that stays closed is the end of all.
    pub(crate) fn reopen(&mut self, at: Duration) {
        self.timed.retain(|_, due| !matches!(due, Due::Reopen));
        self.insert(at, Due::Reopen);
    }

    fn insert(&mut self, at: Duration, due: Due) {
        self.last += 1;
        self.timed.insert((at, self.last), due);
    }

    /// Puts a client's message behind the next one of a kind. What finds no room comes back.
    pub(crate) fn put_behind(&mut self, session: u64, next: Outgoing, frame: Bytes) -> Option<Bytes> {
        if self.behind.len() >= DELAYS_MAX {
            return Some(frame);
        }
        self.behind.push((session, next, frame));
        None
    }

    /// What waited for a message of this number to a client.
    pub(crate) fn after(&mut self, session: u64, number: i32) -> Vec<Bytes> {
        if self.behind.is_empty() {
            return Vec::new();
        }
        let freed = self
            .behind
            .extract_if(.., |(of, next, _)| *of == session && next.is(number));
        freed.map(|(_, _, frame)| frame).collect()
    }

    /// The next thing whose time is there.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Due> {
        let first = self.timed.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// When the next thing's time comes.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.timed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Forgets what waits for a connection that has ended.
    pub(crate) fn forget(&mut self, session: u64) {
        self.behind.retain(|(of, ..)| *of != session);
        self.timed.retain(|_, due| match due {
            Due::Frame(of, _) | Due::Request(of, ..) | Due::Start(of, ..) | Due::GiveUp(of) => *of != session,
            Due::Order(_) | Due::Reopen | Due::Activate(..) => true,
        });
    }

    /// Forgets lines that have not come yet, and gives back what waited.
    pub(crate) fn clear(&mut self) -> Vec<Due> {
        let behind = std::mem::take(&mut self.behind).into_iter();
        let timed = std::mem::take(&mut self.timed).into_values();
        timed
            .chain(behind.map(|(session, _, frame)| Due::Frame(session, frame)))
            .filter(|due| !matches!(due, Due::Order(_)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Fault;
    use super::super::line::{Order, parse};
    use super::*;

    #[test]
    fn a_port_opens_again_however_much_waits() {
        let mut delays = Delays::default();
        let second = Duration::from_secs;
        while delays.put(second(9), Due::Activate(1, 1)).is_none() {}
        delays.reopen(second(1));
        delays.reopen(second(2));
        assert!(delays.put(second(3), Due::GiveUp(7)).is_none());
        assert!(delays.due(second(1)).is_none());
        assert!(matches!(delays.due(second(3)), Some(Due::Reopen)));
        assert!(matches!(delays.due(second(3)), Some(Due::GiveUp(7))));
        assert!(delays.due(second(3)).is_none());
    }

    #[test]
    fn nothing_waits_for_who_has_left() {
        let mut delays = Delays::default();
        let line = parse(r#"{"fault":"delay","until":"order-status","when":{"out":"error"}}"#).unwrap();
        let Order::When(
            _,
            Fault::Delay {
                until: Some(next), ..
            },
        ) = line.order
        else {
            panic!("{line:?}")
        };
        for session in [1, 2] {
            delays.put_behind(session, next, Bytes::new());
            delays.put(Duration::ZERO, Due::Frame(session, Bytes::new()));
        }
        delays.forget(1);
        assert_eq!((delays.behind.len(), delays.timed.len()), (1, 1));
        assert_eq!(delays.after(2, 3).len(), 1);
    }
}
