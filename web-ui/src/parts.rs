//! Small parts that several panels share: a price that flashes, a sparkline, shares of belief, a card's head.

use leptos::prelude::*;
use protocol::decision::Signal as Opinion;
use protocol::units::approximate;
use protocol::{Price, Symbol};
use rust_decimal::Decimal;

use crate::clock::wall_ms;
use crate::format::{NONE, price, price_places, share_of_one, signed, tone};
use crate::store::{Store, Ticker};

/// A cell flashes at most so often, milliseconds between.
const FLASH_MS_MIN: f64 = 250.0;
const SPARK_WIDTH: f64 = 52.0;
const SPARK_HEIGHT: f64 = 20.0;

/// A price whose own cell flashes when it changes. Two invisible digits keep decimals under decimals.
#[component]
pub fn Tick(
    /// The price.
    #[prop(into)]
    value: Signal<Option<Price>>,
    /// Whether a column that has finer prices needs the invisible digits.
    #[prop(into)]
    mixed: Signal<bool>,
    /// Name for tests.
    test: String,
) -> impl IntoView {
    let class = RwSignal::new("tick");
    let flashed = StoredValue::new(0.0);
    Effect::new(move |before: Option<Option<Price>>| {
        let now = value.get();
        if let (Some(Some(before)), Some(now)) = (before, now)
            && before != now
            && wall_ms() - flashed.get_value() >= FLASH_MS_MIN
        {
            flashed.set_value(wall_ms());
            // Another name each time, so that the browser begins the animation anew.
            let odd = class.get_untracked().ends_with('a');
            class.set(match (now > before, odd) {
                (true, false) => "tick up-a",
                (true, true) => "tick up-b",
                (false, false) => "tick down-a",
                (false, true) => "tick down-b",
            });
        }
        now
    });
    let is_fine = Memo::new(move |_| value.get().is_some_and(|price| price_places(price) > 2));
    view! {
        <span class=move || class.get()>
            <span data-test=test>{move || value.get().map_or_else(|| NONE.to_owned(), price)}</span>
        </span>
        <span class="ghost pad" aria-hidden="true">
            {move || (mixed.get() && !is_fine.get()).then_some("00")}
        </span>
    }
}

/// What stands in a card without content: one sentence, and the reason.
#[component]
pub fn Nothing(
    /// The sentence.
    text: &'static str,
) -> impl IntoView {
    view! { <p class="empty">{text}</p> }
}

/// A change with its sign and its colour.
#[component]
pub fn Change(
    /// What changed by how much; nothing shows an en dash.
    #[prop(into)]
    value: Signal<Option<Decimal>>,
    /// Digits after the point.
    #[prop(default = 2)]
    places: u32,
    /// What follows the number, such as a percent sign.
    #[prop(default = "")]
    unit: &'static str,
) -> impl IntoView {
    view! {
        <span class=move || value.get().map_or("none", |value| tone(value, places))>
            {move || match value.get() {
                Some(value) => format!("{}{unit}", signed(value, places)),
                None => NONE.to_owned(),
            }}
        </span>
    }
}

/// The newest bars of a symbol in 52 by 20 pixels: gain or loss against a dotted baseline.
#[component]
pub fn Sparkline(
    /// Whose.
    ticker: Ticker,
) -> impl IntoView {
    let shape = Memo::new(move |_| {
        let close = ticker.quote.with(|quote| {
            quote
                .as_ref()
                .and_then(|quote| quote.previous_close)
                .map(approximate)
        });
        ticker
            .closes
            .with(|closes| spark(closes.values.iter().copied(), close))
    });
    move || {
        shape.get().map(|shape| {
            view! {
                <svg width="52" height="20" viewBox="0 0 52 20" class=if shape.up { "gain" } else { "loss" }
                    aria-hidden="true">
                    <line x1="0" x2="52" y1=shape.base.clone() y2=shape.base stroke="var(--line2)"
                        stroke-dasharray="1.5 2" />
                    <path d=shape.line fill="none" stroke="currentColor" stroke-width="1.25"
                        stroke-linejoin="round" />
                    <circle cx=shape.end.0 cy=shape.end.1 r="1.6" fill="currentColor" />
                </svg>
            }
        })
    }
}

/// A sparkline, ready to be drawn.
#[derive(Debug, Clone, PartialEq)]
struct Spark {
    line: String,
    base: String,
    end: (String, String),
    up: bool,
}

/// The baseline is the close before if it is near what is shown, else the first value: a line at the edge
/// says nothing.
fn spark(values: impl ExactSizeIterator<Item = f64> + Clone, close: Option<f64>) -> Option<Spark> {
    let count = values.len();
    let (first, last) = (values.clone().next()?, values.clone().last()?);
    if count < 2 {
        return None;
    }
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let room = (high - low).max(first.abs() * 1e-6);
    let base = close
        .filter(|close| *close > low - room && *close < high + room)
        .unwrap_or(first);
    let (low, high) = (low.min(base), high.max(base));
    let span = (high - low).max(first.abs() * 1e-6);
    let y = |value: f64| 2.0 + (high - value) / span * (SPARK_HEIGHT - 4.0);
    let step = (SPARK_WIDTH - 4.0) / (count - 1) as f64;
    let mut line = String::with_capacity(count * 11);
    for (index, value) in values.enumerate() {
        line += &format!(
            "{}{:.1} {:.1}",
            if index == 0 { 'M' } else { 'L' },
            index as f64 * step + 1.0,
            y(value)
        );
    }
    Some(Spark {
        line,
        base: format!("{:.1}", y(base)),
        end: (format!("{:.1}", SPARK_WIDTH - 3.0), format!("{:.1}", y(last))),
        up: last >= base,
    })
}

/// Shares of belief in down, flat and up; the last one in the accent when it is the largest.
#[component]
pub fn Belief(
    /// The opinion.
    #[prop(into)]
    opinion: Signal<Option<Opinion>>,
) -> impl IntoView {
    move || {
        opinion.get().map(|opinion| {
            let share = |part: f64| format!("flex:{part:.3} 1 0");
            let enters = opinion.up > opinion.down && opinion.up > opinion.flat;
            let text = format!(
                "down {}, flat {}, up {}",
                share_of_one(opinion.down),
                share_of_one(opinion.flat),
                share_of_one(opinion.up)
            );
            view! {
                <span class="belief" class:enters=enters title=text.clone() role="img"
                    aria-label=text.clone()>
                    <i style=share(opinion.down)></i>
                    <i style=share(opinion.flat)></i>
                    <i class="up" style=share(opinion.up)></i>
                </span>
            }
        })
    }
}

/// The last price of a symbol, as the market says it.
#[must_use]
pub fn last_price(ticker: Ticker) -> Memo<Option<Price>> {
    Memo::new(move |_| {
        ticker
            .quote
            .with(|quote| quote.as_ref().and_then(protocol::market::Quote::mark))
    })
}

/// The change of a symbol since the close before, as a fraction.
#[must_use]
pub fn day_change(ticker: Ticker) -> Memo<Option<Decimal>> {
    Memo::new(move |_| {
        ticker.quote.with(|quote| {
            let quote = quote.as_ref()?;
            let close = quote.previous_close.filter(|close| !close.is_zero())?;
            Some((quote.mark()? - close) / close)
        })
    })
}

/// The newest belief in a rise.
#[must_use]
pub fn belief_up(store: Store, symbol: Symbol) -> Memo<Option<f64>> {
    let opinion = store.ticker(symbol).opinion;
    Memo::new(move |_| opinion.with(|opinion| opinion.as_ref().map(|opinion| opinion.up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_needs_two_bars_and_keeps_inside() {
        assert_eq!(spark([1.0].into_iter(), None), None);
        let shape = spark([1.0, 2.0, 3.0].into_iter(), None).unwrap();
        assert_eq!(shape.line, "M1.0 18.0L25.0 10.0L49.0 2.0");
        assert!(shape.up);
        let flat = spark([5.0, 5.0].into_iter(), Some(400.0)).unwrap();
        assert!(!flat.line.contains("NaN") && flat.base == flat.end.1, "{flat:?}");
    }
}
