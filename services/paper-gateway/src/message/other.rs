//! Answers about depth, ticks of the past, and what a broker says of things that are not traded here.

use super::market::{HistoricalTick, HistoricalTickBidAsk, HistoricalTickLast};

/// A level of a book that came, changed or went.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MarketDepthData {
    #[prost(int32, optional, tag = "1")]
    pub(crate) position: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) operation: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub(crate) side: Option<i32>,
    #[prost(double, optional, tag = "4")]
    pub(crate) price: Option<f64>,
    #[prost(string, optional, tag = "5")]
    pub(crate) size: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) market_maker: Option<String>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) is_smart_depth: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MarketDepth {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) market_depth_data: Option<MarketDepthData>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DepthExchange {
    #[prost(string, optional, tag = "1")]
    pub(crate) exchange: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) sec_type: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) listing_exch: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) service_data_type: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DepthExchanges {
    #[prost(message, repeated, tag = "1")]
    pub(crate) descriptions: Vec<DepthExchange>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalTicks {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) ticks: Vec<HistoricalTick>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) is_done: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalTicksBidAsk {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) ticks: Vec<HistoricalTickBidAsk>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) is_done: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalTicksLast {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) ticks: Vec<HistoricalTickLast>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) is_done: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistogramEntry {
    #[prost(double, optional, tag = "1")]
    pub(crate) price: Option<f64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) size: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Histogram {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<HistogramEntry>,
}

/// An answer that is one text, whose first field is no request id: the scanner's parameters.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, optional, tag = "1")]
    pub(crate) text: Option<String>,
}

/// An answer of a request id and a text: groups of a display, say.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NumberedText {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) text: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FamilyCode {
    #[prost(string, optional, tag = "1")]
    pub(crate) account_id: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) family_code: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FamilyCodes {
    #[prost(message, repeated, tag = "1")]
    pub(crate) codes: Vec<FamilyCode>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SmartComponent {
    #[prost(int32, optional, tag = "1")]
    pub(crate) bit: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) exchange: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) letter: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SmartComponents {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) components: Vec<SmartComponent>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoricalNewsEnd {
    #[prost(int32, optional, tag = "1")]
    pub(crate) req_id: Option<i32>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) has_more: Option<bool>,
}
