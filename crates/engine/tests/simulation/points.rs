//! Every step of the order path at which a process can die, each with a restart and with a takeover, with NATS up and
//! away, with what was written to the broker arriving and lost.

use std::collections::BTreeSet;

use crate::faults::{Crash, Plan, Point, Variant};
use crate::simulate;

/// Worlds in which a crash may find its step: not every one cancels an order, say.
const WORLDS: u64 = 12;

#[test]
fn a_crash_at_every_step_of_the_order_path_holds() {
    let (mut reached, mut crashes) = (BTreeSet::new(), 0);
    for point in Point::ALL {
        for case in 0..8u8 {
            let [takeover, ledger_up, broker_has] = [1, 2, 4].map(|bit| case & bit != 0);
            let crash = Crash {
                point,
                takeover,
                ledger_up,
                broker_has,
            };
            for seed in 0..WORLDS {
                let plan = Plan {
                    variant: Variant::Design,
                    hosts: 2,
                    trouble: false,
                    crash: Some(crash),
                };
                let (verdict, world) = simulate(seed, plan, false);
                assert!(
                    verdict.wrong.is_empty(),
                    "{crash:?} in world {seed}: {}",
                    verdict.wrong.join("; ")
                );
                if world.plan.crash.is_none() {
                    reached.insert((point, case));
                    crashes += 1;
                    break;
                }
            }
        }
    }
    println!("{crashes} crashes at {} steps, each in 8 ways", Point::ALL.len());
    let missed: Vec<_> = Point::ALL
        .iter()
        .filter(|point| !(0..8).all(|case| reached.contains(&(**point, case))))
        .collect();
    assert!(missed.is_empty(), "no crash at {missed:?}");
}
