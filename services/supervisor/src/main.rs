//! The command line of the pipeline's keeper: `run-all`, `status`, `stop`, `reset`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use clap::Parser as _;
use runtime::Exit;
use supervisor::arguments::{Arguments, RunAll, Verb};
use supervisor::member::Say;
use supervisor::status::{self, Overall};
use supervisor::{Plan, Stack, logs, plan, reset, state, stop};
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of `status` when something is not ready.
const NOT_READY: u8 = 1;
/// Exit code of `status` when nothing runs.
const NOTHING_RUNS: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    runtime::run::log("supervisor");
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")
        .and_then(|runtime| runtime.block_on(carry_out(arguments.verb)));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<Exit>())
                .map_or(1, |exit| exit.code);
            let mut stderr = std::io::stderr();
            // Nobody to tell it to: the exit code says it as well.
            let _ = writeln!(stderr, "{error:#}");
            ExitCode::from(code)
        }
    }
}

async fn carry_out(verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::RunAll(arguments) => run_all(&arguments).await,
        Verb::Status(place) => show_status(&folder(place.state)?).await,
        Verb::Stop(place) => {
            let folder = folder(place.state)?;
            tokio::task::spawn_blocking(move || stop::stop(&folder, &terminal())).await??;
            Ok(0)
        }
        Verb::Reset(place) => {
            reset::reset(&plan::find_root()?, &folder(place.state)?, terminal()).await?;
            Ok(0)
        }
    }
}

fn folder(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    state::choose(&plan::find_root()?, named.as_deref())
}

async fn run_all(arguments: &RunAll) -> anyhow::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    // A terminal that is closed says this.
    let mut hangup = signal(SignalKind::hangup()).context("watch SIGHUP")?;
    let plan = Plan::new(&plan::find_root()?, arguments)?;
    let say = terminal_and_log(plan.state.join("logs/supervisor.log"));
    let market = &plan.settings.market;
    say(&format!(
        "tradewind, market {}: {} symbols, bars of {}; state and logs in {}",
        market.name,
        market.watchlist.len(),
        market.bar_size,
        plan.state.display()
    ));
    for line in &plan.overrides {
        say(&format!("  changed for this market: {line}"));
    }
    let mut stack = Stack::prepare(plan, say.clone())?;
    let outcome = tokio::select! {
        outcome = follow(&mut stack) => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    };
    say("stopping");
    stack.stop().await;
    say("stopped");
    outcome.map(|()| 0)
}

/// Starts everything and then lets it run; only a failed start ends it.
async fn follow(stack: &mut Stack) -> anyhow::Result<()> {
    stack.start_all().await?;
    // Never through the log: the token in it is a secret.
    print(&format!("Dashboard: {}", stack.dashboard()));
    print("Ctrl-C stops everything; `./just status` and `./just stop` work from another terminal.");
    std::future::pending().await
}

async fn show_status(folder: &std::path::Path) -> anyhow::Result<u8> {
    let (overall, record, lines) = status::look(folder).await;
    let Some(record) = record else {
        print(&format!("nothing runs on {}", folder.display()));
        return Ok(NOTHING_RUNS);
    };
    print(status::table(&lines).trim_end());
    print(&format!(
        "Dashboard: {}",
        state::dashboard_address(folder, &record.dashboard)
    ));
    if !record.supervisor.runs() {
        print("the run-all that started this is gone: `./just stop` ends what it left behind");
    }
    Ok(match overall {
        Overall::Ready => 0,
        Overall::Degraded => NOT_READY,
        Overall::Nothing => NOTHING_RUNS,
    })
}

fn terminal() -> Say {
    Arc::new(print)
}

/// Lines go to the terminal, and with their time into the supervisor's own log.
fn terminal_and_log(file: PathBuf) -> Say {
    let log = Mutex::new(None);
    Arc::new(move |line| {
        print(line);
        let mut log = log.lock().expect("nobody panics while holding it");
        if log.is_none()
            && file
                .parent()
                .is_some_and(|folder| state::private_folder(folder).is_ok())
        {
            *log = logs::open(&file).ok();
        }
        if let Some(log) = log.as_mut() {
            // A full disk must not stop the pipeline's keeper.
            let _ = writeln!(log, "{} {line}", runtime::now());
        }
    })
}

fn print(line: &str) {
    // A closed terminal must not stop the pipeline.
    let _ = writeln!(std::io::stdout(), "{line}");
}
