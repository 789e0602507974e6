//! Line icons, 16 by 16, in the colour of the text around them.

use leptos::prelude::*;

/// The house of the first page.
pub const OVERVIEW: &str = "M2.5 7.5 8 3l5.5 4.500M4 6.500v6.500h8V6.500M6.5 13V9.500h3V13";
/// Rows.
pub const POSITIONS: &str = "M2.5 4h11M2.5 8h11M2.5 12h7";
/// Up and down.
pub const TRADES: &str = "M5 13V3.500M2.5 6 5 3.5 7.5 6M11 3v9.500M8.5 10l2.5 2.5 2.5-2.5";
/// An eye.
pub const WATCHLIST: &str = "M1.5 8s2.5-4.5 6.5-4.5S14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8z\
    M8 9.75a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5z";
/// A block.
pub const MODELS: &str =
    "M8 1.75 13.25 4.750v6.500L8 14.25 2.75 11.250v-6.500zM2.75 4.75 8 7.750l5.25-3M8 7.750v6.5";
/// A bell.
pub const ALERTS: &str = "M4 11V7a4 4 0 0 1 8 0v4l1.25 1.500H2.750zM6.75 14.250h2.5";
/// A prompt.
pub const LOG: &str = "M2.5 4.5 5.5 8l-3 3.500M7.5 12h6";
/// Sliders.
pub const CONTROLS: &str = "M2 4.500h7M12 4.500h2M2 11.500h2M7 11.500h7M10.5 6V3M5.5 13v-3";
/// Three lines.
pub const MENU: &str = "M2 4h12M2 8h12M2 12h12";
/// Done, equal, healthy.
pub const CHECK: &str = "M3 8.5 6.5 12 13 4.5";
/// Needs somebody.
pub const WARN: &str = "M8 2.25 14.5 13.250h-13zM8 6.500v3.250M8 11.250v.5";
/// Good to know.
pub const INFO: &str = "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.250V11M8 5v.5";
/// Refused.
pub const REFUSED: &str = "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM3.75 3.750l8.5 8.5";
/// Closes.
pub const CROSS: &str = "M4 4l8 8M12 4l-8 8";
/// The project's mark.
pub const MARK: &str =
    "M2 13.500h13M3.5 11C7 10 9 7.5 9.25 3.250c2.25 2.25 4.25 4.75 5 8-3-1.25-7-1.25-10.75-.25z";
/// Shares are added: hollow.
const UP: &str = "M5 1.5 9 8.500H1z";
/// Shares are taken away: solid.
const DOWN: &str = "M5 8.5 1 1.500h8z";

/// One icon.
#[component]
pub fn Icon(
    /// One of the paths of this file.
    path: &'static str,
    /// Edge in pixels.
    #[prop(default = 16)]
    size: u32,
) -> impl IntoView {
    view! {
        <svg width=size height=size viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.3"
            stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
            <path d=path />
        </svg>
    }
}

/// The mark of a side: a hollow triangle for a buy, a solid one for a sell.
#[component]
pub fn SideMark(
    /// Which.
    side: protocol::ledger::Side,
) -> impl IntoView {
    let buy = side == protocol::ledger::Side::Buy;
    view! {
        <span class="side-mark">
            <svg width="8" height="8" viewBox="0 0 10 10" stroke="currentColor" stroke-width="1.4"
                stroke-linejoin="round"
                fill=if buy { "none" } else { "currentColor" } aria-hidden="true">
                <path d=if buy { UP } else { DOWN } />
            </svg>
            {if buy { "Buy" } else { "Sell" }}
        </span>
    }
}
