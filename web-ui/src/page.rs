//! The frame around everything, and which cards stand on which page.

use std::time::Duration;

use leptos::ev;
use leptos::prelude::*;

use crate::address::{self, Page};
use crate::alerts::{Alerts, needs_you};
use crate::clock::wall_ms;
use crate::controls::Controls;
use crate::dialog::Dialog;
use crate::equity::Equity;
use crate::feed;
use crate::format::age;
use crate::icon::{CROSS, Icon, MARK, WARN};
use crate::keyboard;
use crate::limits::Limits;
use crate::log::{Commands, Ledger, Mark, Stages};
use crate::models::{Files, Signals};
use crate::nav::{BottomBar, Nav};
use crate::orders::Orders;
use crate::positions::Positions;
use crate::status::{PhoneStatus, Status};
use crate::store::{Link, NEWS_MAX, Store};
use crate::toast::Toasts;
use crate::trades::Trades;
use crate::watchlist::Watchlist;
use crate::why::Why;

/// Ages are told anew this often, milliseconds.
const BEAT_MS: u64 = 500;
/// Trades on the overview, and on their own page.
const TRADES_SHORT: usize = 10;
const TRADES_LONG: usize = 200;
/// Alerts on the overview.
const ALERTS_SHORT: usize = 3;

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let store = Store::new();
    provide_context(store);
    address::take_token();
    let page = RwSignal::new(address::current_page());
    follow_address(page);
    let feed = feed::start(store);
    provide_context(feed.clone());
    let ask = RwSignal::new(None);
    keyboard::listen(store, feed, ask);
    keep_time(store);
    let (menu, sheet) = (RwSignal::new(false), RwSignal::new(false));
    Effect::new(move |_| {
        page.track();
        menu.set(false);
        sheet.set(false);
    });
    let known = Memo::new(move |_| store.facts.with(Option::is_some));
    view! {
        <Show when=move || known.get() fallback=Gate>
            <div class="app" class:live=move || store.is_live()
                class:stale=move || store.link.get() != Link::Open
                class:menu-open=move || menu.get() class:sheet-open=move || sheet.get() data-test="app">
                <aside class="side">
                    <a class="brand" href=Page::Overview.link()><Icon path=MARK size=18 />
                    <span>"tradewind"</span></a>
                    <Nav current=page />
                    <span class="fill"></span>
                    <button class="opener" title="Controls" aria-label="Controls"
                        on:click=move |_| sheet.update(|open| *open = !*open)>
                        <Icon path=crate::icon::CONTROLS />
                    </button>
                    <div class="sheet">
                        <button class="shut target" aria-label="Close the controls"
                            on:click=move |_| sheet.set(false)><Icon path=CROSS /></button>
                        <Controls ask />
                        <Mark />
                    </div>
                </aside>
                <Status />
                <PhoneStatus menu />
                <main>
                    <Strip />
                    <LinkBar />
                    {move || match page.get() {
                        Page::Overview => view! { <Overview /> }.into_any(),
                        Page::Positions => view! { <Positions /> }.into_any(),
                        Page::Trades => view! { <TradesAndOrders /> }.into_any(),
                        Page::Watchlist => view! { <Watchlist /> }.into_any(),
                        Page::Models => view! { <Models /> }.into_any(),
                        Page::Alerts => view! { <Reasons /> }.into_any(),
                        Page::Log => view! { <div class="column"><Stages /><Commands /><Ledger />
                        </div> }.into_any(),
                    }}
                </main>
                <BottomBar current=page controls=sheet />
            </div>
        </Show>
        <Dialog ask />
        <Toasts />
    }
}

/// A token that is pasted into an open page begins it anew; anything else is a page.
fn follow_address(page: RwSignal<Page>) {
    let moved = window_event_listener(ev::hashchange, move |_| {
        if address::take_token() {
            drop(window().location().reload());
        }
        page.set(address::current_page());
    });
    on_cleanup(move || moved.remove());
}

/// Tells ages anew with every beat.
fn keep_time(store: Store) {
    let tell = move || store.beat.set(wall_ms());
    let beat = set_interval_with_handle(tell, Duration::from_millis(BEAT_MS));
    on_cleanup(move || {
        if let Ok(beat) = beat {
            beat.clear();
        }
    });
}

#[component]
fn Overview() -> impl IntoView {
    view! {
        <div class="columns overview">
            <div class="column"><Equity /><Positions /><Watchlist /></div>
            <div class="column"><Limits /><Alerts count=ALERTS_SHORT short=true />
            <Trades count=TRADES_SHORT /><Why /></div>
        </div>
    }
}

#[component]
fn TradesAndOrders() -> impl IntoView {
    view! { <div class="columns"><Orders /><Trades count=TRADES_LONG /></div> }
}

#[component]
fn Models() -> impl IntoView {
    view! { <div class="columns"><Signals /><Files /></div> }
}

#[component]
fn Reasons() -> impl IntoView {
    view! { <div class="column two"><Alerts count=NEWS_MAX /><Why /></div> }
}

/// What needs somebody, in one line on a phone.
#[component]
fn Strip() -> impl IntoView {
    let store = expect_context::<Store>();
    let needs = Memo::new(move |_| needs_you(store));
    let text = Memo::new(move |_| {
        let newest = store.alerts.with(|alerts| {
            alerts
                .iter()
                .rev()
                .find(|alert| alert.level == protocol::decision::Level::Critical)
                .map(|alert| alert.text.clone())
        });
        newest.unwrap_or_else(|| "An order or a position is not settled with the broker.".to_owned())
    });
    view! {
        <Show when=move || { needs.get() > 0 }>
            <a class="strip" href=Page::Alerts.link()><span class="warn"><Icon path=WARN size=14 /></span>
            <span class="what">{move || text.get()}</span></a>
        </Show>
    }
}

/// Says that the line is lost, and what is shown meanwhile; or that our fold was thrown away.
#[component]
fn LinkBar() -> impl IntoView {
    let store = expect_context::<Store>();
    let text = Memo::new(move |_| match store.link.get() {
        Link::Lost(since) => Some(format!(
            "Disconnected {}, trying again. What is shown is the last that is known.",
            age((store.beat.get() - since) / 1_000.0)
        )),
        Link::Shut(text) => Some(format!("{text} Open the address that run-all printed.")),
        Link::Opening | Link::Open => None,
    });
    let mismatch = move || {
        store.mismatch.get().map(|text| {
            format!("{text}. A fresh snapshot was asked for; the broker and the ledger are not touched.")
        })
    };
    view! {
        <Show when=move || text.get().is_some()>
            <div class="bar" data-test="disconnected" role="alert">
                <Icon path=WARN size=14 />{move || text.get()}</div>
        </Show>
        <Show when=move || store.mismatch.get().is_some()>
            <div class="bar crit" data-test="mismatch" role="alert">
                <Icon path=WARN size=14 /><span>{mismatch}</span><span class="space"></span>
                <button aria-label="Dismiss" on:click=move |_| store.mismatch.set(None)>
                    <Icon path=CROSS size=12 /></button>
            </div>
        </Show>
    }
}

/// What stands there before the first snapshot.
#[component]
fn Gate() -> impl IntoView {
    let store = expect_context::<Store>();
    let shown = move || match store.link.get() {
        Link::Opening | Link::Open => (
            "Connecting".to_owned(),
            "Waiting for the first snapshot.".to_owned(),
        ),
        Link::Lost(since) => (
            format!(
                "The pipeline does not answer, trying again for {}",
                age((store.beat.get() - since) / 1_000.0)
            ),
            "Start it with ./just run-all, or look with ./just status how it fares. \
             This page connects by itself."
                .to_owned(),
        ),
        Link::Shut(text) => (
            text,
            "Open the address that ./just run-all printed, whole, with #token= at its end. \
             ./just status prints it again."
                .to_owned(),
        ),
    };
    view! {
        <div class="gate" data-test="gate">
            <h1>{move || shown().0}</h1>
            <p>{move || shown().1}</p>
            <p class="note">{move || store.mismatch.get()}</p>
        </div>
    }
}
