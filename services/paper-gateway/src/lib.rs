//! A server of IB's socket protocol around the simulated exchange in `engine::venue`.
//!
//! [`Gateway::start`] takes the account's folder, makes the market and opens the port; each connection is a
//! `session`, and one `hub` owns the exchange and answers all of them in order. The gateway knows nothing of
//! the rest of the system: it is the outside world.

mod clock;
mod contracts;
mod control;
mod door;
mod fault;
mod files;
mod followed;
#[cfg(test)]
mod fuzz;
mod hub;
mod journal;
mod line;
mod message;
mod number;
mod options;
mod outbox;
mod peer;
mod request;
mod session;
mod span;
mod times;
mod trace;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use anyhow::{Context, Result};
use engine::venue::Venue;
use engine::venue::account::Account;
use engine::venue::checks::Rules;
use engine::venue::market::Market;
use engine::venue::replay::Replay;
use engine::venue::rows::Rows;
use engine::venue::synthetic::Synthetic;
use jiff::SignedDuration;
use protocol::{Symbol, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use clock::{MAX_BARS_A_SECOND, Speed};
pub use control::ControlError;
pub use fault::ScenarioError;
pub use files::FilesError;
pub use journal::Locked;
pub use line::Entitlement;
pub use options::{Options, OptionsError};

use clock::{Clock, Past, Wall};
use door::Entrance;
use hub::lines::DataRules;
use journal::Journal;
use session::House;

/// Names of the accounts: IB's paper accounts begin with DU.
const ACCOUNT_SYNTHETIC: &str = "DU1000001";
const ACCOUNT_REPLAY: &str = "DU1000002";
/// Most connections that have not been greeted; the oldest of them goes when one more comes. As many as there can be
/// clients, so that none is cut when all come back together.
const SILENT_MAX: usize = session::CLIENTS_MAX;

/// The port is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address} ({cause}): {advice}")]
pub struct PortTaken {
    address: String,
    /// In the sentence, and so not its source, which would be told once more.
    cause: std::io::Error,
    advice: &'static str,
}

impl PortTaken {
    fn new(address: &str, cause: std::io::Error) -> Self {
        let advice = match cause.kind() {
            ErrorKind::AddrInUse => "stop the program that has the port, or choose another with --listen",
            _ => "choose another address with --listen",
        };
        Self {
            address: address.to_owned(),
            cause,
            advice,
        }
    }
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    control: Option<SocketAddr>,
    stop: CancellationToken,
    hub: JoinHandle<Result<()>>,
}

impl Gateway {
    /// Starts a gateway; when this returns, clients can connect.
    ///
    /// # Errors
    /// [`OptionsError`], [`FilesError`], [`ScenarioError`], [`Locked`], [`ControlError`], [`PortTaken`], or what could not be read or written.
    pub async fn start(options: &Options) -> Result<Self> {
        // Everything that a person can get wrong is looked at before the port opens.
        let Given {
            files,
            traded,
            scenario,
        } = given(options)?;
        let (journal, account) = Journal::open(&options.state)?;
        let replay = files.is_some();
        let noted = [journal.clock()?, account.latest].into_iter().flatten().max();
        let (market, clock, start) = match files {
            None => synthetic(options, &traded, noted),
            Some(files) => replay_of(files, options, noted),
        };
        let made_up = if replay { ACCOUNT_REPLAY } else { ACCOUNT_SYNTHETIC };
        let name = options.account.clone().unwrap_or_else(|| made_up.into());
        let (journal, account) = opened((journal, account), options, &name, (&market, start))?;
        let control = control::bind(options.control.as_deref()).await?;
        let trace = trace::Trace::start(options.trace.as_deref())?;
        let listener = TcpListener::bind(&options.listen)
            .await
            .map_err(|cause| PortTaken::new(&options.listen, cause))?;
        let address = listener.local_addr().context("the socket has no address")?;

        let broker = Rules {
            not_shortable: options.not_shortable.iter().copied().collect(),
        };
        let stop = CancellationToken::new();
        let drained = Arc::new(Notify::new());
        let (commands, receiver) = mpsc::channel(hub::COMMANDS_MAX);
        let rules = DataRules {
            entitlement: options.data,
            lines: options.lines,
        };
        let mut hub = hub::Hub::new(
            Venue::new(market, account, start).with_rules(broker),
            journal,
            clock,
            name,
            (rules, options.delay_seconds),
            drained.clone(),
        );
        // Without either option nothing can go wrong, and nothing is looked at.
        let allowed = control.is_some() || scenario.is_some();
        let door = allowed.then(|| hub.allow(address.port(), scenario.unwrap_or_default()));
        let hub = tokio::spawn(hub.run(receiver, stop.clone()));
        let entrance = Entrance::new(listener, address, door);
        let told = control.as_ref().and_then(|control| control.local_addr().ok());
        if let Some(control) = control {
            tokio::spawn(control::serve(control, commands.clone(), stop.clone()));
        }
        let house = House {
            hub: commands,
            drained,
            trace,
            places: Arc::new(Semaphore::new(session::CLIENTS_MAX)),
        };
        tokio::spawn(accept(entrance, house, stop.clone()));
        Ok(Self {
            address,
            control: told,
            stop,
            hub,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where faults can be ordered, if anywhere.
    #[must_use]
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Runs until `stop` resolves or the account can't be kept any more.
    ///
    /// # Errors
    /// Why the account could not be kept.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<()> {
        tokio::select! {
            result = &mut self.hub => return result.context("the hub failed")?,
            () = stop => {}
        }
        self.stop().await
    }

    /// Stops it: connections are closed, the account is kept.
    ///
    /// # Errors
    /// Why the account could not be kept.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.hub.await.context("the hub failed")?
    }
}

/// What the options name, read.
struct Given {
    files: Option<BTreeMap<Symbol, Rows>>,
    /// The stocks of the market.
    traded: Vec<Symbol>,
    scenario: Option<Vec<fault::Line>>,
}

fn given(options: &Options) -> Result<Given> {
    let files = options
        .market
        .as_ref()
        .map(|folder| files::read(folder, &options.symbols))
        .transpose()?;
    let traded: Vec<Symbol> = match &files {
        Some(files) => files.keys().copied().collect(),
        None => options.made_up(),
    };
    if let Some(symbol) = options
        .not_shortable
        .iter()
        .find(|symbol| !traded.contains(symbol))
    {
        return Err(OptionsError::NotShortable(*symbol).into());
    }
    let scenario = fault::read_scenario(options.scenario.as_deref(), &traded)?;
    Ok(Given {
        files,
        traded,
        scenario,
    })
}

/// Speed of a replay that nobody chose one for.
const SPEED_REPLAY: Speed = Speed::Times(60.0);
/// An account that has seen times further ahead of the wall's than this many seconds was used on a faster clock.
const AHEAD_SECONDS: i64 = 60;

/// Made-up prices. They follow the wall's clock, unless another speed or start is asked for, or the account has
/// already seen later times.
fn synthetic(options: &Options, symbols: &[Symbol], noted: Option<Timestamp>) -> (Market, Clock, Timestamp) {
    let now = Timestamp::now();
    let speed = options.speed.unwrap_or(Speed::Times(1.0));
    let ahead = noted.is_some_and(|noted| noted.as_second() > now.as_second() + AHEAD_SECONDS);
    let (clock, start) = if speed == Speed::Times(1.0) && options.start.is_none() && !ahead {
        (Clock::Wall(Wall::default()), now)
    } else {
        let begin = options.start.unwrap_or(now);
        let start = noted.map_or(begin, |noted| noted.max(begin));
        tracing::info!(%start, "the market runs while a client is connected");
        (Clock::Past(Past::new(speed, start)), start)
    };
    let market = Synthetic::new(symbols, options.seed, options.trades_per_second, start);
    (Market::Synthetic(market), clock, start)
}

/// The bars of the past, from where the last gateway stopped.
fn replay_of(
    files: BTreeMap<Symbol, Rows>,
    options: &Options,
    noted: Option<Timestamp>,
) -> (Market, Clock, Timestamp) {
    let first = files
        .values()
        .filter_map(|rows| rows.rows.first())
        .map(|row| row.start)
        .min();
    let begin = options.start.or(first).unwrap_or_default();
    // A bar in progress when the gateway stopped is history now: the clock goes on after it.
    let after = |noted| {
        let ends = files.values().filter_map(|rows| rows.end_of_bar_at(noted));
        ends.max().unwrap_or(noted)
    };
    let start = noted.map_or(begin, |noted| after(noted).max(begin));
    let replay = Replay::new(files, options.seed, start);
    tracing::info!(%start, end = %replay.end(), "replay begins when somebody asks for prices");
    let speed = options.speed.unwrap_or(SPEED_REPLAY);
    (
        Market::Replay(replay),
        Clock::Past(Past::new(speed, start)),
        start,
    )
}

/// An account that has seen times further after the end of the bars than this was never theirs. A replay that is over
/// stands a little after its end, the further the faster it ran.
const AFTER_END: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Gives a new account its name and its cash, and refuses one that belongs to another market.
fn opened(
    (mut journal, mut account): (Journal, Account),
    options: &Options,
    name: &str,
    (market, at): (&Market, Timestamp),
) -> Result<(Journal, Account)> {
    if account.opened {
        own(&journal, &account, options, name, market)?;
    }
    journal.keep_name(name)?;
    if !account.opened {
        let record = Venue::opening(options.first_cash(), at);
        account.apply(&record);
        journal.append(&[record], &account)?;
        journal.sync()?;
    }
    Ok((journal, account))
}

/// Refuses an account of another name, or one of times that the market never reaches.
fn own(journal: &Journal, account: &Account, options: &Options, name: &str, market: &Market) -> Result<()> {
    let folder = options.state.clone();
    if let Some(kept) = journal.name()?.filter(|kept| kept != name) {
        let asked = name.to_owned();
        return Err(OptionsError::OtherAccount { folder, kept, asked }.into());
    }
    if let (Market::Replay(replay), Some(seen)) = (market, account.latest)
        && seen.duration_since(replay.end()) > AFTER_END
    {
        let end = replay.end();
        return Err(OptionsError::OtherMarket { folder, seen, end }.into());
    }
    if options.cash.is_some_and(|cash| cash != account.deposited) {
        let began = account.deposited;
        tracing::warn!(%began, "--cash is ignored: the account in {} has begun with other cash", folder.display());
    }
    Ok(())
}

async fn accept(mut entrance: Entrance, house: House, stop: CancellationToken) {
    let mut silent: VecDeque<(Weak<()>, CancellationToken)> = VecDeque::new();
    let mut number = 0;
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            accepted = entrance.accept() => match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    // Out of file descriptors, say: existing clients go on, and it may pass.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        silent.retain(|(held, _)| held.strong_count() > 0);
        if silent.len() >= SILENT_MAX
            && let Some((_, cut)) = silent.pop_front()
        {
            tracing::warn!(
                limit = SILENT_MAX,
                "too many connections that say nothing, the oldest is closed"
            );
            cut.cancel();
        }
        number += 1;
        let (held, cut) = (Arc::new(()), stop.child_token());
        silent.push_back((Arc::downgrade(&held), cut.clone()));
        tokio::spawn(session::serve(socket, number, house.clone(), cut, held));
    }
}
