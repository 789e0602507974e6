//! The page: follows the pipeline through the bridge's WebSocket and shows it, with the same fold as the
//! stages.
//!
//! `feed` is the line to the bridge, `frames` applies what comes to the `store`, and every panel is a file
//! that reads the store. `format`, `clock`, `account` and `plot` are pure.

pub mod account;
pub mod address;
pub mod alerts;
pub mod chart;
pub mod clock;
pub mod controls;
pub mod dialog;
pub mod equity;
pub mod feed;
pub mod format;
pub mod frames;
pub mod icon;
pub mod keyboard;
pub mod limits;
pub mod log;
pub mod models;
pub mod nav;
pub mod orders;
pub mod page;
pub mod parts;
pub mod plot;
pub mod positions;
pub mod status;
pub mod store;
pub mod theme;
pub mod toast;
pub mod trades;
pub mod watchlist;
pub mod why;
pub mod words;

/// Puts the page into the document.
pub fn mount() {
    console_error_panic_hook::set_once();
    theme::restore();
    if let Some(starting) = leptos::prelude::document().get_element_by_id("starting") {
        starting.remove();
    }
    leptos::mount::mount_to_body(page::App);
}
