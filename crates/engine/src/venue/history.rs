//! Bars of the past, of trades or of quotes, of the whole day or of the regular session.

use jiff::Timestamp;
use protocol::{Price, Quantity, Symbol};
use rust_decimal::Decimal;

use super::bars::{Bar, BarSize, Joiner};
use super::calendar::{self, Calendar};
use super::market::{Market, Tick};

/// What a bar is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Prices and sizes of trades.
    Trades,
    /// Best prices to sell at.
    Bid,
    /// Best prices to buy at.
    Ask,
    /// The middle between bid and ask.
    Middle,
    /// The average bid as open, the highest ask as high, the lowest bid as low, the average ask as close.
    BidAsk,
}

/// A question about the past of a stock.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The stock.
    pub symbol: Symbol,
    /// The first instant.
    pub from: Timestamp,
    /// The instant after the last one; nothing after it is looked at.
    pub to: Timestamp,
    /// The length of a bar.
    pub size: BarSize,
    /// What it is made of.
    pub show: Show,
    /// Whether only the regular session counts.
    pub regular_only: bool,
}

/// A piece of the past: a trade with its quote, or a whole bar.
#[derive(Debug)]
pub(super) enum Piece {
    Tick(Tick),
    Row {
        bar: Bar,
        /// Whether the bar has the length that is asked for, so that it keeps its own start.
        is_own: bool,
        /// Whether it is a whole day, which has no hours.
        is_day: bool,
    },
}

impl Query {
    /// The bars, in order of time; the last one may be in progress.
    #[must_use]
    pub fn answer(&self, market: &Market) -> Vec<Bar> {
        let step = market.price_step(self.symbol).unwrap_or(Decimal::ONE);
        let mut hours = Hours::new(market.calendar(), self.regular_only);
        let (mut lower, mut upper) = (Joiner::new(self.size), Joiner::new(self.size));
        let mut each = |piece: Piece| {
            let (at, is_own, is_day) = match &piece {
                Piece::Tick(tick) => (tick.at, false, false),
                Piece::Row { bar, is_own, is_day } => (bar.start, *is_own, *is_day),
            };
            let Some(open) = (if is_day { Some(at) } else { hours.admit(at) }) else {
                return;
            };
            let start = match self.size {
                _ if is_own => at,
                // The first bar of the regular session begins with it, wherever the clock's bars begin.
                BarSize::Seconds(_) => self.size.start(at).max(open.min(at)),
                _ => self.size.start(at),
            };
            let (low, high) = bars_of(piece, self.show, step);
            lower.push_into(start, low);
            if let Some(high) = high {
                upper.push_into(start, high);
            }
        };
        match market {
            Market::Synthetic(market) => market.walk(self, &mut each),
            Market::Replay(market) => market.walk(self, &mut each),
        }
        let (lower, upper) = (lower.finish(), upper.finish());
        match self.show {
            Show::BidAsk => lower
                .into_iter()
                .zip(upper)
                .map(|(bid, ask)| both(bid, &ask))
                .collect(),
            _ => lower,
        }
    }
}

/// The bar of a piece; of bids and of asks where both are wanted.
fn bars_of(piece: Piece, show: Show, step: Price) -> (Bar, Option<Bar>) {
    let one = Quantity::ONE;
    match (piece, show) {
        (Piece::Tick(tick), Show::Trades) => (Bar::of(tick.at, tick.price, tick.size), None),
        (Piece::Tick(tick), Show::Bid) => (Bar::of(tick.at, tick.bid, one), None),
        (Piece::Tick(tick), Show::Ask) => (Bar::of(tick.at, tick.ask, one), None),
        (Piece::Tick(tick), Show::Middle) => {
            (Bar::of(tick.at, (tick.bid + tick.ask) / Decimal::TWO, one), None)
        }
        (Piece::Tick(tick), Show::BidAsk) => (
            Bar::of(tick.at, tick.bid, one),
            Some(Bar::of(tick.at, tick.ask, one)),
        ),
        (Piece::Row { bar, .. }, Show::Trades) => (bar, None),
        // The quotes of a bar that is not unfolded: a step around its prices, as if all trades were at the ask.
        (Piece::Row { bar, .. }, Show::Bid) => (quotes(&bar, step), None),
        (Piece::Row { bar, .. }, Show::Ask) => (quotes(&bar, Decimal::ZERO), None),
        (Piece::Row { bar, .. }, Show::Middle) => (quotes(&bar, step / Decimal::TWO), None),
        (Piece::Row { bar, .. }, Show::BidAsk) => (quotes(&bar, step), Some(quotes(&bar, Decimal::ZERO))),
    }
}

/// A bar's prices, lowered where that leaves something of them.
fn quotes(bar: &Bar, by: Price) -> Bar {
    let lower = |price: Price| if price > by { price - by } else { price };
    let (open, high, low, close) = (lower(bar.open), lower(bar.high), lower(bar.low), lower(bar.close));
    Bar {
        start: bar.start,
        open,
        high,
        low,
        close,
        volume: Quantity::ONE,
        turnover: (open + high + low + close) / Decimal::from(4),
        count: 1,
    }
}

fn both(bid: Bar, ask: &Bar) -> Bar {
    Bar {
        open: bid.average(),
        high: ask.high,
        close: ask.average(),
        ..bid
    }
}

/// Whether instants, mostly in order, are within the hours that count.
pub(super) struct Hours<'a> {
    calendar: &'a Calendar,
    all: bool,
    /// The New York day that was looked at last, and its regular session.
    day: (Timestamp, Timestamp),
    session: Option<calendar::Session>,
}

impl<'a> Hours<'a> {
    pub(super) fn new(calendar: &'a Calendar, regular_only: bool) -> Self {
        Self {
            calendar,
            all: !regular_only || matches!(calendar, Calendar::Always),
            day: (Timestamp::MAX, Timestamp::MIN),
            session: None,
        }
    }

    /// When the hours began that hold an instant; `None` outside of them.
    pub(super) fn admit(&mut self, at: Timestamp) -> Option<Timestamp> {
        if self.all {
            return Some(Timestamp::MIN);
        }
        if at < self.day.0 || at >= self.day.1 {
            let date = calendar::local(at).date();
            let end = date.tomorrow().map_or(Timestamp::MAX, calendar::midnight);
            self.day = (calendar::midnight(date), end);
            self.session = self.calendar.regular(date);
        }
        let session = self.session.as_ref()?;
        (at >= session.open && at < session.close).then_some(session.open)
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

    fn markets() -> [(Market, Query); 2] {
        let mut text = String::from("timestamp,open,high,low,close,volume\n");
        // From 09:00 to 10:59 in New York: half an hour before the open and an hour and a half after it.
        for minute in 0..120 {
            let (hour, of_hour, price) = (13 + minute / 60, minute % 60, 100 + minute % 7);
            text +=
                &format!("2013-10-07T{hour}:{of_hour:02}:00Z,{price},{price}.5,{price},{price}.25,1000\n");
        }
        let spy: Symbol = "SPY".parse().unwrap();
        let files = [(spy, rows::parse(&text).unwrap())].into();
        let past = Market::Replay(Replay::new(files, 7, at("2013-10-07T13:00:00Z")));
        let aapl: Symbol = "AAPL".parse().unwrap();
        let made_up = Market::Synthetic(Synthetic::new(&[aapl], 7, 2, at("2026-11-23T15:00:00Z")));
        let query = |symbol, from, to| Query {
            symbol,
            from: at(from),
            to: at(to),
            size: BarSize::Seconds(300),
            show: Show::Trades,
            regular_only: false,
        };
        [
            (past, query(spy, "2013-10-07T13:00:00Z", "2013-10-07T15:00:00Z")),
            (
                made_up,
                query(aapl, "2026-11-23T14:00:00Z", "2026-11-23T15:00:00Z"),
            ),
        ]
    }

    #[test]
    fn bars_of_quotes_are_those_of_the_quotes_that_were_shown() {
        let [past, (market, query)] = markets();
        // A made-up bar of a minute and more shows the quotes of some of its trades.
        let fives = BarSize::Seconds(5);
        for (market, query) in [past, (market, Query { size: fives, ..query })] {
            let ticks = market.ticks(query.symbol, query.from, query.to, usize::MAX, false);
            let of = |show| Query { show, ..query }.answer(&market);
            let (bids, asks, middles, both) =
                (of(Show::Bid), of(Show::Ask), of(Show::Middle), of(Show::BidAsk));
            let trades = market.bars(query.symbol, query.from, query.to, query.size);
            assert_eq!(of(Show::Trades), trades);
            for (place, trade) in trades.iter().enumerate() {
                let end = trade.start.as_second() + query.size.seconds();
                let within = |tick: &&Tick| tick.at >= trade.start && tick.at.as_second() < end;
                let shown: Vec<&Tick> = ticks.iter().filter(within).collect();
                assert_eq!(bids[place].open, shown[0].bid);
                assert_eq!(Some(bids[place].low), shown.iter().map(|tick| tick.bid).min());
                assert_eq!(Some(asks[place].high), shown.iter().map(|tick| tick.ask).max());
                assert_eq!(asks[place].close, shown[shown.len() - 1].ask);
                assert_eq!(middles[place].open, (shown[0].bid + shown[0].ask) / Decimal::TWO);
                assert_eq!(
                    (both[place].low, both[place].high),
                    (bids[place].low, asks[place].high)
                );
                let bid: Price =
                    shown.iter().map(|tick| tick.bid).sum::<Price>() / Decimal::from(shown.len());
                assert_eq!(both[place].open, bid.round_dp(6).normalize());
            }
        }
    }

    #[test]
    fn the_regular_session_has_its_own_first_bar_and_day() {
        let [(market, query), _] = markets();
        let of = |size, regular_only| {
            Query {
                size,
                regular_only,
                ..query
            }
            .answer(&market)
        };
        let starts = |bars: &[Bar]| -> Vec<String> { bars.iter().map(|bar| bar.start.to_string()).collect() };
        let hours = of(BarSize::Seconds(3600), true);
        assert_eq!(starts(&hours), ["2013-10-07T13:30:00Z", "2013-10-07T14:00:00Z"]);
        assert_eq!(hours[0].volume, Decimal::from(30_000));
        assert_eq!(
            starts(&of(BarSize::Seconds(3600), false))[0],
            "2013-10-07T13:00:00Z"
        );
        assert_eq!(of(BarSize::Day, true)[0].volume, Decimal::from(90_000));
        assert_eq!(of(BarSize::Day, false)[0].volume, Decimal::from(120_000));
        let regular = market.ticks(query.symbol, query.from, query.to, 1, true);
        assert_eq!(regular[0].at, at("2013-10-07T13:30:00Z"));
        let before = market.ticks_before(query.symbol, at("2013-10-07T13:30:00Z"), 5, true);
        assert!(before.is_empty());
    }
}
