//! Asked before what can't be taken back: what, how many, at what cost, and what is not touched. Then one
//! line a position until the broker confirms that it is flat.

use leptos::ev;
use leptos::html::{Button, Input};
use leptos::prelude::*;
use protocol::Symbol;
use protocol::ledger::Mode;
use rust_decimal::Decimal;

use crate::account::{Standing, standing};
use crate::feed::Feed;
use crate::format::{dollars, shares};
use crate::store::Store;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Close every position.
    Flatten,
    /// Cancel every working order.
    CancelAll,
    /// What the keys do.
    Keys,
}

/// The dialog, when there is one.
#[component]
pub fn Dialog(
    /// What is asked.
    ask: RwSignal<Option<Ask>>,
) -> impl IntoView {
    let close = move || ask.set(None);
    let escape = window_event_listener(ev::keydown, move |event| {
        if event.key() == "Escape" {
            close();
        }
    });
    on_cleanup(move || escape.remove());
    move || {
        ask.get().map(|what| {
            view! {
                <div class="veil" on:click=move |event| {
                    // Only the veil itself: a click in the dialog bubbles up to here as well.
                    if event.target() == event.current_target() { close() }
                }>
                    {match what {
                        Ask::Keys => view! { <Keys close=Callback::new(move |()| close()) /> }.into_any(),
                        Ask::Flatten | Ask::CancelAll => view! { <Confirm what
                            close=Callback::new(move |()| close()) /> }.into_any(),
                    }}
                </div>
            }
        })
    }
}

/// What stands in the dialog, worked out when it opens.
#[derive(Debug, Clone)]
struct Words {
    verb: &'static str,
    title: String,
    cost: String,
    untouched: &'static str,
    button: String,
    typed: String,
}

fn words(store: Store, what: Ask) -> Words {
    let live = store
        .facts
        .with_untracked(|facts| facts.as_ref().is_some_and(|facts| facts.mode == Mode::Live));
    let open = store.totals.with_untracked(|totals| totals.open);
    let working = store
        .portfolio
        .with_untracked(|portfolio| portfolio.open_orders().count());
    let plural = |count: usize, one: &str| {
        if count == 1 {
            format!("1 {one}")
        } else {
            format!("{count} {one}s")
        }
    };
    let typed = |word: &str, count: usize| {
        if live {
            format!("{word} {count}")
        } else {
            String::new()
        }
    };
    match what {
        Ask::Flatten => Words {
            verb: "flatten",
            title: format!("Close {} at the market?", plural(open, "position")),
            cost: format!(
                "{} are sold or bought back. {}",
                dollars(store.totals.with_untracked(|t| t.gross)),
                spread(store)
            ),
            untouched: "Trading is halted first and stays halted: nothing is bought until you choose Active. \
                        Working entries are cancelled; past trades and the ledger are not touched.",
            button: format!("Flatten {open}"),
            typed: typed("FLATTEN", open),
        },
        Ask::CancelAll | Ask::Keys => Words {
            verb: "cancel-all",
            title: format!("Cancel {}?", plural(working, "working order")),
            cost: "A cancellation costs nothing. What is filled meanwhile stays filled.".to_owned(),
            untouched: "Positions and the trading state are not touched: the next signal may order again.",
            button: format!("Cancel {working}"),
            typed: typed("CANCEL", working),
        },
    }
}

/// What crossing the spread costs, as far as the quotes say.
fn spread(store: Store) -> String {
    let cost = store.portfolio.with_untracked(|portfolio| {
        let of_one = |position: &engine::portfolio::Position| {
            store.ticker(position.symbol).quote.with_untracked(|quote| {
                let quote = quote.as_ref()?;
                let half = (quote.ask? - quote.bid?) / Decimal::TWO;
                Some(half.max(Decimal::ZERO) * position.quantity.abs())
            })
        };
        portfolio.open_positions().map(of_one).sum::<Option<Decimal>>()
    });
    cost.map_or_else(
        || {
            "Some quotes lack a side, so that the spread can't be estimated; commissions come on top."
                .to_owned()
        },
        |cost| {
            format!(
                "Crossing the spread costs about {}, commissions come on top.",
                dollars(cost)
            )
        },
    )
}

#[component]
fn Confirm(what: Ask, close: Callback<()>) -> impl IntoView {
    let store = expect_context::<Store>();
    let feed = expect_context::<Feed>();
    let words = words(store, what);
    let live = !words.typed.is_empty();
    let asked = RwSignal::new(false);
    let typed = RwSignal::new(String::new());
    let (cancel, input) = (NodeRef::<Button>::new(), NodeRef::<Input>::new());
    // The safe choice has the focus; in live mode the words have it.
    Effect::new(move |_| {
        if let Some(input) = input.get() {
            drop(input.focus());
        } else if let Some(cancel) = cancel.get() {
            drop(cancel.focus());
        }
    });
    let legs: Vec<Symbol> = match what {
        Ask::Flatten => store
            .portfolio
            .with_untracked(|portfolio| portfolio.open_positions().map(|held| held.symbol).collect()),
        Ask::CancelAll | Ask::Keys => Vec::new(),
    };
    let expected = words.typed.clone();
    let ready = Memo::new(move |_| !asked.get() && (expected.is_empty() || typed.get() == expected));
    let verb = words.verb;
    view! {
        <div class="dialog" class:live=live role="dialog" aria-modal="true" aria-labelledby="ask"
            data-test="confirm">
            <h2 id="ask">{words.title}</h2>
            <p>{words.cost}</p>
            <p class="note">{words.untouched}</p>
            <Show when=move || asked.get()><Legs legs=legs.clone() /></Show>
            {live.then(|| view! {
                <label class="typed"><span class="label">"LIVE: type " <b
                    class="mono">{words.typed.clone()}</b> " to confirm"</span>
                    <input node_ref=input autocomplete="off"
                        on:input=move |event| typed.set(event_target_value(&event)) />
                </label>
            })}
            <div class="buttons">
                <button class="button" node_ref=cancel data-test="confirm-no" on:click=move |_| close.run(())>
                    {move || if asked.get() { "Close" } else { "Cancel" }}
                </button>
                <button class="button solid" data-test="confirm-yes" disabled=move || !ready.get()
                    on:click=move |_| {
                        feed.command(verb, None, "confirmed on the page");
                        asked.set(true);
                        if what != Ask::Flatten {
                            close.run(());
                        }
                    }>{words.button}</button>
            </div>
        </div>
    }
}

/// One line a position until it is flat.
#[component]
fn Legs(legs: Vec<Symbol>) -> impl IntoView {
    let store = expect_context::<Store>();
    let line = move |symbol: Symbol| {
        let held = store.position(symbol);
        let order = Memo::new(move |_| {
            store.portfolio.with(|portfolio| {
                portfolio
                    .open_orders()
                    .find(|order| order.symbol == symbol)
                    .map(standing)
            })
        });
        let shown = move || {
            let Some(quantity) = held.with(|held| held.as_ref().map(|held| shares(held.quantity))) else {
                return view! { <span class="gain">{"flat, confirmed by the broker".to_owned()}</span> };
            };
            match order.get() {
                Some(Standing::NeedsYou) => {
                    view! { <span class="warn">{format!("{quantity} left, an order is unresolved")}</span> }
                }
                Some(_) => {
                    view! { <span class="dim">{format!("{quantity} left, order at the broker")}</span> }
                }
                None => view! { <span class="faint">{format!("{quantity} held")}</span> },
            }
        };
        view! { <li><span class="strong">{symbol.broker_text()}</span>{shown}</li> }
    };
    view! { <ul class="legs" data-test="legs">{legs.into_iter().map(line).collect_view()}</ul> }
}

#[component]
fn Keys(close: Callback<()>) -> impl IntoView {
    const KEYS: [(&str, &str); 13] = [
        ("g o", "Overview"),
        ("g p", "Positions"),
        ("g t", "Trades & orders"),
        ("g w", "Watchlist"),
        ("g m", "Models"),
        ("g a", "Alerts"),
        ("g l", "Log & bus"),
        (".", "Pause entries, or go on"),
        ("Shift H", "Halt"),
        ("Shift C", "Cancel all, asks first"),
        ("Shift F", "Flatten all, asks first"),
        ("d", "Dark or light"),
        ("Esc", "Close what floats"),
    ];
    view! {
        <div class="dialog" role="dialog" aria-modal="true" aria-label="Keys" data-test="keys">
            <h2>"Keys"</h2>
            <dl class="keys">
                {KEYS.into_iter().map(|(key, does)| view! { <dt><kbd>{key}</kbd></dt>
                <dd>{does}</dd> }).collect_view()}
            </dl>
            <div class="buttons"><button class="button" on:click=move |_| close.run(())>"Close"</button></div>
        </div>
    }
}
