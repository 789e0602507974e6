//! Model of the order path: every interleaving of two executions, crashes, lost connections and lost acknowledgements,
//! within the bounds below, with the engine's own decisions at each step. The mutants take one fence away each, and each
//! must be caught: a proof that can't fail proves nothing.

// A test that meets what it did not expect has failed.
#![allow(clippy::unwrap_used)]

mod law;
mod log;
mod path;
mod world;

use std::time::Instant;

use path::{Bounds, Path, Variant};
use stateright::{Checker, HasDiscoveries, Model};
use world::Said;

/// Two decisions, a crash and a dropped connection: over two million states.
const TWO_DECISIONS: Bounds = Bounds {
    symbols: 2,
    epochs: 2,
    records: 10,
    crashes: 1,
    drops: 1,
    lost: 0,
    cancels: 0,
    said: &[Said::Up],
};
/// One decision, and everything that can go wrong.
const ONE_DECISION: Bounds = Bounds {
    symbols: 1,
    epochs: 2,
    records: 11,
    crashes: 1,
    drops: 1,
    lost: 1,
    cancels: 0,
    said: &[Said::Up],
};
/// A symbol is entered and left, opinions are repeated, and the broker takes an order off the market.
const IN_AND_OUT: Bounds = Bounds {
    symbols: 1,
    epochs: 2,
    records: 12,
    crashes: 1,
    drops: 0,
    lost: 0,
    cancels: 1,
    said: &[Said::Up, Said::UpAgain, Said::Down],
};
/// Enough for every mutant to be caught.
const NARROW: Bounds = Bounds {
    symbols: 1,
    epochs: 2,
    records: 11,
    crashes: 0,
    drops: 1,
    lost: 1,
    cancels: 0,
    said: &[Said::Up],
};

/// Each design without one of its fences, and what that breaks.
const MUTANTS: [(Variant, &str); 11] = [
    (Variant::NoClientIdFence, "never an order that was called absent"),
    (Variant::StaleReading, "never an order that was called absent"),
    (Variant::LeadAgain, "never an order that was called absent"),
    (Variant::Reconnect, "never an order that was called absent"),
    (Variant::NoPosition, "only the newest incarnation writes"),
    (Variant::NoGuard, "never two intents of a decision"),
    (Variant::NoGuardNoFence, "never more than one order of a decision"),
    (Variant::SendFirst, "never an order without its intent"),
    (Variant::TakeSilenceForYes, "never an order without its intent"),
    (Variant::Resend, "never more than one order of a decision"),
    (
        Variant::SilenceIsRejection,
        "never more than one order of a symbol",
    ),
];

/// Searches every state of the design within the bounds; returns how many there are.
fn search(bounds: Bounds) -> usize {
    let began = Instant::now();
    let variant = Variant::Design;
    let checker = Path { variant, bounds }.checker().threads(2).spawn_bfs().join();
    println!(
        "the design: {} unique states, {} transitions, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        began.elapsed().as_secs_f64()
    );
    let broken: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("can "))
        .collect();
    for (name, way) in &broken {
        println!("`{name}` is broken: {:?}", way.clone().into_actions());
    }
    assert!(broken.is_empty(), "the design is wrong, or the engine is");
    let reached = |name: &'static str| checker.discovery(name).is_some();
    for property in (Path { variant, bounds }).properties() {
        let two = bounds.symbols == 2 || !property.name.ends_with("of two");
        let sale = bounds.said.contains(&Said::Down) || !property.name.ends_with("by a sale");
        let possible = two && sale;
        assert!(
            !possible || !property.name.starts_with("can ") || reached(property.name),
            "the search never {}",
            property.name
        );
    }
    checker.unique_state_count()
}

#[test]
fn the_design_holds_in_every_state_of_two_decisions() {
    let states = search(TWO_DECISIONS);
    assert!(states >= 2_000_000, "{states} states are too few to mean much");
}

#[test]
fn the_design_holds_in_every_state_of_one_decision_with_lost_acknowledgements() {
    search(ONE_DECISION);
}

#[test]
fn the_design_holds_in_every_state_of_going_in_and_out() {
    search(IN_AND_OUT);
}

#[test]
fn the_design_without_any_one_fence_is_caught() {
    for (variant, broken) in MUTANTS {
        let began = Instant::now();
        let bounds = match variant {
            Variant::SilenceIsRejection => Bounds {
                said: &[Said::Up, Said::UpAgain],
                ..NARROW
            },
            _ => NARROW,
        };
        let checker = Path { variant, bounds }
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyOf([broken].into()))
            .spawn_bfs()
            .join();
        let way = checker.discovery(broken).unwrap_or_else(|| {
            panic!(
                "{variant:?} is not caught in {} states",
                checker.unique_state_count()
            )
        });
        let steps: Vec<_> = way
            .into_actions()
            .iter()
            .map(|action| format!("{action:?}"))
            .collect();
        println!(
            "{variant:?} breaks `{broken}` ({} states, {:.1} s): {}",
            checker.unique_state_count(),
            began.elapsed().as_secs_f64(),
            steps.join(", ")
        );
    }
}
