//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Starts, watches and stops the pipeline.
#[derive(Debug, Parser)]
#[command(name = "supervisor", version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start everything, keep it up, and stop it on Ctrl-C.
    RunAll(RunAll),
    /// Say what runs, how it fares and where its logs are. Exit code 0: all ready, 1: something is not, 3:
    /// nothing runs.
    Status(Where),
    /// Stop everything that run-all started on a state folder, and wait until it is gone.
    Stop(Where),
    /// Forget the state of a paper market; refused for a live account and for open positions.
    Reset(Where),
}

/// What `run-all` can be told.
#[derive(Debug, Clone, Default, Args)]
pub struct RunAll {
    /// Play the CSV bars of this folder instead of the synthetic market; the watchlist is its files.
    #[arg(long, value_name = "DIR", conflicts_with = "broker")]
    pub market: Option<PathBuf>,
    /// How fast bars are played: 1 is real time, 60 a minute in a second (the default), `max` as fast as
    /// nothing is lost.
    #[arg(long, value_name = "N|max", requires = "market")]
    pub speed: Option<String>,
    /// Use a real gateway at this address instead of the paper gateway.
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: Option<String>,
    /// Folder of all state; the default is var/ and the market's name.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Port of NATS; 0 takes any free one.
    #[arg(long, value_name = "PORT")]
    pub nats_port: Option<u16>,
    /// Port of NATS' monitor; 0 takes any free one. The default follows --nats-port.
    #[arg(long, value_name = "PORT")]
    pub monitor_port: Option<u16>,
    /// Port of the dashboard; 0 takes any free one.
    #[arg(long, value_name = "PORT")]
    pub dashboard_port: Option<u16>,
    /// Port of the paper gateway; 0 takes any free one.
    #[arg(long, value_name = "PORT", conflicts_with = "broker")]
    pub gateway_port: Option<u16>,
    /// The settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder with the built page.
    #[arg(long, value_name = "DIR")]
    pub page: Option<PathBuf>,
    /// Folder with the stages' programs; the default is where this program lies.
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
}

/// Which pipeline is meant.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// Its state folder; the default is the one below var/ that runs, else var/demo.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}
