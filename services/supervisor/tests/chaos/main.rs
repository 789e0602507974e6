//! `./just chaos [N]`: the whole pipeline as real processes, with a real NATS server and the paper gateway, while a seed
//! breaks processes, wires and the broker. After each schedule the faults stop, everything settles, and the judges
//! compare what the broker did, LEDGER, the database and a browser.
//!
//! [`world`] starts it all; [`fault`] breaks things; [`settle`] waits and asks the [`judge`]s, who reckon with [`books`]
//! of their own; [`watch`] remembers; [`naive`] is the control: a program without guards, whose faults must be found;
//! [`points`] kills at every step that a wire shows.

// A test that finds nothing where something must be should panic there and then, in what it calls as well.
#![allow(clippy::unwrap_used)]

mod books;
mod fault;
mod judge;
mod keeper;
mod kill;
mod naive;
mod points;
mod proxy;
mod random;
mod settle;
mod slow;
mod tally;
mod watch;
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use tokio::time::Instant;

use fault::Broken;
use random::Random;
use tally::Tally;
use world::{World, until};

/// What `./just chaos` was told, for the test that carries it out.
const TOLD: &str = "TRADEWIND_CHAOS";
/// What a plain `cargo test` does.
const SHORT: &str = "20 --seed 1 --seconds 2";
/// Schedules after which a world is left for a new one.
const SCHEDULES_A_WORLD: u64 = 10;
/// Time in which the judges must find what a program without guards does.
const CONTROL: Duration = Duration::from_secs(60);

/// Breaks the pipeline in every way there is, and judges what comes of it.
#[derive(Debug, Clone, Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// Schedules of faults.
    #[arg(default_value_t = 100)]
    schedules: u64,
    /// Chooses the faults; a new one each time when left out.
    #[arg(long)]
    seed: Option<u64>,
    /// How long a schedule breaks things, in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Pipelines side by side.
    #[arg(long, default_value_t = 2)]
    worlds: u64,
}

/// What is shared by the worlds side by side.
struct Run {
    arguments: Arguments,
    seed: u64,
    next: Mutex<u64>,
    total: Mutex<Tally>,
}

impl Run {
    /// The number of the next schedule, if there is one left.
    fn take(&self) -> Option<u64> {
        let mut next = self.next.lock().unwrap();
        let number = *next;
        *next += 1;
        (number < self.arguments.schedules).then_some(number)
    }
}

/// Runs schedules in one world after the other until none is left.
async fn worlds(run: Arc<Run>) {
    let mut number = run.take();
    while let Some(first) = number {
        let world = World::start(run.seed.wrapping_add(first)).await;
        until("the first order", || async {
            world
                .facts()
                .iter()
                .any(|fact| fact["record"] == "accepted")
                .then_some(())
        })
        .await;
        let mut tally = Tally::of(first);
        for _ in 0..SCHEDULES_A_WORLD {
            let Some(schedule) = number else { break };
            let findings = schedule_of(&run, &world, &mut tally, schedule).await;
            if !findings.is_empty() {
                let folder = world.stop(true).await;
                panic!(
                    "schedule {schedule} of seed {}: {findings:#?}\nall that was written is in {folder:?}",
                    run.seed
                );
            }
            number = run.take();
        }
        settle::count(&world, &mut tally).await;
        world.stop(false).await;
        run.total.lock().unwrap().merge(tally);
    }
}

async fn schedule_of(run: &Run, world: &World, tally: &mut Tally, number: u64) -> Vec<String> {
    let mut random = Random::new(run.seed, number);
    let mut broken = Broken::default();
    let end = Instant::now() + Duration::from_secs(run.arguments.seconds);
    while Instant::now() < end {
        broken.mend(world, false).await;
        broken.one(world, &mut random, tally).await;
        tokio::time::sleep(random.millis(10, 150)).await;
    }
    tally.schedules += 1;
    broken.mend(world, true).await;
    settle::settle(world, tally).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ordered_twice_and_nothing_is_lost_whatever_breaks() {
    let told = std::env::var(TOLD).unwrap_or_else(|_| SHORT.to_owned());
    let arguments = Arguments::parse_from(["chaos"].into_iter().chain(told.split_whitespace()));
    let of_the_clock = || protocol::Timestamp::now().as_nanosecond().unsigned_abs() as u64 % 1_000_000;
    let seed = arguments.seed.unwrap_or_else(of_the_clock);
    eprintln!("chaos: {} schedules of seed {seed}", arguments.schedules);
    let run = Arc::new(Run {
        arguments: arguments.clone(),
        seed,
        next: Mutex::new(0),
        total: Mutex::default(),
    });
    let side_by_side = (0..arguments.worlds.max(1)).map(|_| tokio::spawn(worlds(run.clone())));
    let outcomes = futures::future::join_all(side_by_side).await;
    let total = run.total.lock().unwrap();
    eprintln!("{total}seed {seed}");
    for outcome in outcomes {
        outcome.expect("no judge found anything");
    }
    assert_eq!(total.schedules, arguments.schedules);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_at_any_step_of_an_order_sends_it_once_or_never() {
    let ways = [(false, false), (false, true), (true, false), (true, true)];
    let worlds = ways.map(|(takeover, server_away)| {
        let way = points::Way {
            takeover,
            server_away,
        };
        tokio::spawn(async move {
            let world = World::start(20).await;
            let mut tally = Tally::of(20);
            let kills = points::kill_at_each(&world, way, &mut tally).await;
            let findings = settle::settle(&world, &mut tally).await;
            let folder = world.stop(!findings.is_empty()).await;
            assert!(
                findings.is_empty(),
                "{way:?}: {findings:#?}\nall that was written is in {folder:?}"
            );
            kills
        })
    });
    let kills = futures::future::try_join_all(worlds)
        .await
        .expect("no judge found anything");
    eprintln!("{} kills: {kills:?}", kills.iter().sum::<usize>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judges_find_what_a_program_without_guards_does() {
    let world = World::start(1).await;
    for runner in &world.runners {
        runner.kept.retire();
    }
    until("nobody else orders", || async {
        world
            .runners
            .iter()
            .all(|runner| runner.kept.pid().is_none())
            .then_some(())
    })
    .await;
    let buyer = tokio::spawn(naive::buy(
        world.bus.clone(),
        world.runners[0].broker.address.clone(),
    ));
    let mut random = Random::new(1, 0);
    let began = Instant::now();
    let found = loop {
        fault::at_an_order(&world, &mut random).await;
        let found = judge::duplicates(&world.facts());
        if !found.is_empty() || began.elapsed() > CONTROL {
            break found;
        }
        tokio::time::sleep(random.millis(10, 150)).await;
    };
    buyer.abort();
    world.stop(false).await;
    eprintln!(
        "{} duplicates within {:.1} s: {found:?}",
        found.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(
        !found.is_empty(),
        "a program that sends again on silence was not found out"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judges_find_what_two_of_this_program_do_that_share_no_ledger() {
    let mut world = World::without_runners(4).await;
    world.start_apart().await;
    world.start_runners().await;
    let began = Instant::now();
    let found = loop {
        let found = judge::duplicates(&world.facts());
        if !found.is_empty() || began.elapsed() > CONTROL {
            break found;
        }
        tokio::time::sleep(world::LOOK).await;
    };
    let folder = world.stop(found.is_empty()).await;
    eprintln!(
        "{} duplicates within {:.1} s: {found:?}",
        found.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(
        !found.is_empty(),
        "nobody found out two that decide alike: all that was written is in {folder:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_file_stops_an_order_that_waits_for_its_place_in_the_ledger() {
    let world = World::start(2).await;
    let outcome = kill::in_mid_append(&world).await;
    world.stop(false).await;
    eprintln!("{outcome:?}");
    assert_eq!(outcome.late, 0, "orders reached the broker after the kill switch");
    assert!(outcome.stopped > 0, "no order waited, so nothing was shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_the_broker_lost_is_called_absent_over_a_slow_wire() {
    let world = World::start(3).await;
    slow::until_absent(&world).await;
    world.stop(false).await;
}
