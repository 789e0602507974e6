//! What the address says: the token, once, and then which page.
//!
//! The token arrives in the fragment, so that it reaches no server's log. It is taken out of the address at
//! once and kept for this tab alone.

use leptos::prelude::*;

const TOKEN_KEY: &str = "tradewind-token";
const TOKEN_MARK: &str = "token=";
const RELOAD_KEY: &str = "tradewind-reload";
/// The page is not loaded anew more often, milliseconds.
const RELOAD_MS_MIN: f64 = 30_000.0;

/// The pages. Each has its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Page {
    /// Everything at a glance.
    #[default]
    Overview,
    /// What is held.
    Positions,
    /// Orders and fills.
    Trades,
    /// Every symbol.
    Watchlist,
    /// Models and their newest opinions.
    Models,
    /// Alerts and refusals.
    Alerts,
    /// Stages and the ledger as it grows.
    Log,
}

impl Page {
    /// All, in the order of the navigation.
    pub const ALL: [Self; 7] = [
        Self::Overview,
        Self::Positions,
        Self::Trades,
        Self::Watchlist,
        Self::Models,
        Self::Alerts,
        Self::Log,
    ];

    /// Its word in the address.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Positions => "positions",
            Self::Trades => "trades",
            Self::Watchlist => "watchlist",
            Self::Models => "models",
            Self::Alerts => "alerts",
            Self::Log => "log",
        }
    }

    /// Its name.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Positions => "Positions",
            Self::Trades => "Trades & orders",
            Self::Watchlist => "Watchlist",
            Self::Models => "Models",
            Self::Alerts => "Alerts",
            Self::Log => "Log & bus",
        }
    }

    /// The key that opens it after `g`.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.slug().get(..1).expect("every slug has a letter")
    }

    /// Its address within the page.
    #[must_use]
    pub fn link(self) -> String {
        format!("#/{}", self.slug())
    }
}

/// The page that a fragment names; the overview for anything unknown.
#[must_use]
pub fn page_of(fragment: &str) -> Page {
    let slug = fragment.trim_start_matches('#').trim_start_matches('/');
    Page::ALL
        .into_iter()
        .find(|page| page.slug() == slug)
        .unwrap_or_default()
}

/// The token that a fragment carries.
#[must_use]
pub fn token_of(fragment: &str) -> Option<String> {
    let token = fragment.trim_start_matches('#').strip_prefix(TOKEN_MARK)?;
    (!token.is_empty()).then(|| token.to_owned())
}

/// Takes the token out of the address, when it is there, and keeps it for this tab. True when there was one.
pub fn take_token() -> bool {
    let fragment = window().location().hash().unwrap_or_default();
    let Some(token) = token_of(&fragment) else {
        return false;
    };
    if let Ok(Some(storage)) = window().session_storage() {
        // A browser that forbids storage still works until the tab is reloaded.
        drop(storage.set_item(TOKEN_KEY, &token));
    }
    if let Ok(history) = window().history() {
        let to = Page::Overview.link();
        drop(history.replace_state_with_url(&wasm_bindgen::JsValue::NULL, "", Some(&to)));
    }
    true
}

/// The token of this tab.
#[must_use]
pub fn token() -> Option<String> {
    window()
        .session_storage()
        .ok()
        .flatten()?
        .get_item(TOKEN_KEY)
        .ok()
        .flatten()
}

/// Loads the page anew, because a newer bridge serves a newer page. False when that was tried a moment ago.
#[must_use]
pub fn reload() -> bool {
    let Ok(Some(storage)) = window().session_storage() else {
        return false;
    };
    let before = storage
        .get_item(RELOAD_KEY)
        .ok()
        .flatten()
        .and_then(|text| text.parse::<f64>().ok());
    let now = crate::clock::wall_ms();
    if before.is_some_and(|before| now - before < RELOAD_MS_MIN) {
        return false;
    }
    // Without the note the page could reload for ever, so it must be there first.
    storage.set_item(RELOAD_KEY, &now.to_string()).is_ok() && window().location().reload().is_ok()
}

/// The page of the address, now.
#[must_use]
pub fn current_page() -> Page {
    page_of(&window().location().hash().unwrap_or_default())
}

/// Goes to a page.
pub fn open(page: Page) {
    // Only a browser that is shutting the tab refuses this.
    drop(window().location().set_hash(&format!("/{}", page.slug())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_a_token_or_a_page() {
        assert_eq!(token_of("#token=ab_-9"), Some("ab_-9".to_owned()));
        for fragment in ["", "#", "#token=", "#/overview"] {
            assert_eq!(token_of(fragment), None, "{fragment}");
        }
        for page in Page::ALL {
            assert_eq!(page_of(&page.link()), page);
        }
        assert_eq!(page_of("#token=x"), Page::Overview);
        assert_eq!(page_of("#/nowhere"), Page::Overview);
    }

    #[test]
    fn no_two_pages_share_a_key() {
        let mut keys: Vec<_> = Page::ALL.iter().map(|page| page.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Page::ALL.len());
    }
}
