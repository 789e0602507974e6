//! Subscriptions to quotes and trades: who may see them, how many at a time, and what is told at once.

use std::collections::BTreeSet;

use engine::venue::calendar::Phase;
use engine::venue::market::Market;
use protocol::Symbol;
use tokio::time::Instant;

use super::Hub;
use super::lookup::{Lookup, What};
use super::quotes::{Burst, MARK, price, size};
use super::ticks::TICKS_MAX;
use crate::contracts::{Stock, UNKNOWN};
use crate::line::{Entitlement, Extras, Line, Service};
use crate::message::market::{MarketDataType, TickGeneric, TickReqParams, TickSnapshotEnd};
use crate::message::request::{MarketDataRequest, TickByTickRequest};
use crate::peer::{NO_REQUEST, Peer, TickKind, TickLine};
use crate::request::Cancel;

/// Stocks that may be followed trade by trade or in depth, and one more for each so many lines above that.
const DEEP_MIN: usize = 3;
const DEEP_MAX: usize = 60;
const LINES_FOR_ONE_DEEP: usize = 100;
/// Shares that can be borrowed of every stock.
const BORROWABLE: i64 = 1_000_000;

/// What IB says of a ticker id that is in use.
pub(super) fn duplicate(request: &str) -> String {
    format!("Error processing request.-'{request}' : cause - Duplicate ticker id")
}

impl Hub {
    pub(super) fn market_data(&mut self, session: u64, request: &MarketDataRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let snapshot = request.snapshot.unwrap_or(false) || request.regulatory_snapshot.unwrap_or(false);
        let list = request.generic_tick_list.as_deref().unwrap_or_default();
        let extras = match Extras::parse(list) {
            Ok(_) if snapshot && !list.trim().is_empty() => {
                Err("Snapshot market data subscription is not applicable to generic ticks".to_owned())
            }
            result => result,
        };
        let full = !snapshot && !self.has_line_for(stock.symbol);
        let entitled = self.rules.entitlement;
        let closed = self.is_closed();
        let is_it = |lookup: &Lookup| lookup.id == id && lookup.cancel() == Cancel::MarketData;
        let waits = self.is_asked(session, is_it);
        let peer = self.peer(session);
        let extras = match extras {
            Ok(extras) => extras,
            Err(text) => {
                let text = format!("Error validating request.-'bF' : cause - {text}");
                return peer.error(id, 321, &text);
            }
        };
        if waits || peer.quotes.contains(id) {
            return peer.error(id, 322, &duplicate("bF"));
        }
        if full {
            tracing::warn!("a client asks for more stocks than there are market data lines (--lines)");
            return peer.error(id, 101, "Max number of tickers has been reached");
        }
        let delayed = match entitled.serve(peer.data_type) {
            Service::Live => false,
            Service::Delayed => true,
            Service::Refused(code, text) => return peer.error(id, code, text),
        };
        let mut line = Line {
            delayed,
            frozen: peer.data_type.is_frozen(),
            told: 0,
            extras,
        };
        line.told = line.kind(closed);
        if (delayed || extras.statistics) && !peer.has_room_for_lookups() {
            let text = "Error processing request.-'bF' : cause - too many questions about the past wait";
            return peer.error(id, 322, text);
        }
        self.tell_at_once(session, id, &stock, &line);
        if delayed {
            self.begin_late(session, id, stock.symbol, snapshot);
        } else if snapshot {
            self.peer(session).send(57, &TickSnapshotEnd { req_id: Some(id) });
        }
        if !snapshot {
            self.peer(session).quotes.insert(id, stock.symbol, line);
            self.asked = Instant::now();
        }
    }

    /// What a new line begins with: what kind of data it carries, and all that is known of the stock; what is not,
    /// is looked up.
    fn tell_at_once(&mut self, session: u64, id: i32, stock: &Stock, line: &Line) {
        if line.delayed {
            let text = "Requested market data is not subscribed. Displaying delayed market data.";
            self.peer(session).error(id, 10167, text);
        }
        if line.extras.statistics {
            let (symbol, now) = (stock.symbol, self.venue.now());
            let what = What::Statistics { symbol, now };
            self.look_up(session, Lookup { id, what });
        }
        let peer = self.peer(session);
        tell_type(peer, id, line.told);
        let params = TickReqParams {
            req_id: Some(id),
            min_tick: Some(stock.step.to_string()),
            bbo_exchange: Some(BBO_EXCHANGE.into()),
            snapshot_permissions: Some(3),
        };
        peer.send(81, &params);
        let mut burst = Burst::default();
        if !line.delayed {
            self.tell_all(session, id, stock.symbol);
        }
        if let Some(book) = self.venue.book(stock.symbol).filter(|_| line.extras.mark) {
            burst.push(1, &price(MARK, book.tick.price, None));
        }
        if line.extras.shortable {
            // Above 2.5 means that plenty can be borrowed.
            let level = TickGeneric {
                req_id: None,
                tick_type: Some(46),
                value: Some(3.0),
            };
            burst.push(45, &level);
            burst.push(2, &size(89, BORROWABLE.into()));
        }
        burst.tell(self.peer(session), id);
    }

    pub(super) fn tick_by_tick(&mut self, session: u64, request: &TickByTickRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let symbol = stock.symbol;
        let kind = match request.tick_type.as_deref() {
            Some("Last") => TickKind::Last,
            Some("AllLast") => TickKind::AllLast,
            Some("BidAsk") => TickKind::BidAsk,
            Some("MidPoint") => TickKind::MidPoint,
            _ => {
                let text = "Error validating request.-'cn' : cause - tick type must be Last, AllLast, BidAsk or MidPoint";
                return self.peer(session).error(id, 321, text);
            }
        };
        // Ticks of the past come first, if some are asked for.
        let past = request.number_of_ticks.unwrap_or(0);
        if !(0..=TICKS_MAX).contains(&past) {
            let text = format!(
                "Error validating request.-'cn' : cause - the number of ticks must be at most {TICKS_MAX}"
            );
            return self.peer(session).error(id, 321, &text);
        }
        let full = !self.has_deep_line_for(symbol, |peer| peer.ticks.symbols());
        let entitled = self.rules.entitlement;
        let peer = self.peer(session);
        if peer.ticks.contains(id) {
            return peer.error(id, 322, &duplicate("cn"));
        }
        if entitled != Entitlement::Live {
            return peer.error(
                id,
                10189,
                "Failed to request tick-by-tick data.No market data permissions for this contract",
            );
        }
        if full {
            return peer.error(id, 10190, "Max number of tick-by-tick requests has been reached.");
        }
        let waits = past > 0;
        if waits && !peer.has_room_for_lookups() {
            let text = "Error processing request.-'cn' : cause - too many questions about the past wait";
            return peer.error(id, 322, text);
        }
        peer.ticks.insert(id, symbol, TickLine { kind, waits });
        self.asked = Instant::now();
        if waits {
            let what = What::Ticks {
                symbol,
                start: None,
                end: self.after_now(),
                most: usize::try_from(past).unwrap_or(1),
                regular_only: false,
                kind,
                live: true,
            };
            self.look_up(session, Lookup { id, what });
        }
    }

    /// Whether one more stock may be followed, or this one already is. A stock counts once, whoever follows it.
    pub(super) fn has_line_for(&self, symbol: Symbol) -> bool {
        let most = self.rules.lines;
        if self.directory.all().count() <= most {
            return true;
        }
        let quotes = self.peers.values().flat_map(|peer| peer.quotes.symbols());
        let bars = self.peers.values().flat_map(|peer| peer.bars.symbols());
        let followed: BTreeSet<Symbol> = quotes.chain(bars).collect();
        followed.contains(&symbol) || followed.len() < most
    }

    /// The same of a way to follow stocks that is open to few of them.
    pub(super) fn has_deep_line_for<'a, I: Iterator<Item = Symbol>>(
        &'a self,
        symbol: Symbol,
        symbols: impl Fn(&'a Peer) -> I,
    ) -> bool {
        let followed: BTreeSet<Symbol> = self.peers.values().flat_map(symbols).collect();
        followed.contains(&symbol) || followed.len() < self.rules.deep()
    }

    /// Whether nothing can be traded now.
    pub(super) fn is_closed(&self) -> bool {
        match self.venue.market() {
            Market::Synthetic(_) => false,
            Market::Replay(_) => self.venue.market().calendar().phase(self.venue.now()) == Phase::Closed,
        }
    }

    /// The market opened or closed: lines that know frozen quotes are told what they carry from now on.
    pub(super) fn tell_types(&mut self) {
        let closed = self.is_closed();
        for peer in self.peers.values_mut() {
            let mut changes = Vec::new();
            for (id, _, line) in peer.quotes.all_mut() {
                let kind = line.kind(closed);
                if kind != std::mem::replace(&mut line.told, kind) {
                    changes.push((id, kind));
                }
            }
            for (id, kind) in changes {
                tell_type(peer, id, kind);
            }
        }
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

/// The map of exchanges that quotes come from; request 83 asks what is behind it.
pub(super) const BBO_EXCHANGE: &str = "9c0001";

/// What a client may see and how much of it at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DataRules {
    pub(crate) entitlement: Entitlement,
    /// Most stocks followed at a time.
    pub(crate) lines: usize,
}

impl DataRules {
    /// Most stocks followed trade by trade, and most in depth.
    pub(super) fn deep(&self) -> usize {
        (self.lines / LINES_FOR_ONE_DEEP).clamp(DEEP_MIN, DEEP_MAX)
    }
}

fn tell_type(peer: &mut Peer, id: i32, kind: i32) {
    let told = MarketDataType {
        req_id: Some(id),
        market_data_type: Some(kind),
    };
    peer.send(58, &told);
}
