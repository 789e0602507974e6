//! The stages and how they fare, the ledger as it grows, and whether our fold is the bridge's.

use leptos::prelude::*;
use protocol::operator::HealthState;

use crate::clock::hms;
use crate::format::{NONE, age, sentence_case};
use crate::parts::Nothing;
use crate::store::Store;

/// Commands shown.
const COMMANDS_SHOWN: usize = 12;

/// The card of stages.
#[component]
pub fn Stages() -> impl IntoView {
    let store = expect_context::<Store>();
    let names = Memo::new(move |_| {
        store
            .health
            .with(|stages| stages.keys().cloned().collect::<Vec<_>>())
    });
    view! {
        <section class="card" data-test="stages">
            <header><h2>"Stages"</h2><span class="note">{move || names.with(Vec::len)}</span></header>
            <Show
                when=move || !names.with(Vec::is_empty)
                fallback=|| view! { <Nothing text="No stage has spoken yet." /> }
            >
                <div class="scroll">
                    <table>
                        <thead>
                            <tr>
                                <th class="text">"Stage"</th><th class="text">"State"</th><th>"Heartbeat"</th>
                                <th class="text wide">"Process"</th>
                                <th class="text wide">"Figures"</th>
                            </tr>
                        </thead>
                        <tbody>
                            <For each=move || names.get() key=|name| name.clone() let:name>
                                <Stage name />
                            </For>
                        </tbody>
                    </table>
                </div>
            </Show>
        </section>
    }
}

#[component]
fn Stage(name: String) -> impl IntoView {
    let store = expect_context::<Store>();
    let key = name.clone();
    let health = Memo::new(move |_| store.health.with(|stages| stages.get(&key).cloned()));
    let silent = move || {
        health.with(|health| {
            health
                .as_ref()
                .map(|(_, came)| (store.beat.get() - came) / 1_000.0)
        })
    };
    let process = move || {
        health.with(|health| {
            health
                .as_ref()
                .map(|(h, _)| format!("{} {}", h.instance, h.version))
        })
    };
    let state = move || {
        health
            .with(|health| health.as_ref().map(|(health, _)| health.state))
            .map(|state| match state {
                HealthState::Ready => ("pill good", "Ready"),
                HealthState::Degraded => ("pill needs", "Degraded"),
                HealthState::Starting => ("pill", "Starting"),
                HealthState::Standby => ("pill cancelled", "Standby"),
            })
    };
    view! {
        <tr data-test=format!("stage-{name}")>
            <td class="text strong">{sentence_case(&name)}</td>
            <td class="text">
                {move || state().map(|(class, word)| view! { <span class=class>{word}</span> })}
            </td>
            <td class="dim">{move || silent().map_or_else(|| NONE.to_owned(), age)}</td>
            <td class="text wide faint mono">{process}</td>
            <td class="text wide wrap">
                <span class="figures note">
                    {move || health.with(|health| health.as_ref().map(|(health, _)| {
                        let text = health.text.clone();
                        let text = (!text.is_empty()).then(|| view! { <span class="warn">{text}</span> });
                        let figures = health.figures.iter().map(|(name, value)| {
                            let (name, value) = figure(name, *value);
                            view! { <span>{name} " " <span class="dim">{value}</span></span> }
                        });
                        (text, figures.collect_view())
                    }))}
                </span>
            </td>
        </tr>
    }
}

/// A figure's name as people say it, and its value: an instant as a time, a number with the digits it is worth.
fn figure(name: &str, value: f64) -> (String, String) {
    if let Some(name) = name.strip_suffix("_at_s") {
        let at = protocol::Timestamp::from_second(value as i64).unwrap_or_default();
        return (sentence_case(name), hms(at));
    }
    let name = sentence_case(name.strip_suffix("_count").unwrap_or(name));
    (
        name,
        if value.fract() == 0.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        },
    )
}

/// The ledger as it grew since this page was opened, and its mark.
#[component]
pub fn Ledger() -> impl IntoView {
    let store = expect_context::<Store>();
    let lines = Memo::new(move |_| {
        store
            .lines
            .with(|lines| lines.iter().rev().cloned().collect::<Vec<_>>())
    });
    view! {
        <section class="card" data-test="ledger">
            <header>
                <h2>"Ledger"</h2><span class="note">"records since this page was opened, newest first"</span>
            </header>
            <Show
                when=move || !lines.with(Vec::is_empty)
                fallback=|| view! { <Nothing text="No record since this page was opened." /> }
            >
                <ul class="lines">
                    <For each=move || lines.get() key=|line| line.sequence let:line>
                        <li data-test="ledger-line">
                            <span class="mono faint">{line.sequence}</span>
                            <span class="faint">{hms(line.at)}</span>
                            <span class="mono dim">{line.kind}</span>
                            <span title=line.text.clone()>{line.text.clone()}</span>
                            <span class="mono faint">{line.hash.clone()}</span>
                        </li>
                    </For>
                </ul>
            </Show>
        </section>
    }
}

/// Commands and the answers they got, of everybody.
#[component]
pub fn Commands() -> impl IntoView {
    let store = expect_context::<Store>();
    let commands = Memo::new(move |_| {
        store.portfolio.with(|portfolio| {
            portfolio
                .commands
                .iter()
                .rev()
                .take(COMMANDS_SHOWN)
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    view! {
        <section class="card" data-test="commands">
            <header><h2>"Commands"</h2><span class="note">"newest first"</span></header>
            <Show
                when=move || !commands.with(Vec::is_empty)
                fallback=|| view! { <Nothing text="No command yet." /> }
            >
                <ul class="lines">
                    <For each=move || commands.get() key=|command| command.id.clone() let:command>
                        <li>
                            <span class="faint">{hms(command.at)}</span>
                            <span class="dim">{command.record.by.clone()}</span>
                            <span class="strong">{command.record.verb.clone()}</span>
                            <span title=command.record.text.clone()>{command.record.text.clone()}</span>
                            <span class=if command.record.accepted { "gain" } else { "warn" }>
                                {if command.record.accepted { "done" } else { "refused" }}
                            </span>
                        </li>
                    </For>
                </ul>
            </Show>
        </section>
    }
}

/// Where our fold stands, which is where the bridge's stands, or it was thrown away.
#[component]
pub fn Mark() -> impl IntoView {
    let store = expect_context::<Store>();
    let sequence = move || store.mark.with(|mark| mark.as_ref().map(|mark| mark.sequence));
    let digest = move || {
        store
            .mark
            .with(|mark| mark.as_ref().map(|mark| mark.digest.clone()))
    };
    view! {
        <p class="mark mono" title="Ledger records and digest of this page's own fold, equal to the bridge's"
            data-test="mark"
            data-sequence=move || sequence().map(|sequence| sequence.to_string())
            data-digest=move || digest().map(|digest| digest.to_string())>
            {move || {
                let (sequence, digest) = sequence().zip(digest())?;
                Some(format!("ledger {sequence} {}", digest.short()))
            }}
        </p>
    }
}
