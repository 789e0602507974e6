//! The equity curve: own line, baseline, trades, hatched future, drawdown below, and a crosshair.

use leptos::ev;
use leptos::html::Div;
use leptos::prelude::*;
use protocol::ledger::Side;
use protocol::{Money, Timestamp};
use wasm_bindgen::JsCast;

use crate::clock::{day, hm, hms, new_york};
use crate::format::{plain, signed_percent};
use crate::plot::{AXIS_WIDTH, Drawn, Frame, Plot, STRIP_HEIGHT};
use crate::store::Store;

/// Marks of trades nearer than this on the same side are left out, pixels.
const MARK_GAP: f64 = 9.0;
/// Labels nearer than this to another are left out, pixels.
const LABEL_GAP: f64 = 14.0;

/// What the chart spans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Left edge.
    pub from: Timestamp,
    /// Right edge.
    pub to: Timestamp,
}

/// The chart.
#[component]
pub fn Chart(
    /// What it spans.
    span: Memo<Option<Span>>,
    /// What gains are told against, and its name.
    baseline: Memo<Money>,
) -> impl IntoView {
    let store = expect_context::<Store>();
    let place = NodeRef::<Div>::new();
    let size = RwSignal::new((0.0, 0.0));
    let measure = move || {
        if let Some(place) = place.get_untracked() {
            let now = (f64::from(place.client_width()), f64::from(place.client_height()));
            if size.get_untracked() != now {
                size.set(now);
            }
        }
    };
    Effect::new(move |_| {
        place.track();
        request_animation_frame(measure);
    });
    let resized = window_event_listener(ev::resize, move |_| measure());
    on_cleanup(move || resized.remove());
    let plot = Memo::new(move |_| {
        let ((width, height), span) = (size.get(), span.get()?);
        if height < 120.0 {
            return None;
        }
        store.points.with(|points| {
            Plot::new(&Frame {
                width,
                height,
                points,
                // Twice a second is enough for a picture; the number above it follows every tick.
                now: (store.market_now(), store.equity.get_untracked()),
                from: span.from,
                to: span.to,
                baseline: baseline.get(),
            })
        })
    });
    let hover = RwSignal::new(None::<f64>);
    let point_at = move |event: ev::MouseEvent| {
        let target = event
            .current_target()
            .and_then(|target| target.dyn_into::<web_sys::Element>().ok());
        hover
            .set(target.map(|target| f64::from(event.client_x()) - target.get_bounding_client_rect().left()));
    };
    view! {
        <div class="chart" node_ref=place data-test="equity-chart" on:mousemove=point_at
            on:mouseleave=move |_| hover.set(None)>
            {move || match plot.get() {
                None => {
                    view! { <p class="hint">"The curve begins with the first complete bars."</p> }.into_any()
                }
                Some(plot) => {
                    let base = protocol::units::approximate(baseline.get());
                    view! { <Drawing plot base /> }.into_any()
                }
            }}
            {move || {
                let x = hover.get()?;
                let drawn = plot.with(|plot| plot.as_ref().and_then(|plot| plot.nearest(x)))?;
                Some(view! { <Crosshair drawn width=size.get().0 /> })
            }}
        </div>
    }
}

#[component]
fn Drawing(plot: Plot, base: f64) -> impl IntoView {
    let store = expect_context::<Store>();
    let (right, bottom, strip) = (plot.right(), plot.bottom(), plot.strip_top());
    let (width, height) = (plot.width, plot.height);
    let base_y = plot.y(base);
    let tag_y = plot.end.1.clamp(10.0, bottom - 10.0);
    let amounts = plot
        .amounts()
        .into_iter()
        .filter(|(_, y)| (y - tag_y).abs() > LABEL_GAP && *y < bottom - 4.0)
        .collect::<Vec<_>>();
    let instants = plot.instants();
    let marks = store.portfolio.with_untracked(|portfolio| {
        marks(&plot, portfolio.trades.iter().map(|trade| (trade.at, trade.side)))
    });
    let base_text = format!("day start {}", plain_dollars(base));
    let base_label_y = if base_y > bottom - 16.0 || (plot.end.1 > base_y - 18.0 && plot.end.1 < base_y) {
        base_y + 13.0
    } else {
        base_y - 5.0
    };
    let now_text = plain_dollars(plot.points.last().map_or(base, |point| point.equity));
    let worst = (plot.worst < -0.000_05).then(|| {
        // Clear of the strip's own name at the left.
        let x = plot.worst_x.clamp(110.0, (right - 40.0).max(110.0));
        let text = format!("worst {}", percent(plot.worst));
        view! { <text class="loss over" style="fill:currentColor" x=px(x) y=px(strip + STRIP_HEIGHT - 4.0)
        text-anchor="middle">{text}</text> }
    });
    view! {
        <svg viewBox=format!("0 0 {width:.0} {height:.0}") role="img" aria-label="Equity and drawdown">
            <Paints />
            <rect x=px(plot.end.0) y="0" width=px((right - plot.end.0).max(0.0)) height=px(height - 20.0)
                fill="url(#hatch)" />
            {instants.iter().map(|(_, x)| view! { <line x1=px(*x) x2=px(*x) y1="0" y2=px(height - 20.0)
                stroke="var(--line)" /> }).collect_view()}
            {amounts.iter().map(|(_, y)| view! { <line x1="0" x2=px(right) y1=px(*y) y2=px(*y)
                stroke="var(--line)" /> }).collect_view()}
            <line x1="0" x2=px(width) y1=px(bottom + 5.0) y2=px(bottom + 5.0) stroke="var(--line2)" />
            <path d=plot.area.clone() fill="url(#under)" />
            <line x1="0" x2=px(right) y1=px(base_y) y2=px(base_y) stroke="var(--t3)"
                stroke-dasharray="1.5 3" />
            <text class="over" x=px(right - 6.0) y=px(base_label_y) text-anchor="end">{base_text}</text>
            <line x1=px(plot.end.0) x2=px(right) y1=px(plot.end.1) y2=px(plot.end.1) stroke="var(--accent)"
                stroke-dasharray="1.5 3" />
            <path d=plot.line.clone() fill="none" stroke="var(--accent)" stroke-width="1.75"
                stroke-linejoin="round" />
            {marks.into_iter().map(|mark| view! {
                <path d=mark.shape fill=if mark.is_buy { "var(--surface)" } else { "var(--t2)" }
                    stroke="var(--t2)" stroke-width="1.2" />
            }).collect_view()}
            <circle cx=px(plot.end.0) cy=px(plot.end.1) r="7" fill="var(--accent)" opacity=".25" />
            <circle cx=px(plot.end.0) cy=px(plot.end.1) r="3.5" fill="var(--accent)" />
            {amounts.iter().map(|(dollars, y)| view! {
                <text x=px(width) y=px(y + 4.0) text-anchor="end">{axis_dollars(*dollars)}</text>
            }).collect_view()}
            <rect x=px(right + 2.0) y=px(tag_y - 9.0) width=px(AXIS_WIDTH - 2.0) height="18" rx="3"
                fill="var(--accent)" />
            <text class="value" x=px(right + 1.0 + AXIS_WIDTH / 2.0) y=px(tag_y + 4.0)
                text-anchor="middle">{now_text}</text>
            <path class="loss" d=plot.fall_area.clone() fill="currentColor" opacity=".2" />
            <path class="loss" d=plot.fall.clone() fill="none" stroke="currentColor" stroke-width="1.2" />
            <text x=px(width) y=px(strip + 8.0) text-anchor="end">"0%"</text>
            {(plot.worst < -0.000_05).then(|| view! { <text x=px(width) y=px(strip + STRIP_HEIGHT - 4.0)
                text-anchor="end">{percent(plot.worst)}</text> })}
            {worst}
            <text class="over" x="0" y=px(strip + STRIP_HEIGHT - 4.0)>"Drawdown"</text>
            <Times instants right height />
        </svg>
    }
}

/// The hatch of the future, and what lies under the curve.
#[component]
fn Paints() -> impl IntoView {
    view! {
        <defs>
            <pattern id="hatch" width="6" height="6" patternTransform="rotate(45)"
                patternUnits="userSpaceOnUse">
                <rect width="2" height="6" fill="var(--hatch)" />
            </pattern>
            <linearGradient id="under" x1="0" y1="0" x2="0" y2="1">
                <stop offset="0" stop-color="var(--accent)" stop-opacity=".22" />
                <stop offset="1" stop-color="var(--accent)" stop-opacity=".04" />
            </linearGradient>
        </defs>
    }
}

#[component]
fn Times(instants: Vec<(f64, f64)>, right: f64, height: f64) -> impl IntoView {
    let fine = instants
        .windows(2)
        .next()
        .is_some_and(|pair| pair[1].0 - pair[0].0 < 60_000.0);
    let labels = instants
        .into_iter()
        .filter(|(_, x)| *x > 8.0 && *x < right - 12.0);
    labels
        .map(|(at, x)| {
            let at = Timestamp::from_millisecond(at as i64).unwrap_or_default();
            let midnight =
                new_york(at).hour() == 0 && new_york(at).minute() == 0 && new_york(at).second() == 0;
            let text = if midnight {
                day(at)
            } else if fine {
                hms(at)
            } else {
                hm(at)
            };
            view! { <text x=px(x) y=px(height - 5.0) text-anchor="middle">{text}</text> }
        })
        .collect_view()
}

#[component]
fn Crosshair(drawn: Drawn, width: f64) -> impl IntoView {
    let at = Timestamp::from_millisecond(drawn.at as i64).unwrap_or_default();
    let side = if drawn.x > width / 2.0 {
        format!("right:{:.0}px", width - drawn.x + 12.0)
    } else {
        format!("left:{:.0}px", drawn.x + 12.0)
    };
    view! {
        <svg style="pointer-events:none">
            <line x1=px(drawn.x) x2=px(drawn.x) y1="0" y2="100%" stroke="var(--edge)"
                stroke-dasharray="2 2" />
            <circle cx=px(drawn.x) cy=px(drawn.y) r="3" fill="var(--accent)" />
        </svg>
        <div class="tip" style=side>
            <span class="faint">{format!("{} ", hms(at))}</span>
            <b class="strong">{format!("${}", plain_dollars(drawn.equity))}</b>
            <span class="loss">{format!(" {}", percent(drawn.fall))}</span>
        </div>
    }
}

struct Mark {
    shape: String,
    is_buy: bool,
}

/// Triangles at the curve: buys below and hollow, sells above and solid. What would collide is left out.
fn marks(plot: &Plot, trades: impl DoubleEndedIterator<Item = (Timestamp, Side)>) -> Vec<Mark> {
    let mut taken = [f64::INFINITY; 2];
    let mut marks = Vec::new();
    for (at, side) in trades.rev() {
        let (Some(x), is_buy) = (plot.x_of(at), side == Side::Buy) else {
            continue;
        };
        let Some(near) = plot
            .nearest(x)
            .filter(|_| taken[usize::from(is_buy)] - x >= MARK_GAP)
        else {
            continue;
        };
        taken[usize::from(is_buy)] = x;
        let y = if is_buy { near.y + 8.0 } else { near.y - 8.0 };
        let (tip, foot) = if is_buy {
            (y - 3.5, y + 3.5)
        } else {
            (y + 3.5, y - 3.5)
        };
        let shape = format!("M{x:.1} {tip:.1}L{:.1} {foot:.1}H{:.1}Z", x + 4.0, x - 4.0);
        marks.push(Mark { shape, is_buy });
    }
    marks
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

fn decimal(value: f64) -> rust_decimal::Decimal {
    rust_decimal::Decimal::try_from(value).unwrap_or_default()
}

fn plain_dollars(value: f64) -> String {
    plain(decimal(value), 2)
}

fn axis_dollars(value: f64) -> String {
    let cents = (value * 100.0).round() as i64 % 100;
    plain(decimal(value), if cents == 0 { 0 } else { 2 })
}

fn percent(fraction: f64) -> String {
    signed_percent(decimal(fraction), 2)
}
