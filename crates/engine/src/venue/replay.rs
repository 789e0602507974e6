//! The market of the past: bars from files, unfolded into trades in order of time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use protocol::{Price, Quantity, Symbol};
use rust_decimal::Decimal;

use super::bars::{Bar, BarSize, Joiner};
use super::calendar::{self, Calendar};
use super::history::{Hours, Piece, Query, Show};
use super::market::Tick;
use super::noise;
use super::rows::{Row, Rows};
use super::unfold::{Print, interval, unfold};

/// The finest price step of an ordinary stock, and below one dollar.
const STEP_PLACES: u32 = 2;
const STEP_PLACES_PENNY: u32 = 4;
/// Most rows that are unfolded for bars of quotes; of more, the quotes are put around the rows' prices.
const ROWS_UNFOLDED_MAX: usize = 5_000;
const DAY_SECONDS: i64 = 86_400;

#[derive(Debug, Clone)]
struct Stock {
    symbol: Symbol,
    seed: u64,
    rows: Arc<Vec<Row>>,
    seconds: i64,
    /// Decimal places of the price step.
    places: u32,
    /// The row after the one being unfolded.
    next_row: usize,
    /// Trades of the present row that are still to come.
    prints: VecDeque<Print>,
    /// Whether the next trade is the first of its row.
    fresh: bool,
    /// When the present row ends.
    row_end: Timestamp,
}

/// Bars of the past and where the clock stands in them.
#[derive(Debug, Clone)]
pub struct Replay {
    stocks: Vec<Stock>,
    index: BTreeMap<Symbol, usize>,
    queue: BTreeSet<(Timestamp, usize)>,
    calendar: Calendar,
    end: Timestamp,
}

impl Replay {
    /// A market of files that begins with the first bar that trades at `from` or later. Each file has bars of its own
    /// length.
    #[must_use]
    pub fn new(files: BTreeMap<Symbol, Rows>, seed: u64, from: Timestamp) -> Self {
        let mut days = BTreeSet::new();
        let mut market = Self {
            stocks: Vec::new(),
            index: BTreeMap::new(),
            queue: BTreeSet::new(),
            calendar: Calendar::Always,
            end: Timestamp::UNIX_EPOCH,
        };
        for (position, (symbol, Rows { rows, seconds })) in files.into_iter().enumerate() {
            days.extend(rows.iter().map(|row| calendar::local(row.start).date()));
            let next_row = rows.partition_point(|row| interval(row, seconds).0 < from);
            if let Some(last) = rows.last() {
                market.end = market.end.max(after(last.start, seconds));
            }
            let seed = noise::seed_of(seed, symbol.as_str());
            let places = places(&rows);
            let prints = VecDeque::new();
            market.index.insert(symbol, position);
            let mut stock = Stock {
                symbol,
                seed,
                rows: Arc::new(rows),
                seconds,
                places,
                next_row,
                prints,
                fresh: true,
                row_end: Timestamp::UNIX_EPOCH,
            };
            if let Some(at) = stock.refill() {
                market.queue.insert((at, position));
            }
            market.stocks.push(stock);
        }
        market.calendar = Calendar::Days(days);
        market
    }

    /// When the last bar of all ends.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.end
    }

    pub(super) fn symbols(&self) -> Vec<Symbol> {
        self.stocks.iter().map(|stock| stock.symbol).collect()
    }

    pub(super) fn price_step(&self, symbol: Symbol) -> Option<Price> {
        self.stock(symbol).map(|stock| Decimal::new(1, stock.places))
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn take(&mut self) -> Option<Tick> {
        let (_, position) = self.queue.pop_first()?;
        let stock = self.stocks.get_mut(position)?;
        let tick = stock.next();
        if let Some(at) = stock.refill() {
            self.queue.insert((at, position));
        }
        tick
    }

    pub(super) fn first(&self, symbol: Symbol) -> Option<Timestamp> {
        self.stock(symbol)
            .and_then(|stock| stock.rows.first())
            .map(|row| row.start)
    }

    pub(super) fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    pub(super) fn bars(&self, symbol: Symbol, from: Timestamp, to: Timestamp, size: BarSize) -> Vec<Bar> {
        let mut joiner = Joiner::new(size);
        let query = Query {
            symbol,
            from,
            to,
            size,
            show: Show::Trades,
            regular_only: false,
        };
        self.walk(&query, &mut |piece| match piece {
            // Bars of the file's own length keep the file's own starts, wherever those lie.
            Piece::Row {
                bar, is_own: true, ..
            } => joiner.push_into(bar.start, bar),
            Piece::Row { bar, .. } => joiner.push(bar),
            Piece::Tick(tick) => joiner.push(Bar::of(tick.at, tick.price, tick.size)),
        });
        joiner.finish()
    }

    /// What bars are made of: whole rows where those say enough, else trades.
    pub(super) fn walk(&self, query: &Query, each: &mut impl FnMut(Piece)) {
        let Some(stock) = self.stock(query.symbol) else {
            return;
        };
        let Query { from, to, size, .. } = *query;
        let (first, end) = (
            stock.first_after(from),
            stock.rows.partition_point(|row| row.start < to),
        );
        let rows = stock.rows.get(first..end).unwrap_or_default();
        let of_rows =
            size.seconds() >= stock.seconds && (query.show == Show::Trades || rows.len() > ROWS_UNFOLDED_MAX);
        for row in rows {
            let whole = row.start >= from && after(row.start, stock.seconds) <= to;
            if whole && of_rows {
                each(Piece::Row {
                    bar: bar_of(row),
                    is_own: size == BarSize::Seconds(stock.seconds),
                    is_day: stock.seconds >= DAY_SECONDS,
                });
                continue;
            }
            // Shorter bars than the file's, or a row in progress: what it shows trade by trade.
            for tick in stock.shown(row) {
                if tick.at >= from && tick.at < to {
                    each(Piece::Tick(tick));
                }
            }
        }
    }

    pub(super) fn ticks(
        &self,
        symbol: Symbol,
        (from, to): (Timestamp, Timestamp),
        most: usize,
        regular_only: bool,
    ) -> Vec<Tick> {
        let Some(stock) = self.stock(symbol) else {
            return Vec::new();
        };
        let mut hours = Hours::new(&self.calendar, regular_only);
        let rows = stock.rows.iter().skip(stock.first_after(from));
        rows.take_while(|row| row.start < to)
            .flat_map(|row| stock.shown(row))
            .filter(|tick| tick.at >= from && tick.at < to && hours.admit(tick.at).is_some())
            .take(most)
            .collect()
    }

    pub(super) fn ticks_before(
        &self,
        symbol: Symbol,
        to: Timestamp,
        most: usize,
        regular_only: bool,
    ) -> Vec<Tick> {
        let Some(stock) = self.stock(symbol) else {
            return Vec::new();
        };
        let mut hours = Hours::new(&self.calendar, regular_only);
        let end = stock.rows.partition_point(|row| row.start < to);
        let rows = stock.rows.iter().take(end).rev();
        let backwards = rows.flat_map(|row| stock.shown(row).into_iter().rev());
        let wanted = backwards.filter(|tick| tick.at < to && hours.admit(tick.at).is_some());
        let mut ticks: Vec<Tick> = wanted.take(most).collect();
        ticks.reverse();
        ticks
    }

    fn stock(&self, symbol: Symbol) -> Option<&Stock> {
        self.index
            .get(&symbol)
            .and_then(|position| self.stocks.get(*position))
    }
}

impl Stock {
    /// The first row that ends after an instant.
    fn first_after(&self, at: Timestamp) -> usize {
        self.rows
            .partition_point(|row| after(row.start, self.seconds) <= at)
    }

    /// All trades of a row.
    fn shown(&self, row: &Row) -> Vec<Tick> {
        let end = self.end_of(row);
        let prints = unfold(row, self.seconds, self.seed).into_iter();
        prints
            .enumerate()
            .map(|(index, print)| self.tick(print, index == 0, end))
            .collect()
    }

    /// When a row ends, and with it what it offers.
    fn end_of(&self, row: &Row) -> Timestamp {
        let (start, seconds) = interval(row, self.seconds);
        after(start, seconds)
    }

    /// Unfolds the next row if the present one is used up, and says when the next trade is.
    fn refill(&mut self) -> Option<Timestamp> {
        if self.prints.is_empty() {
            let row = self.rows.get(self.next_row)?;
            self.prints = unfold(row, self.seconds, self.seed).into();
            self.row_end = self.end_of(row);
            self.next_row += 1;
            self.fresh = true;
        }
        self.prints.front().map(|print| print.at)
    }

    fn next(&mut self) -> Option<Tick> {
        let print = self.prints.pop_front()?;
        let opens_row = std::mem::replace(&mut self.fresh, false);
        Some(self.tick(print, opens_row, self.row_end))
    }

    /// A trade and the quote after it.
    fn tick(&self, print: Print, opens_row: bool, row_end: Timestamp) -> Tick {
        let hash = noise::at(self.seed ^ 0x40, print.at.as_millisecond());
        let step = Decimal::new(1, self.places);
        // The trade was at the bid or at the ask; the other side stands a step away.
        let (bid, ask) = if hash & 1 == 0 || print.price <= step {
            (print.price, print.price + step)
        } else {
            (print.price - step, print.price)
        };
        let lots = |shift: u32| Quantity::from(100 * (1 + (hash >> shift) % 8));
        Tick {
            symbol: self.symbol,
            at: print.at,
            price: print.price,
            size: print.size,
            bid,
            ask,
            bid_size: lots(8),
            ask_size: lots(16),
            opens_row,
            row_end: Some(row_end),
        }
    }
}

fn after(start: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(start.as_second() + seconds).unwrap_or(Timestamp::MAX)
}

fn bar_of(row: &Row) -> Bar {
    let turnover = (row.high + row.low + row.close) / Decimal::from(3) * row.volume;
    let Row {
        start,
        open,
        high,
        low,
        close,
        volume,
    } = row.clone();
    Bar {
        start,
        open,
        high,
        low,
        close,
        volume,
        turnover,
        count: 1,
    }
}

/// Decimal places of the price step: cents, and finer where the prices begin below a dollar. What comes later says nothing.
fn places(rows: &[Row]) -> u32 {
    match rows.first() {
        Some(row) if row.open < Decimal::ONE => STEP_PLACES_PENNY,
        _ => STEP_PLACES,
    }
}
