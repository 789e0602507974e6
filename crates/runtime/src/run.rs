//! Every stage's `main`: settings, connection, health, the body, and a clean end.

use std::future::Future;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use protocol::Timestamp;
use protocol::settings::Settings;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::fall;
use crate::health::HealthHandle;

/// How long a stage may take to end after it was asked to.
pub const STOP_SECONDS_MAX: u64 = 5;
/// How long the whole of a flush may take at the end.
const FLUSH_SECONDS_MAX: u64 = 2;
/// Set by the supervisor: a stage whose standard input ends then stops, so that none outlives it.
pub const SUPERVISED: &str = "TRADEWIND_SUPERVISED";

/// Documented exit codes, after `sysexits.h`.
pub mod code {
    /// A setting is wrong.
    pub const SETTING: u8 = 64;
    /// Data is wrong.
    pub const DATA: u8 = 65;
    /// A file or folder is missing.
    pub const MISSING: u8 = 66;
    /// Something needed is not there: a port, a server, a tool.
    pub const UNAVAILABLE: u8 = 69;
    /// Something is held by another process.
    pub const LOCKED: u8 = 73;
    /// Start a new incarnation: the safe answer to doubt.
    pub const AGAIN: u8 = 75;
    /// What was read contradicts what was written: an operator must look.
    pub const CONTRADICTION: u8 = 76;
    /// A panic, in whatever task: a bug. It is the code that Rust itself ends with.
    pub const PANIC: u8 = 101;
}

/// An end with a documented exit code.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Exit {
    /// One of [`code`].
    pub code: u8,
    /// One sentence: what happened, where, what to do.
    pub text: String,
}

impl Exit {
    /// An error that ends the process with `code`.
    pub fn error(code: u8, text: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            code,
            text: text.into(),
        })
    }
}

/// What a stage is given to work with.
#[derive(Debug)]
pub struct Context {
    /// The stage.
    pub name: &'static str,
    /// This process of it, `host-pid`.
    pub instance: String,
    /// The whole of the settings.
    pub settings: Settings,
    /// Folder of all state of this market and account.
    pub state: PathBuf,
    /// The bus.
    pub bus: Bus,
    /// How the stage is.
    pub health: HealthHandle,
    /// Cancelled when the stage must end.
    pub stop: CancellationToken,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// The settings file.
    #[arg(long, default_value = "services/config.toml")]
    config: PathBuf,
    /// The state folder; the default is `var/` and the market's name.
    #[arg(long)]
    state: Option<PathBuf>,
}

/// The wall clock. For liveness only; decisions run on the market clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs a stage until it ends or is told to. The whole of its `main`.
pub fn run<F, B>(name: &'static str, body: F) -> ExitCode
where
    F: FnOnce(Context) -> B,
    B: Future<Output = anyhow::Result<()>>,
{
    run_watching(name, |_, _| Ok(()), |context, ()| body(context))
}

/// The same for a stage that must hear something from its first moment: `watch` is given the settings and the
/// state folder before anything is looked for on the network, and what it makes is handed to `body`.
pub fn run_watching<W, T, F, B>(name: &'static str, watch: W, body: F) -> ExitCode
where
    W: FnOnce(&Settings, &Path) -> anyhow::Result<T>,
    F: FnOnce(Context, T) -> B,
    B: Future<Output = anyhow::Result<()>>,
{
    let arguments = Arguments::parse();
    log(name);
    fall::end_at_a_panic();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(
                name,
                &anyhow::Error::from(error).context("the async runtime did not start"),
            );
        }
    };
    let outcome = runtime.block_on(stage(name, &arguments, watch, body));
    // Blocking work that never ends must not keep a stopped stage alive.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(name, &error),
    }
}

async fn stage<W, T, F, B>(name: &'static str, arguments: &Arguments, watch: W, body: F) -> anyhow::Result<()>
where
    W: FnOnce(&Settings, &Path) -> anyhow::Result<T>,
    F: FnOnce(Context, T) -> B,
    B: Future<Output = anyhow::Result<()>>,
{
    let settings = crate::config::read(&arguments.config)?;
    let state = arguments
        .state
        .clone()
        .unwrap_or_else(|| Path::new("var").join(&settings.market.name));
    let watched = watch(&settings, &state)?;
    let secret = read_secret(&state, name)?;
    let stop = CancellationToken::new();
    watch_signals(&stop)?;
    let instance = instance();
    let bus = tokio::select! {
        bus = Bus::connect(name, &settings.nats.address, &secret) => bus?,
        () = stop.cancelled() => return Ok(()),
    };
    bus.refuse_other_wires(name).await?;
    let health = HealthHandle::start(name, &instance, bus.clone(), stop.clone());
    bus.answer_service_calls(name).await?;
    let context = Context {
        name,
        instance,
        settings,
        state,
        bus: bus.clone(),
        health,
        stop: stop.clone(),
    };
    let outcome = tokio::select! {
        outcome = body(context, watched) => outcome,
        () = overdue(&stop) => Err(anyhow::anyhow!("did not end within {STOP_SECONDS_MAX} s of being asked to")),
    };
    stop.cancel();
    // async-nats drops what is still queued when a client goes away, so the end waits for it.
    if tokio::time::timeout(Duration::from_secs(FLUSH_SECONDS_MAX), bus.drain())
        .await
        .is_err()
    {
        tracing::warn!("the bus did not take the last messages in time");
    }
    outcome
}

async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(STOP_SECONDS_MAX)).await;
}

fn watch_signals(stop: &CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be watched")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be watched")?;
    let on_signal = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        on_signal.cancel();
    });
    if std::env::var_os(SUPERVISED).is_some() {
        let on_end_of_input = stop.clone();
        std::thread::spawn(move || {
            // The supervisor holds the other end and never writes: an end means that it is gone.
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            on_end_of_input.cancel();
        });
    }
    Ok(())
}

fn read_secret(state: &Path, name: &str) -> anyhow::Result<String> {
    let file = state.join("secrets").join(name);
    let secret = std::fs::read_to_string(&file).map_err(|error| {
        let text = format!(
            "{} can't be read ({error}): start the stages with `./just run-all`, which makes it",
            file.display()
        );
        Exit::error(code::MISSING, text)
    })?;
    Ok(secret.trim().to_owned())
}

/// The name of this process among all stages: `host-pid`, legal in a subject.
#[must_use]
pub fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "host".to_owned());
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let host: String = host.trim().chars().map(legal).take(32).collect();
    format!("{host}-{}", std::process::id())
}

/// Logs go to standard error: for people on a terminal, as JSON lines else. `RUST_LOG` chooses how much.
pub fn log(name: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,async_nats=warn,ibapi=warn,tract=warn".into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that a full disk does not take is lost; telling of it on the same stream would be a panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let outcome = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    if outcome.is_err() {
        tracing::debug!(name, "logging was set up already");
    }
}

fn end(name: &str, error: &anyhow::Error) -> ExitCode {
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Exit>())
        .map_or(1, |exit| exit.code);
    tracing::error!(code, "{error:#}");
    // Logs may be filtered or in a file; the one sentence is for whoever started the process.
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        std::io::Write::write_fmt(&mut stderr, format_args!("{name}: {error:#}\n")).unwrap_or(());
    }
    ExitCode::from(code)
}
