//! Questions about the past and their answers, which are a lot of work: what a year of bars takes would hold
//! everybody else up. An answer is a function of the question and of a market that nobody changes.

use std::collections::BTreeMap;

use bytes::BytesMut;
use engine::venue::bars::Bar;
use engine::venue::book::Book;
use engine::venue::calendar;
use engine::venue::history::Query;
use engine::venue::market::{Market, Tick};
use engine::venue::past::book_at;
use jiff::ToSpan;
use prost::Message;
use protocol::{Price, Quantity, Symbol, Timestamp};

use super::history;
use super::prices::{self, text};
use super::quotes::{PRICE, SIZE, price, size};
use super::statistics::{AVERAGE_VOLUME, statistics};
use crate::message::market::{
    HistoricalData, HistoricalDataEnd, HistoricalSchedule, HistoricalSession, HistoricalTick, TickPrice,
    TickSize,
};
use crate::message::other::{
    Histogram, HistogramEntry, HistoricalTicks, HistoricalTicksBidAsk, HistoricalTicksLast,
};
use crate::number::approximate;
use crate::peer::{LiveHistory, TickKind};
use crate::request::Cancel;
use crate::span::{self, Refusal};
use crate::{times, wire};

/// A question about the past.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    /// The number of the request.
    pub(crate) id: i32,
    pub(crate) what: What,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Bars {
        query: Query,
        /// What the bars are made of, in the client's words.
        of: String,
        /// Whether times are told as text.
        as_text: bool,
        /// Whether it goes on.
        live: bool,
    },
    Schedule(Query),
    Ticks {
        symbol: Symbol,
        /// The first instant; without one, the last ticks before the end are told.
        start: Option<Timestamp>,
        end: Timestamp,
        most: usize,
        regular_only: bool,
        kind: TickKind,
        /// Whether those to come follow, one by one.
        live: bool,
    },
    Histogram {
        query: Query,
        /// Decimal places of a price.
        places: u32,
    },
    /// Prices and volume of the weeks before an instant.
    Statistics {
        symbol: Symbol,
        now: Timestamp,
    },
    /// How a delayed quote begins, and whether it ends at once.
    Late {
        symbol: Symbol,
        at: Timestamp,
        snapshot: bool,
    },
}

/// The frames of an answer, and what goes on after it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) frames: Vec<BytesMut>,
    pub(crate) live: Option<LiveHistory>,
    /// The book that a delayed quote begins with.
    pub(crate) book: Option<Book>,
}

impl Lookup {
    /// What cancels it.
    pub(super) fn cancel(&self) -> Cancel {
        match self.what {
            What::Bars { .. } | What::Schedule(_) => Cancel::Historical,
            What::Ticks { live: true, .. } => Cancel::TickByTick,
            What::Ticks { .. } => Cancel::HistoricalTicks,
            What::Histogram { .. } => Cancel::Histogram,
            What::Statistics { .. } | What::Late { .. } => Cancel::MarketData,
        }
    }

    /// Whether it is a history that goes on.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.what, What::Bars { live: true, .. })
    }

    /// The answer, or why there is none.
    pub(super) fn answer(&self, market: &Market) -> Result<Found, Refusal> {
        match &self.what {
            What::Bars {
                query,
                of,
                as_text,
                live,
            } => self.bars(market, query, of, (*as_text, *live)),
            What::Schedule(query) => Ok(made(106, &self.schedule(market, query))),
            What::Ticks { .. } => Ok(self.ticks(market)),
            What::Histogram { query, places } => self.histogram(market, query, *places),
            What::Statistics { symbol, now } => Ok(self.statistics(market, *symbol, *now)),
            What::Late { symbol, at, .. } => Ok(Found {
                book: book_at(market, *symbol, *at),
                ..Found::default()
            }),
        }
    }

    fn bars(
        &self,
        market: &Market,
        query: &Query,
        of: &str,
        (as_text, live): (bool, bool),
    ) -> Result<Found, Refusal> {
        let bars = query.answer(market);
        if bars.is_empty() && !live {
            let text = format!("HMDS query returned no data: {}@SMART {of}", query.symbol);
            return Err(span::unavailable(text));
        }
        let written = bars
            .iter()
            .map(|bar| history::written(bar, query.size, query.show, as_text));
        let data = HistoricalData {
            req_id: Some(self.id),
            historical_data_bars: written.collect(),
        };
        let end = HistoricalDataEnd {
            req_id: Some(self.id),
            start_date_str: Some(times::with_zone(query.from)),
            end_date_str: Some(times::with_zone(query.to)),
        };
        let mut found = made(17, &data);
        found.frames.extend(made(108, &end).frames);
        let in_progress = |bar: &Bar| query.size.start(bar.start) == query.size.start(query.to);
        found.live = live.then(|| LiveHistory {
            size: query.size,
            show: query.show,
            regular_only: query.regular_only,
            as_text,
            bar: bars.last().filter(|bar| in_progress(bar)).cloned(),
        });
        Ok(found)
    }

    fn schedule(&self, market: &Market, query: &Query) -> HistoricalSchedule {
        let calendar = market.calendar();
        let (mut date, last) = (
            calendar::local(query.from).date(),
            calendar::local(query.to).date(),
        );
        let mut sessions = Vec::new();
        while date <= last {
            let hours = if query.regular_only {
                calendar.regular(date)
            } else {
                calendar.extended(date)
            };
            if let Some(hours) = hours {
                sessions.push(HistoricalSession {
                    start_date_time: Some(times::dashed(hours.open)),
                    end_date_time: Some(times::dashed(hours.close)),
                    ref_date: Some(times::date(date)),
                });
            }
            let Ok(next) = date.checked_add(1.day()) else {
                break;
            };
            date = next;
        }
        HistoricalSchedule {
            req_id: Some(self.id),
            start_date_time: Some(times::dashed(query.from)),
            end_date_time: Some(times::dashed(query.to)),
            time_zone: Some(times::ZONE.into()),
            historical_sessions: sessions,
        }
    }

    fn ticks(&self, market: &Market) -> Found {
        let What::Ticks {
            symbol,
            start,
            end,
            most,
            regular_only,
            kind,
            ..
        } = self.what
        else {
            return Found::default();
        };
        let ticks = match start {
            Some(start) => market.ticks(symbol, start, end, most, regular_only),
            None => market.ticks_before(symbol, end, most, regular_only),
        };
        let (req_id, is_done) = (Some(self.id), Some(true));
        match kind {
            TickKind::Last | TickKind::AllLast => {
                let ticks = ticks.iter().map(prices::last).collect();
                made(
                    98,
                    &HistoricalTicksLast {
                        req_id,
                        ticks,
                        is_done,
                    },
                )
            }
            TickKind::BidAsk => {
                let ticks = ticks.iter().map(prices::bid_ask).collect();
                made(
                    97,
                    &HistoricalTicksBidAsk {
                        req_id,
                        ticks,
                        is_done,
                    },
                )
            }
            TickKind::MidPoint => {
                let middle = |tick: &Tick| HistoricalTick {
                    size: Some("0".into()),
                    ..prices::middle(tick)
                };
                let ticks = ticks.iter().map(middle).collect();
                made(
                    96,
                    &HistoricalTicks {
                        req_id,
                        ticks,
                        is_done,
                    },
                )
            }
        }
    }

    fn statistics(&self, market: &Market, symbol: Symbol, now: Timestamp) -> Found {
        let req_id = Some(self.id);
        let values = statistics(market, symbol, now).into_iter();
        let frames = values.map(|(kind, value)| match kind {
            AVERAGE_VOLUME => framed(
                SIZE,
                &TickSize {
                    req_id,
                    ..size(kind, value)
                },
            ),
            kind => framed(
                PRICE,
                &TickPrice {
                    req_id,
                    ..price(kind, value, None)
                },
            ),
        });
        Found {
            frames: frames.collect(),
            ..Found::default()
        }
    }

    fn histogram(&self, market: &Market, query: &Query, places: u32) -> Result<Found, Refusal> {
        let mut sizes: BTreeMap<Price, Quantity> = BTreeMap::new();
        for bar in query.answer(market) {
            *sizes.entry(bar.average().round_dp(places)).or_default() += bar.volume;
        }
        if sizes.is_empty() {
            return Err(span::unavailable("no histogram data"));
        }
        let entry = |(price, size): (Price, Quantity)| HistogramEntry {
            price: Some(approximate(price)),
            size: Some(text(size)),
        };
        let histogram = Histogram {
            req_id: Some(self.id),
            entries: sizes.into_iter().map(entry).collect(),
        };
        Ok(made(89, &histogram))
    }
}

/// An answer of one message.
fn made(number: i32, message: &impl Message) -> Found {
    Found {
        frames: vec![framed(number, message)],
        ..Found::default()
    }
}

fn framed(number: i32, message: &impl Message) -> BytesMut {
    let mut frame = BytesMut::new();
    wire::put_frame(&mut frame, number, message);
    frame
}
