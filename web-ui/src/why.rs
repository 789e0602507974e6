//! Why does nothing trade? What stands in the way of everything, then the refusals by their check.

use leptos::prelude::*;
use protocol::decision::Refusal;
use protocol::ledger::TradingState;
use protocol::market::Phase;
use protocol::operator::HealthState;

use crate::format::{age, sentence_case};
use crate::icon::{CHECK, Icon, REFUSED, WARN};
use crate::store::Store;
use crate::words;

/// The card of reasons.
#[component]
pub fn Why() -> impl IntoView {
    let store = expect_context::<Store>();
    let obstacles = Memo::new(move |_| obstacles(store));
    let groups = Memo::new(move |_| {
        let mut groups: Vec<_> = store.reasons.with(|reasons| reasons.values().cloned().collect());
        groups.sort_by_key(|group| std::cmp::Reverse(group.1.at));
        groups
    });
    let total = Memo::new(move |_| groups.with(|groups| groups.iter().map(|group| group.0).sum::<u64>()));
    view! {
        <section class="card" data-test="why">
            <header>
                <h2>"Why does nothing trade?"</h2><span class="space"></span>
                <span class="note">{move || format!("{} refusals", total.get())}</span>
            </header>
            <ul class="items">
                <For each=move || obstacles.get() key=|text| text.clone() let:text>
                    <li data-test="obstacle"><span class="warn"><Icon path=WARN size=13 /></span>
                    <span class="what">{text}</span></li>
                </For>
                <For each=move || groups.get() key=|group| (words::check(group.1.check), group.0) let:group>
                    <li data-test="refusal">
                        <span class="faint"><Icon path=REFUSED size=13 /></span>
                        <span class="what">{words::check(group.1.check)}<span
                            class="faint">{format!(" {}×", group.0)}</span></span>
                        <span class="when">{move || age(store.market_age(group.1.at))}</span>
                        <span class="rest">{sentence(&group.1)}</span>
                    </li>
                </For>
                <Show when=move || obstacles.with(Vec::is_empty) && groups.with(Vec::is_empty)>
                    <li>
                        <span class="gain"><Icon path=CHECK size=13 /></span>
                        <span class="what">"Nothing stands in the way."</span>
                        <span class="rest">
                            "An entry waits for a bar whose model sees a rise. Refusals stand here, by reason."
                        </span>
                    </li>
                </Show>
            </ul>
        </section>
    }
}

/// A refusal's sentence, with its symbol.
fn sentence(refusal: &Refusal) -> String {
    let (symbol, text) = (refusal.symbol, &refusal.text);
    if text.contains(symbol.as_str()) {
        text.clone()
    } else {
        format!("{symbol}: {text}")
    }
}

/// What stops entries of every symbol, in sentences.
fn obstacles(store: Store) -> Vec<String> {
    let mut texts = Vec::new();
    let (state, killed, opened) = store
        .portfolio
        .with(|portfolio| (portfolio.state, portfolio.killed, portfolio.opened));
    if killed {
        texts.push("The kill switch is latched: nothing goes out until it is released.".to_owned());
    }
    match state {
        TradingState::Active => {}
        TradingState::Reducing => {
            texts.push("Trading only reduces: exits pass, entries wait for Active.".to_owned())
        }
        TradingState::Halted => {
            texts.push("Trading is halted: exits that reduce pass, entries wait for Active.".to_owned())
        }
    }
    store.portfolio.with(|portfolio| {
        for symbol in portfolio.symbol_states.keys() {
            texts.push(format!(
                "{symbol} alone is halted or only reduces: its exits pass, its entries wait for `command.resume`."
            ));
        }
    });
    if !opened {
        texts.push("The broker's positions are not loaded yet: nothing is ordered before.".to_owned());
    }
    store.session.with(|session| match session {
        None => texts.push("The market's session is not known yet.".to_owned()),
        Some(session) if !session.connected => {
            texts.push(
                "The broker's link to the market is down: prices may be old, and entries wait.".to_owned(),
            );
        }
        Some(session) if session.phase == Phase::Closed => texts.push("The market is closed.".to_owned()),
        Some(_) => {}
    });
    let none_loaded = store.watchlist.with(|watchlist| {
        !watchlist.is_empty()
            && watchlist
                .iter()
                .all(|symbol| store.ticker(*symbol).opinion.with(Option::is_none))
    });
    if none_loaded {
        texts.push("No signal has come yet: features warm up, or no model is loaded.".to_owned());
    }
    store.health.with(|stages| {
        for (health, _) in stages
            .values()
            .filter(|(health, _)| health.state != HealthState::Ready)
        {
            let word = match health.state {
                HealthState::Starting => "starts",
                HealthState::Standby => "stands by",
                HealthState::Degraded | HealthState::Ready => "works with less than it needs",
            };
            let name = sentence_case(&health.service);
            let rest = if health.text.is_empty() {
                String::new()
            } else {
                format!(": {}", health.text)
            };
            texts.push(format!("{name} {word}{rest}"));
        }
    });
    texts
}
