//! Prices pushed to clients: quotes, five-second bars, trades one by one.

use std::time::Duration;

use crate::number::approximate;
use engine::venue::bars::Bar;
use engine::venue::book::Book;
use engine::venue::calendar::Phase;
use engine::venue::market::Tick;
use protocol::{Price, Quantity, Symbol};
use tokio::time::Instant;

use super::Hub;
use crate::contracts::{Stock, UNKNOWN};
use crate::message::market::{
    HistoricalTick, HistoricalTickBidAsk, HistoricalTickLast, MarketDataType, RealTimeBarTick,
    TickAttribBidAsk, TickAttribLast, TickByTickData, TickPrice, TickReqParams, TickSize, TickString,
};
use crate::message::request::{MarketDataRequest, RealTimeBarsRequest, TickByTickRequest};
use crate::peer::{NO_REQUEST, Peer, TickKind};

/// Shortest time between two quotes of a stock; what changes faster is told with the next one.
const QUOTE_INTERVAL: Duration = Duration::from_millis(10);

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
/// Number of the frame with a market data type, and the type: live.
const MARKET_DATA_TYPE: i32 = 58;
const LIVE: i32 = 1;

/// What clients know of a stock's quote.
#[derive(Debug)]
pub(super) struct Told {
    bid: (Price, Quantity),
    ask: (Price, Quantity),
    at: Instant,
    /// Whether there is news that they don't know.
    news: bool,
}

impl Hub {
    pub(super) fn market_data(&mut self, session: u64, request: &MarketDataRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.directory.find(request.contract.as_ref()).cloned() else {
            return self.peer(session).error(id, 200, UNKNOWN);
        };
        let snapshot = request.snapshot.unwrap_or(false) || request.regulatory_snapshot.unwrap_or(false);
        let book = self.venue.book(stock.symbol).cloned();
        let peer = self.peer(session);
        if peer.quotes.contains_key(&id) {
            return peer.error(
                id,
                322,
                "Error processing request.-'bF' : cause - Duplicate ticker id",
            );
        }
        peer.send(
            MARKET_DATA_TYPE,
            &MarketDataType {
                req_id: Some(id),
                market_data_type: Some(LIVE),
            },
        );
        let step = stock.step.to_string();
        peer.send(
            81,
            &TickReqParams {
                req_id: Some(id),
                min_tick: Some(step),
                bbo_exchange: Some("9c0001".into()),
                snapshot_permissions: Some(3),
            },
        );
        if let Some(book) = book {
            all_of(peer, id, &book);
        }
        if snapshot {
            peer.send(57, &crate::message::market::TickSnapshotEnd { req_id: Some(id) });
            return;
        }
        peer.quotes.insert(id, stock.symbol);
        self.asked = Instant::now();
    }

    pub(super) fn real_time_bars(&mut self, session: u64, request: &RealTimeBarsRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.directory.find(request.contract.as_ref()) else {
            return self.peer(session).error(id, 200, UNKNOWN);
        };
        let symbol = stock.symbol;
        let what = request.what_to_show.as_deref().unwrap_or("TRADES");
        if what != "TRADES" {
            let text = format!(
                "Error validating request.-'bO' : cause - real-time bars of {what} are not served, use TRADES"
            );
            return self.peer(session).error(id, 321, &text);
        }
        let regular_only = request.use_rth.unwrap_or(false);
        let mut earlier = self.row_bars.get(&symbol).cloned().unwrap_or_default();
        earlier.retain(|bar| !regular_only || self.is_regular(bar));
        let peer = self.peer(session);
        if peer.bars.contains_key(&id) {
            return peer.error(
                id,
                322,
                "Error processing request.-'bO' : cause - Duplicate ticker id",
            );
        }
        // A replay first tells what it already told of the source bar in progress, so that none is torn.
        for bar in &earlier {
            peer.send(50, &five_seconds(id, bar));
        }
        peer.bars.insert(id, (symbol, regular_only));
        self.asked = Instant::now();
    }

    pub(super) fn tick_by_tick(&mut self, session: u64, request: &TickByTickRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.directory.find(request.contract.as_ref()) else {
            return self.peer(session).error(id, 200, UNKNOWN);
        };
        let symbol = stock.symbol;
        let kind = match request.tick_type.as_deref() {
            Some("Last") => TickKind::Last,
            Some("AllLast") => TickKind::AllLast,
            Some("BidAsk") => TickKind::BidAsk,
            Some("MidPoint") => TickKind::MidPoint,
            other => {
                let text =
                    format!("Error validating request.-'cn' : cause - tick type {other:?} is not known");
                return self.peer(session).error(id, 321, &text);
            }
        };
        self.peer(session).ticks.insert(id, (symbol, kind));
        self.asked = Instant::now();
    }

    /// A trade on the market.
    pub(super) fn tell_tick(&mut self, tick: &Tick) {
        if tick.opens_row {
            self.row_bars.remove(&tick.symbol);
        }
        let never = || Told {
            bid: Default::default(),
            ask: Default::default(),
            at: Instant::now() - QUOTE_INTERVAL,
            news: true,
        };
        self.quotes.entry(tick.symbol).or_insert_with(never).news = true;
        for peer in self.peers.values_mut() {
            let wanted: Vec<(i32, TickKind)> = peer
                .ticks
                .iter()
                .filter(|(_, (symbol, _))| *symbol == tick.symbol)
                .map(|(id, (_, kind))| (*id, *kind))
                .collect();
            for (id, kind) in wanted {
                peer.send(99, &one_by_one(id, kind, tick));
            }
        }
    }

    /// Five seconds of a stock are over.
    pub(super) fn tell_bar(&mut self, symbol: Symbol, bar: &Bar) {
        if matches!(self.clock, crate::clock::Clock::Past(_)) {
            self.row_bars.entry(symbol).or_default().push(bar.clone());
        }
        let regular = self.is_regular(bar);
        for peer in self.peers.values_mut() {
            let asked = peer
                .bars
                .iter()
                .filter(|(_, (of, regular_only))| *of == symbol && (regular || !regular_only));
            let wanted: Vec<i32> = asked.map(|(id, _)| *id).collect();
            for id in wanted {
                peer.send(50, &five_seconds(id, bar));
            }
        }
        self.tell_histories(symbol, bar);
    }

    fn is_regular(&self, bar: &Bar) -> bool {
        self.venue.market().calendar().phase(bar.start) == Phase::Regular
    }

    /// Quotes with news, as often as is allowed for each.
    pub(super) fn tell_quotes(&mut self) {
        let now = Instant::now();
        for (symbol, told) in self
            .quotes
            .iter_mut()
            .filter(|(_, told)| told.news && told.at + QUOTE_INTERVAL <= now)
        {
            let Some(book) = self.venue.book(*symbol) else {
                continue;
            };
            told.news = false;
            told.at = now;
            let bid = (book.tick.bid, book.tick.bid_size);
            let ask = (book.tick.ask, book.tick.ask_size);
            let (new_bid, new_ask) = (told.bid != bid, told.ask != ask);
            (told.bid, told.ask) = (bid, ask);
            for peer in self.peers.values_mut() {
                let wanted: Vec<i32> = peer
                    .quotes
                    .iter()
                    .filter(|(_, of)| *of == symbol)
                    .map(|(id, _)| *id)
                    .collect();
                for id in wanted {
                    if new_bid {
                        peer.send(1, &price(id, BID, bid.0, Some(bid.1)));
                    }
                    if new_ask {
                        peer.send(1, &price(id, ASK, ask.0, Some(ask.1)));
                    }
                    last_of(peer, id, book);
                }
            }
        }
    }

    /// When the next quote may be told that was held back.
    pub(super) fn quotes_due(&self) -> Option<Instant> {
        self.quotes
            .values()
            .filter(|told| told.news)
            .map(|told| told.at + QUOTE_INTERVAL)
            .min()
    }

    /// The stock of a request's contract, or the error that there is none.
    pub(super) fn stock(
        &mut self,
        session: u64,
        id: i32,
        contract: Option<&crate::message::shared::Contract>,
    ) -> Option<Stock> {
        let stock = self.directory.find(contract).cloned();
        if stock.is_none() {
            self.peer(session).error(id, 200, UNKNOWN);
        }
        stock
    }
}

/// The time, price and size of the last trade, and the day's volume.
fn last_of(peer: &mut Peer, id: i32, book: &Book) {
    let tick = &book.tick;
    let second = tick.at.as_second().to_string();
    peer.send(
        46,
        &TickString {
            req_id: Some(id),
            tick_type: Some(LAST_TIMESTAMP),
            value: Some(second),
        },
    );
    peer.send(1, &price(id, LAST, tick.price, Some(tick.size)));
    peer.send(
        2,
        &TickSize {
            req_id: Some(id),
            tick_type: Some(VOLUME),
            size: Some(text(book.volume)),
        },
    );
}

/// All that is known of a stock, for who asks anew.
fn all_of(peer: &mut Peer, id: i32, book: &Book) {
    let tick = &book.tick;
    peer.send(1, &price(id, BID, tick.bid, Some(tick.bid_size)));
    peer.send(1, &price(id, ASK, tick.ask, Some(tick.ask_size)));
    last_of(peer, id, book);
    for (kind, value) in [
        (OPEN, Some(book.open)),
        (HIGH, Some(book.high)),
        (LOW, Some(book.low)),
        (CLOSE, book.previous_close),
    ] {
        if let Some(value) = value {
            peer.send(1, &price(id, kind, value, None));
        }
    }
}

fn price(id: i32, kind: i32, price: Price, size: Option<Quantity>) -> TickPrice {
    TickPrice {
        req_id: Some(id),
        tick_type: Some(kind),
        price: Some(approximate(price)),
        size: size.map(text),
        attr_mask: Some(0),
    }
}

/// A decimal as the wire wants it: plain digits.
pub(super) fn text(value: Quantity) -> String {
    value.normalize().to_string()
}

fn five_seconds(id: i32, bar: &Bar) -> RealTimeBarTick {
    RealTimeBarTick {
        req_id: Some(id),
        time: Some(bar.start.as_second()),
        open: Some(approximate(bar.open)),
        high: Some(approximate(bar.high)),
        low: Some(approximate(bar.low)),
        close: Some(approximate(bar.close)),
        volume: Some(text(bar.volume)),
        average: Some(text(bar.average())),
        count: Some(bar.count),
    }
}

fn one_by_one(id: i32, kind: TickKind, tick: &Tick) -> TickByTickData {
    let time = Some(tick.at.as_second());
    let empty = TickByTickData {
        req_id: Some(id),
        ..TickByTickData::default()
    };
    match kind {
        TickKind::Last | TickKind::AllLast => TickByTickData {
            tick_type: Some(if kind == TickKind::Last { 1 } else { 2 }),
            last: Some(HistoricalTickLast {
                time,
                tick_attrib_last: Some(TickAttribLast {
                    past_limit: Some(false),
                    unreported: Some(false),
                }),
                price: Some(approximate(tick.price)),
                size: Some(text(tick.size)),
                exchange: Some("SMART".into()),
                special_conditions: Some(String::new()),
            }),
            ..empty
        },
        TickKind::BidAsk => TickByTickData {
            tick_type: Some(3),
            bid_ask: Some(HistoricalTickBidAsk {
                time,
                tick_attrib_bid_ask: Some(TickAttribBidAsk {
                    bid_past_low: Some(false),
                    ask_past_high: Some(false),
                }),
                price_bid: Some(approximate(tick.bid)),
                price_ask: Some(approximate(tick.ask)),
                size_bid: Some(text(tick.bid_size)),
                size_ask: Some(text(tick.ask_size)),
            }),
            ..empty
        },
        TickKind::MidPoint => TickByTickData {
            tick_type: Some(4),
            middle: Some(HistoricalTick {
                time,
                price: Some(approximate((tick.bid + tick.ask) / Quantity::TWO)),
                size: None,
            }),
            ..empty
        },
    }
}
