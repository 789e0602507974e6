//! Models: what became of the files that were dropped in, and the newest opinion on each symbol.

use leptos::prelude::*;
use protocol::Symbol;
use protocol::decision::{ModelChange, ModelEvent};

use crate::clock::hms;
use crate::format::{NONE, age, price, share_of_one};
use crate::icon::{CHECK, Icon, REFUSED};
use crate::parts::{Belief, Nothing};
use crate::store::Store;
use crate::words;

/// The newest opinion of the model on every symbol.
#[component]
pub fn Signals() -> impl IntoView {
    let store = expect_context::<Store>();
    view! {
        <section class="card" data-test="signals">
            <header>
                <h2>"Signals"</h2>
                <span class="note">"the newest opinion on each symbol, one a complete bar"</span>
            </header>
            <div class="scroll">
                <table>
                    <thead>
                        <tr>
                            <th class="text">"Symbol"</th><th class="text">"Bar end"</th>
                            <th class="text">"Regime"</th>
                            <th class="text c2">"Down, flat, up"</th><th>"Down"</th><th>"Flat"</th>
                            <th>"Up"</th><th>"Close"</th>
                            <th class="text wide c1">"Model"</th><th class="wide">"Age"</th>
                        </tr>
                    </thead>
                    <tbody><For each=move || store.watchlist.get() key=|symbol| *symbol let:symbol>
                        <Row symbol /></For></tbody>
                </table>
            </div>
        </section>
    }
}

#[component]
fn Row(symbol: Symbol) -> impl IntoView {
    let store = expect_context::<Store>();
    let opinion = store.ticker(symbol).opinion;
    let shown = move |pick: fn(&protocol::decision::Signal) -> String| {
        move || opinion.with(|opinion| opinion.as_ref().map_or_else(|| NONE.to_owned(), pick))
    };
    let old = move || {
        opinion
            .with(|opinion| opinion.as_ref().map(|opinion| opinion.at))
            .map(|at| age(store.market_age(at)))
    };
    view! {
        <tr data-test=format!("signal-{symbol}")>
            <td class="text symbol">{symbol.broker_text()}</td>
            <td class="text faint">{shown(|opinion| hms(opinion.at))}</td>
            <td class="text dim">{shown(|opinion| words::regime(opinion.regime).to_owned())}</td>
            <td class="text c2"><Belief opinion /></td>
            <td class="dim">{shown(|opinion| share_of_one(opinion.down))}</td>
            <td class="dim">{shown(|opinion| share_of_one(opinion.flat))}</td>
            <td class="strong">{shown(|opinion| share_of_one(opinion.up))}</td>
            <td class="dim">{shown(|opinion| price(opinion.price))}</td>
            <td class="text faint wide c1">
                {shown(|opinion| opinion.model.clone())} " " <span
                    class="mono">{shown(|opinion| opinion.model_hash.short().to_owned())}</span>
            </td>
            <td class="faint wide">{move || old().unwrap_or_else(|| NONE.to_owned())}</td>
        </tr>
    }
}

/// What became of the files in the models' folder.
#[component]
pub fn Files() -> impl IntoView {
    let store = expect_context::<Store>();
    let events = Memo::new(move |_| {
        store
            .models
            .with(|models| models.iter().rev().cloned().collect::<Vec<_>>())
    });
    let refused = Memo::new(move |_| {
        events.with(|events| {
            events
                .iter()
                .filter(|event| event.event == ModelChange::Refused)
                .count()
        })
    });
    view! {
        <section class="card" data-test="models">
            <header>
                <h2>"Models"</h2><span class="note">"files in the models folder, newest first"</span>
                <span class="space"></span>
                <Show
                    when=move || { refused.get() > 0 }>
                    <span class="pill rejected">
                        <Icon path=REFUSED size=11 />{move || format!("{} refused", refused.get())}</span>
                </Show>
            </header>
            <Show when=move || !events.with(Vec::is_empty)
                    fallback=|| view! { <Nothing text="No model yet. Put a file and its card into models/." /> }
                >
                <ul class="items">
                    <For each=move || events.get() key=|event| (event.id.clone(), event.at) let:event>
                        <Event event /></For>
                </ul>
            </Show>
        </section>
    }
}

#[component]
fn Event(event: ModelEvent) -> impl IntoView {
    let loaded = event.event == ModelChange::Loaded;
    view! {
        <li data-test=if loaded { "model-loaded" } else { "model-refused" }>
            <span class=if loaded { "gain" } else { "crit" }>
                <Icon path=if loaded { CHECK } else { REFUSED } size=13 /></span>
            <span class="what"><span class="mono">{event.model.clone()}</span>{if loaded { " loaded" } else {
                " refused" }}</span>
            <span class="when">{hms(event.at)}</span>
            <span class="rest">{event.text.clone()} " " <span
                class="mono">{event.model_hash.short().to_owned()}</span></span>
        </li>
    }
}
