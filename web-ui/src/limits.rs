//! How much of each limit is used.

use leptos::prelude::*;
use protocol::settings::Risk;
use rust_decimal::Decimal;

use crate::account::part;
use crate::format::{dollars, percent, plain};
use crate::store::Store;

/// From this part of a limit on it is shown as near.
fn is_near(part: Decimal) -> bool {
    part > Decimal::new(85, 2)
}

/// One meter.
#[derive(Debug, Clone, PartialEq)]
struct Meter {
    name: String,
    value: String,
    of: String,
    part: Decimal,
}

/// The card of limits.
#[component]
pub fn Limits() -> impl IntoView {
    let store = expect_context::<Store>();
    let meters = Memo::new(move |_| {
        let risk = store
            .facts
            .with(|facts| facts.as_ref().map(|facts| facts.risk.clone()));
        risk.map(|risk| meters(store, &risk)).unwrap_or_default()
    });
    let near =
        Memo::new(move |_| meters.with(|meters| meters.iter().filter(|meter| is_near(meter.part)).count()));
    view! {
        <section class="card" data-test="limits">
            <header>
                <h2>"Exposure and limits"</h2><span class="space"></span>
                <span class="note">
                    {move || match near.get() {
                        0 => "all within".to_owned(),
                        near => format!("{near} near the limit"),
                    }}
                </span>
            </header>
            <ul class="meters">
                {move || meters.get().into_iter().map(|meter| {
                    let full = meter.part >= Decimal::ONE;
                    let filled = meter.part.clamp(Decimal::ZERO, Decimal::ONE) * Decimal::ONE_HUNDRED;
                    let width = format!("width:{}%", filled.round_dp(1));
                    view! {
                        <li class="meter" class:near=is_near(meter.part) && !full class:full=full>
                            <div class="words">
                                <span>{meter.name}</span>
                                <span><b>{meter.value}</b>
                                <span>{format!(" of {}", meter.of)}</span>{full.then_some(" blocked")}</span>
                            </div>
                            <div class="rail"><i style=width></i></div>
                        </li>
                    }
                }).collect_view()}
            </ul>
        </section>
    }
}

fn meters(store: Store, risk: &Risk) -> Vec<Meter> {
    let totals = store.totals.get();
    let equity = store.equity.get();
    let of_equity = |value: Decimal| percent(part(value, equity), 1);
    let lost = (-store.day.get()).max(Decimal::ZERO);
    let (largest_name, largest) = totals.largest.map_or_else(
        || ("Largest position".to_owned(), Decimal::ZERO),
        |(symbol, value)| (format!("Largest position, {}", symbol.broker_text()), value),
    );
    let (symbol, entries) = store.portfolio.with(|portfolio| {
        let most = portfolio
            .day
            .entries
            .iter()
            .max_by_key(|(symbol, count)| (**count, std::cmp::Reverse(**symbol)));
        most.map_or((None, 0), |(symbol, count)| (Some(*symbol), *count))
    });
    let trades_max = Decimal::from(risk.trades_per_symbol_per_day_max);
    vec![
        Meter {
            name: format!("Gross exposure, {} of equity", of_equity(totals.gross)),
            value: dollars(totals.gross.round()).trim_end_matches(".00").to_owned(),
            of: plain(risk.gross_notional_max, 0),
            part: part(totals.gross, risk.gross_notional_max),
        },
        Meter {
            name: largest_name,
            value: dollars(largest.round()).trim_end_matches(".00").to_owned(),
            of: plain(risk.notional_per_symbol_max, 0),
            part: part(largest, risk.notional_per_symbol_max),
        },
        Meter {
            name: "At risk to stops".to_owned(),
            value: dollars(totals.at_risk),
            of: format!("{} equity", plain(equity, 0)),
            part: part(totals.at_risk, equity),
        },
        Meter {
            name: "Daily loss".to_owned(),
            value: dollars(lost),
            of: plain(risk.daily_loss_max, 0),
            part: part(lost, risk.daily_loss_max),
        },
        Meter {
            name: symbol.map_or_else(
                || "Entries today".to_owned(),
                |symbol| format!("Most entries today, {}", symbol.broker_text()),
            ),
            value: entries.to_string(),
            of: format!("{} a symbol", risk.trades_per_symbol_per_day_max),
            part: part(Decimal::from(entries), trades_max),
        },
    ]
}
