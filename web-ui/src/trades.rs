//! Fills, newest first.

use engine::portfolio::Trade;
use leptos::prelude::*;
use rust_decimal::Decimal;

use crate::clock::hm;
use crate::format::{NONE, dollars, price, price_places, shares, signed, tone};
use crate::icon::SideMark;
use crate::parts::Nothing;
use crate::store::Store;
use crate::words;

/// The newest trades of today and before.
#[component]
pub fn Trades(
    /// At most so many.
    count: usize,
) -> impl IntoView {
    let store = expect_context::<Store>();
    let trades = Memo::new(move |_| {
        store.portfolio.with(|portfolio| {
            portfolio
                .trades
                .iter()
                .rev()
                .take(count)
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let orders = Memo::new(move |_| store.portfolio.with(|portfolio| portfolio.day.orders));
    let mixed =
        Memo::new(move |_| trades.with(|trades| trades.iter().any(|trade| price_places(trade.price) > 2)));
    let title = Memo::new(move |_| match trades.with(Vec::len) {
        0 => "Last trades".to_owned(),
        len => format!("Last {len} trades"),
    });
    view! {
        <section class="card trades" data-test="trades">
            <header>
                <h2>{move || title.get()}</h2><span class="space"></span>
                <span class="note">{move || format!("{} orders today", orders.get())}</span>
            </header>
            <Show
                when=move || !trades.with(Vec::is_empty)
                fallback=|| view! { <Nothing text="No trades yet. The first follows a signal that passes all checks." /> }
            >
                <div class="scroll">
                    <table>
                        <thead>
                            <tr>
                                <th class="text">"Time"</th><th class="text">"Side"</th>
                                <th class="text">"Symbol"</th><th>"Qty"</th>
                                <th>"Price"</th><th class="text">"Reason"</th><th>"P&L $"</th>
                            </tr>
                        </thead>
                        <tbody>
                            <For each=move || trades.get()
                                key=|trade| (trade.execution_id.clone(), trade.commission) let:trade>
                                <Row trade mixed />
                            </For>
                        </tbody>
                    </table>
                </div>
            </Show>
        </section>
    }
}

#[component]
fn Row(trade: Trade, mixed: Memo<bool>) -> impl IntoView {
    let cost = trade.commission.map_or_else(
        || "commission not told yet".to_owned(),
        |c| format!("commission {}", dollars(c)),
    );
    let id = trade.execution_id.clone();
    let fine = price_places(trade.price) > 2;
    view! {
        <tr data-test="trade-row" data-execution-id=id data-symbol=trade.symbol.to_string()
            title=format!("{}, {cost}", trade.execution_id)>
            <td class="text faint">{hm(trade.at)}</td>
            <td class="text"><SideMark side=trade.side /></td>
            <td class="text symbol">{trade.symbol.broker_text()}</td>
            <td>{shares(trade.quantity)}</td>
            <td>{price(trade.price)}<span class="ghost pad"
                aria-hidden="true">{move || (mixed.get() && !fine).then_some("00")}</span></td>
            <td class="text dim">{words::reason(trade.reason)}</td>
            <td class=trade.realized.map_or("none", |gain| tone(gain, 2))>{gain(trade.realized)}</td>
        </tr>
    }
}

fn gain(realized: Option<Decimal>) -> String {
    realized.map_or_else(|| NONE.to_owned(), |gain| signed(gain, 2))
}
