//! The simulated exchange and broker: markets, books, orders and one account, as a pure state machine.
//!
//! [`Venue::step`] takes the market's time and an input, lets the market run up to that time, and says what
//! happened. It reads no clock and has no state outside itself; the account is the fold of the [`Record`]s it
//! puts out, so whoever keeps those can begin again where it stopped, and must keep them before telling anyone.

pub mod account;
pub mod bars;
mod binding;
pub mod book;
pub mod calendar;
pub mod checks;
pub mod depth;
pub mod desk;
pub mod family;
pub mod history;
#[cfg(test)]
mod limits;
pub mod market;
pub mod matching;
pub mod money;
pub mod noise;
pub mod order;
pub mod past;
mod path;
pub mod record;
pub mod replay;
pub mod rows;
mod session;
pub mod synthetic;
#[cfg(test)]
mod tests;
mod trading;
pub mod unfold;

use std::collections::BTreeMap;

use jiff::Timestamp;
use protocol::{Money, Price, Symbol};

use account::{Account, Position};
use bars::Bar;
use book::Book;
use checks::Rules;
use depth::Depth;
use desk::Desk;
use market::{Market, Tick};
use money::Valuation;
use order::Ticket;
use record::Record;

/// What a client or the clock does to the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Nothing but time passed.
    Time,
    /// A new order, or new terms for a working one of the same number.
    Place {
        /// The client.
        client: i32,
        /// Its number for the order.
        order_id: i32,
        /// What it asks for.
        ticket: Box<Ticket>,
    },
    /// A client gives an order up.
    Cancel {
        /// The client.
        client: i32,
        /// Its number for the order.
        order_id: i32,
    },
    /// All orders of all clients are given up.
    CancelAll,
    /// Orders that a person placed get the numbers by which client 0 can change and cancel them.
    Bind,
    /// The broker itself does something.
    Desk(Desk),
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A trade on the market and the quote after it.
    Tick(Tick),
    /// Five seconds of a stock are over.
    Bar(Symbol, Bar),
    /// The account changed.
    Record(Record),
    /// An input could not be carried out, and changed nothing.
    Refused {
        /// The client that asked.
        client: i32,
        /// Its number for the order.
        order_id: i32,
        /// Why.
        why: Refusal,
    },
}

/// Why an input was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No stock of that name is traded here.
    UnknownSymbol,
    /// The number belongs to an order that has ended.
    UsedId,
    /// New terms for an order that has traded all of its shares.
    Filled,
    /// The order that this one is to wait for does not exist, or has ended.
    NoParent,
    /// The order that this one is to wait for waits for too many others itself.
    TooDeep,
    /// The broker rejects new terms, for this reason; the old ones stay.
    Rejected(String),
    /// New terms name another stock or the other side, or fewer shares than have traded.
    Mismatch,
    /// New terms that are not to be transmitted, for an order that was.
    NotTransmitted,
    /// A price is not above zero, or not a multiple of the stock's price step, or beyond all measure.
    PriceStep,
    /// The quantity is zero or below, not a whole number, or beyond all measure.
    Size,
    /// There is no such order.
    UnknownOrder,
    /// The order has ended.
    Ended,
}

/// The exchange.
#[derive(Debug)]
pub struct Venue {
    market: Market,
    account: Account,
    desk: desk::Wishes,
    books: BTreeMap<Symbol, Book>,
    now: Timestamp,
    /// When the market next opens, closes or changes its date.
    next_change: Option<Timestamp>,
    /// When the next order ends by its date.
    expiry: Option<Timestamp>,
    /// Orders that have traded all of their shares in this step and whose children have not been looked at.
    traded: Vec<i64>,
    rules: Rules,
}

impl Venue {
    /// An exchange whose clock begins at `start`. An account that has no record yet is opened with `cash`
    /// by the first step.
    #[must_use]
    pub fn new(market: Market, account: Account, start: Timestamp) -> Self {
        // The changes since the account was last seen, such as the end of a session, are made up for first.
        let since = account.latest.map_or(start, |latest| latest.min(start));
        let next_change = market.calendar().next_change(since);
        let mut venue = Self {
            market,
            account,
            desk: desk::Wishes::default(),
            books: BTreeMap::new(),
            now: start,
            next_change,
            expiry: None,
            traded: Vec::new(),
            rules: Rules::default(),
        };
        venue.expiry = venue.next_expiry();
        venue.open_books(start);
        venue
    }

    /// The same exchange at a broker that does not do everything.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The account's first record, which the owner applies once when there is no other.
    #[must_use]
    pub fn opening(cash: Money, at: Timestamp) -> Record {
        Record::Opened { cash, at }
    }

    /// Lets the market run to `now`, then carries out the input. Time never runs backwards: an earlier `now`
    /// counts as the latest one seen.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.advance(now, &mut outputs);
        match input {
            Input::Time => {}
            Input::Place {
                client,
                order_id,
                ticket,
            } => self.place(client, order_id, *ticket, &mut outputs),
            Input::Cancel { client, order_id } => self.cancel(client, order_id, &mut outputs),
            Input::CancelAll => self.cancel_all(&mut outputs),
            Input::Bind => self.bind(&mut outputs),
            Input::Desk(desk) => self.intervene(desk, &mut outputs),
        }
        outputs
    }

    /// When something will happen by itself next: a trade, the end of five seconds, a session's begin or end, the end of
    /// an order. Where no trade can come any more, nothing happens to orders either.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        let bar = self.books.values().filter_map(Book::bar_end).min();
        let market = [self.market.next_at(), bar, self.next_change]
            .into_iter()
            .flatten()
            .min()?;
        Some(self.expiry.map_or(market, |expiry| expiry.min(market)))
    }

    /// The market's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account at present prices.
    #[must_use]
    pub fn valuation(&self) -> Valuation {
        Valuation::of(&self.account, |symbol, position| {
            self.price_held(symbol, position)
        })
    }

    /// The price at which a stock is valued: its last trade.
    #[must_use]
    pub fn mark(&self, symbol: Symbol) -> Option<Price> {
        self.books.get(&symbol).map(|book| book.tick.price)
    }

    /// The price at which a share that is held counts: the stock's last trade, or what it cost where none is known.
    #[must_use]
    pub fn price_held(&self, symbol: Symbol, position: &Position) -> Price {
        self.mark(symbol).unwrap_or_else(|| position.average_cost())
    }

    /// What a stock shows; `None` before its first trade.
    #[must_use]
    pub fn book(&self, symbol: Symbol) -> Option<&Book> {
        self.books.get(&symbol)
    }

    /// The price levels of a stock's book, best first; `None` before its first trade.
    #[must_use]
    pub fn levels(&self, symbol: Symbol) -> Option<Depth> {
        self.books.get(&symbol).map(Book::depth)
    }

    /// The market behind the exchange.
    #[must_use]
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// Leaves out the market's trades up to an instant: the clock leapt and nobody could have traded. What follows trades
    /// at the prices of then.
    pub fn skip_to(&mut self, at: Timestamp) {
        if let Market::Synthetic(market) = &mut self.market {
            market.skip_to(at);
            self.open_books(at);
        }
    }

    /// Books as they would stand if the exchange had been watching until `at`.
    fn open_books(&mut self, at: Timestamp) {
        for symbol in self.market.symbols() {
            if let Some(book) = past::book_at(&self.market, symbol, at) {
                self.books.insert(symbol, book);
            }
        }
    }

    /// Runs the market up to an instant: bars that end, sessions that change and trades, in order of time.
    fn advance(&mut self, to: Timestamp, outputs: &mut Vec<Output>) {
        while let Some(next) = self.next_at().filter(|next| *next <= to) {
            self.now = self.now.max(next);
            // Of what falls on one instant, the past is closed first and the new trade comes last.
            if self.next_change == Some(next) {
                self.next_change = self.market.calendar().next_change(next);
                self.end_bars(next, outputs);
                self.change_session(next, outputs);
            } else if self
                .books
                .values()
                .filter_map(Book::bar_end)
                .any(|end| end <= next)
            {
                self.end_bars(next, outputs);
            } else if self.expiry.is_some_and(|expiry| expiry <= next) {
                self.expire(next, outputs);
            } else if let Some(tick) = self.market.take() {
                self.trade(tick, outputs);
            } else {
                break;
            }
        }
        self.now = self.now.max(to);
    }

    fn end_bars(&mut self, at: Timestamp, outputs: &mut Vec<Output>) {
        for (symbol, book) in &mut self.books {
            if book.bar_end().is_some_and(|end| end <= at)
                && let Some(bar) = book.bar.take()
            {
                outputs.push(Output::Bar(*symbol, bar));
            }
        }
    }
}
