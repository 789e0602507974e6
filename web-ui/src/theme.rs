//! Dark or light: the system's choice until a person chooses.

use leptos::prelude::*;

const KEY: &str = "tradewind-theme";

/// Takes up what was chosen before.
pub fn restore() {
    let chosen = window()
        .local_storage()
        .ok()
        .flatten()
        .and_then(|storage| storage.get_item(KEY).ok().flatten());
    if let Some(theme) = chosen.filter(|theme| theme == "dark" || theme == "light") {
        set(&theme);
    }
}

/// Chooses the other one, and keeps that.
pub fn toggle() {
    let chosen = document()
        .document_element()
        .and_then(|root| root.get_attribute("data-theme"));
    let dark = match chosen.as_deref() {
        Some(theme) => theme == "dark",
        None => !window()
            .match_media("(prefers-color-scheme: light)")
            .ok()
            .flatten()
            .is_some_and(|query| query.matches()),
    };
    let next = if dark { "light" } else { "dark" };
    set(next);
    if let Ok(Some(storage)) = window().local_storage() {
        // Where storage is forbidden the choice lasts until the page is closed.
        drop(storage.set_item(KEY, next));
    }
}

fn set(theme: &str) {
    if let Some(root) = document().document_element() {
        // Setting an attribute of the root can't fail.
        drop(root.set_attribute("data-theme", theme));
    }
}
