//! The pages at the left, with what needs somebody as a badge; at the bottom of a phone.

use leptos::prelude::*;

use crate::account::{Standing, standing};
use crate::address::Page;
use crate::alerts::needs_you;
use crate::icon::{self, Icon};
use crate::store::Store;

fn icon_of(page: Page) -> &'static str {
    match page {
        Page::Overview => icon::OVERVIEW,
        Page::Positions => icon::POSITIONS,
        Page::Trades => icon::TRADES,
        Page::Watchlist => icon::WATCHLIST,
        Page::Models => icon::MODELS,
        Page::Alerts => icon::ALERTS,
        Page::Log => icon::LOG,
    }
}

/// What stands behind a page's name: a count, and whether it asks for somebody.
fn count_of(store: Store, page: Page) -> (usize, bool) {
    match page {
        Page::Positions => (store.totals.with(|totals| totals.open), false),
        Page::Watchlist => (store.watchlist.with(Vec::len), false),
        Page::Trades => {
            let open = store.portfolio.with(|portfolio| {
                portfolio
                    .orders
                    .values()
                    .filter(|order| standing(order) == Standing::NeedsYou)
                    .count()
            });
            (open, true)
        }
        Page::Alerts => match needs_you(store) {
            0 => (store.alerts.with(std::collections::VecDeque::len), false),
            needs => (needs, true),
        },
        Page::Overview | Page::Models | Page::Log => (0, false),
    }
}

#[component]
fn Entry(page: Page, current: RwSignal<Page>) -> impl IntoView {
    let store = expect_context::<Store>();
    let count = Memo::new(move |_| count_of(store, page));
    view! {
        <a href=page.link() class:on=move || current.get() == page
            aria-current=move || (current.get() == page).then_some("page") title=page.title()
                data-test=format!("nav-{}", page.slug())>
            <Icon path=icon_of(page) />
            <span class="word">{page.title()}</span>
            {move || match count.get() {
                (0, _) => None,
                (count, needs) => Some(view! { <span
                    class=if needs { "badge" } else { "count" }>{count.to_string()}</span> }),
            }}
        </a>
    }
}

/// The pages, in three groups.
#[component]
pub fn Nav(
    /// The page that is open.
    current: RwSignal<Page>,
) -> impl IntoView {
    view! {
        <nav class="nav" aria-label="Pages">
            <Entry page=Page::Overview current />
            <Entry page=Page::Positions current />
            <Entry page=Page::Trades current />
            <Entry page=Page::Watchlist current />
            <span class="group label">"Decide"</span>
            <Entry page=Page::Models current />
            <span class="group label">"System"</span>
            <Entry page=Page::Alerts current />
            <Entry page=Page::Log current />
        </nav>
    }
}

/// The bar under a phone's thumb.
#[component]
pub fn BottomBar(
    /// The page that is open.
    current: RwSignal<Page>,
    /// Opens the sheet of controls.
    controls: RwSignal<bool>,
) -> impl IntoView {
    let store = expect_context::<Store>();
    let entry = move |page: Page, name: &'static str| {
        let needs = Memo::new(move |_| matches!(count_of(store, page), (1.., true)));
        view! {
            <a href=page.link() class:on=move || current.get() == page>
                <Icon path=icon_of(page) size=18 />
                <span>{name}<Show when=move || needs.get()><i class="dot slow"></i></Show></span>
            </a>
        }
    };
    view! {
        <nav class="bottom" aria-label="Main pages">
            {entry(Page::Overview, "Overview")} {entry(Page::Positions, "Positions")}
            {entry(Page::Trades, "Trades")}
            {entry(Page::Alerts, "Alerts")}
            <button on:click=move |_| controls.update(|open| *open = !*open) data-test="controls-sheet">
                <Icon path=icon::CONTROLS size=18 /><span>"Controls"</span>
            </button>
        </nav>
    }
}
