//! Every step of the order path at which a process can die, each with a restart and with a takeover, with NATS up and
//! away, with what was written to the broker arriving and lost.

use std::collections::{BTreeMap, VecDeque};

use crate::faults::{Crash, Plan, Point, Variant};
use crate::simulate;
use crate::world::World;

/// Worlds in which a crash may find its step: not every one cancels an order, say.
const WORLDS: u64 = 12;
/// Ways to die at a step.
const CASES: u8 = 8;

/// The crashes of a case. At a step of the start one of an incarnation with an order on its way comes before it, so that
/// the start has something to find.
fn plan(point: Point, case: u8) -> Plan {
    let [takeover, ledger_up, broker_has] = [1, 2, 4].map(|bit| case & bit != 0);
    let crash = Crash {
        point,
        takeover,
        ledger_up,
        broker_has,
    };
    let before = Crash {
        point: Point::OrderSent,
        takeover: false,
        ledger_up: true,
        broker_has,
    };
    let before = (point <= Point::SecondReading).then_some(before);
    Plan {
        variant: Variant::Design,
        hosts: if takeover { 2 } else { 1 },
        trouble: false,
        crashes: VecDeque::from_iter(before.into_iter().chain([crash])),
    }
}

/// Asserts that the incarnation after the last crash is on the host that the case says.
fn judge_who_leads(world: &World, takeover: bool, point: Point) {
    let killed = world.evidence.killed.expect("one was killed");
    let leads = world.evidence.leaders.last().expect("one led");
    assert_ne!(*leads, killed, "{point:?}: nobody led after the crash");
    assert_eq!(
        leads.host != killed.host,
        takeover,
        "{point:?}: {killed} then {leads}"
    );
}

#[test]
fn a_crash_at_every_step_of_the_order_path_holds() {
    let mut reached: BTreeMap<Point, u8> = BTreeMap::new();
    for point in Point::ALL {
        for case in 0..CASES {
            for seed in 0..WORLDS {
                let plan = plan(point, case);
                let takeover = plan.hosts > 1;
                let (verdict, world) = simulate(seed, plan, false);
                assert!(
                    verdict.wrong.is_empty(),
                    "{point:?}, case {case}, in world {seed}: {}",
                    verdict.wrong.join("; ")
                );
                if world.plan.crashes.is_empty() {
                    judge_who_leads(&world, takeover, point);
                    *reached.entry(point).or_default() += 1;
                    break;
                }
            }
        }
    }
    let crashes: u32 = reached.values().map(|cases| u32::from(*cases)).sum();
    println!(
        "{crashes} crashes at {} steps, each in {CASES} ways",
        Point::ALL.len()
    );
    let missed: Vec<_> = Point::ALL
        .iter()
        .filter(|point| reached.get(point) != Some(&CASES))
        .collect();
    assert!(missed.is_empty(), "no crash at {missed:?}");
}
