//! How deep the books are: told whole at first, then level by level as it changes.

use engine::venue::depth::{Depth, LEVELS, Level};
use protocol::Symbol;
use tokio::time::Instant;

use super::Hub;
use super::lines::duplicate;
use super::prices::text;
use super::quotes::Burst;
use crate::line::Entitlement;
use crate::message::other::{MarketDepth, MarketDepthData};
use crate::message::request::MarketDepthRequest;
use crate::number::approximate;
use crate::peer::NO_REQUEST;

/// Numbers of the frames: a book of one exchange, and one that names the exchange of each level.
const PLAIN: i32 = 12;
const NAMED: i32 = 13;
/// What happens to a level, and the sides.
const INSERT: i32 = 0;
const UPDATE: i32 = 1;
const DELETE: i32 = 2;
const ASK: i32 = 0;
const BID: i32 = 1;

/// A client's subscription to a book.
#[derive(Debug)]
pub(crate) struct DepthLine {
    rows: usize,
    smart: bool,
    told: Depth,
}

impl Hub {
    pub(super) fn market_depth(&mut self, session: u64, request: &MarketDepthRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let rows = request.num_rows.unwrap_or(1);
        let full = !self.has_deep_line_for(stock.symbol, |peer| peer.depths.symbols());
        let most = self.rules.deep();
        let entitled = self.rules.entitlement;
        let peer = self.peer(session);
        if peer.depths.contains(id) {
            return peer.error(id, 322, &duplicate("bJ"));
        }
        let Some(rows) = usize::try_from(rows).ok().filter(|rows| *rows > 0) else {
            let text = "Error validating request.-'bJ' : cause - the number of rows must be above zero";
            return peer.error(id, 321, text);
        };
        if entitled != Entitlement::Live {
            return peer.error(id, 354, "Requested market data is not subscribed.");
        }
        if full {
            let text = format!("Max number ({most}) of market depth requests has been reached");
            return peer.error(id, 309, &text);
        }
        let line = DepthLine {
            rows: rows.min(LEVELS),
            smart: request.is_smart_depth.unwrap_or(false),
            told: Depth::default(),
        };
        peer.depths.insert(id, stock.symbol, line);
        self.asked = Instant::now();
        self.tell_depth(stock.symbol);
    }

    /// Levels of a stock that changed, to those who follow them. While no prices get through, what clients know stands.
    pub(super) fn tell_depth(&mut self, symbol: Symbol) {
        let mut trouble = self.trouble.iter();
        if trouble.any(|trouble| trouble.weather.hides_prices())
            || !self.peers.values().any(|peer| peer.depths.follows(symbol))
        {
            return;
        }
        let Some(now) = self.venue.levels(symbol) else {
            return;
        };
        let exchange = self.directory.get(symbol).map_or("SMART", |stock| stock.exchange);
        for peer in self.peers.values_mut() {
            let mut depths = std::mem::take(&mut peer.depths);
            for (id, line) in depths.of_mut(symbol) {
                let mut burst = Burst::default();
                let sides = [
                    (BID, &now.bids, &mut line.told.bids),
                    (ASK, &now.asks, &mut line.told.asks),
                ];
                for (side, now, told) in sides {
                    let now = &now[..now.len().min(line.rows)];
                    for change in changes(side, told, now) {
                        burst.push(
                            if line.smart { NAMED } else { PLAIN },
                            &named(change, line.smart, exchange),
                        );
                    }
                    *told = now.to_vec();
                }
                burst.tell(peer, id);
            }
            peer.depths = depths;
        }
    }
}

/// What turns the levels that a client knows into those of now.
fn changes(side: i32, told: &[Level], now: &[Level]) -> Vec<MarketDepthData> {
    let change = |place: usize, operation: i32, level: &Level| MarketDepthData {
        position: i32::try_from(place).ok(),
        operation: Some(operation),
        side: Some(side),
        price: Some(approximate(level.price)),
        size: Some(text(level.size)),
        ..MarketDepthData::default()
    };
    let mut changes = Vec::new();
    for (place, level) in now.iter().enumerate() {
        match told.get(place) {
            None => changes.push(change(place, INSERT, level)),
            Some(known) if known != level => changes.push(change(place, UPDATE, level)),
            Some(_) => {}
        }
    }
    // From the end, so that no level moves up while another one still has to go.
    for (place, level) in told.iter().enumerate().skip(now.len()).rev() {
        changes.push(change(place, DELETE, level));
    }
    changes
}

fn named(change: MarketDepthData, smart: bool, exchange: &str) -> MarketDepth {
    let change = MarketDepthData {
        market_maker: smart.then(|| exchange.to_owned()),
        is_smart_depth: smart.then_some(true),
        ..change
    };
    MarketDepth {
        req_id: None,
        market_depth_data: Some(change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: i64, size: i64) -> Level {
        Level {
            price: price.into(),
            size: size.into(),
        }
    }

    #[test]
    fn changes_turn_one_book_into_the_next() {
        let told = [level(10, 1), level(9, 2), level(8, 3)];
        let operations = |now: &[Level]| -> Vec<(Option<i32>, Option<i32>)> {
            let changes = changes(BID, &told, now);
            changes
                .into_iter()
                .map(|change| (change.operation, change.position))
                .collect()
        };
        assert_eq!(operations(&told), []);
        assert_eq!(
            operations(&[level(10, 1), level(9, 5)]),
            [(Some(UPDATE), Some(1)), (Some(DELETE), Some(2))]
        );
        assert_eq!(
            operations(&[told[0], told[1], told[2], level(7, 1)]),
            [(Some(INSERT), Some(3))]
        );
        assert_eq!(operations(&[]).len(), 3);
    }
}
