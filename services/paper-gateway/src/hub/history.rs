//! Bars of the past, the schedule of sessions, and the first instant of which there is data.

use crate::number::approximate;
use engine::venue::bars::{self, Bar, BarSize, PUSHED_SECONDS};
use engine::venue::calendar;
use jiff::ToSpan;
use protocol::{Symbol, Timestamp};

use super::Hub;
use super::prices::text;
use crate::message::market::{
    HeadTimestamp, HistoricalData, HistoricalDataBar, HistoricalDataEnd, HistoricalDataUpdate,
    HistoricalSchedule, HistoricalSession,
};
use crate::message::request::{HeadTimestampRequest, HistoricalDataRequest};
use crate::peer::{LiveHistory, NO_REQUEST};
use crate::times;

/// Most bars in one answer.
const BARS_MAX: usize = 50_000;
/// Longest stretch of time that one request may name, in days: 30 years.
const DAYS_MAX: i64 = 11_000;

/// What a request for bars means.
struct Query {
    symbol: Symbol,
    size: BarSize,
    from: Timestamp,
    to: Timestamp,
    regular_only: bool,
    as_text: bool,
}

impl Hub {
    pub(super) fn historical_data(&mut self, session: u64, request: &HistoricalDataRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let mut query = match self.query(stock.symbol, request) {
            Ok(query) => query,
            Err(text) => {
                let text = format!("Error validating request.-'bN' : cause - {text}");
                return self.peer(session).error(id, 321, &text);
            }
        };
        match request.what_to_show.as_deref().unwrap_or("TRADES") {
            "TRADES" | "ADJUSTED_LAST" | "MIDPOINT" | "BID" | "ASK" => {}
            "SCHEDULE" => return self.schedule(session, id, &query),
            other => {
                let text =
                    format!("Historical Market Data Service error message:bars of {other} are not kept here");
                return self.peer(session).error(id, 162, &text);
            }
        }
        let live = request.keep_up_to_date.unwrap_or(false);
        if live {
            // The five seconds in progress are told when they are over.
            query.to = bars::floor(query.to, PUSHED_SECONDS);
        }
        let bars = self.bars(&query);
        if bars.is_empty() && !live {
            let text = format!(
                "Historical Market Data Service error message:HMDS query returned no data: {}@SMART Trades",
                query.symbol
            );
            return self.peer(session).error(id, 162, &text);
        }
        let written = bars.iter().map(|bar| written(bar, query.size, query.as_text));
        let data = HistoricalData {
            req_id: Some(id),
            historical_data_bars: written.collect(),
        };
        let end = HistoricalDataEnd {
            req_id: Some(id),
            start_date_str: Some(times::with_zone(query.from)),
            end_date_str: Some(times::with_zone(query.to)),
        };
        let last = bars.last().cloned();
        let peer = self.peer(session);
        peer.send(17, &data);
        peer.send(108, &end);
        if live {
            let bar = last.filter(|bar| bar.start == query.size.start(query.to));
            let Query {
                symbol,
                size,
                as_text,
                ..
            } = query;
            peer.histories
                .insert(id, symbol, LiveHistory { size, as_text, bar });
            self.asked = tokio::time::Instant::now();
        }
    }

    fn query(&self, symbol: Symbol, request: &HistoricalDataRequest) -> Result<Query, String> {
        let size = bar_size(request.bar_size_setting.as_deref().unwrap_or_default())?;
        let now = self.venue.now();
        let to = match request
            .end_date_time
            .as_deref()
            .filter(|text| !text.trim().is_empty())
        {
            None => now,
            // Nobody is told what is yet to come.
            Some(text) => times::parse(text)
                .ok_or_else(|| format!("`{text}` is no end time"))?
                .min(now),
        };
        let from = self.from(request.duration.as_deref().unwrap_or_default(), to)?;
        let from = size.start(from);
        let regular_only = request.use_rth.unwrap_or(false);
        Ok(Query {
            symbol,
            size,
            from,
            to,
            regular_only,
            as_text: request.format_date == Some(1),
        })
    }

    /// The begin of a duration such as `2 D` that ends at `to`. A day is a day of trading.
    fn from(&self, duration: &str, to: Timestamp) -> Result<Timestamp, String> {
        let refuse = || format!("`{duration}` is no duration such as 3600 S, 2 D, 1 W, 6 M or 1 Y");
        let (count, unit) = duration.trim().split_once(' ').ok_or_else(refuse)?;
        let count: i64 = count
            .parse()
            .ok()
            .filter(|count| (1..=100_000_000).contains(count))
            .ok_or_else(refuse)?;
        let last = calendar::local(to).date();
        let day = match unit {
            "S" => {
                let start = to.as_second() - count.min(DAYS_MAX * 86_400);
                return Timestamp::from_second(start).map_err(|_| refuse());
            }
            "D" => {
                let calendar = self.venue.market().calendar();
                let (mut day, mut left) = (last, count);
                for back in 0..=DAYS_MAX {
                    day = last.checked_sub(back.days()).map_err(|_| refuse())?;
                    left -= i64::from(calendar.trades_on(day));
                    if left == 0 {
                        break;
                    }
                }
                day
            }
            "W" => last
                .checked_sub((count * 7).min(DAYS_MAX).days())
                .map_err(|_| refuse())?,
            "M" => last
                .checked_sub(count.min(DAYS_MAX / 31).months())
                .map_err(|_| refuse())?,
            "Y" => last
                .checked_sub(count.min(DAYS_MAX / 366).years())
                .map_err(|_| refuse())?,
            _ => return Err(refuse()),
        };
        Ok(calendar::midnight(day))
    }

    fn bars(&self, query: &Query) -> Vec<Bar> {
        let market = self.venue.market();
        let Query {
            symbol,
            size,
            from,
            to,
            ..
        } = *query;
        // An answer that would be longer than allowed keeps its end.
        let earliest = to
            .as_second()
            .saturating_sub(size.seconds().saturating_mul(BARS_MAX as i64));
        let from = Timestamp::from_second(earliest).map_or(from, |earliest| from.max(size.start(earliest)));
        let mut bars = market.bars(symbol, from, to, size);
        if query.regular_only && !size.is_dated() {
            let regular = |bar: &Bar| {
                let session = market.calendar().regular(calendar::local(bar.start).date());
                session.is_some_and(|session| bar.start >= session.open && bar.start < session.close)
            };
            bars.retain(regular);
        }
        bars
    }

    fn schedule(&mut self, session: u64, id: i32, query: &Query) {
        let market = self.venue.market().calendar();
        let (mut date, last) = (
            calendar::local(query.from).date(),
            calendar::local(query.to).date(),
        );
        let mut sessions = Vec::new();
        while date <= last {
            let hours = if query.regular_only {
                market.regular(date)
            } else {
                market.extended(date)
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
        let schedule = HistoricalSchedule {
            req_id: Some(id),
            start_date_time: Some(times::dashed(query.from)),
            end_date_time: Some(times::dashed(query.to)),
            time_zone: Some(times::ZONE.into()),
            historical_sessions: sessions,
        };
        self.peer(session).send(106, &schedule);
    }

    pub(super) fn head_timestamp(&mut self, session: u64, request: &HeadTimestampRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let Some(first) = self.venue.market().first(stock.symbol) else {
            return self.peer(session).error(
                id,
                162,
                "Historical Market Data Service error message:No head time stamp",
            );
        };
        let head_timestamp = match request.format_date {
            Some(1) => times::dashed(first),
            _ => first.as_second().to_string(),
        };
        self.peer(session).send(
            88,
            &HeadTimestamp {
                req_id: Some(id),
                head_timestamp: Some(head_timestamp),
            },
        );
    }

    /// Five seconds are over for those whose history goes on.
    pub(super) fn tell_histories(&mut self, symbol: Symbol, five: &Bar) {
        for peer in self.peers.values_mut() {
            let mut updates = Vec::new();
            for (id, live) in peer.histories.of_mut(symbol) {
                let start = live.size.start(five.start);
                match &mut live.bar {
                    Some(bar) if bar.start == start => bar.absorb(five),
                    bar => {
                        *bar = Some(Bar {
                            start,
                            ..five.clone()
                        })
                    }
                }
                let told = live.bar.as_ref().map(|bar| written(bar, live.size, live.as_text));
                updates.push(HistoricalDataUpdate {
                    req_id: Some(id),
                    historical_data_bar: told,
                });
            }
            for update in updates {
                peer.send(90, &update);
            }
        }
    }
}

fn written(bar: &Bar, size: BarSize, as_text: bool) -> HistoricalDataBar {
    let date = match (size.is_dated(), as_text) {
        (true, _) => times::date(calendar::local(bar.start).date()),
        (false, true) => times::with_zone(bar.start),
        (false, false) => bar.start.as_second().to_string(),
    };
    HistoricalDataBar {
        date: Some(date),
        open: Some(approximate(bar.open)),
        high: Some(approximate(bar.high)),
        low: Some(approximate(bar.low)),
        close: Some(approximate(bar.close)),
        volume: Some(text(bar.volume)),
        average: Some(text(bar.average())),
        bar_count: Some(bar.count),
    }
}

/// The bar sizes that IB knows.
fn bar_size(name: &str) -> Result<BarSize, String> {
    let seconds = match name {
        "1 secs" | "1 sec" => 1,
        "5 secs" => 5,
        "10 secs" => 10,
        "15 secs" => 15,
        "30 secs" => 30,
        "1 min" => 60,
        "2 mins" => 120,
        "3 mins" => 180,
        "5 mins" => 300,
        "10 mins" => 600,
        "15 mins" => 900,
        "20 mins" => 1200,
        "30 mins" => 1800,
        "1 hour" => 3600,
        "2 hours" => 7200,
        "3 hours" => 10_800,
        "4 hours" => 14_400,
        "8 hours" => 28_800,
        "1 day" => return Ok(BarSize::Day),
        "1 week" => return Ok(BarSize::Week),
        "1 month" => return Ok(BarSize::Month),
        _ => {
            return Err(format!(
                "`{name}` is no bar size, for example 5 secs, 1 min, 1 hour or 1 day"
            ));
        }
    };
    Ok(BarSize::Seconds(seconds))
}
