//! What goes wrong, chosen by a seed: processes, wires, the broker, and people.

use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::Id;
use protocol::operator::Verb;
use runtime::lease::LEASE_SECONDS;
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::Instant;

use crate::keeper;
use crate::proxy::{Proxy, Wire};
use crate::random::Random;
use crate::tally::{Asked, Tally};
use crate::world::{RUNNERS, World};

/// Longest time for which something is broken.
const LONGEST_MS: u64 = 1_500;
/// Longer than a lease lasts: who wakes after it, or hears of others again, is a ghost of itself.
const ASLEEP: Duration = Duration::from_millis(LEASE_SECONDS * 1_000 + 1_500);
/// Every process, the runners twice: they matter most.
const PARTS: [&str; 10] = [
    "nats-server",
    "paper-gateway",
    "market-data",
    "signal",
    "persistence",
    "bridge",
    "execution",
    "execution-2",
    "execution",
    "execution-2",
];
/// What the gateway tells of orders.
const TOLD: [&str; 4] = ["order-status", "open-order", "execution", "commission-report"];

/// The end of something that is broken for a while.
enum Ending {
    Goes(&'static str),
    Whole(usize, bool),
    Control(Value),
    Gone(Box<Child>),
}

/// What is broken at the moment, and until when.
#[derive(Default)]
pub struct Broken(Vec<(Instant, Ending)>);

impl Broken {
    /// Mends what was broken for long enough; all of it with `now`.
    pub async fn mend(&mut self, world: &World, now: bool) {
        let due = |at: &Instant| now || *at <= Instant::now();
        let (over, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(at, _)| due(at));
        self.0 = rest;
        let over: Vec<(Instant, Ending)> = over;
        for (_, ending) in over {
            match ending {
                Ending::Goes(part) => world.part(part).signal(Signal::SIGCONT),
                Ending::Whole(runner, to_broker) => wire(world, runner, to_broker).be(Wire::Whole),
                Ending::Control(line) => drop(world.control(&line).await),
                Ending::Gone(mut child) => child.kill().await.expect("a child can be killed"),
            }
        }
    }

    /// Breaks something.
    pub async fn one(&mut self, world: &World, random: &mut Random, tally: &mut Tally) {
        let until = |random: &mut Random| Instant::now() + random.millis(50, LONGEST_MS);
        match random.below(100) {
            0..3 => {
                let part = random.one(&PARTS);
                if *part == "paper-gateway" {
                    tally.fired(world).await;
                    tally.forget_rules();
                }
                world.part(part).signal(Signal::SIGKILL);
                tally.fault(format!("kill -9 {}", kind_of(part)));
            }
            3..10 => {
                let part = random.one(&PARTS);
                world.part(part).signal(Signal::SIGSTOP);
                let asleep = random.below(10) == 0;
                let end = if asleep {
                    Instant::now() + ASLEEP
                } else {
                    until(random)
                };
                self.0.push((end, Ending::Goes(part)));
                let how = if asleep {
                    "stop for longer than a lease"
                } else {
                    "stop and go on"
                };
                tally.fault(format!("{how} {}", kind_of(part)));
            }
            10..12 => {
                let runner = &world.runners[place(random)];
                let child = keeper::spawn(&runner.recipe);
                self.0.push((until(random), Ending::Gone(Box::new(child))));
                tally.fault("a third execution on a folder in use");
            }
            12..15 => {
                let (runner, to_broker) = (place(random), random.below(2) == 0);
                wire(world, runner, to_broker).cut();
                tally.fault(format!("cut {}", name_of(to_broker)));
            }
            15..40 => self.at_a_wire(world, random, tally),
            40..45 => say(world, random, tally).await,
            45..55 => self.at_the_broker(world, random, tally).await,
            55 => {
                tally.fired(world).await;
                tally.forget_rules();
                let runners = world.runners.iter().map(|runner| &runner.kept);
                for part in world.parts.iter().chain(runners) {
                    part.signal(Signal::SIGKILL);
                }
                tally.fault("kill -9 everything at once");
            }
            _ => at_an_order(world, random).await,
        }
    }

    /// What happens to a wire of a runner, for a while.
    fn at_a_wire(&mut self, world: &World, random: &mut Random, tally: &mut Tally) {
        let (runner, to_broker) = (place(random), random.below(2) == 0);
        let how = match random.below(20) {
            0 => Wire::HalfOpen,
            1..4 => Wire::Stalled,
            4..7 => Wire::Deaf,
            _ => Wire::Late(random.millis(1, 80)),
        };
        wire(world, runner, to_broker).be(how);
        let long = !matches!(how, Wire::Late(_)) && random.below(6) == 0;
        let end = if long {
            Instant::now() + ASLEEP
        } else {
            Instant::now() + random.millis(50, LONGEST_MS)
        };
        self.0.push((end, Ending::Whole(runner, to_broker)));
        let how = format!("{how:?}");
        let how = how.split('(').next().expect("a first part").to_lowercase();
        let long = if long { " for longer than a lease" } else { "" };
        tally.fault(format!("{how}{long} {}", name_of(to_broker)));
    }

    /// What happens to the whole of the broker, for a while.
    async fn at_the_broker(&mut self, world: &World, random: &mut Random, tally: &mut Tally) {
        let seconds = random.millis(100, LONGEST_MS).as_secs_f64();
        let lost = json!({"fault": "link", "state": "lost", "code": random.one(&[1100, 2110])});
        let back = random.one(&["restored", "restored-data-lost"]);
        let symbol = random.one(&world.plan.settings.market.watchlist);
        let (line, after) = match random.below(9) {
            0 | 1 => (lost, Some(json!({"fault": "link", "state": back}))),
            2 => {
                let farm = |state: &str| json!({"fault": "farm", "farm": "market-data", "state": state});
                (farm("begins"), Some(farm("ends")))
            }
            3 => {
                let other = |state: &str| json!({"fault": "competing-session", "state": state});
                (other("begins"), Some(other("ends")))
            }
            4 => (
                json!({"fault": "half-open", "client": 11, "seconds": seconds}),
                None,
            ),
            5 => (json!({"fault": "roll-back-ids", "client": 11, "next": 1}), None),
            6 => (
                json!({"fault": "manual-trade", "symbol": symbol, "side": "buy", "quantity": "1"}),
                None,
            ),
            7 => (
                json!({"fault": "correct-execution", "client": 11, "price": "77.25"}),
                None,
            ),
            _ => match random.below(4) {
                0 => (json!({"fault": "port-reset"}), None),
                1 => (json!({"fault": "restart", "seconds": seconds}), None),
                2 => (json!({"fault": "ghost", "client": 11, "seconds": seconds}), None),
                _ => (json!({"fault": "notice", "code": 2108}), None),
            },
        };
        if world.control(&line).await.is_some() {
            let kind = line["fault"].as_str().expect("a kind").replace('-', " ");
            tally.fault(format!("broker: {kind}"));
        }
        if let Some(after) = after {
            let at = Instant::now() + Duration::from_secs_f64(seconds);
            self.0.push((at, Ending::Control(after)));
        }
    }
}

/// What happens to the next order, or to what is told of it. It counts once it was set off.
pub async fn at_an_order(world: &World, random: &mut Random) {
    let told = json!({"client": 11, "out": random.one(&TOLD)});
    let placed = json!({"client": 11, "in": "place-order"});
    let seconds = random.millis(10, 500).as_secs_f64();
    let line = match random.below(21) {
        // Within it: see `points`.
        0 => json!({"fault": "cut", "at": random.one(&["before", "after"]), "when": placed}),
        1 => json!({"fault": "cut", "at": random.one(&["before", "after", "middle"]), "when": told}),
        2..4 => json!({"fault": "swallow", "when": placed}),
        4..6 => json!({"fault": "swallow", "when": told}),
        6..8 => json!({"fault": "silence", "when": placed}),
        8 => json!({"fault": "delay", "seconds": seconds, "when": placed}),
        9..12 => json!({"fault": "delay", "seconds": seconds, "when": told}),
        12..16 => json!({"fault": "duplicate", "copies": 2, "when": told}),
        16 => json!({"fault": "reject", "code": random.one(&[201, 10289, 110]), "when": placed}),
        17 => json!({"fault": "reject", "code": 201, "inactive": true, "when": placed}),
        18 => json!({"fault": "inactive", "seconds": 10.0 * seconds, "when": placed}),
        19 => json!({"fault": "delay", "until": "order-status", "when": {"client": 11, "out": "execution"}}),
        _ => json!({"fault": "partial-fill", "shares": "1", "when": placed}),
    };
    let _ = world.control(&line).await;
}

/// A person says something in the midst of it.
async fn say(world: &World, random: &mut Random, tally: &mut Tally) {
    let symbol = random.one(&world.plan.settings.market.watchlist).to_string();
    let (verb, symbol) = match random.below(5) {
        0 => (Verb::Reduce, None),
        1 => (Verb::Close, Some(symbol.as_str())),
        2 => (Verb::CancelAll, None),
        _ => (Verb::Resume, None),
    };
    let id = tally.next_id();
    let asked = tokio::time::timeout(Duration::from_millis(700), world.command(&id, verb, None, symbol));
    let outcome = asked.await.unwrap_or(crate::world::Outcome::Unknown);
    tally.asked.push(Asked { id, verb, outcome });
}

/// Says it again and again until it is carried out; each time with an id of its own.
pub async fn insist(
    world: &World,
    tally: &mut Tally,
    verb: Verb,
    order: Option<Id>,
    symbol: Option<&str>,
) -> bool {
    for _ in 0..5 {
        let id = tally.next_id();
        let outcome = world.command(&id, verb, order.clone(), symbol).await;
        tally.asked.push(Asked { id, verb, outcome });
        if outcome == crate::world::Outcome::Ok {
            return true;
        }
    }
    false
}

fn place(random: &mut Random) -> usize {
    usize::from(random.below(RUNNERS.len() as u64) == 1)
}

fn wire(world: &World, runner: usize, to_broker: bool) -> &Proxy {
    let runner = &world.runners[runner];
    if to_broker { &runner.broker } else { &runner.nats }
}

fn name_of(to_broker: bool) -> &'static str {
    if to_broker {
        "execution - broker"
    } else {
        "execution - NATS"
    }
}

fn kind_of(part: &str) -> &str {
    part.trim_end_matches("-2")
}
