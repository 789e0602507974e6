//! Clients that read more slowly than they are told: answered as they read, and cut off at named limits.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Hub;
use crate::outbox::QUEUES_BYTES_MAX;
use crate::peer::Peer;

impl Hub {
    /// Whether there is something to do as soon as a client has read some.
    pub(super) fn waits_for_readers(&self) -> bool {
        self.held_since.is_some() || self.peers.values().any(Peer::waits_for_itself)
    }

    /// Goes on with the requests of clients that have read enough of what was answered before.
    pub(super) fn answer_readers(&mut self) -> Result<()> {
        let asks = self.peers.iter().filter(|(_, peer)| !peer.requests.is_empty());
        for session in asks.map(|(session, _)| *session).collect::<Vec<u64>>() {
            while let Some(asked) = self.peers.get_mut(&session).and_then(Peer::next_request) {
                self.ask(session, asked)?;
            }
        }
        Ok(())
    }

    /// Cuts off clients for whom too much waits.
    pub(super) fn drop_late(&mut self) {
        mark_longest(&mut self.peers, QUEUES_BYTES_MAX);
        self.peers.retain(|session, peer| {
            if let Some(why) = peer.late {
                let waits = peer.backlog();
                tracing::warn!(
                    session,
                    client = peer.client,
                    frames = waits.frames,
                    bytes = waits.bytes,
                    why,
                    "a client reads too slowly, connection cut"
                );
                peer.cut();
            }
            peer.late.is_none()
        });
    }
}

/// Marks the clients for whom most waits, answers and requests, until no more than so many bytes wait for the others
/// together.
fn mark_longest(peers: &mut BTreeMap<u64, Peer>, most: usize) {
    let mut left: Vec<&mut Peer> = peers.values_mut().filter(|peer| peer.late.is_none()).collect();
    let mut total: usize = left.iter().map(|peer| peer.bytes_kept()).sum();
    if total > most {
        left.sort_by_key(|peer| peer.bytes_kept());
    }
    while total > most
        && let Some(longest) = left.pop()
    {
        total -= longest.bytes_kept();
        longest.late = Some("too many bytes wait for all clients, and most of them for it");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::outbox::outbox;
    use crate::request::{Asked, Request};

    #[test]
    fn requests_that_wait_for_a_reader_count_too() {
        let (outbox, _end) = outbox(CancellationToken::new());
        let mut peer = Peer::new(0, outbox);
        let places = Arc::new(Semaphore::new(2));
        for _ in 0..2 {
            peer.requests.push_back(Asked {
                number: 8,
                request: Box::new(Request::Ids),
                bytes: 500,
                place: places.clone().try_acquire_owned().unwrap(),
            });
        }
        peer.send_made(&[0; 24]);
        let mut peers = BTreeMap::from([(1, peer)]);
        mark_longest(&mut peers, 1024);
        assert!(peers[&1].late.is_none());
        mark_longest(&mut peers, 1023);
        assert!(peers[&1].late.is_some());
    }

    #[test]
    fn where_too_much_waits_for_all_the_longest_goes_first() {
        let mut peers = BTreeMap::new();
        let mut ends = Vec::new();
        for (session, kilobytes) in [(1, 30), (2, 50), (3, 10), (4, 40)] {
            let (outbox, outgoing) = outbox(CancellationToken::new());
            ends.push(outgoing);
            let mut peer = Peer::new(0, outbox);
            peer.send_made(&vec![0; kilobytes << 10]);
            // Some of it is handed over, some is not.
            if session % 2 == 0 {
                peer.flush();
            }
            peers.insert(session, peer);
        }
        let mut marked = |most: usize| {
            mark_longest(&mut peers, most << 10);
            let late = peers.iter().filter(|(_, peer)| peer.late.is_some());
            late.map(|(session, _)| *session).collect::<Vec<u64>>()
        };
        assert!(marked(130).is_empty());
        assert_eq!(marked(129), [2]);
        assert_eq!(marked(80), [2], "what waits for who is cut off counts no more");
        assert_eq!(marked(39), [1, 2, 4]);
    }
}
