//! Delayed quotes: what the market showed some time ago, told once a second. How they begin is looked up.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Symbol;

use super::Hub;
use super::lookup::{Lookup, What};
use super::quotes::{Burst, DELAYED};
use crate::message::market::TickSnapshotEnd;

impl Hub {
    /// A delayed quote begins: at once where others follow the stock, or else when it has been looked up.
    pub(super) fn begin_late(&mut self, session: u64, id: i32, symbol: Symbol, snapshot: bool) {
        if self.knows_late(symbol) {
            return self.tell_late_begin(session, id, symbol, snapshot);
        }
        let at = self.late.at(self.venue.now());
        let what = What::Late { symbol, at, snapshot };
        self.look_up(session, Lookup { id, what });
    }

    /// Tells all of a book that is known.
    pub(super) fn tell_late_begin(&mut self, session: u64, id: i32, symbol: Symbol, snapshot: bool) {
        let mut burst = Burst::default();
        if let Some(book) = self.late.book(symbol) {
            // What the others know is as old as what this one knows: the next round has what is newer.
            self.late_told.remove(&symbol);
            burst.all_of(book, &DELAYED);
        }
        let peer = self.peer(session);
        burst.tell(peer, id);
        if snapshot {
            peer.send(57, &TickSnapshotEnd { req_id: Some(id) });
        }
    }

    /// Whether a stock's late book is known, up to now.
    fn knows_late(&mut self, symbol: Symbol) -> bool {
        let (market, now) = (self.venue.market(), self.venue.now());
        self.late.catch_up(market, symbol, now)
    }

    /// Delayed quotes with news, to those who follow them.
    pub(super) fn tell_late(&mut self) {
        let mut followed = BTreeMap::new();
        for (session, peer) in &self.peers {
            for (id, symbol, _) in peer.quotes.all().filter(|(_, _, line)| line.delayed) {
                followed.entry(symbol).or_insert((*session, id));
            }
        }
        self.late.keep(|symbol| followed.contains_key(&symbol));
        self.late_told.retain(|symbol, _| followed.contains_key(symbol));
        let sought = self.sought();
        for (symbol, (session, id)) in followed {
            if !self.knows_late(symbol) {
                // One who follows it asks for all, and is refused nothing: the next round tries again.
                if !sought.contains(&symbol) && self.peer(session).has_room_for_lookups() {
                    self.begin_late(session, id, symbol, false);
                }
                continue;
            }
            let Some(book) = self.late.book(symbol) else {
                continue;
            };
            let mut burst = Burst::default();
            burst.news_of(book, self.late_told.entry(symbol).or_default(), &DELAYED);
            for peer in self.peers.values_mut() {
                let quotes = std::mem::take(&mut peer.quotes);
                for (id, _) in quotes.of(symbol).filter(|(_, line)| line.delayed) {
                    burst.tell(peer, id);
                }
                peer.quotes = quotes;
            }
        }
    }

    /// Stocks whose late book somebody who follows them has asked for.
    fn sought(&self) -> BTreeSet<Symbol> {
        let late = |lookup: &Lookup| match lookup.what {
            What::Late {
                symbol,
                snapshot: false,
                ..
            } => Some(symbol),
            _ => None,
        };
        let waiting = self.peers.values().flat_map(|peer| &peer.lookups);
        waiting.chain(self.clerk.in_hand()).filter_map(late).collect()
    }
}
