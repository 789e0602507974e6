//! Every watched symbol: price, change, regime, belief in a rise, and how old all of it is.

use leptos::prelude::*;
use protocol::Symbol;
use protocol::market::Quote;
use rust_decimal::Decimal;

use crate::format::{NONE, age, price, share_of_one};
use crate::parts::{Belief, Change, Sparkline, Tick, day_change, last_price};
use crate::store::{QUOTE_AGE_MAX, Store};
use crate::words;

/// The card of all symbols.
#[component]
pub fn Watchlist() -> impl IntoView {
    let store = expect_context::<Store>();
    let size = Memo::new(move |_| {
        store
            .facts
            .with(|facts| facts.as_ref().map(|facts| facts.bar_size))
    });
    let mixed = Memo::new(move |_| store.watchlist.with(|symbols| store.mixes_decimals(symbols)));
    view! {
        <section class="card watchlist" data-test="watchlist">
            <header>
                <h2>"Watchlist"</h2>
                <span class="note">{move || format!("{} symbols", store.watchlist.with(Vec::len))}</span>
                <span class="space"></span>
                <span class="note">{move || size.get().map(|size| format!("bars of {size}"))}</span>
            </header>
            <div class="scroll">
                <table>
                    <thead>
                        <tr>
                            <th class="text">"Symbol"</th><th class="text spark c3">"Bars"</th><th>"Last"</th>
                            <th class="wide">"Bid"</th>
                            <th class="wide">"Ask"</th><th>"Change %"</th><th class="text wide">"Regime"</th>
                            <th class="text wide c2">"Down, flat, up"</th><th class="up">"P(up)"</th>
                            <th class="wide">"Age"</th>
                        </tr>
                    </thead>
                    <tbody>
                        <For each=move || store.watchlist.get() key=|symbol| *symbol let:symbol>
                            <Row symbol mixed /></For>
                    </tbody>
                </table>
            </div>
        </section>
    }
}

#[component]
fn Row(symbol: Symbol, mixed: Memo<bool>) -> impl IntoView {
    let store = expect_context::<Store>();
    let ticker = store.ticker(symbol);
    let (last, change) = (last_price(ticker), day_change(ticker));
    let change = Memo::new(move |_| change.get().map(|part| part * Decimal::ONE_HUNDRED));
    let side = move |pick: fn(&Quote) -> Option<Decimal>| {
        Memo::new(move |_| ticker.quote.with(|quote| quote.as_ref().and_then(pick)))
    };
    let (bid, ask) = (side(|quote| quote.bid), side(|quote| quote.ask));
    let regime = Memo::new(move |_| {
        ticker
            .opinion
            .with(|opinion| opinion.as_ref().map(|opinion| words::regime(opinion.regime)))
    });
    let up = Memo::new(move |_| {
        ticker
            .opinion
            .with(|opinion| opinion.as_ref().map(|opinion| share_of_one(opinion.up)))
    });
    let at = Memo::new(move |_| {
        ticker
            .quote
            .with(|quote| quote.as_ref().map(|quote| (quote.at, quote.tradable)))
    });
    let old = Memo::new(move |_| at.get().map(|(at, _)| age(store.market_age(at))));
    let stale = Memo::new(move |_| {
        at.get()
            .is_none_or(|(at, tradable)| !tradable || store.market_age(at) > QUOTE_AGE_MAX)
    });
    let shown = |value: Option<Decimal>| value.map_or_else(|| NONE.to_owned(), price);
    view! {
        <tr data-test=format!("watch-{symbol}") class:old=move || stale.get()>
            <td class="text symbol" data-label="symbol">
                {symbol.broker_text()} <span class="line2 note">{move || regime.get()}</span>
            </td>
            <td class="text spark c3"><Sparkline ticker /></td>
            <td class="last">
                <Tick value=last mixed test=format!("last-{symbol}") />
                <span class="line2 note">
                    {move || format!("{} / {}", shown(bid.get()), shown(ask.get()))}
                </span>
            </td>
            <td class="dim wide" data-test=format!("bid-{symbol}")>{move || shown(bid.get())}</td>
            <td class="dim wide" data-test=format!("ask-{symbol}")>{move || shown(ask.get())}</td>
            <td class="day"><Change value=change unit="%" /></td>
            <td class="text dim wide">{move || regime.get().unwrap_or(NONE)}</td>
            <td class="text wide c2"><Belief opinion=ticker.opinion /></td>
            <td class="dim up">{move || up.get().unwrap_or_else(|| NONE.to_owned())}</td>
            <td class="faint wide">{move || old.get().unwrap_or_else(|| NONE.to_owned())}</td>
        </tr>
    }
}
