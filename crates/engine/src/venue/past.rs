//! What the market showed in the past: its trades one by one, a book as it stood, and books some time late.

use std::collections::BTreeMap;

use jiff::Timestamp;
use protocol::{Quantity, Symbol};

use super::bars::BarSize;
use super::book::Book;
use super::calendar;
use super::market::{Market, Tick};

/// Most trades that a late book takes in at a time; what is further behind has to be made anew.
const TRADES_BEHIND_MAX: usize = 5_000;

/// A stock's book as it would stand if somebody had been watching until `at`; `None` before the first trade.
#[must_use]
pub fn book_at(market: &Market, symbol: Symbol, at: Timestamp) -> Option<Book> {
    let day = calendar::midnight(calendar::local(at).date());
    let today = market.bars(symbol, day, at, BarSize::Day).pop();
    let close_before = market
        .ticks_before(symbol, day, 1, false)
        .pop()
        .map(|tick| tick.price);
    let last = market.ticks_before(symbol, at, 1, false).pop()?;
    let tick = Tick {
        // The day's bar has counted it.
        size: Quantity::ZERO,
        // A bar of the past that nobody watched offers nothing: trading goes on with the next one.
        row_end: last.row_end.map(|_| at),
        ..last
    };
    let before_today = tick.at < day;
    let mut book = Book::new(tick, market.price_step(symbol)?, today.as_ref(), close_before);
    book.bar = None;
    if before_today {
        book.begin_day();
    }
    Some(book)
}

/// Books as they stood some time ago, for those who may not see newer ones.
#[derive(Debug)]
pub struct LateBooks {
    seconds: i64,
    books: BTreeMap<Symbol, (Timestamp, Option<Book>)>,
}

impl LateBooks {
    /// Books that are so many seconds late.
    #[must_use]
    pub fn new(seconds: i64) -> Self {
        Self {
            seconds,
            books: BTreeMap::new(),
        }
    }

    /// The instant whose books are told at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_second(now.as_second() - self.seconds).unwrap_or(now)
    }

    /// Takes in a stock's [`book_at`] an instant, which is a lot of work to make.
    pub fn put(&mut self, symbol: Symbol, at: Timestamp, book: Option<Book>) {
        self.books.insert(symbol, (at, book));
    }

    /// Brings a stock's book up to the instant that is told at `now`, if a few trades do. False when it has to be
    /// made and put in.
    pub fn catch_up(&mut self, market: &Market, symbol: Symbol, now: Timestamp) -> bool {
        let at = self.at(now);
        let Some((known, book)) = self.books.get_mut(&symbol) else {
            return false;
        };
        if *known >= at {
            return true;
        }
        let trades = market.ticks(symbol, *known, at, TRADES_BEHIND_MAX, false);
        let is_first = book.is_none() && !trades.is_empty();
        if is_first || trades.len() == TRADES_BEHIND_MAX {
            self.books.remove(&symbol);
            return false;
        }
        *known = at;
        if let Some(book) = book {
            for trade in trades {
                if calendar::local(trade.at).date() > calendar::local(book.tick.at).date() {
                    book.begin_day();
                }
                book.trade(trade);
            }
        }
        true
    }

    /// A stock's book as far as it is known; `None` before its first trade.
    #[must_use]
    pub fn book(&self, symbol: Symbol) -> Option<&Book> {
        self.books.get(&symbol)?.1.as_ref()
    }

    /// Forgets all books but those of some stocks.
    pub fn keep(&mut self, wanted: impl Fn(Symbol) -> bool) {
        self.books.retain(|symbol, _| wanted(*symbol));
    }
}

#[cfg(test)]
mod tests {
    use super::super::replay::Replay;
    use super::super::rows;
    use super::super::synthetic::Synthetic;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn replay() -> Market {
        let mut text = String::from("timestamp,open,high,low,close,volume\n");
        for minute in 0..60 {
            let price = 100 + minute % 7;
            text += &format!("2013-10-07T14:{minute:02}:00Z,{price},{price}.5,{price},{price}.25,1000\n");
        }
        let files = [("SPY".parse().unwrap(), rows::parse(&text).unwrap())].into();
        Market::Replay(Replay::new(files, 7, at("2013-10-07T14:00:00Z")))
    }

    fn synthetic() -> Market {
        let symbols = ["AAPL".parse().unwrap()];
        Market::Synthetic(Synthetic::new(&symbols, 7, 2, at("2026-11-23T15:00:00Z")))
    }

    #[test]
    fn trades_of_the_past_are_those_that_were_shown() {
        for (mut market, begin) in [
            (replay(), "2013-10-07T14:00:00Z"),
            (synthetic(), "2026-11-23T15:00:00Z"),
        ] {
            let symbol = market.symbols()[0];
            let shown: Vec<Tick> = (0..100).filter_map(|_| market.take()).collect();
            let plain = |mut tick: Tick| {
                tick.opens_row = false;
                tick
            };
            let end = Timestamp::from_millisecond(shown[99].at.as_millisecond() + 1).unwrap();
            let told = market.ticks(symbol, at(begin), end, 1000, false);
            let shown: Vec<Tick> = shown.into_iter().map(plain).collect();
            assert_eq!(told.into_iter().map(plain).collect::<Vec<_>>(), shown);
            let last: Vec<Tick> = market
                .ticks_before(symbol, end, 30, false)
                .into_iter()
                .map(plain)
                .collect();
            assert_eq!(last, shown[70..]);
            assert_eq!(market.ticks(symbol, at(begin), end, 3, false).len(), 3);
        }
    }

    #[test]
    fn an_instant_within_a_millisecond_parts_before_from_after() {
        for mut market in [replay(), synthetic()] {
            let symbol = market.symbols()[0];
            let trade = market.take().unwrap().at;
            let just_after = Timestamp::from_nanosecond(trade.as_nanosecond() + 1).unwrap();
            let until = |to: Timestamp| {
                market
                    .ticks_before(symbol, to, 1, false)
                    .pop()
                    .map(|tick| tick.at)
            };
            assert_eq!(until(just_after), Some(trade));
            assert_ne!(until(trade), Some(trade), "the end itself is not part of it");
            let from = |from: Timestamp| {
                let later = Timestamp::from_second(from.as_second() + 3600).unwrap();
                market.ticks(symbol, from, later, 1, false)[0].at
            };
            assert_eq!(from(trade), trade);
            assert!(from(just_after) > trade);
        }
    }

    #[test]
    fn a_late_book_is_the_book_of_then() {
        let market = replay();
        let symbol = market.symbols()[0];
        let mut late = LateBooks::new(600);
        let mut made = 0;
        let mut follow = |late: &mut LateBooks, now| {
            if !late.catch_up(&market, symbol, now) {
                made += 1;
                let then = late.at(now);
                late.put(symbol, then, book_at(&market, symbol, then));
                assert!(late.catch_up(&market, symbol, now));
            }
            made
        };
        follow(&mut late, at("2013-10-07T14:05:00Z"));
        assert!(late.book(symbol).is_none());
        for minute in 11..60 {
            let now = Timestamp::from_second(at("2013-10-07T14:00:00Z").as_second() + minute * 60).unwrap();
            let then = Timestamp::from_second(now.as_second() - 600).unwrap();
            assert_eq!(follow(&mut late, now), 2, "at first, and at the first trade");
            let book = late.book(symbol).unwrap().clone();
            let trades = market.ticks_before(symbol, then, 1, false);
            assert_eq!(book.tick.price, trades[0].price);
            let all = market.ticks(symbol, Timestamp::UNIX_EPOCH, then, usize::MAX, false);
            assert_eq!(book.volume, all.iter().map(|tick| tick.size).sum::<Quantity>());
            assert_eq!(book.high, all.iter().map(|tick| tick.price).max().unwrap());
        }
    }
}
