//! `./just bench`: how long the pipeline takes from a bar's close to its order, beside the floor of the same run, and
//! what its processes cost.
//!
//! [`lab`] starts the real processes on a state folder of their own; [`witness`] listens on the bus and joins what it
//! hears with the gateway's trace; [`floor`] is the same way through empty stages and [`feed`] its two ends; [`usage`]
//! reads memory and CPU; [`safety`] is how fast it stops and another takes over; [`table`] says it all. Figures are ratios of one run; nothing is asserted on absolute times.

mod feed;
mod floor;
mod lab;
mod safety;
mod table;
mod usage;
mod witness;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use runtime::Exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use feed::Feed;
use lab::Lab;
use safety::Safety;
use table::Report;
use usage::Usage;
use witness::Witness;

/// How long the first order may take to come.
const FIRST_ORDER_SECONDS_MAX: u64 = 120;
/// Time after the last bar in which its orders may still arrive.
const LAST_ORDERS: Duration = Duration::from_millis(1_500);
/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);

/// Measures the pipeline beside the floor of the same run.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// How long to measure; start and end come on top.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(10..))]
    seconds: u64,
    /// An empty stage of the floor; the bench starts them itself.
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// An empty stage of the floor.
    #[command(hide = true)]
    Floor(floor::Stage),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The table is what it has to say; the stages' own logs go to its folder.
    if std::env::var_os("RUST_LOG").is_some() {
        runtime::run::log("bench");
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")
        .and_then(|runtime| {
            runtime.block_on(async {
                match arguments.part {
                    Some(Part::Floor(stage)) => stage.run().await,
                    None => bench(Duration::from_secs(arguments.seconds)).await,
                }
            })
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = error.chain().find_map(|cause| cause.downcast_ref::<Exit>());
            // Nobody to tell it to: the exit code says it as well.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::from(exit.map_or(1, |exit| exit.code))
        }
    }
}

async fn bench(length: Duration) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut lab = Lab::prepare().await?;
    let outcome = tokio::select! {
        outcome = measure(&mut lab, length) => outcome,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted: nothing was measured")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated: nothing was measured")),
    };
    // The gateway writes the rest of its trace as it ends.
    let trace = lab.stop().await;
    let (report, safety) = outcome?;
    let trace = trace?;
    let (report, safety) = (report.with_trace(&trace)?, safety.with_trace(&trace));
    let _ = write!(std::io::stdout(), "{report}{safety}");
    Ok(())
}

/// Everything but the trace, which is whole only when the gateway has ended.
async fn measure(lab: &mut Lab, length: Duration) -> anyhow::Result<(Report, Safety)> {
    lab.start().await?;
    let bus = lab.bus()?;
    let witness = Witness::listen(bus).await?;
    lab.say("waiting for the first order that follows from a bar");
    let deadline = Instant::now() + Duration::from_secs(FIRST_ORDER_SECONDS_MAX);
    let sizes = loop {
        if let Some(sizes) = witness.sizes().zip(lab.frames()) {
            break sizes;
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "no order followed from a bar within {FIRST_ORDER_SECONDS_MAX} s: look for refusals in the dashboard of `./just run-all`"
        );
        tokio::time::sleep(LOOK).await;
    };
    let (messages, frames) = sizes;
    let mut feed = Feed::start(lab, &messages, frames).await?;
    lab.say(&format!(
        "measuring for {} s: bars of 5 s, 19 symbols, settings that decide often",
        length.as_secs()
    ));
    let begin = witness::nanos();
    let before = Usage::of(lab);
    let end = Instant::now() + length;
    while feed.burst(&witness, end).await? {}
    let usage = Usage::of(lab).since(&before);
    tokio::time::sleep(LAST_ORDERS).await;
    let (floor, missing) = feed.finish().await;
    if missing > 0 {
        lab.say(&format!(
            "{missing} orders of the floor did not come back in time: they are not counted"
        ));
    }
    let report = Report::new(begin, witness.heard(), floor, usage, messages, frames);
    lab.say("measuring how fast it stops and how fast another takes over");
    let safety = safety::measure(lab, &witness).await?;
    Ok((report, safety))
}
