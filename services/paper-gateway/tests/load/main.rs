//! The gateway under load, as a process of its own: a day of random orders, and a crowd of clients.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should panic where it stands"
)]

mod crowd;
mod day;
mod drivers;
mod ledger;
mod process;
mod trader;

/// One load at a time: what is measured is the gateway, not the other test.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// The program that is under load.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tradewind-paper-gateway");

/// Least that a client is told of a stock, as a part of the most that one is told of one. How much that is in a second
/// depends on the machine: the bench says it.
const FAIRNESS_MIN: f64 = 0.5;
/// Memory that the gateway may occupy; the queue of the client that never reads is up to 32 MiB of it.
const RESIDENT_BYTES_MAX: usize = 128 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_keep_up_with_two_hundred_stocks_while_one_that_never_reads_is_cut_off() {
    let _alone = ALONE.lock().await;
    let measured = crowd::measure(PROGRAM, true).await;
    println!("{measured}");
    assert!(measured.fairness >= FAIRNESS_MIN, "{measured}");
    assert!(measured.resident < RESIDENT_BYTES_MAX, "{measured}");
}
