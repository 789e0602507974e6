//! What a person should know, newest first; what needs somebody before the rest.

use std::collections::BTreeSet;

use leptos::prelude::*;
use protocol::Symbol;
use protocol::decision::{Alert, Level};

use crate::account::{Standing, standing};
use crate::address::Page;
use crate::format::{age, sentence_case};
use crate::icon::{INFO, Icon, WARN};
use crate::parts::Nothing;
use crate::store::Store;

/// Alerts that ask something of a person are counted for this long, wall seconds.
pub const NEEDS_SECONDS: f64 = 900.0;

/// How many things ask something of a person now: unsettled symbols, and critical alerts of anything else,
/// each kind once. Tracks the beat.
pub fn needs_you(store: Store) -> usize {
    let unsettled: BTreeSet<Option<Symbol>> = store.portfolio.with(|portfolio| {
        let orders = portfolio
            .orders
            .values()
            .filter(|order| standing(order) == Standing::NeedsYou);
        let orders = orders.map(|order| Some(order.symbol));
        orders
            .chain(portfolio.differences.iter().map(|difference| difference.symbol))
            .collect()
    });
    let others = store.alerts.with(|alerts| {
        let critical = alerts.iter().filter(|alert| alert.level == Level::Critical);
        let now = critical.filter(|alert| store.wall_age(alert.at) < NEEDS_SECONDS);
        let others = now.filter(|alert| alert.symbol.is_none() || !unsettled.contains(&alert.symbol));
        others
            .map(|alert| (alert.symbol, alert.kind.clone()))
            .collect::<BTreeSet<_>>()
            .len()
    });
    unsettled.len() + others
}

/// The card of alerts.
#[component]
pub fn Alerts(
    /// At most so many.
    count: usize,
    /// Whether it links to the page with all of them.
    #[prop(default = false)]
    short: bool,
) -> impl IntoView {
    let store = expect_context::<Store>();
    let alerts = Memo::new(move |_| {
        store.alerts.with(|alerts| {
            let mut newest: Vec<_> = alerts.iter().rev().cloned().collect();
            // Stable: within a level the newest stays first. Chatter pushes no warning out of the short card.
            if short {
                newest.sort_by_key(|alert| std::cmp::Reverse(alert.level));
            }
            newest.truncate(count);
            newest
        })
    });
    let needs = Memo::new(move |_| needs_you(store));
    view! {
        <section class="card" data-test="alerts">
            <header>
                <h2>"Alerts"</h2>
                <Show
                    when=move || { needs.get() > 0 }>
                    <span class="pill needs">
                        <Icon path=WARN size=11 />
                        {move || match needs.get() {
                            1 => "1 needs you".to_owned(),
                            needs => format!("{needs} need you"),
                        }}
                    </span>
                </Show>
                <span class="space"></span>
                {short.then(|| view! { <a class="link" href=Page::Alerts.link()>"All"</a> })}
            </header>
            <Show when=move || !alerts.with(Vec::is_empty)
                    fallback=|| view! { <Nothing text="No alerts." /> }
                >
                <ul class="items">
                    <For each=move || alerts.get() key=|alert| alert.id.clone() let:alert><Line alert /></For>
                </ul>
            </Show>
        </section>
    }
}

#[component]
fn Line(alert: Alert) -> impl IntoView {
    let store = expect_context::<Store>();
    let (class, icon) = match alert.level {
        Level::Info => ("faint", INFO),
        Level::Warning => ("warn", WARN),
        Level::Critical => ("crit", WARN),
    };
    let source = format!("{}, {}", sentence_case(&alert.kind), alert.service);
    view! {
        <li data-test="alert">
            <span class=class><Icon path=icon size=13 /></span>
            <span class="what">{alert.text.clone()}</span>
            <span class="when">{move || age(store.wall_age(alert.at))}</span>
            <span class="rest">{source}</span>
        </li>
    }
}
