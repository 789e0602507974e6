//! The account at a glance: equity, the day, and the curve.

use leptos::prelude::*;
use protocol::Money;
use protocol::market::Phase;
use rust_decimal::Decimal;

use crate::account::part;
use crate::chart::{Chart, Span};
use crate::clock::day_start;
use crate::format::{dollars, seconds_between, signed_dollars, signed_percent, tone};
use crate::store::Store;

/// How far back the chart looks, market time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Minutes15,
    Hour,
    Day,
    All,
}

impl Range {
    const ALL: [Self; 4] = [Self::Minutes15, Self::Hour, Self::Day, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Minutes15 => "15 min",
            Self::Hour => "1 h",
            Self::Day => "1D",
            Self::All => "All",
        }
    }
}

/// The session's rest is shown as future only once this part of the session has a curve.
const FUTURE_SHOWN_FROM: f64 = 0.15;
/// A session's end further away than this is not drawn, seconds.
const FUTURE_SECONDS_MAX: f64 = 28_800.0;

/// The card of equity.
#[component]
pub fn Equity() -> impl IntoView {
    let store = expect_context::<Store>();
    let range = RwSignal::new(Range::Day);
    let span = Memo::new(move |_| span(store, range.get()));
    let baseline = Memo::new(move |_| store.equity.get() - store.day.get());
    let day_part = Memo::new(move |_| part(store.day.get(), baseline.get()));
    let unrealised = Memo::new(move |_| store.totals.with(|totals| totals.unrealised));
    let cash = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.cash));
    let fall = Memo::new(move |_| {
        let now = store.market_now();
        let equity = store.equity.get();
        let start = day_start(now);
        let today = |points: &Vec<protocol::feed::EquityPoint>| {
            let of_day = points.iter().rev().take_while(|point| point.at >= start);
            of_day.map(|point| point.equity).max().unwrap_or(equity)
        };
        let peak = store.points.with(today).max(equity);
        part(equity - peak, peak)
    });
    view! {
        <section class="card equity">
            <div class="tiles">
                <div>
                    <div class="name note">"Equity"</div>
                    <div class="big" data-test="equity">{move || dollars(store.equity.get())}</div>
                </div>
                <div class="only-phone day-phone" data-test="day-phone">
                    <div class="name note">"Day P&L"</div>
                    <b class=move || tone(store.day.get(), 2)>
                        {move || signed_dollars(store.day.get())} " "
                        {move || signed_percent(day_part.get(), 2)}
                    </b>
                </div>
                <Stat name="Realised today, net" value=store.realised />
                <Stat name="Open, since entry" value=unrealised />
                <div class="stat">
                    <span class="name">"From day peak"</span>
                    <b class=move || tone(fall.get(), 4)>{move || signed_percent(fall.get(), 2)}</b>
                </div>
                <div class="stat"><span class="name">"Cash"</span>
                <b data-test="cash">{move || dollars(cash.get())}</b></div>
            </div>
            <div class="legend">
                <span class="stroke"></span><span>"Equity"</span>
                <span class=move || tone(day_part.get(), 4)>{move || signed_percent(day_part.get(), 2)}</span>
                <span class="faint">"since the day's start"</span>
                <span class="space"></span>
                <div class="tabs">
                    {Range::ALL.into_iter().map(|one| view! {
                        <button class:on=move || range.get() == one
                            on:click=move |_| range.set(one)>{one.name()}</button>
                    }).collect_view()}
                </div>
            </div>
            <Chart span baseline />
        </section>
    }
}

#[component]
fn Stat(name: &'static str, value: Memo<Money>) -> impl IntoView {
    view! {
        <div class="stat">
            <span class="name">{name}</span>
            <b class=move || tone(value.get(), 2)>{move || signed_dollars(value.get())}</b>
        </div>
    }
}

/// What the chart spans: what there is of the range, and of the session's rest.
fn span(store: Store, range: Range) -> Option<Span> {
    let now = store.market_now();
    store.points.track();
    let back = |minutes: i64| now - jiff::SignedDuration::from_mins(minutes);
    let from = match range {
        Range::All => protocol::Timestamp::MIN,
        Range::Minutes15 => back(15),
        Range::Hour => back(60),
        Range::Day => day_start(now),
    };
    let first = store.points.with_untracked(|points| {
        let begin = points.partition_point(|point| point.at < from);
        points.get(begin).map(|point| point.at)
    })?;
    let shown = seconds_between(first, now).max(1.0);
    let session_end = store.session.with(|session| {
        let session = session
            .as_ref()
            .filter(|session| session.phase == Phase::Regular)?;
        session.next_change
    });
    let future = session_end
        .map(|end| seconds_between(now, end))
        .filter(|seconds| {
            let fits = *seconds > 0.0 && *seconds <= FUTURE_SECONDS_MAX;
            fits && range == Range::Day && shown / (shown + seconds) >= FUTURE_SHOWN_FROM
        });
    let future = future.unwrap_or(shown * 0.06);
    let to = now
        .checked_add(jiff::SignedDuration::try_from_secs_f64(future).ok()?)
        .ok()?;
    Some(Span { from: first, to })
}

/// The day's gain and its part of where the day began.
pub fn day_gain(store: Store) -> (Money, Decimal) {
    let day = store.day.get();
    (day, part(day, store.equity.get() - day))
}
