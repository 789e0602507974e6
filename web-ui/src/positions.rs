//! What is held: one row a position, every changing number its own cell.

use leptos::prelude::*;
use protocol::Symbol;
use rust_decimal::Decimal;

use crate::account::exit_prices;
use crate::format::{NONE, dollars, percent, plain, price, share_of_one, shares, signed_percent};
use crate::icon::{CHECK, Icon, WARN};
use crate::parts::{Change, Sparkline, Tick, belief_up};
use crate::store::Store;

const TRACK_WIDTH: f64 = 84.0;

/// The card of open positions.
#[component]
pub fn Positions() -> impl IntoView {
    let store = expect_context::<Store>();
    let symbols = Memo::new(move |_| {
        let mut held: Vec<(Decimal, Symbol)> = store.portfolio.with(|portfolio| {
            portfolio
                .open_positions()
                .map(|position| (-position.cost.abs(), position.symbol))
                .collect()
        });
        held.sort_unstable();
        held.into_iter().map(|(_, symbol)| symbol).collect::<Vec<_>>()
    });
    let mixed = Memo::new(move |_| symbols.with(|symbols| store.mixes_decimals(symbols)));
    let direction = Memo::new(move |_| {
        let short = store.portfolio.with(|p| {
            p.open_positions()
                .filter(|held| held.quantity.is_sign_negative())
                .count()
        });
        let all = symbols.with(Vec::len);
        match (all, short) {
            (0, _) => "none".to_owned(),
            (all, 0) => format!("{all}, all long"),
            (all, short) => format!("{all}, {short} short"),
        }
    });
    view! {
        <section class="card positions" data-test="positions">
            <header><h2>"Open positions"</h2><span class="note">{move || direction.get()}</span></header>
            <Show when=move || !symbols.with(Vec::is_empty) fallback=Empty>
                <div class="scroll">
                    <table>
                        <thead>
                            <tr>
                                <th class="text">"Symbol"</th><th class="text spark c3">"Bars"</th>
                                <th>"Qty"</th><th>"Last"</th>
                                <th class="wide c2">"Value $"</th><th>"Day $"</th>
                                <th class="wide">"Unrealised $"</th><th>"%"</th>
                                <th class="mid wide c1">"Stop · entry · target"</th>
                                <th class="wide">"P(up)"</th>
                                <th class="mid wide">"Broker"</th>
                            </tr>
                        </thead>
                        <tbody>
                            <For each=move || symbols.get() key=|symbol| *symbol let:symbol>
                                <Row symbol mixed /></For>
                            <Total />
                        </tbody>
                    </table>
                </div>
            </Show>
        </section>
    }
}

#[component]
fn Empty() -> impl IntoView {
    view! { <p class="empty">"No open positions. The reasons stand under “Why does nothing trade?”."</p> }
}

#[component]
fn Row(symbol: Symbol, mixed: Memo<bool>) -> impl IntoView {
    let store = expect_context::<Store>();
    let ticker = store.ticker(symbol);
    let (held, worth) = (store.position(symbol), store.worth(symbol));
    let quantity = Memo::new(move |_| held.with(|held| held.as_ref().map(|held| held.quantity)));
    let entry =
        Memo::new(move |_| held.with(|held| held.as_ref().map(engine::portfolio::Position::average_cost)));
    let of = move |pick: fn(&crate::account::Worth) -> Decimal| {
        Memo::new(move |_| worth.with(|worth| worth.as_ref().map(pick)))
    };
    let (last, value, day) = (of(|w| w.last), of(|w| w.value), of(|w| w.day));
    let (unrealised, part) = (
        of(|w| w.unrealised),
        of(|w| w.unrealised_part * Decimal::ONE_HUNDRED),
    );
    let up = belief_up(store, symbol);
    let text = move |value: Option<Decimal>| value.map_or_else(|| NONE.to_owned(), |value| plain(value, 2));
    view! {
        <tr data-test=format!("position-{symbol}")
            data-quantity=move || quantity.get().map(|q| q.normalize().to_string())>
            <td class="text symbol" data-label="symbol">
                {symbol.broker_text()}
                <span class="line2 note">
                    {move || {
                        let (quantity, entry) = quantity.get().zip(entry.get())?;
                        Some(format!("{} at {}", shares(quantity), price(entry)))
                    }}
                </span>
            </td>
            <td class="text spark c3"><Sparkline ticker /></td>
            <td class="quantity">{move || quantity.get().map(shares)}</td>
            <td class="last">
                <Tick value=last mixed test=format!("position-last-{symbol}") />
                <span class="line2 note">{move || text(value.get())}</span>
            </td>
            <td class="dim wide c2">{move || text(value.get())}</td>
            <td class="day strong-number"><Change value=day /></td>
            <td class="wide"><Change value=unrealised /></td>
            <td class="part"><Change value=part unit="%" /></td>
            <td class="mid wide c1"><Track symbol /></td>
            <td class="dim wide">{move || up.get().map_or_else(|| NONE.to_owned(), share_of_one)}</td>
            <td class="mid wide"><BrokerSays symbol /></td>
        </tr>
    }
}

/// From stop to target, with the entry as a tick, a bar from entry to last, and a dot at last.
#[component]
fn Track(symbol: Symbol) -> impl IntoView {
    let store = expect_context::<Store>();
    let (held, worth) = (store.position(symbol), store.worth(symbol));
    let shape = Memo::new(move |_| {
        let held = held.get()?;
        let last = worth.with(|worth| worth.as_ref().map(|worth| worth.last))?;
        let (stop, target) = store
            .facts
            .with(|facts| facts.as_ref().map(|facts| exit_prices(&held, &facts.exits)))?;
        let span = target - stop;
        if span.is_zero() || last.is_zero() {
            return None;
        }
        let place = |at: Decimal| {
            let part = protocol::units::approximate((at - stop) / span).clamp(0.0, 1.0);
            6.0 + part * (TRACK_WIDTH - 12.0)
        };
        let away = |price: Decimal| signed_percent((price - last) / last, 1);
        let gains = worth.with(|worth| {
            worth
                .as_ref()
                .is_some_and(|worth| !worth.unrealised.is_sign_negative())
        });
        Some((
            away(stop),
            place(held.average_cost()),
            place(last),
            away(target),
            gains,
        ))
    });
    move || {
        shape.get().map(|(stop, entry, last, target, gains)| {
            let (left, right) = (entry.min(last), entry.max(last));
            view! {
                <span class="track" title=format!("{stop} to the stop, {target} to the target")>
                    <span class="note">{stop.clone()}</span>
                    <svg width="84" height="14" viewBox="0 0 84 14" class=if gains { "gain" } else { "loss" }
                        aria-hidden="true">
                        <path d="M1 3v8M83 3v8M1 7h82" stroke="var(--edge)" fill="none" />
                        <path d=format!("M{entry:.1} 3v8M{left:.1} 7H{right:.1}") stroke="currentColor"
                            stroke-width="2" fill="none" />
                        <circle cx=format!("{last:.1}") cy="7" r="3.2" fill="currentColor" />
                    </svg>
                    <span class="note">{target.clone()}</span>
                </span>
            }
        })
    }
}

/// Whether the broker confirms what is shown: a check, or what is open.
#[component]
fn BrokerSays(symbol: Symbol) -> impl IntoView {
    let store = expect_context::<Store>();
    let doubt = Memo::new(move |_| {
        store.portfolio.with(|portfolio| {
            let order = portfolio.orders.values().find(|order| {
                order.symbol == symbol
                    && crate::account::standing(order) == crate::account::Standing::NeedsYou
            });
            let difference = portfolio
                .differences
                .iter()
                .find(|known| known.symbol == Some(symbol));
            match (difference, order) {
                (Some(difference), _) => Some(difference.text.clone()),
                (None, Some(order)) => Some(format!(
                    "An order for {} is unsettled: {}",
                    shares(order.quantity),
                    order.text
                )),
                (None, None) if portfolio.reconciled_at.is_none() => {
                    Some("Not compared with the broker yet".to_owned())
                }
                (None, None) => None,
            }
        })
    });
    move || match doubt.get() {
        None => {
            view! { <span class="gain" title="Broker and ledger agree"><Icon path=CHECK size=14 /></span> }
                .into_any()
        }
        Some(text) => view! { <span class="warn" title=text><Icon path=WARN size=14 /></span> }.into_any(),
    }
}

#[component]
fn Total() -> impl IntoView {
    let store = expect_context::<Store>();
    let totals = store.totals;
    let risk = Memo::new(move |_| {
        let (risk, equity) = (totals.with(|totals| totals.at_risk), store.equity.get());
        format!(
            "at risk {}, {} of equity",
            dollars(risk),
            percent(crate::account::part(risk, equity), 2)
        )
    });
    let day = Memo::new(move |_| Some(totals.with(|totals| totals.day)));
    let unrealised = Memo::new(move |_| Some(totals.with(|totals| totals.unrealised)));
    let part = Memo::new(move |_| Some(totals.with(|totals| totals.unrealised_part) * Decimal::ONE_HUNDRED));
    view! {
        <tr class="total">
            <td class="text" data-label="symbol">"Total"</td>
            <td class="spark c3"></td>
            <td class="quantity"></td>
            <td class="last"></td>
            <td class="wide c2">{move || plain(totals.with(|totals| totals.value), 2)}</td>
            <td class="day strong-number"><Change value=day /></td>
            <td class="wide"><Change value=unrealised /></td>
            <td class="part"><Change value=part unit="%" /></td>
            <td class="text wide c1" colspan="3">{move || risk.get()}</td>
        </tr>
    }
}
