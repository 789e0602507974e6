//! Answers about contracts and prices.

use super::shared::{Contract, ContractDetails};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContractData {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) contract: Option<Contract>,
    #[prost(message, optional, tag = "3")]
    pub(crate) contract_details: Option<ContractDetails>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContractDataEnd {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContractDescription {
    #[prost(message, optional, tag = "1")]
    pub(crate) contract: Option<Contract>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) derivative_sec_types: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SymbolSamples {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) contract_descriptions: Vec<ContractDescription>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PriceIncrement {
    #[prost(double, optional, tag = "1")]
    pub(crate) low_edge: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub(crate) increment: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MarketRule {
    #[prost(int32, optional, tag = "1")]
    pub(crate) market_rule_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) price_increments: Vec<PriceIncrement>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MarketDataType {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) market_data_type: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickReqParams {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) min_tick: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) bbo_exchange: Option<String>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) snapshot_permissions: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickPrice {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) tick_type: Option<i32>,
    #[prost(double, optional, tag = "3")]
    pub(crate) price: Option<f64>,
    #[prost(string, optional, tag = "4")]
    pub(crate) size: Option<String>,
    #[prost(int32, optional, tag = "5")]
    pub(crate) attr_mask: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickSize {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) tick_type: Option<i32>,
    #[prost(string, optional, tag = "3")]
    pub(crate) size: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickGeneric {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) tick_type: Option<i32>,
    #[prost(double, optional, tag = "3")]
    pub(crate) value: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickString {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) tick_type: Option<i32>,
    #[prost(string, optional, tag = "3")]
    pub(crate) value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickSnapshotEnd {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalTick {
    #[prost(int64, optional, tag = "1")]
    pub(crate) time: Option<i64>,
    #[prost(double, optional, tag = "2")]
    pub(crate) price: Option<f64>,
    #[prost(string, optional, tag = "3")]
    pub(crate) size: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickAttribLast {
    #[prost(bool, optional, tag = "1")]
    pub(crate) past_limit: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) unreported: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickAttribBidAsk {
    #[prost(bool, optional, tag = "1")]
    pub(crate) bid_past_low: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) ask_past_high: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalTickLast {
    #[prost(int64, optional, tag = "1")]
    pub(crate) time: Option<i64>,
    #[prost(message, optional, tag = "2")]
    pub(crate) tick_attrib_last: Option<TickAttribLast>,
    #[prost(double, optional, tag = "3")]
    pub(crate) price: Option<f64>,
    #[prost(string, optional, tag = "4")]
    pub(crate) size: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) exchange: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) special_conditions: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalTickBidAsk {
    #[prost(int64, optional, tag = "1")]
    pub(crate) time: Option<i64>,
    #[prost(message, optional, tag = "2")]
    pub(crate) tick_attrib_bid_ask: Option<TickAttribBidAsk>,
    #[prost(double, optional, tag = "3")]
    pub(crate) price_bid: Option<f64>,
    #[prost(double, optional, tag = "4")]
    pub(crate) price_ask: Option<f64>,
    #[prost(string, optional, tag = "5")]
    pub(crate) size_bid: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) size_ask: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RealTimeBarTick {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int64, optional, tag = "2")]
    pub(crate) time: Option<i64>,
    #[prost(double, optional, tag = "3")]
    pub(crate) open: Option<f64>,
    #[prost(double, optional, tag = "4")]
    pub(crate) high: Option<f64>,
    #[prost(double, optional, tag = "5")]
    pub(crate) low: Option<f64>,
    #[prost(double, optional, tag = "6")]
    pub(crate) close: Option<f64>,
    #[prost(string, optional, tag = "7")]
    pub(crate) volume: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub(crate) average: Option<String>,
    #[prost(int32, optional, tag = "9")]
    pub(crate) count: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalDataBar {
    #[prost(string, optional, tag = "1")]
    pub(crate) date: Option<String>,
    #[prost(double, optional, tag = "2")]
    pub(crate) open: Option<f64>,
    #[prost(double, optional, tag = "3")]
    pub(crate) high: Option<f64>,
    #[prost(double, optional, tag = "4")]
    pub(crate) low: Option<f64>,
    #[prost(double, optional, tag = "5")]
    pub(crate) close: Option<f64>,
    #[prost(string, optional, tag = "6")]
    pub(crate) volume: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub(crate) average: Option<String>,
    #[prost(int32, optional, tag = "8")]
    pub(crate) bar_count: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalData {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) historical_data_bars: Vec<HistoricalDataBar>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalDataEnd {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) start_date_str: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) end_date_str: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalDataUpdate {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) historical_data_bar: Option<HistoricalDataBar>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HeadTimestamp {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) head_timestamp: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalSession {
    #[prost(string, optional, tag = "1")]
    pub(crate) start_date_time: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) end_date_time: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) ref_date: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalSchedule {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) start_date_time: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) end_date_time: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) time_zone: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) historical_sessions: Vec<HistoricalSession>,
}

/// Exactly one of the three is there, as the tick's type says.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TickByTickData {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) tick_type: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<HistoricalTickLast>,
    #[prost(message, optional, tag = "4")]
    pub(crate) bid_ask: Option<HistoricalTickBidAsk>,
    #[prost(message, optional, tag = "5")]
    pub(crate) middle: Option<HistoricalTick>,
}
