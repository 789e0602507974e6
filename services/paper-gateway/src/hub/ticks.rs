//! Requests for trades and quotes of the past one by one, and for how much traded at which price.

use engine::venue::bars::BarSize;
use engine::venue::history::{Query, Show};
use protocol::{Symbol, Timestamp};

use super::Hub;
use super::lookup::{Found, Lookup, What};
use super::prices::one_by_one;
use crate::message::request::{HistogramRequest, HistoricalTicksRequest};
use crate::peer::{NO_REQUEST, TickKind};
use crate::span::{Duration, said};
use crate::times;

/// Most ticks of the past in one answer.
pub(super) const TICKS_MAX: i32 = 1000;

impl Hub {
    pub(super) fn historical_ticks(&mut self, session: u64, request: &HistoricalTicksRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let (start, end, most) = match self.tick_range(request) {
            Ok(range) => range,
            Err(text) => {
                let text = format!("Error validating request.-'cm' : cause - {text}");
                return self.peer(session).error(id, 321, &text);
            }
        };
        let kind = match request.what_to_show.as_deref().unwrap_or("TRADES") {
            "TRADES" => TickKind::AllLast,
            "BID_ASK" => TickKind::BidAsk,
            "MIDPOINT" => TickKind::MidPoint,
            _ => {
                let text = "Error validating request.-'cm' : cause - ticks are TRADES, BID_ASK or MIDPOINT";
                return self.peer(session).error(id, 321, text);
            }
        };
        let what = What::Ticks {
            symbol: stock.symbol,
            start,
            end,
            most,
            regular_only: request.use_rth.unwrap_or(false),
            kind,
            live: false,
        };
        self.look_up(session, Lookup { id, what });
    }

    /// The first instant, where it is given, the one after the last, and how many ticks are wanted.
    fn tick_range(
        &self,
        request: &HistoricalTicksRequest,
    ) -> Result<(Option<Timestamp>, Timestamp, usize), String> {
        let named = |field: &Option<String>| field.clone().filter(|text| !text.trim().is_empty());
        let read = |text: String| times::parse(&text).ok_or_else(|| format!("`{}` is no time", said(&text)));
        let count = request.number_of_ticks.unwrap_or(0);
        if !(1..=TICKS_MAX).contains(&count) {
            return Err(format!("the number of ticks must be between 1 and {TICKS_MAX}"));
        }
        let now = self.after_now();
        let (start, end) = match (named(&request.start_date_time), named(&request.end_date_time)) {
            (Some(start), None) => (Some(read(start)?), now),
            // Nobody is told what is yet to come.
            (None, Some(end)) => (None, read(end)?.min(now)),
            _ => return Err("give either a start or an end time".into()),
        };
        Ok((start, end, usize::try_from(count).unwrap_or(1)))
    }

    /// The end of the past: what was told a moment ago is of it.
    pub(super) fn after_now(&self) -> Timestamp {
        let now = self.venue.now();
        Timestamp::from_nanosecond(now.as_nanosecond() + 1).unwrap_or(now)
    }

    /// Tells a client the trades or quotes of the past that it asked for before those to come, and those that came
    /// meanwhile.
    pub(super) fn begin_ticks(
        &mut self,
        session: u64,
        id: i32,
        found: &Found,
        (symbol, end): (Symbol, Timestamp),
    ) {
        let missed = self
            .venue
            .market()
            .ticks(symbol, end, self.after_now(), usize::MAX, false);
        let peer = self.peer(session);
        let Some(line) = peer.ticks.get_mut(id).filter(|line| line.waits) else {
            return;
        };
        line.waits = false;
        let kind = line.kind;
        found.frames.iter().for_each(|frame| peer.send_made(frame));
        for tick in &missed {
            peer.send(99, &one_by_one(id, kind, tick));
        }
    }

    pub(super) fn histogram(&mut self, session: u64, request: &HistogramRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let Some(stock) = self.stock(session, id, request.contract.as_ref()) else {
            return;
        };
        let now = self.venue.now();
        let period = period(request.time_period.as_deref().unwrap_or_default());
        let begin = period.and_then(|(duration, size)| Some((self.begin(duration, now).ok()?, size)));
        let Some((from, size)) = begin else {
            let text = "Error validating request.-'cg' : cause - the period must be such as 3 days";
            return self.peer(session).error(id, 321, text);
        };
        let regular_only = request.use_rth.unwrap_or(false);
        let first = self.venue.market().first(stock.symbol).unwrap_or(from);
        if let Err((code, text)) = self.allow_length(from.max(first), now, size, regular_only) {
            return self.peer(session).error(id, code, &text);
        }
        let query = Query {
            symbol: stock.symbol,
            from,
            to: now,
            size,
            show: Show::Trades,
            regular_only,
        };
        let places = stock.step.scale();
        self.look_up(
            session,
            Lookup {
                id,
                what: What::Histogram { query, places },
            },
        );
    }
}

/// A period such as `3 days`, and bars fine enough for it.
fn period(text: &str) -> Option<(Duration, BarSize)> {
    let (count, unit) = text.trim().split_once(' ')?;
    let (unit, times, size) = match unit.trim().trim_end_matches('s') {
        "sec" | "second" => ("S", 1, BarSize::Seconds(1)),
        "min" | "minute" => ("S", 60, BarSize::Seconds(5)),
        "hour" => ("S", 3600, BarSize::Seconds(60)),
        "day" => ("D", 1, BarSize::Seconds(300)),
        "week" => ("W", 1, BarSize::Seconds(3600)),
        "month" => ("M", 1, BarSize::Seconds(14_400)),
        "year" => ("Y", 1, BarSize::Day),
        _ => return None,
    };
    let count = count.parse::<i64>().ok()?.checked_mul(times)?;
    Some((Duration::parse(&format!("{count} {unit}")).ok()?, size))
}
