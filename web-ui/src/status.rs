//! Is it safe, is it connected, am I up or down: the bar over every page.

use leptos::prelude::*;
use protocol::ledger::TradingState;
use protocol::market::Phase;
use protocol::operator::HealthState;

use crate::clock::{day, hms};
use crate::equity::day_gain;
use crate::format::{NONE, age, countdown, seconds_between, signed_dollars, signed_percent, tone};
use crate::store::{Link, QUOTE_AGE_MAX, Store};
use crate::words;

/// A stage that is silent for longer counts as slow, wall seconds.
const SLOW_SECONDS: f64 = 5.0;
/// A stage that is silent for longer counts as down, wall seconds.
const DOWN_SECONDS: f64 = 15.0;

/// A link: its shape, its word, and a sentence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Class of the dot.
    pub dot: &'static str,
    /// A word or an age.
    pub word: String,
    /// One sentence.
    pub title: String,
}

impl Said {
    fn new(dot: &'static str, word: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            dot,
            word: word.into(),
            title: title.into(),
        }
    }
}

/// The market's link to the broker, and how long execution is silent.
#[must_use]
pub fn broker(store: Store) -> Said {
    let beat = store.beat.get();
    let connected = store
        .session
        .with(|session| session.as_ref().map(|session| session.connected));
    if connected == Some(false) {
        return Said::new("dot down", "down", "The broker's link to the market is down.");
    }
    store.health.with(|stages| {
        let Some((health, came)) = stages.get("execution") else {
            return Said::new("dot idle", "no word", "Execution has not spoken yet.");
        };
        let silent = (beat - came) / 1_000.0;
        let (state, text) = (health.state, health.text.clone());
        match state {
            _ if silent > DOWN_SECONDS => Said::new(
                "dot down",
                format!("down {}", age(silent)),
                "Execution is silent.",
            ),
            _ if silent > SLOW_SECONDS => Said::new("dot slow", age(silent), "Execution is slow to speak."),
            HealthState::Ready => Said::new("dot", age(silent), "Execution is linked to the broker."),
            HealthState::Degraded => Said::new("dot slow", "degraded", text),
            HealthState::Starting => Said::new("dot idle", "starting", text),
            HealthState::Standby => Said::new("dot idle", "standby", text),
        }
    })
}

/// How old the newest word of any stage is: all of it comes over the bus.
#[must_use]
pub fn bus(store: Store) -> Said {
    let beat = store.beat.get();
    let newest = store.health.with(|stages| {
        stages
            .values()
            .map(|(_, came)| *came)
            .fold(f64::NEG_INFINITY, f64::max)
    });
    let silent = (beat - newest) / 1_000.0;
    if store.link.get() != Link::Open {
        return Said::new("dot down", "no link", "This page has lost the bridge.");
    }
    match silent {
        s if s > DOWN_SECONDS => Said::new(
            "dot down",
            format!("down {}", age(s.min(1e7))),
            "No stage speaks on the bus.",
        ),
        s if s > SLOW_SECONDS => Said::new("dot slow", age(s), "The stages are slow to speak."),
        s => Said::new("dot", age(s), "Since the newest heartbeat of a stage."),
    }
}

/// How many symbols have a fresh quote, of how many, and the age of the newest.
#[must_use]
pub fn data(store: Store) -> (usize, usize, Said) {
    let watchlist = store.watchlist.get();
    let ages = watchlist.iter().filter_map(|symbol| {
        let ticker = store.ticker(*symbol);
        ticker.quote.with(|quote| {
            quote
                .as_ref()
                .filter(|quote| quote.tradable)
                .map(|quote| store.market_age(quote.at))
        })
    });
    let ages: Vec<f64> = ages.collect();
    let fresh = ages.iter().filter(|age| **age <= QUOTE_AGE_MAX).count();
    let newest = ages.iter().copied().fold(f64::INFINITY, f64::min);
    let phase = store
        .session
        .with(|session| session.as_ref().map(|session| session.phase));
    let said = match (fresh, watchlist.len()) {
        (0, _) if phase == Some(Phase::Closed) => Said::new("dot idle", "closed", "The market is closed."),
        (0, _) if phase.is_some_and(|phase| phase != Phase::Regular) => Said::new(
            "dot idle",
            "quiet",
            "Outside the regular session quotes are rare.",
        ),
        (0, _) => Said::new("dot down", "none", "No symbol has a fresh quote."),
        (fresh, all) if fresh < all => Said::new(
            "dot slow",
            age(newest),
            format!("{} symbols have no fresh quote.", all - fresh),
        ),
        _ => Said::new("dot", age(newest), "Since the newest quote."),
    };
    (fresh, watchlist.len(), said)
}

/// The session in words, and what the countdown runs to.
#[must_use]
pub fn session(store: Store) -> (&'static str, String) {
    let now = store.market_now();
    store.session.with(|session| {
        let Some(session) = session else {
            return ("Session", "not known".to_owned());
        };
        let (name, verb) = match session.phase {
            Phase::Closed => ("Market closed", "opens in"),
            Phase::Pre => ("Pre-market", "opens in"),
            Phase::Regular => ("Regular session", "closes in"),
            Phase::After => ("After-market", "ends in"),
        };
        let rest = session.next_change.map(|change| seconds_between(now, change));
        (
            name,
            rest.map_or_else(|| "open".to_owned(), |rest| format!("{verb} {}", countdown(rest))),
        )
    })
}

/// The trading state: its dot, its word.
#[must_use]
pub fn trading(store: Store) -> (&'static str, &'static str) {
    store
        .portfolio
        .with(|portfolio| match (portfolio.killed, portfolio.state) {
            (false, TradingState::Halted)
                if portfolio.flattening.is_some() && portfolio.open_positions().next().is_some() =>
            {
                ("dot down", "Flattening")
            }
            (true, _) => ("dot down", "Killed"),
            (false, TradingState::Active) => ("dot", words::state(TradingState::Active)),
            (false, TradingState::Reducing) => ("dot slow", words::state(TradingState::Reducing)),
            (false, TradingState::Halted) => ("dot down", words::state(TradingState::Halted)),
        })
}

/// The pill that says what is at stake.
#[component]
pub fn ModePill() -> impl IntoView {
    let store = expect_context::<Store>();
    let shown = Memo::new(move |_| {
        if store.is_live() {
            ("pill-mode live", "LIVE".to_owned())
        } else if store.is_replay() {
            ("pill-mode replay", format!("REPLAY {}", day(store.market_now())))
        } else {
            ("pill-mode paper", "PAPER".to_owned())
        }
    });
    view! { <span class=move || shown.get().0 data-test="mode">{move || shown.get().1}</span> }
}

/// The bar.
#[component]
pub fn Status() -> impl IntoView {
    let store = expect_context::<Store>();
    let account = Memo::new(move |_| {
        store.portfolio.with(|p| {
            p.identity
                .as_ref()
                .map_or_else(|| NONE.to_owned(), |identity| identity.account.clone())
        })
    });
    let market = Memo::new(move |_| {
        store
            .facts
            .with(|facts| facts.as_ref().map(|facts| facts.market.clone()))
    });
    let trading = Memo::new(move |_| trading(store));
    let session = Memo::new(move |_| session(store));
    let (broker, bus) = (Memo::new(move |_| broker(store)), Memo::new(move |_| bus(store)));
    let data = Memo::new(move |_| data(store));
    let epoch = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.epoch));
    let runner = Memo::new(move |_| {
        store.health.with(|stages| {
            stages
                .get("execution")
                .map_or_else(|| NONE.to_owned(), |(health, _)| health.instance.clone())
        })
    });
    let gain = Memo::new(move |_| day_gain(store));
    let clock = Memo::new(move |_| hms(store.market_now()));
    view! {
        <div class="status" data-test="status">
            <ModePill />
            <div class="cell first drop-account">
                <span class="label">{move || format!("Account, {}", market.get().unwrap_or_default())}</span>
                <b data-test="account">{move || account.get()}</b>
            </div>
            <div class="cell" data-test="state" data-state=move || trading.get().1>
                <span class="label">"Trading"</span>
                <b><i class=move || trading.get().0></i>{move || trading.get().1}</b>
            </div>
            <div class="cell" data-test="session"><span class="label">{move || session.get().0}</span>
            <b>{move || session.get().1}</b></div>
            <LinkCell name="Broker" said=broker test="broker" />
            <LinkCell name="Bus" said=bus test="bus" />
            <div class="cell" data-test="data" title=move || data.get().2.title>
                <span class="label">{move || format!("Data, {} of {}", data.get().0, data.get().1)}</span>
                <b><i class=move || data.get().2.dot></i>{move || data.get().2.word}</b>
            </div>
            <div class="cell drop-epoch" data-test="epoch">
                <span class="label">{move || format!("Lease, epoch {}", epoch.get())}</span>
                <b>{move || runner.get()}</b>
            </div>
            <span class="space"></span>
            <div class="cell right first" data-test="day">
                <span class="label">"Day P&L"</span>
                <span class=move || format!("profit {}", tone(gain.get().0, 2))>
                    {move || format!("{} {}", signed_dollars(gain.get().0), signed_percent(gain.get().1, 2))}
                </span>
            </div>
            <div class="cell right end drop-clock"><span class="label">"New York"</span>
            <b data-test="clock">{move || clock.get()}</b></div>
        </div>
    }
}

#[component]
fn LinkCell(name: &'static str, said: Memo<Said>, test: &'static str) -> impl IntoView {
    let down = move || said.with(|said| said.dot == "dot down");
    view! {
        <div class="cell" class:crit=down data-test=test title=move || said.get().title>
            <span class="label">{name}</span>
            <b><i class=move || said.get().dot></i>{move || said.get().word}</b>
        </div>
    }
}

/// The two lines that stand on top of a phone's page.
#[component]
pub fn PhoneStatus(
    /// Opens the menu of all pages.
    menu: RwSignal<bool>,
) -> impl IntoView {
    let store = expect_context::<Store>();
    let trading = Memo::new(move |_| trading(store));
    let session = Memo::new(move |_| session(store));
    let links = Memo::new(move |_| {
        [
            ("Broker", broker(store)),
            ("Bus", bus(store)),
            ("Data", data(store).2),
        ]
    });
    let epoch = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.epoch));
    view! {
        <div class="phone-status only-phone">
            <div class="row">
                <ModePill />
                <span class="strong"><i class=move || trading.get().0></i>{move || trading.get().1}</span>
                <span class="space"></span>
                <span class="faint">{move || session.get().1}</span>
                <button class="target" aria-label="All pages"
                    on:click=move |_| menu.update(|open| *open = !*open)>
                    <crate::icon::Icon path=crate::icon::MENU />
                </button>
            </div>
            <div class="row links">
                {move || links.get().into_iter().map(|(name, said)| view! {
                    <span><i class=said.dot></i>{format!("{name} {}", said.word)}</span>
                }).collect_view()}
                <span>{move || format!("Epoch {}", epoch.get())}</span>
            </div>
        </div>
    }
}
