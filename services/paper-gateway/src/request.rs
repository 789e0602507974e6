//! What a client can ask, decoded once at the socket. What is not known here is refused by its number.

use bytes::Bytes;
use prost::{DecodeError, Message};
use tokio::sync::OwnedSemaphorePermit;

use crate::message::request::{
    AccountDataRequest, AccountRequest, AccountSummaryRequest, AccountUpdatesMultiRequest,
    AutoOpenOrdersRequest, CancelOrderRequest, CompletedOrdersRequest, ContractDataRequest, Empty,
    ExecutionRequest, HeadTimestampRequest, HistogramRequest, HistoricalDataRequest, HistoricalTicksRequest,
    MarketDataRequest, MarketDataTypeRequest, MarketDepthRequest, MarketRuleRequest, MatchingSymbolsRequest,
    Numbered, PlaceOrderRequest, PnLSingleRequest, RealTimeBarsRequest, StartApiRequest, TickByTickRequest,
};

/// Number of the request that must come first.
pub(crate) const START_API: i32 = 71;

/// A request on its way to the hub.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) number: i32,
    pub(crate) request: Box<Request>,
    /// Its length on the wire.
    pub(crate) bytes: usize,
    /// Its place among those of its client that the hub has not taken up yet, free again when it is dropped.
    pub(crate) place: OwnedSemaphorePermit,
}

/// One request.
#[derive(Debug)]
pub(crate) enum Request {
    StartApi(StartApiRequest),
    CurrentTime,
    CurrentTimeInMillis,
    Ids,
    ManagedAccounts,
    AccountSummary(AccountSummaryRequest),
    AccountData(AccountDataRequest),
    Positions,
    CancelPositions,
    PositionsMulti(AccountRequest),
    AccountUpdatesMulti(AccountUpdatesMultiRequest),
    PnL(AccountRequest),
    PnLSingle(PnLSingleRequest),
    ContractData(ContractDataRequest),
    MatchingSymbols(MatchingSymbolsRequest),
    MarketRule(MarketRuleRequest),
    MarketDataType(MarketDataTypeRequest),
    MarketData(MarketDataRequest),
    TickByTick(TickByTickRequest),
    RealTimeBars(RealTimeBarsRequest),
    HistoricalData(HistoricalDataRequest),
    HeadTimestamp(HeadTimestampRequest),
    HistoricalTicks(HistoricalTicksRequest),
    Histogram(HistogramRequest),
    MarketDepth(MarketDepthRequest),
    PlaceOrder(Box<PlaceOrderRequest>),
    CancelOrder(CancelOrderRequest),
    GlobalCancel,
    OpenOrders,
    AllOpenOrders,
    AutoOpenOrders(AutoOpenOrdersRequest),
    CompletedOrders(CompletedOrdersRequest),
    Executions(ExecutionRequest),
    UserInfo(Numbered),
    /// The end of what the request of this number began.
    Cancel(Cancel, Numbered),
    /// Nothing that needs an answer.
    Ignored,
    /// A request that is not served here, and its request id where it has one.
    Unknown(i32, Option<i32>),
}

/// What a cancel ends: a number of one kind of request is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    MarketData,
    Historical,
    HistoricalTicks,
    Histogram,
    RealTimeBars,
    Depth,
    TickByTick,
    Summary,
    PositionsMulti,
    AccountUpdatesMulti,
    PnL,
    PnLSingle,
}

/// Requests not served here whose first field is no request id.
const WITHOUT_REQUEST_ID: [i32; 10] = [12, 18, 24, 65, 66, 72, 73, 80, 82, 85];

impl Request {
    /// The number of a request that goes on until it is cancelled.
    pub(crate) fn goes_on(&self) -> Option<i32> {
        match self {
            Self::MarketData(request) => request.req_id,
            Self::TickByTick(request) => request.req_id,
            Self::RealTimeBars(request) => request.req_id,
            Self::MarketDepth(request) => request.req_id,
            Self::HistoricalData(request) => request.req_id.filter(|_| request.keep_up_to_date == Some(true)),
            Self::PositionsMulti(request) => request.req_id,
            Self::AccountUpdatesMulti(request) => request.req_id,
            Self::PnL(request) => request.req_id,
            Self::PnLSingle(request) => request.req_id,
            _ => None,
        }
    }

    /// Decodes the body of a message.
    pub(crate) fn decode(number: i32, body: Bytes) -> Result<Self, DecodeError> {
        let cancel = |kind| Numbered::decode(body.clone()).map(|numbered| Self::Cancel(kind, numbered));
        Ok(match number {
            START_API => Self::StartApi(Message::decode(body)?),
            49 => Self::CurrentTime,
            105 => Self::CurrentTimeInMillis,
            8 => Self::Ids,
            17 => Self::ManagedAccounts,
            62 => Self::AccountSummary(Message::decode(body)?),
            6 => Self::AccountData(Message::decode(body)?),
            61 => Self::Positions,
            64 => Self::CancelPositions,
            74 => Self::PositionsMulti(Message::decode(body)?),
            76 => Self::AccountUpdatesMulti(Message::decode(body)?),
            92 => Self::PnL(Message::decode(body)?),
            94 => Self::PnLSingle(Message::decode(body)?),
            9 => Self::ContractData(Message::decode(body)?),
            81 => Self::MatchingSymbols(Message::decode(body)?),
            91 => Self::MarketRule(Message::decode(body)?),
            59 => Self::MarketDataType(Message::decode(body)?),
            1 => Self::MarketData(Message::decode(body)?),
            97 => Self::TickByTick(Message::decode(body)?),
            50 => Self::RealTimeBars(Message::decode(body)?),
            20 => Self::HistoricalData(Message::decode(body)?),
            87 => Self::HeadTimestamp(Message::decode(body)?),
            96 => Self::HistoricalTicks(Message::decode(body)?),
            88 => Self::Histogram(Message::decode(body)?),
            10 => Self::MarketDepth(Message::decode(body)?),
            3 => Self::PlaceOrder(Box::new(Message::decode(body)?)),
            4 => Self::CancelOrder(Message::decode(body)?),
            58 => Self::GlobalCancel,
            5 => Self::OpenOrders,
            16 => Self::AllOpenOrders,
            15 => Self::AutoOpenOrders(Message::decode(body)?),
            99 => Self::CompletedOrders(Message::decode(body)?),
            7 => Self::Executions(Message::decode(body)?),
            104 => Self::UserInfo(Message::decode(body)?),
            2 => cancel(Cancel::MarketData)?,
            25 => cancel(Cancel::Historical)?,
            51 => cancel(Cancel::RealTimeBars)?,
            11 => cancel(Cancel::Depth)?,
            93 => cancel(Cancel::PnL)?,
            95 => cancel(Cancel::PnLSingle)?,
            89 => cancel(Cancel::Histogram)?,
            107 => cancel(Cancel::HistoricalTicks)?,
            63 => cancel(Cancel::Summary)?,
            75 => cancel(Cancel::PositionsMulti)?,
            77 => cancel(Cancel::AccountUpdatesMulti)?,
            98 => cancel(Cancel::TickByTick)?,
            // Cancels of what is not served here or is answered at once, and the log level of a server.
            13 | 14 | 23 | 53 | 56 | 57 | 70 | 90 | 101 | 103 | 106 => Self::Ignored,
            unknown if WITHOUT_REQUEST_ID.contains(&unknown) => {
                Empty::decode(body)?;
                Self::Unknown(unknown, None)
            }
            // A body that holds something else in its first field has no request id to answer to.
            unknown => Self::Unknown(
                unknown,
                Numbered::decode(body).ok().and_then(|numbered| numbered.req_id),
            ),
        })
    }
}
