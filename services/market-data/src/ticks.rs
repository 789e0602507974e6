//! The broker library's ticks and bars as the machine's, numbers untouched.

use engine::market::bars::RawBar;
use engine::market::quotes::{Field, Tick};
use ibapi::contracts::tick_types::TickType;
use ibapi::market_data::MarketDataType;
use ibapi::market_data::historical::{self, BarTimestamp};
use ibapi::market_data::realtime::{self, TickTypes};
use jiff::Timestamp;
use time::OffsetDateTime;

/// A tick that the machine cares about.
pub fn tick(tick: &TickTypes) -> Option<Tick> {
    match tick {
        TickTypes::Price(tick) => price(tick.tick_type, tick.price, None),
        TickTypes::PriceSize(tick) => price(tick.price_tick_type, tick.price, Some(tick.size)),
        TickTypes::Size(tick) => {
            let field = match tick.tick_type {
                TickType::BidSize | TickType::DelayedBidSize => Field::Bid,
                TickType::AskSize | TickType::DelayedAskSize => Field::Ask,
                _ => return None,
            };
            Some(Tick::Size {
                field,
                size: tick.size,
            })
        }
        TickTypes::String(tick) if tick.tick_type == TickType::LastTimestamp => {
            let second = tick.value.trim().parse().ok()?;
            Timestamp::from_second(second).ok().map(Tick::LastTime)
        }
        TickTypes::Generic(tick) if tick.tick_type == TickType::Halted => {
            Some(Tick::Halted(tick.value > 0.0))
        }
        TickTypes::MarketDataType(kind) => Some(Tick::Live(*kind == MarketDataType::Realtime)),
        _ => None,
    }
}

fn price(kind: TickType, price: f64, size: Option<f64>) -> Option<Tick> {
    let (field, delayed) = match kind {
        TickType::Bid => (Field::Bid, false),
        TickType::Ask => (Field::Ask, false),
        TickType::Last => (Field::Last, false),
        TickType::Close => (Field::PreviousClose, false),
        TickType::DelayedBid => (Field::Bid, true),
        TickType::DelayedAsk => (Field::Ask, true),
        TickType::DelayedLast => (Field::Last, true),
        TickType::DelayedClose => (Field::PreviousClose, true),
        _ => return None,
    };
    Some(Tick::Price {
        field,
        price,
        size,
        delayed,
    })
}

/// Five seconds of trades.
pub fn live_bar(bar: &realtime::Bar) -> Option<RawBar> {
    let start = instant(bar.date)?;
    Some(RawBar {
        start,
        open: bar.open,
        high: bar.high,
        low: bar.low,
        close: bar.close,
        volume: bar.volume,
    })
}

/// A bar of history. A dated one starts at midnight UTC, where bars of a day are cut.
pub fn past_bar(bar: &historical::Bar) -> Option<RawBar> {
    let start = match bar.date {
        BarTimestamp::DateTime(at) => instant(at)?,
        BarTimestamp::Date(date) => instant(date.midnight().assume_utc())?,
    };
    Some(RawBar {
        start,
        open: bar.open,
        high: bar.high,
        low: bar.low,
        close: bar.close,
        volume: bar.volume,
    })
}

/// The broker library's instant as ours.
pub fn instant(at: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_nanosecond(at.unix_timestamp_nanos()).ok()
}
