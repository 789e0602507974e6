//! What a person can do: set the trading state, cancel, flatten. Never optimistic: what is shown is what the
//! ledger says, and until an answer comes the asking is shown as asked.

use leptos::prelude::*;
use protocol::ledger::TradingState;

use crate::clock::hms;
use crate::dialog::Ask;
use crate::feed::Feed;
use crate::format::age;
use crate::store::{Link, Store};

/// What a browser may not do while real money trades.
const LIVE_TITLE: &str =
    "While real money trades, a browser may only reduce risk. Use the nats CLI for this.";

/// The controls.
#[component]
pub fn Controls(
    /// The dialog that is asked before a flatten or a cancel.
    ask: RwSignal<Option<Ask>>,
) -> impl IntoView {
    let store = expect_context::<Store>();
    let working = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.open_orders().count()));
    let open = Memo::new(move |_| store.totals.with(|totals| totals.open));
    let killed = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.killed));
    let off = Memo::new(move |_| store.link.get() != Link::Open);
    let feed = expect_context::<Feed>();
    view! {
        <section class="controls" aria-label="Controls" data-test="controls">
            <div class="title"><span class="label">"Trading state"</span><Asked /></div>
            <div class="segments">
                <Segment verb="resume" name="Active" state=TradingState::Active />
                <Segment verb="reduce" name="Reduce" state=TradingState::Reducing />
                <Segment verb="halt" name="Halt" state=TradingState::Halted />
            </div>
            <Show when=move || killed.get()>
                <button class="button" data-test="release" disabled=move || off.get() || store.is_live()
                    title=move || store.is_live().then_some(LIVE_TITLE)
                    on:click={
                        let feed = feed.clone();
                        move |_| feed.command("release", None, "released on the page")
                    }>"Release kill switch"</button>
            </Show>
            <button class="button" data-test="cancel-all" disabled=move || off.get() || working.get() == 0
                on:click=move |_| ask.set(Some(Ask::CancelAll))>"Cancel all"<span
                    class="count">{move || working.get()}</span></button>
            <button class="button danger" data-test="flatten" disabled=move || off.get() || open.get() == 0
                on:click=move |_| ask.set(Some(Ask::Flatten))>"Flatten all…"<span
                    class="count">{move || open.get()}</span></button>
            <Answer />
        </section>
    }
}

#[component]
fn Segment(verb: &'static str, name: &'static str, state: TradingState) -> impl IntoView {
    let store = expect_context::<Store>();
    let feed = expect_context::<Feed>();
    let on = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.state == state));
    let waits = Memo::new(move |_| {
        store
            .pending
            .with(|pending| pending.as_ref().is_some_and(|pending| pending.verb == verb))
    });
    let forbidden = Memo::new(move |_| store.is_live() && verb == "resume");
    let off = Memo::new(move |_| store.link.get() != Link::Open || forbidden.get());
    view! {
        <button
            data-test=verb
            class:on=move || on.get()
            class:reducing=state == TradingState::Reducing
            class:halted=state == TradingState::Halted
            aria-pressed=move || on.get().to_string()
            disabled=move || off.get()
            title=move || forbidden.get().then_some(LIVE_TITLE)
            on:click=move |_| feed.command(verb, None, "")
        >
            <Show when=move || waits.get()><span class="spin"></span></Show>
            {name}
        </button>
    }
}

/// How long the command under way has waited.
#[component]
fn Asked() -> impl IntoView {
    let store = expect_context::<Store>();
    move || {
        let asked = store
            .pending
            .with(|pending| pending.as_ref().map(|pending| pending.asked_ms))?;
        let waited = (store.beat.get() - asked) / 1_000.0;
        Some(view! { <span class="label" data-test="pending">{format!("asked {} ago", age(waited))}</span> })
    }
}

/// The answer to the last command, of this page or, before there is one, of anybody.
#[component]
fn Answer() -> impl IntoView {
    let store = expect_context::<Store>();
    let shown = Memo::new(move |_| {
        let recorded = store.portfolio.with(|portfolio| {
            let last = portfolio.commands.back()?;
            Some((
                last.at,
                last.record.verb.clone(),
                last.record.accepted,
                last.record.text.clone(),
                last.record.by.clone(),
            ))
        });
        let ours = store.reply.with(|reply| {
            reply
                .as_ref()
                .map(|r| (r.at, r.verb.clone(), r.accepted, r.text.clone(), String::new()))
        });
        match (recorded, ours) {
            (Some(recorded), Some(ours)) if recorded.0 > ours.0 && recorded.1 != ours.1 => Some(recorded),
            (recorded, ours) => ours.or(recorded),
        }
    });
    move || {
        shown.get().map(|(at, verb, accepted, text, by)| {
            let by = if by.is_empty() || by == "web" {
                String::new()
            } else {
                format!(" by {by}")
            };
            view! {
                <p class="answer" class:no=!accepted data-test="command-reply"
                    data-accepted=accepted.to_string() data-verb=verb.clone()>
                    <b>{format!("{verb}{by}, {}", hms(at))}</b> {format!(": {text}")}
                </p>
            }
        })
    }
}
