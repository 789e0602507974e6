//! Keys: `g` and a letter opens a page, `Shift` and a letter asks for what is dangerous.

use leptos::ev;
use leptos::prelude::*;
use protocol::ledger::TradingState;
use wasm_bindgen::JsCast;

use crate::address::{self, Page};
use crate::clock::wall_ms;
use crate::dialog::Ask;
use crate::feed::Feed;
use crate::store::Store;
use crate::theme;

/// The letter after `g` must come within this time, milliseconds.
const SECOND_KEY_MS: f64 = 1_200.0;

/// Listens as long as the page lives.
pub fn listen(store: Store, feed: Feed, ask: RwSignal<Option<Ask>>) {
    let went = StoredValue::new(0.0);
    let listener = window_event_listener(ev::keydown, move |event| {
        let in_field = event
            .target()
            .and_then(|target| target.dyn_into::<web_sys::Element>().ok())
            .is_some_and(|element| matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"));
        if in_field || event.ctrl_key() || event.meta_key() || event.alt_key() || event.repeat() {
            return;
        }
        let key = event.key();
        let second = wall_ms() - went.get_value() < SECOND_KEY_MS;
        went.set_value(0.0);
        if second && let Some(page) = Page::ALL.into_iter().find(|page| page.key() == key) {
            address::open(page);
            return;
        }
        match key.as_str() {
            "g" => went.set_value(wall_ms()),
            "d" => theme::toggle(),
            "?" => ask.set(Some(Ask::Keys)),
            _ if ask.get_untracked().is_some() => {}
            "." => match store.portfolio.with_untracked(|portfolio| portfolio.state) {
                TradingState::Active => feed.command("reduce", None, "entries paused on the page"),
                TradingState::Reducing if !store.is_live_untracked() => {
                    feed.command("resume", None, "entries resumed on the page")
                }
                TradingState::Reducing | TradingState::Halted => {}
            },
            "H" => feed.command("halt", None, ""),
            "C" => ask.set(Some(Ask::CancelAll)),
            "F" if store.totals.with_untracked(|totals| totals.open > 0) => ask.set(Some(Ask::Flatten)),
            _ => {}
        }
    });
    on_cleanup(move || listener.remove());
}
