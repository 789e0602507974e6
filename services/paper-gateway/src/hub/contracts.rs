//! Answers about stocks: their details with trading hours, names that match, steps of prices.

use crate::number::approximate;
use engine::venue::calendar::{self, Session};
use jiff::ToSpan;

use super::Hub;
use crate::contracts::{RULE_CENT, RULE_PENNY, Stock};
use crate::message::market::{
    ContractData, ContractDataEnd, ContractDescription, MarketRule, PriceIncrement, SymbolSamples,
};
use crate::message::request::{ContractDataRequest, MarketRuleRequest, MatchingSymbolsRequest};
use crate::message::shared::ContractDetails;
use crate::peer::NO_REQUEST;
use crate::times;

/// Days of trading hours that are told, today included.
const HOURS_DAYS: i64 = 7;
/// Most names that are told as matching.
const MATCHES_MAX: usize = 16;
const ORDER_TYPES: &str = "DAY,FOK,GTC,GTD,IOC,LIT,LMT,LOC,MIT,MKT,MOC,OUTSIDERTH,STP,STPLMT,TRAIL,\
                          TRAILLMT,WHATIF";

impl Hub {
    pub(super) fn contract_data(&mut self, session: u64, request: &ContractDataRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let details = self.details(&stock);
        let data = ContractData {
            req_id: Some(id),
            contract: Some(stock.contract()),
            contract_details: Some(details),
        };
        let peer = self.peer(session);
        peer.send(10, &data);
        peer.send(52, &ContractDataEnd { req_id: Some(id) });
    }

    fn details(&self, stock: &Stock) -> ContractDetails {
        let calendar = self.venue.market().calendar();
        let one = || Some("1".to_owned());
        ContractDetails {
            market_name: Some("NMS".into()),
            min_tick: Some(stock.step.to_string()),
            order_types: Some(ORDER_TYPES.into()),
            valid_exchanges: Some(format!("SMART,{}", stock.exchange)),
            price_magnifier: Some(1),
            long_name: Some(stock.symbol.broker_text()),
            time_zone_id: Some(times::ZONE.into()),
            trading_hours: Some(self.hours(|date| calendar.extended(date))),
            liquid_hours: Some(self.hours(|date| calendar.regular(date))),
            sec_id_list: [("ISIN".to_owned(), stock.isin())].into(),
            market_rule_ids: Some(format!("{0},{0}", stock.market_rule())),
            stock_type: Some("COMMON".into()),
            min_size: one(),
            size_increment: one(),
            suggested_size_increment: Some("100".into()),
            ..ContractDetails::default()
        }
    }

    /// The sessions of the coming days, as IB writes them.
    fn hours(&self, session: impl Fn(jiff::civil::Date) -> Option<Session>) -> String {
        let today = calendar::local(self.venue.now()).date();
        let days = (0..HOURS_DAYS).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        let written = days.map(|date| match session(date) {
            Some(session) => format!("{}-{}", times::hour(session.open), times::hour(session.close)),
            None => format!("{}:CLOSED", times::date(date)),
        });
        written.collect::<Vec<_>>().join(";")
    }

    pub(super) fn matching_symbols(&mut self, session: u64, request: &MatchingSymbolsRequest) {
        let pattern = request
            .pattern
            .as_deref()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let matching = self
            .directory
            .all()
            .filter(|stock| stock.symbol.broker_text().starts_with(&pattern));
        let found = matching.take(MATCHES_MAX).map(|stock| ContractDescription {
            contract: Some(stock.contract()),
            derivative_sec_types: Vec::new(),
        });
        let samples = SymbolSamples {
            req_id: request.req_id,
            contract_descriptions: found.collect(),
        };
        self.peer(session).send(79, &samples);
    }

    pub(super) fn market_rule(&mut self, session: u64, request: &MarketRuleRequest) {
        let id = request.market_rule_id.unwrap_or(0);
        let increment = match id {
            RULE_CENT => 0.01,
            RULE_PENNY => 0.0001,
            _ => {
                let text = format!("Error validating request.-'cf' : cause - market rule {id} is not known");
                return self.peer(session).error(NO_REQUEST, 321, &text);
            }
        };
        let price_increments = vec![PriceIncrement {
            low_edge: Some(approximate(0.into())),
            increment: Some(increment),
        }];
        self.peer(session).send(
            93,
            &MarketRule {
                market_rule_id: Some(id),
                price_increments,
            },
        );
    }
}
