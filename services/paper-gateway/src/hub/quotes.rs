//! Quotes: told in rounds, each stock that has news once, and of it only what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use engine::venue::book::Book;
use prost::Message;
use protocol::{Price, Quantity, Symbol};
use tokio::time::Instant;

use super::Hub;
use super::prices::text;
use crate::message::market::{TickPrice, TickSize, TickString};
use crate::number::approximate;
use crate::peer::Peer;

/// Shortest time between two rounds of quotes; what changes faster is told with the next round.
const ROUND_INTERVAL: Duration = Duration::from_millis(10);

/// Frames with a price, a size and a text.
const PRICE: i32 = 1;
const SIZE: i32 = 2;
const STRING: i32 = 46;
/// IB's numbers of prices and sizes.
const BID: i32 = 1;
const ASK: i32 = 2;
const LAST: i32 = 4;
const HIGH: i32 = 6;
const LOW: i32 = 7;
const VOLUME: i32 = 8;
const CLOSE: i32 = 9;
const OPEN: i32 = 14;
const LAST_TIMESTAMP: i32 = 45;

/// What clients know of the quotes, and which stocks have news.
#[derive(Debug)]
pub(super) struct Quotes {
    told: BTreeMap<Symbol, Told>,
    news: BTreeSet<Symbol>,
    round: Instant,
}

/// What clients know of a stock's quote; nothing where it must be told whatever it is.
#[derive(Debug, Default)]
struct Told {
    bid: Option<(Price, Quantity)>,
    ask: Option<(Price, Quantity)>,
    last: Option<(Price, Quantity)>,
    volume: Option<Quantity>,
    second: Option<i64>,
}

impl Quotes {
    pub(super) fn new() -> Self {
        Self {
            told: BTreeMap::new(),
            news: BTreeSet::new(),
            round: Instant::now(),
        }
    }

    /// A stock traded.
    pub(super) fn changed(&mut self, symbol: Symbol) {
        self.news.insert(symbol);
    }

    /// A client was just told all of a stock. If that had news, what the others know is older than what this one
    /// knows, so that all of it must be in the next round.
    fn told_all(&mut self, symbol: Symbol) {
        if self.news.contains(&symbol) {
            self.told.remove(&symbol);
        }
    }

    /// When the next round is due; `None` while there is no news.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.news.is_empty()).then(|| self.round + ROUND_INTERVAL)
    }
}

/// Messages about one stock, encoded once without the number of a request.
#[derive(Default)]
struct Burst {
    bytes: Vec<u8>,
    frames: Vec<(i32, Range<usize>)>,
}

impl Burst {
    fn push(&mut self, number: i32, message: &impl Message) {
        let start = self.bytes.len();
        message.encode(&mut self.bytes).expect("a vector grows as needed");
        self.frames.push((number, start..self.bytes.len()));
    }

    fn tell(&self, peer: &mut Peer, id: i32) {
        for (number, range) in &self.frames {
            peer.send_numbered(*number, id, &self.bytes[range.clone()]);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// What of a book is not known yet.
    fn news_of(&mut self, book: &Book, told: &mut Told) {
        let tick = &book.tick;
        let second = tick.at.as_second();
        if told.bid.replace((tick.bid, tick.bid_size)) != told.bid {
            self.push(PRICE, &price(BID, tick.bid, Some(tick.bid_size)));
        }
        if told.ask.replace((tick.ask, tick.ask_size)) != told.ask {
            self.push(PRICE, &price(ASK, tick.ask, Some(tick.ask_size)));
        }
        // The time comes before the price that was paid then.
        if told.second.replace(second) != told.second {
            let time = TickString {
                req_id: None,
                tick_type: Some(LAST_TIMESTAMP),
                value: Some(second.to_string()),
            };
            self.push(STRING, &time);
        }
        if told.last.replace((tick.price, tick.size)) != told.last {
            self.push(PRICE, &price(LAST, tick.price, Some(tick.size)));
        }
        if told.volume.replace(book.volume) != told.volume {
            let volume = TickSize {
                req_id: None,
                tick_type: Some(VOLUME),
                size: Some(text(book.volume)),
            };
            self.push(SIZE, &volume);
        }
    }
}

impl Hub {
    /// Tells who asks anew all that is known of a stock.
    pub(super) fn tell_all(&mut self, session: u64, id: i32, symbol: Symbol) {
        let Some(book) = self.venue.book(symbol) else {
            return;
        };
        let mut burst = Burst::default();
        burst.news_of(book, &mut Told::default());
        for (kind, value) in [
            (OPEN, Some(book.open)),
            (HIGH, Some(book.high)),
            (LOW, Some(book.low)),
            (CLOSE, book.previous_close),
        ] {
            if let Some(value) = value {
                burst.push(PRICE, &price(kind, value, None));
            }
        }
        burst.tell(self.peer(session), id);
        self.quotes.told_all(symbol);
    }

    /// A round of quotes, if one is due.
    pub(super) fn tell_quotes(&mut self) {
        let now = Instant::now();
        if self.quotes.due().is_none_or(|due| due > now) {
            return;
        }
        self.quotes.round = now;
        let mut burst = Burst::default();
        for symbol in std::mem::take(&mut self.quotes.news) {
            let Some(book) = self.venue.book(symbol) else {
                continue;
            };
            burst.clear();
            burst.news_of(book, self.quotes.told.entry(symbol).or_default());
            for peer in self.peers.values_mut() {
                // Borrowed apart, so that the requests can be read while the peer is written to.
                let quotes = std::mem::take(&mut peer.quotes);
                for (id, ()) in quotes.of(symbol) {
                    burst.tell(peer, id);
                }
                peer.quotes = quotes;
            }
        }
    }
}

fn price(kind: i32, price: Price, size: Option<Quantity>) -> TickPrice {
    TickPrice {
        req_id: None,
        tick_type: Some(kind),
        price: Some(approximate(price)),
        size: size.map(text),
        attr_mask: Some(0),
    }
}
