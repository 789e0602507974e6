//! Requests for bars of the past and the schedule of sessions; histories that go on; the first instant of which there
//! is data.

use crate::number::approximate;
use engine::venue::bars::{Bar, BarSize, PUSHED_SECONDS};
use engine::venue::calendar::{self, Calendar, Phase};
use engine::venue::history::{Query, Show};
use engine::venue::market::Market;
use jiff::ToSpan;
use protocol::{Symbol, Timestamp};

use super::Hub;
use super::lines::duplicate;
use super::lookup::{Lookup, What};
use super::prices::text;
use crate::message::market::{HeadTimestamp, HistoricalDataBar, HistoricalDataUpdate};
use crate::message::request::{HeadTimestampRequest, HistoricalDataRequest};
use crate::peer::{LiveHistory, NO_REQUEST};
use crate::span::{self, Duration, Refusal, Unit};
use crate::times;

/// Trading days looked back at for a duration in days: a year of them, and some.
const DAYS_BACK_MAX: i64 = 600;
/// Hours of a trading day, regular and extended, in tenths.
const REGULAR_TENTH_HOURS: i64 = 65;
const EXTENDED_TENTH_HOURS: i64 = 160;

impl Hub {
    pub(super) fn historical_data(&mut self, session: u64, request: &HistoricalDataRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let of = request.what_to_show.as_deref().unwrap_or_default();
        let what = span::show(of).and_then(|show| self.wanted(stock.symbol, request, show));
        let what = match what {
            Ok(what) => what,
            Err((code, text)) => return self.peer(session).error(id, code, &text),
        };
        if matches!(what, What::Bars { live: true, .. }) && self.has_history(session, id) {
            return self.peer(session).error(id, 322, &duplicate("bN"));
        }
        self.look_up(session, Lookup { id, what });
    }

    fn wanted(
        &self,
        symbol: Symbol,
        request: &HistoricalDataRequest,
        show: Option<Show>,
    ) -> Result<What, Refusal> {
        let size = span::bar_size(request.bar_size_setting.as_deref().unwrap_or_default())?;
        let duration = Duration::parse(request.duration.as_deref().unwrap_or_default())?;
        let live = request.keep_up_to_date.unwrap_or(false);
        let end = request
            .end_date_time
            .as_deref()
            .filter(|text| !text.trim().is_empty());
        let is_adjusted = request.what_to_show.as_deref() == Some("ADJUSTED_LAST");
        if is_adjusted && end.is_some() {
            return Err(span::invalid("End Date not supported with adjusted last."));
        }
        if live && end.is_some() {
            return Err(span::invalid("End Date not supported with keepUpToDate."));
        }
        if live
            && (size.seconds() < PUSHED_SECONDS
                || is_adjusted
                || show.is_none_or(|show| show == Show::BidAsk))
        {
            return Err(span::invalid(
                "keepUpToDate needs TRADES, MIDPOINT, BID or ASK in bars of 5 seconds or longer",
            ));
        }
        let now = self.venue.now();
        let mut to = match end {
            None => now,
            // Nobody is told what is yet to come.
            Some(text) => times::parse(text)
                .ok_or_else(|| span::invalid(format!("Invalid date/time: `{}`", span::said(text))))?
                .min(now),
        };
        if live {
            // The five seconds in progress are told when they are over.
            to = self.five_seconds_ago();
        }
        let regular_only = request.use_rth.unwrap_or(false);
        let from = size.start(self.begin(duration, to)?);
        let first = self.venue.market().first(symbol).unwrap_or(from);
        if show.is_some() {
            duration.allow(size)?;
            self.allow_length(from.max(first), to, size, regular_only)?;
        }
        let query = Query {
            symbol,
            from,
            to,
            size,
            show: show.unwrap_or(Show::Trades),
            regular_only,
        };
        if show.is_none() {
            return Ok(What::Schedule(query));
        }
        let of = request.what_to_show.clone().filter(|of| !of.is_empty());
        Ok(What::Bars {
            query,
            of: of.unwrap_or_else(|| "TRADES".into()),
            as_text: request.format_date == Some(1),
            live,
        })
    }

    /// Refuses what would be too many bars, before any is made.
    pub(super) fn allow_length(
        &self,
        from: Timestamp,
        to: Timestamp,
        size: BarSize,
        regular_only: bool,
    ) -> Result<(), Refusal> {
        let seconds = to.as_second().saturating_sub(from.as_second()).max(0);
        let open = match self.venue.market().calendar() {
            Calendar::Always => seconds,
            Calendar::Days(_) if regular_only => seconds / 7 * 5 / 240 * REGULAR_TENTH_HOURS,
            Calendar::Days(_) => seconds / 7 * 5 / 240 * EXTENDED_TENTH_HOURS,
        };
        let trades = match self.venue.market() {
            Market::Synthetic(market) => market.trades_in(open, size),
            Market::Replay(_) => 0,
        };
        if open / size.seconds() > span::BARS_MAX || trades > span::TRADES_MAX {
            return Err(span::unavailable("Time length exceed max."));
        }
        Ok(())
    }

    /// The begin of a duration that ends at `to`. A day is a day of trading.
    pub(super) fn begin(&self, duration: Duration, to: Timestamp) -> Result<Timestamp, Refusal> {
        let refuse = |_| span::invalid("the duration begins before time");
        let Duration { count, unit } = duration;
        let last = calendar::local(to).date();
        let day = match unit {
            Unit::Seconds => {
                let start = to.as_second().saturating_sub(count);
                return Timestamp::from_second(start).map_err(refuse);
            }
            Unit::Days => {
                let calendar = self.venue.market().calendar();
                let (mut day, mut left) = (last, count);
                for back in 0..=DAYS_BACK_MAX {
                    day = last.checked_sub(back.days()).map_err(refuse)?;
                    left -= i64::from(calendar.trades_on(day));
                    if left == 0 {
                        break;
                    }
                }
                day
            }
            Unit::Weeks => last.checked_sub(count.weeks()).map_err(refuse)?,
            Unit::Months => last.checked_sub(count.months()).map_err(refuse)?,
            Unit::Years => last.checked_sub(count.years()).map_err(refuse)?,
        };
        Ok(calendar::midnight(day))
    }

    pub(super) fn head_timestamp(&mut self, session: u64, request: &HeadTimestampRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let show = match span::show(request.what_to_show.as_deref().unwrap_or_default()) {
            Ok(None) => Err(span::invalid("a schedule has no head time stamp")),
            show => show,
        };
        if let Err((code, text)) = show {
            return self.peer(session).error(id, code, &text);
        }
        let Some(first) = self.venue.market().first(stock.symbol) else {
            return self.peer(session).error(
                id,
                162,
                "Historical Market Data Service error message:No head time stamp",
            );
        };
        let head_timestamp = match request.format_date {
            Some(1) => times::universal(first),
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

    /// Five seconds are over for those whose history of such bars goes on.
    pub(super) fn tell_histories(&mut self, symbol: Symbol, show: Show, five: &Bar) {
        let calendar = self.venue.market().calendar();
        for peer in self.peers.values_mut() {
            let histories = peer.histories.of_mut(symbol);
            let updates: Vec<_> = histories
                .filter(|(_, live)| live.show == show)
                .filter_map(|(id, live)| Some((id, update(calendar, live, five)?)))
                .collect();
            for (id, bar) in updates {
                peer.send(90, &updated(id, bar));
            }
        }
    }
}

/// Takes five seconds of what is shown into a history that goes on: its bar in progress, unless those don't count.
pub(super) fn update(calendar: &Calendar, live: &mut LiveHistory, five: &Bar) -> Option<HistoricalDataBar> {
    let mut start = live.size.start(five.start);
    if live.regular_only {
        if calendar.phase(five.start) != Phase::Regular {
            return None;
        }
        let session = calendar.regular(calendar::local(five.start).date());
        if let (Some(session), false) = (session, live.size.is_dated()) {
            start = start.max(session.open);
        }
    }
    match &mut live.bar {
        Some(bar) if bar.start == start => bar.absorb(five),
        bar => {
            *bar = Some(Bar {
                start,
                ..five.clone()
            })
        }
    }
    let bar = live.bar.as_ref()?;
    Some(written(bar, live.size, live.show, live.as_text))
}

/// The message that tells a bar in progress.
pub(super) fn updated(id: i32, bar: HistoricalDataBar) -> HistoricalDataUpdate {
    HistoricalDataUpdate {
        req_id: Some(id),
        historical_data_bar: Some(bar),
    }
}

/// Five seconds of trades, or of the quotes of the same time.
pub(super) fn shown(market: &Market, symbol: Symbol, five: &Bar, show: Show) -> Option<Bar> {
    if show == Show::Trades {
        return Some(five.clone());
    }
    let query = Query {
        symbol,
        from: five.start,
        to: Timestamp::from_second(five.start.as_second() + PUSHED_SECONDS).ok()?,
        size: BarSize::Seconds(PUSHED_SECONDS),
        show,
        regular_only: false,
    };
    query.answer(market).pop()
}

pub(super) fn written(bar: &Bar, size: BarSize, show: Show, as_text: bool) -> HistoricalDataBar {
    let date = match (size.is_dated(), as_text) {
        (true, _) => times::date(calendar::local(bar.start).date()),
        (false, true) => times::with_zone(bar.start),
        (false, false) => bar.start.as_second().to_string(),
    };
    let (volume, average, count) = volume_of(bar, show);
    HistoricalDataBar {
        date: Some(date),
        open: Some(approximate(bar.open)),
        high: Some(approximate(bar.high)),
        low: Some(approximate(bar.low)),
        close: Some(approximate(bar.close)),
        volume: Some(volume),
        average: Some(average),
        bar_count: Some(count),
    }
}

/// Volume, average price and number of trades; quotes have none of them.
pub(super) fn volume_of(bar: &Bar, show: Show) -> (String, String, i32) {
    match show {
        Show::Trades => (text(bar.volume), text(bar.average()), bar.count),
        _ => ("-1".into(), "-1".into(), -1),
    }
}
