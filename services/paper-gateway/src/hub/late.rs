//! Delayed quotes: what the market showed some time ago, told once a second.

use std::collections::BTreeSet;

use engine::venue::book::Book;
use protocol::Symbol;

use super::Hub;
use super::quotes::{Burst, DELAYED};

impl Hub {
    /// What a stock showed some time ago.
    pub(super) fn late_book(&mut self, symbol: Symbol) -> Option<Book> {
        let (market, now) = (self.venue.market(), self.venue.now());
        self.late.book(market, symbol, now).cloned()
    }

    /// Delayed quotes with news, to those who follow them.
    pub(super) fn tell_late(&mut self) {
        let followed = self.peers.values().flat_map(|peer| peer.quotes.all());
        let delayed = followed.filter(|(_, _, line)| line.delayed);
        let symbols: BTreeSet<Symbol> = delayed.map(|(_, symbol, _)| symbol).collect();
        self.late.keep(|symbol| symbols.contains(&symbol));
        self.late_told.retain(|symbol, _| symbols.contains(symbol));
        for symbol in symbols {
            let Some(book) = self.late_book(symbol) else {
                continue;
            };
            let mut burst = Burst::default();
            burst.news_of(&book, self.late_told.entry(symbol).or_default(), &DELAYED);
            for peer in self.peers.values_mut() {
                let quotes = std::mem::take(&mut peer.quotes);
                for (id, _) in quotes.of(symbol).filter(|(_, line)| line.delayed) {
                    burst.tell(peer, id);
                }
                peer.quotes = quotes;
            }
        }
    }
}
