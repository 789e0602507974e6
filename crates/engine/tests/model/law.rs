//! What must hold in every state, and what the search must reach to mean anything.

use std::collections::BTreeSet;

use stateright::Property;

use crate::path::Path;
use crate::world::{SYMBOLS, State, called_absent, symbol};

/// What holds always.
pub fn always() -> Vec<Property<Path>> {
    vec![
        Property::always("never more than one order of a decision", |_, state: &State| {
            let ids: BTreeSet<_> = state.broker.iter().map(|(sent, _)| &sent.id).collect();
            ids.len() == state.broker.len()
        }),
        Property::always("never more than one order of a symbol", |_, state: &State| {
            (0..SYMBOLS.len()).all(|number| {
                state
                    .broker
                    .iter()
                    .filter(|(sent, _)| sent.symbol == number)
                    .count()
                    <= 1
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
        Property::always("never more held than the broker filled", |_, state: &State| {
            (0..SYMBOLS.len()).all(|number| {
                let filled = state
                    .broker
                    .iter()
                    .any(|(sent, filled)| sent.symbol == number && *filled);
                filled || state.log.portfolio().held(symbol(number)).is_zero()
            })
        }),
    ]
}

/// What is possible.
pub fn reached() -> Vec<Property<Path>> {
    vec![
        Property::sometimes(
            "can have both orders at the broker, of two",
            |_, state: &State| state.broker.len() == 2,
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
