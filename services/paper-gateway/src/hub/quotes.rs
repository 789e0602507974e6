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
use crate::line::Extras;
use crate::message::market::{TickPrice, TickSize, TickString};
use crate::number::approximate;
use crate::peer::Peer;

/// Shortest time between two rounds of quotes; what changes faster is told with the next round.
const ROUND_INTERVAL: Duration = Duration::from_millis(10);

/// Frames with a price, a size and a text.
pub(super) const PRICE: i32 = 1;
pub(super) const SIZE: i32 = 2;
const STRING: i32 = 46;
/// IB's numbers of what is told of a stock.
#[derive(Debug)]
pub(super) struct Kinds {
    bid: i32,
    ask: i32,
    last: i32,
    high: i32,
    low: i32,
    volume: i32,
    close: i32,
    open: i32,
    last_time: i32,
}

/// The numbers of live quotes.
pub(super) const LIVE: Kinds = Kinds {
    bid: 1,
    ask: 2,
    last: 4,
    high: 6,
    low: 7,
    volume: 8,
    close: 9,
    open: 14,
    last_time: 45,
};
/// The numbers of delayed quotes.
pub(super) const DELAYED: Kinds = Kinds {
    bid: 66,
    ask: 67,
    last: 68,
    high: 72,
    low: 73,
    volume: 74,
    close: 75,
    open: 76,
    last_time: 88,
};
/// Number of the price at which positions are valued.
pub(super) const MARK: i32 = 37;
/// Numbers of the texts that tell a trade with the day so far.
const TRADE_TEXT: i32 = 48;
const REPORTED_TRADE_TEXT: i32 = 77;

/// What clients know of the quotes, and which stocks have news.
#[derive(Debug)]
pub(super) struct Quotes {
    told: BTreeMap<Symbol, Told>,
    news: BTreeSet<Symbol>,
    round: Instant,
}

/// What clients know of a stock's quote; nothing where it must be told whatever it is.
#[derive(Debug, Default)]
pub(super) struct Told {
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

    /// What was told did not arrive: the next round tells all, and comes at once.
    pub(super) fn forget(&mut self) {
        self.news.extend(std::mem::take(&mut self.told).into_keys());
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
pub(super) struct Burst {
    bytes: Vec<u8>,
    frames: Vec<(i32, Range<usize>)>,
}

impl Burst {
    pub(super) fn push(&mut self, number: i32, message: &impl Message) {
        let start = self.bytes.len();
        message.encode(&mut self.bytes).expect("a vector grows as needed");
        self.frames.push((number, start..self.bytes.len()));
    }

    pub(super) fn tell(&self, peer: &mut Peer, id: i32) {
        for (number, range) in &self.frames {
            peer.send_numbered(*number, id, &self.bytes[range.clone()]);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// What of a book is not known yet.
    pub(super) fn news_of(&mut self, book: &Book, told: &mut Told, kinds: &Kinds) {
        let tick = &book.tick;
        let second = tick.at.as_second();
        if told.bid.replace((tick.bid, tick.bid_size)) != told.bid {
            self.push(PRICE, &price(kinds.bid, tick.bid, Some(tick.bid_size)));
        }
        if told.ask.replace((tick.ask, tick.ask_size)) != told.ask {
            self.push(PRICE, &price(kinds.ask, tick.ask, Some(tick.ask_size)));
        }
        // The time comes before the price that was paid then.
        if told.second.replace(second) != told.second {
            let time = string(kinds.last_time, second.to_string());
            self.push(STRING, &time);
        }
        if told.last.replace((tick.price, tick.size)) != told.last {
            self.push(PRICE, &price(kinds.last, tick.price, Some(tick.size)));
        }
        if told.volume.replace(book.volume) != told.volume {
            self.push(SIZE, &size(kinds.volume, book.volume));
        }
    }

    /// All that is known of a stock.
    pub(super) fn all_of(&mut self, book: &Book, kinds: &Kinds) {
        self.news_of(book, &mut Told::default(), kinds);
        for (kind, value) in [
            (kinds.open, Some(book.open)),
            (kinds.high, Some(book.high)),
            (kinds.low, Some(book.low)),
            (kinds.close, book.previous_close),
        ] {
            if let Some(value) = value {
                self.push(PRICE, &price(kind, value, None));
            }
        }
    }

    /// What a line carries beside the quote when there is news.
    fn extras_of(&mut self, book: &Book, extras: Extras) {
        let tick = &book.tick;
        let texts = [
            (extras.trades, TRADE_TEXT),
            (extras.reported, REPORTED_TRADE_TEXT),
        ];
        for (_, kind) in texts.into_iter().filter(|(wanted, _)| *wanted) {
            let told = format!(
                "{};{};{};{};{};true",
                tick.price.normalize(),
                text(tick.size),
                tick.at.as_millisecond(),
                text(book.volume),
                book.average()
            );
            self.push(STRING, &string(kind, told));
        }
        if extras.mark {
            self.push(PRICE, &price(MARK, tick.price, None));
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
        burst.all_of(book, &LIVE);
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
            burst.news_of(book, self.quotes.told.entry(symbol).or_default(), &LIVE);
            for peer in self.peers.values_mut() {
                // Borrowed apart, so that the requests can be read while the peer is written to.
                let quotes = std::mem::take(&mut peer.quotes);
                for (id, line) in quotes.of(symbol).filter(|(_, line)| !line.delayed) {
                    burst.tell(peer, id);
                    if line.extras != Extras::default() {
                        let mut beside = Burst::default();
                        beside.extras_of(book, line.extras);
                        beside.tell(peer, id);
                    }
                }
                peer.quotes = quotes;
            }
            self.tell_depth(symbol);
        }
    }
}

pub(super) fn price(kind: i32, price: Price, size: Option<Quantity>) -> TickPrice {
    TickPrice {
        req_id: None,
        tick_type: Some(kind),
        price: Some(approximate(price)),
        size: size.map(text),
        attr_mask: Some(0),
    }
}

pub(super) fn size(kind: i32, value: Quantity) -> TickSize {
    TickSize {
        req_id: None,
        tick_type: Some(kind),
        size: Some(text(value)),
    }
}

fn string(kind: i32, value: String) -> TickString {
    TickString {
        req_id: None,
        tick_type: Some(kind),
        value: Some(value),
    }
}
