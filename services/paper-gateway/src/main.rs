//! The paper gateway as a program: options, logs, signals, exit codes.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use paper_gateway::{
    ControlError, FilesError, Gateway, Locked, Options, OptionsError, PortTaken, ScenarioError,
};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Help and version go this way too, and are no error.
            error.print().ok();
            return if error.use_stderr() {
                ExitCode::from(64)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence for people; the last line of the log, too.
            tracing::error!("{error:#}");
            ExitCode::from(code(&error))
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let gateway = Gateway::start(options).await?;
    let address = gateway.address();
    if let Some(path) = &options.address_file {
        std::fs::write(path, format!("{address}\n"))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    if let (Some(path), Some(control)) = (&options.control_file, gateway.control_address()) {
        std::fs::write(path, format!("{control}\n"))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    // Nobody may be reading; the gateway serves all the same.
    writeln!(std::io::stdout(), "listening on {address}").ok();
    tracing::info!(%address, "clients can connect");
    let abandoned = abandoned();
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = abandoned => {}
        }
    };
    gateway.run_until(stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Resolves when the supervisor that started this program is gone, which ends its standard input.
/// Without a supervisor that means nothing, and this never resolves.
async fn abandoned() {
    if std::env::var_os("TRADEWIND_SUPERVISED").is_none() {
        return std::future::pending().await;
    }
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    // A thread of its own: reading standard input can't be cancelled, and must not hold up the end.
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        gone.send(()).ok();
    });
    is_gone.await.ok();
}

/// Exit codes as in sysexits.h, which tell a supervisor what kind of trouble it is.
fn code(error: &anyhow::Error) -> u8 {
    if error.is::<OptionsError>() {
        return 64;
    }
    match error.downcast_ref::<FilesError>() {
        Some(
            FilesError::Folder(..) | FilesError::Empty(_) | FilesError::Missing(..) | FilesError::File(..),
        ) => {
            return 66;
        }
        Some(FilesError::Row(..) | FilesError::Name(_) | FilesError::Overlap(_)) => return 65,
        None => {}
    }
    match error.downcast_ref::<ScenarioError>() {
        Some(ScenarioError::File(..)) => return 66,
        Some(ScenarioError::Line(..)) => return 65,
        None => {}
    }
    match error.downcast_ref::<ControlError>() {
        Some(ControlError::Open(_)) => return 64,
        Some(ControlError::Taken(..)) => return 69,
        None => {}
    }
    if error.is::<PortTaken>() {
        return 69;
    }
    if error.is::<Locked>() { 73 } else { 74 }
}
