//! Prices pushed to clients: five-second bars, trades one by one, and who asks for quotes.

use crate::number::approximate;
use engine::venue::bars::Bar;
use engine::venue::calendar::Phase;
use engine::venue::history::Show;
use engine::venue::market::{Market, Tick};
use prost::Message;
use protocol::{Quantity, Symbol};
use tokio::time::Instant;

use super::Hub;
use super::history::{shown, volume_of};
use super::lines::duplicate;
use crate::contracts::UNKNOWN;
use crate::line::Entitlement;
use crate::message::market::{
    HistoricalTick, HistoricalTickBidAsk, HistoricalTickLast, RealTimeBarTick, TickAttribBidAsk,
    TickAttribLast, TickByTickData,
};
use crate::message::request::RealTimeBarsRequest;
use crate::peer::{BarLine, NO_REQUEST, Peer, TickKind};

impl Hub {
    pub(super) fn real_time_bars(&mut self, session: u64, request: &RealTimeBarsRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.directory.find(request.contract.as_ref()) else {
            return self.peer(session).error(id, 200, UNKNOWN);
        };
        let symbol = stock.symbol;
        let show = match request.what_to_show.as_deref().unwrap_or_default() {
            "" | "TRADES" => Show::Trades,
            "BID" => Show::Bid,
            "ASK" => Show::Ask,
            "MIDPOINT" => Show::Middle,
            _ => {
                let text = "Error validating request.-'bO' : cause - real-time bars are TRADES, MIDPOINT, BID or ASK";
                return self.peer(session).error(id, 321, text);
            }
        };
        let regular_only = request.use_rth.unwrap_or(false);
        let mut earlier = self.row_bars.get(&symbol).cloned().unwrap_or_default();
        earlier.retain(|bar| show == Show::Trades && (!regular_only || self.is_regular(bar)));
        let full = !self.has_line_for(symbol);
        let entitled = self.rules.entitlement;
        let peer = self.peer(session);
        if peer.bars.contains(id) {
            return peer.error(id, 322, &duplicate("bO"));
        }
        if entitled != Entitlement::Live {
            let text = "Invalid Real-time Query:No market data permissions for this contract";
            return peer.error(id, 420, text);
        }
        if full {
            tracing::warn!("a client asks for more stocks than there are market data lines (--lines)");
            return peer.error(id, 101, "Max number of tickers has been reached");
        }
        // A replay first tells what it already told of the source bar in progress, so that none is torn.
        for bar in &earlier {
            peer.send(50, &five_seconds(Some(id), bar, show));
        }
        peer.bars.insert(id, symbol, BarLine { show, regular_only });
        self.asked = Instant::now();
    }

    /// A trade on the market.
    pub(super) fn tell_tick(&mut self, tick: &Tick) {
        if tick.opens_row {
            self.row_bars.remove(&tick.symbol);
        }
        self.quotes.changed(tick.symbol);
        for peer in self.peers.values_mut() {
            let lines = peer.ticks.of(tick.symbol).filter(|(_, line)| !line.waits);
            let wanted: Vec<(i32, TickKind)> = lines.map(|(id, line)| (id, line.kind)).collect();
            for (id, kind) in wanted {
                peer.send(99, &one_by_one(id, kind, tick));
            }
        }
    }

    /// Five seconds of a stock are over.
    pub(super) fn tell_bar(&mut self, symbol: Symbol, bar: &Bar) {
        if matches!(self.venue.market(), Market::Replay(_)) {
            self.row_bars.entry(symbol).or_default().push(bar.clone());
        }
        let regular = self.is_regular(bar);
        for show in [Show::Trades, Show::Middle, Show::Bid, Show::Ask] {
            let wants = |line: &BarLine| line.show == show && (regular || !line.regular_only);
            // Quotes of five seconds are many trades looked at: once for all who are told of them.
            let is_wanted = |peer: &Peer| {
                peer.bars.of(symbol).any(|(_, line)| wants(line))
                    || peer.histories.of(symbol).any(|(_, live)| live.show == show)
            };
            if !self.peers.values().any(is_wanted) {
                continue;
            }
            let Some(bar) = shown(self.venue.market(), symbol, bar, show) else {
                continue;
            };
            let rest = five_seconds(None, &bar, show).encode_to_vec();
            for peer in self.peers.values_mut() {
                let asked = peer.bars.of(symbol).filter(|(_, line)| wants(line));
                for id in asked.map(|(id, _)| id).collect::<Vec<i32>>() {
                    peer.send_numbered(50, id, &rest);
                }
            }
            self.tell_histories(symbol, show, &bar);
        }
    }

    pub(super) fn is_regular(&self, bar: &Bar) -> bool {
        self.venue.market().calendar().phase(bar.start) == Phase::Regular
    }
}

/// A decimal as the wire wants it: plain digits.
pub(super) fn text(value: Quantity) -> String {
    value.normalize().to_string()
}

fn five_seconds(req_id: Option<i32>, bar: &Bar, show: Show) -> RealTimeBarTick {
    let (volume, average, count) = volume_of(bar, show);
    RealTimeBarTick {
        req_id,
        time: Some(bar.start.as_second()),
        open: Some(approximate(bar.open)),
        high: Some(approximate(bar.high)),
        low: Some(approximate(bar.low)),
        close: Some(approximate(bar.close)),
        volume: Some(volume),
        average: Some(average),
        count: Some(count),
    }
}

/// A trade or a quote, to who follows them one by one.
pub(super) fn one_by_one(id: i32, kind: TickKind, tick: &Tick) -> TickByTickData {
    let empty = TickByTickData {
        req_id: Some(id),
        ..TickByTickData::default()
    };
    match kind {
        TickKind::Last | TickKind::AllLast => TickByTickData {
            tick_type: Some(if kind == TickKind::Last { 1 } else { 2 }),
            last: Some(last(tick)),
            ..empty
        },
        TickKind::BidAsk => TickByTickData {
            tick_type: Some(3),
            bid_ask: Some(bid_ask(tick)),
            ..empty
        },
        TickKind::MidPoint => TickByTickData {
            tick_type: Some(4),
            middle: Some(middle(tick)),
            ..empty
        },
    }
}

/// A trade.
pub(super) fn last(tick: &Tick) -> HistoricalTickLast {
    HistoricalTickLast {
        time: Some(tick.at.as_second()),
        tick_attrib_last: Some(TickAttribLast {
            past_limit: Some(false),
            unreported: Some(false),
        }),
        price: Some(approximate(tick.price)),
        size: Some(text(tick.size)),
        exchange: Some("SMART".into()),
        special_conditions: Some(String::new()),
    }
}

/// The quote after a trade.
pub(super) fn bid_ask(tick: &Tick) -> HistoricalTickBidAsk {
    HistoricalTickBidAsk {
        time: Some(tick.at.as_second()),
        tick_attrib_bid_ask: Some(TickAttribBidAsk {
            bid_past_low: Some(false),
            ask_past_high: Some(false),
        }),
        price_bid: Some(approximate(tick.bid)),
        price_ask: Some(approximate(tick.ask)),
        size_bid: Some(text(tick.bid_size)),
        size_ask: Some(text(tick.ask_size)),
    }
}

/// The middle of the quote after a trade.
pub(super) fn middle(tick: &Tick) -> HistoricalTick {
    HistoricalTick {
        time: Some(tick.at.as_second()),
        price: Some(approximate((tick.bid + tick.ask) / Quantity::TWO)),
        size: None,
    }
}
