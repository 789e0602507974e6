//! Orders in three groups: what needs somebody, what works, what is over.

use engine::order::{Order, OrderState};
use leptos::prelude::*;
use protocol::Id;

use crate::account::{Standing, slippage, standing};
use crate::clock::hms;
use crate::format::{NONE, age, price, shares, signed};
use crate::icon::SideMark;
use crate::parts::Nothing;
use crate::store::Store;
use crate::words;

/// Orders shown.
const ORDERS_MAX: usize = 200;

/// The card of orders, grouped.
#[component]
pub fn Orders() -> impl IntoView {
    let store = expect_context::<Store>();
    let groups = Memo::new(move |_| {
        store.portfolio.with(|portfolio| {
            let mut orders: Vec<_> = portfolio
                .orders
                .values()
                .map(|order| (standing(order), order.created_at, order.id.clone()))
                .collect();
            orders.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
            orders
        })
    });
    let total = Memo::new(move |_| groups.with(Vec::len));
    view! {
        <section class="card" data-test="orders">
            <header>
                <h2>"Orders"</h2>
                <span class="note">
                    {move || {
                        let total = total.get();
                        match total {
                            0..=ORDERS_MAX => total.to_string(),
                            _ => format!("newest {ORDERS_MAX} of {total}"),
                        }
                    }}
                </span>
            </header>
            <Show
                when=move || { total.get() > 0 }
                fallback=|| view! { <Nothing text="No orders yet." /> }
            >
                <div class="scroll">
                    <table>
                        <thead>
                            <tr>
                                <th class="text">"Time"</th><th class="text">"Side"</th>
                                <th class="text">"Symbol"</th><th>"Qty"</th>
                                <th class="text">"State"</th><th class="c2">"At decision"</th>
                                <th>"Avg fill"</th><th class="c3">"Slip bp"</th>
                                <th class="text">"Reason"</th><th class="text wide c1">"Broker's words"</th>
                            </tr>
                        </thead>
                        <tbody>
                            <Group groups standing=Standing::NeedsYou name="Needs you" />
                            <Group groups standing=Standing::Working name="Working" />
                            <Group groups standing=Standing::Done name="Done" />
                        </tbody>
                    </table>
                </div>
            </Show>
        </section>
    }
}

type Sorted = Memo<Vec<(Standing, protocol::Timestamp, Id)>>;

#[component]
fn Group(groups: Sorted, standing: Standing, name: &'static str) -> impl IntoView {
    let ids = Memo::new(move |_| {
        groups.with(|orders| {
            let of_group = orders.iter().filter(|order| order.0 == standing).take(ORDERS_MAX);
            of_group.map(|order| order.2.clone()).collect::<Vec<_>>()
        })
    });
    view! {
        <Show when=move || !ids.with(Vec::is_empty)>
            <tr class="group"><td colspan="10">{move || format!("{name}, {}", ids.with(Vec::len))}</td></tr>
        </Show>
        <For each=move || ids.get() key=|id| id.clone() let:id>
            <Row id needs=standing == Standing::NeedsYou />
        </For>
    }
}

#[component]
fn Row(id: Id, needs: bool) -> impl IntoView {
    let store = expect_context::<Store>();
    let key = id.clone();
    let order = Memo::new(move |_| {
        store
            .portfolio
            .with(|portfolio| portfolio.orders.get(&key).cloned())
    });
    let first = order.get_untracked();
    let shown = move |pick: fn(&Order) -> Option<String>| {
        move || {
            order
                .with(|order| order.as_ref().and_then(pick))
                .unwrap_or_else(|| NONE.to_owned())
        }
    };
    let state = move || {
        order.with(|order| {
            order
                .as_ref()
                .map(|order| (order.state, order.filled, order.quantity, order.updated_at))
        })
    };
    view! {
        <tr data-test="order-row" data-order-id=id.to_string() class:needs=needs>
            <td class="text faint">{first.as_ref().map(|order| hms(order.created_at))}</td>
            <td class="text">{first.as_ref().map(|order| view! { <SideMark side=order.side /> })}</td>
            <td class="text symbol">{first.as_ref().map(|order| order.symbol.broker_text())}</td>
            <td>{first.as_ref().map(|order| shares(order.quantity))}</td>
            <td class="text">
                {move || state().map(|(state, filled, quantity, since)| view! {
                    <span class=words::order_class(state)>
                        <StateShape state />
                        {words::order_state(state)}
                        {(state == OrderState::PartlyFilled)
                            .then(|| format!(" {}/{}", shares(filled), shares(quantity)))}
                        {needs.then_some(move || format!(" {}", age(store.market_age(since))))}
                    </span>
                })}
            </td>
            <td class="dim c2">{shown(|order| order.reference_price.map(price))}</td>
            <td>{shown(|order| order.average_price().map(price))}</td>
            <td class="dim c3">{shown(|order| slippage(order).map(|points| signed(points, 1)))}</td>
            <td class="text dim">{first.as_ref().map(|order| words::reason(order.reason))}</td>
            <td class="text faint wide words c1" title=shown(|order| Some(order.text.clone()))>
                {shown(|order| (!order.text.is_empty()).then(|| order.text.clone()))}
            </td>
        </tr>
    }
}

/// The shape that goes with the word.
#[component]
fn StateShape(state: OrderState) -> impl IntoView {
    const RING: &str = "M5 1.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z";
    let (outline, solid) = match state {
        OrderState::Sent | OrderState::Working => (RING, ""),
        OrderState::PartlyFilled => (RING, "M5 1.5a3.5 3.5 0 0 1 0 7z"),
        OrderState::Filled => ("", "M5 1.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z"),
        OrderState::Cancelled | OrderState::Rejected => ("M2 2l6 6M8 2 2 8", ""),
        OrderState::Unresolved | OrderState::Absent => ("", "M5 1 9.5 9h-9z"),
    };
    view! {
        <svg width="9" height="9" viewBox="0 0 10 10" aria-hidden="true">
            <path d=outline fill="none" stroke="currentColor" stroke-width="1.3" />
            <path d=solid fill="currentColor" />
        </svg>
    }
}
