//! One line at the bottom right for five seconds; what is critical stays until it is dismissed.

use leptos::prelude::*;
use protocol::decision::Level;

use crate::icon::{CHECK, CROSS, Icon, WARN};
use crate::store::Store;

/// Lines at the same time.
pub const TOASTS_MAX: usize = 3;
/// How long a line stays, milliseconds.
const TOAST_MS: u64 = 5_000;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Toast {
    /// Counts up.
    pub number: u64,
    /// How it looks, and whether it goes by itself.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// Adds a line; the oldest that is not critical makes room.
pub fn say(store: Store, level: Level, text: String) {
    let number = store
        .toasts
        .with_untracked(|toasts| toasts.last().map_or(1, |toast| toast.number + 1));
    store.toasts.update(|toasts| {
        toasts.push(Toast { number, level, text });
        if toasts.len() > TOASTS_MAX {
            let out = toasts
                .iter()
                .position(|toast| toast.level != Level::Critical)
                .unwrap_or(0);
            toasts.remove(out);
        }
    });
    if level != Level::Critical {
        set_timeout(
            move || dismiss(store, number),
            std::time::Duration::from_millis(TOAST_MS),
        );
    }
}

fn dismiss(store: Store, number: u64) {
    store
        .toasts
        .update(|toasts| toasts.retain(|toast| toast.number != number));
}

/// The lines.
#[component]
pub fn Toasts() -> impl IntoView {
    let store = expect_context::<Store>();
    view! {
        <div class="toasts" role="status" aria-live="polite" data-test="toasts">
            <For each=move || store.toasts.get() key=|toast| toast.number let:toast>
                <div class="toast" class:crit=toast.level == Level::Critical data-test="toast">
                    <span class=match toast.level {
                        Level::Info => "gain",
                        Level::Warning => "warn",
                        Level::Critical => "crit",
                    }>
                        <Icon path=if toast.level == Level::Info { CHECK } else { WARN } size=14 />
                    </span>
                    <span title=toast.text.clone()>{toast.text.clone()}</span>
                    <button aria-label="Dismiss" class="faint" on:click=move |_| dismiss(store, toast.number)>
                        <Icon path=CROSS size=12 />
                    </button>
                </div>
            </For>
        </div>
    }
}
