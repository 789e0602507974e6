//! What must hold in every state, and what the search must reach to mean anything.

use std::collections::BTreeSet;

use protocol::ledger::Side;
use protocol::{Money, Quantity};
use stateright::Property;

use crate::path::Path;
use crate::world::{Fate, SYMBOLS, Sent, State, called_absent, shares, symbol};

/// What holds always.
pub fn always() -> Vec<Property<Path>> {
    vec![
        Property::always("never more than one order of a decision", |_, state: &State| {
            let ids: BTreeSet<_> = state.broker.iter().map(|(sent, _)| &sent.id).collect();
            ids.len() == state.broker.len()
        }),
        Property::always("never more than one order of a symbol", |_, state: &State| {
            (0..SYMBOLS.len()).all(|number| {
                let alive = living(state, number);
                [Side::Buy, Side::Sell]
                    .iter()
                    .all(|side| alive.iter().filter(|(sent, _)| sent.side == *side).count() <= 1)
            })
        }),
        Property::always("never more to be sold than is held", |_, state: &State| {
            (0..SYMBOLS.len()).all(|number| {
                let filled_or_sells = living(state, number)
                    .into_iter()
                    .filter(|(sent, fate)| *fate == Fate::Filled || sent.side == Side::Sell);
                let left: Quantity = filled_or_sells
                    .map(|(sent, _)| sent.side.signed(shares(&state.log, sent)))
                    .sum();
                left >= Quantity::ZERO
            })
        }),
        Property::always("never an order without its intent", |_, state: &State| {
            state
                .broker
                .iter()
                .all(|(sent, _)| state.log.written(&format!("order.intent.{}", sent.id)) > 0)
        }),
        Property::always("never an order that was called absent", |_, state: &State| {
            state
                .broker
                .iter()
                .all(|(sent, _)| !called_absent(&state.log, &sent.id))
        }),
        Property::always("never two intents of a decision", |_, state: &State| {
            let orders = state.log.portfolio().orders.keys();
            orders
                .into_iter()
                .all(|id| state.log.written(&format!("order.intent.{id}")) <= 1)
        }),
        Property::always("only the newest incarnation writes", |_, state: &State| {
            state.log.fault().is_none()
        }),
        Property::always(
            "what is held and paid is what was told, each fill once",
            |_, state: &State| {
                let portfolio = state.log.portfolio();
                let told: Vec<_> = state
                    .broker
                    .iter()
                    .filter(|(sent, fate)| *fate == Fate::Filled && state.log.fills(&sent.id) > 0)
                    .collect();
                let once = told.iter().all(|(sent, _)| state.log.fills(&sent.id) == 1);
                let change = |sent: &Sent| sent.side.signed(shares(&state.log, sent));
                let held = (0..SYMBOLS.len()).all(|number| {
                    let of_symbol = told.iter().filter(|(sent, _)| sent.symbol == number);
                    let sum: Quantity = of_symbol.map(|(sent, _)| change(sent)).sum();
                    portfolio.held(symbol(number)) == sum
                });
                // Each fill is at 100 and costs a dollar.
                let paid: Money = told
                    .iter()
                    .map(|(sent, _)| change(sent) * Money::ONE_HUNDRED + Money::ONE)
                    .sum();
                once && held && portfolio.cash == Money::from(100_000) - paid
            },
        ),
    ]
}

/// Orders of a symbol at the broker that work or are filled.
fn living(state: &State, number: usize) -> Vec<&(Sent, Fate)> {
    let of_symbol = state.broker.iter().filter(|(sent, _)| sent.symbol == number);
    of_symbol.filter(|(_, fate)| *fate != Fate::Cancelled).collect()
}

/// What is possible.
pub fn reached() -> Vec<Property<Path>> {
    vec![
        Property::sometimes(
            "can have both orders at the broker, of two",
            |_, state: &State| state.broker.len() == 2,
        ),
        Property::sometimes("can leave what was entered, by a sale", |_, state: &State| {
            let sold = |(sent, fate): &(Sent, Fate)| sent.side == Side::Sell && *fate == Fate::Filled;
            state.broker.iter().any(sold)
        }),
        Property::sometimes(
            "can enter anew after a cancellation, by a sale",
            |_, state: &State| {
                let cancelled = state.broker.iter().any(|(_, fate)| *fate == Fate::Cancelled);
                let bought = |(sent, fate): &(Sent, Fate)| sent.side == Side::Buy && *fate == Fate::Filled;
                cancelled && state.broker.iter().any(bought)
            },
        ),
        Property::sometimes("can call an order absent", |_, state: &State| {
            state
                .log
                .portfolio()
                .orders
                .keys()
                .any(|id| called_absent(&state.log, id))
        }),
        Property::sometimes(
            "can adopt an order of an earlier incarnation",
            |_, state: &State| {
                let portfolio = state.log.portfolio();
                portfolio
                    .orders
                    .values()
                    .any(|order| order.epoch < portfolio.epoch && !order.filled.is_zero())
            },
        ),
        Property::sometimes(
            "can place one order in each incarnation, of two",
            |_, state: &State| {
                let epochs: BTreeSet<_> = state
                    .log
                    .portfolio()
                    .orders
                    .values()
                    .map(|order| order.epoch)
                    .collect();
                epochs.len() == 2 && state.broker.len() == 2
            },
        ),
    ]
}
