//! The one sequence of every start: connection, lease, ledger, witness, epoch, broker truth. Nothing is ordered before
//! its end, and where two things that must agree do not, it stops for good.

use std::time::Duration;

use engine::portfolio::Portfolio;
use engine::reconcile::{self, Pass, Truth};
use engine::trader::{Draft, Input, Trader};
use ibapi::subscriptions::NoticeStream;
use protocol::decision::Level;
use protocol::ledger::{Entry, Epoch, Identity, Mode, Record};
use protocol::operator::HealthState;
use protocol::subject::stream;
use protocol::{Hash, Id};
use runtime::lease::{Asked, Lease};
use runtime::ledger::Ledger;
use runtime::{Context, Exit, code, now};

use crate::broker::{Broker, ConnectError};
use crate::desk::{Desk, Held, again};
use crate::latch::Latch;
use crate::truth;
use crate::witness::{Memory, Witness};

/// Time between two tries to connect or to lead.
const RETRY_MS: u64 = 500;
/// Readings of the broker's truth at the start, until one has nothing new.
const READINGS_MAX: usize = 5;
/// Prefixes of IB's paper accounts.
const PAPER_PREFIXES: [&str; 2] = ["DU", "DF"];

/// How a start ends.
pub enum Start {
    /// This incarnation leads.
    Lead(Box<Desk>),
    /// It was told to stop while it waited.
    Stopped,
    /// Two things that must agree do not; the sentence says which.
    Contradiction(String),
}

/// Waits until this incarnation may lead, and makes it ready.
pub async fn lead(context: &Context, latch: Latch) -> anyhow::Result<Start> {
    tokio::select! {
        start = sequence(context, latch) => start,
        () = context.stop.cancelled() => Ok(Start::Stopped),
    }
}

async fn sequence(context: &Context, latch: Latch) -> anyhow::Result<Start> {
    let (mut broker, notices) = connect(context).await;
    broker.account = match account(context, &broker) {
        Ok(account) => account,
        Err(text) => return Ok(Start::Contradiction(text)),
    };
    let lease = take_lease(context, &broker.account).await?;
    context.health.set(HealthState::Starting, "reading the ledger");
    let (witness, memory) = Witness::open(&context.state)?;
    let portfolio = match read_ledger(context, &memory).await? {
        Ok(portfolio) => portfolio,
        Err(text) => return Ok(Start::Contradiction(text)),
    };
    let identity = identity(context, &broker.account);
    if let Some(text) = other_identity(&portfolio, &identity) {
        return Ok(Start::Contradiction(text));
    }
    let ledger = Ledger::after(&context.bus, portfolio.sequence, portfolio.hash.clone());
    let trader = Trader::new(context.settings.clone(), portfolio);
    let held = Held {
        broker,
        lease,
        witness,
    };
    let mut desk = Box::new(Desk::new(held, latch, ledger, trader, memory.order_id_max)?);
    first_records(context, &mut desk, identity).await?;
    match broker_truth(context, &mut desk, notices).await? {
        None => Ok(Start::Lead(desk)),
        Some(text) => Ok(Start::Contradiction(text)),
    }
}

/// Connects; while another incarnation holds the one client id, stands by.
async fn connect(context: &Context) -> (Broker, NoticeStream) {
    let settings = &context.settings.broker;
    loop {
        match Broker::connect(&settings.address, settings.ordering_client_id).await {
            Ok(connected) => return connected,
            Err(ConnectError::InUse) => {
                let text = format!(
                    "another execution orders as client {}; this one takes over when it ends",
                    settings.ordering_client_id
                );
                context.health.set(HealthState::Standby, text);
            }
            Err(ConnectError::Down(reason)) => {
                let text = format!(
                    "no gateway at {} ({reason}): start it or correct broker.address; nothing is ordered until then",
                    settings.address
                );
                context.health.set(HealthState::Degraded, text);
            }
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// The one account to trade, checked: paper unless the settings name this very account for real money.
fn account(context: &Context, broker: &Broker) -> Result<String, String> {
    let settings = &context.settings.broker;
    let accounts = broker.accounts();
    let account = match (settings.account.as_str(), accounts.as_slice()) {
        ("", [only]) => only.clone(),
        ("", several) => {
            return Err(format!(
                "the gateway manages {} accounts ({}): name one in broker.account",
                several.len(),
                several.join(", ")
            ));
        }
        (named, all) if all.iter().any(|account| account == named) => named.to_owned(),
        (named, all) => {
            return Err(format!(
                "the gateway does not manage account {named} but {}: correct broker.account",
                all.join(", ")
            ));
        }
    };
    let repeated = std::env::var("TRADEWIND_LIVE_ACCOUNT").unwrap_or_default();
    if mode_of(&account) == Mode::Live && (settings.live_account != account || repeated != account) {
        return Err(format!(
            "{account} is an account with real money: name it in broker.live_account and repeat it in TRADEWIND_LIVE_ACCOUNT to trade it"
        ));
    }
    Ok(account)
}

fn mode_of(account: &str) -> Mode {
    if PAPER_PREFIXES.iter().any(|prefix| account.starts_with(prefix)) {
        Mode::Paper
    } else {
        Mode::Live
    }
}

async fn take_lease(context: &Context, account: &str) -> anyhow::Result<Lease> {
    loop {
        let asked = Lease::ask(&context.bus, account, &context.instance).await;
        match asked.map_err(|error| again(format!("{error:#}")))? {
            Asked::Held(lease) => return Ok(lease),
            Asked::Taken { holder } => {
                let text = format!("{holder} holds the lease on {account}; this one takes over when it ends");
                context.health.set(HealthState::Standby, text);
                tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            }
        }
    }
}

/// Folds the whole ledger and compares it with what this machine remembers of it.
async fn read_ledger(context: &Context, memory: &Memory) -> anyhow::Result<Result<Portfolio, String>> {
    let mut portfolio = Portfolio::default();
    let history = context.bus.history::<Record>(stream::LEDGER, ">", 1).await;
    let mut history = history.map_err(|error| again(format!("{error:#}")))?;
    let mut remembered = memory.sequence == 0;
    if history.head < memory.sequence {
        return Ok(Err(format!(
            "LEDGER ends at record {} but this machine remembers {}: it was lost or is an older copy; restore it, or ask what happened",
            history.head, memory.sequence
        )));
    }
    while portfolio.sequence < history.head {
        let stored = match history.next().await {
            Ok(stored) => stored,
            Err(error) if error.is::<serde_json::Error>() => {
                return Ok(Err(format!(
                    "{error:#}: no execution writes such a record; nothing is ordered until a person has looked at it"
                )));
            }
            Err(error) => return Err(again(format!("{error:#}"))),
        };
        let hash = stored.hash();
        if let Err(fault) = portfolio.apply(stored.sequence, &hash, &stored.message) {
            return Ok(Err(format!(
                "{fault}; nothing is ordered until a person has looked at it"
            )));
        }
        if stored.sequence == memory.sequence {
            remembered = hash == memory.hash;
        }
    }
    if !remembered {
        return Ok(Err(format!(
            "record {} of LEDGER is not the one that this machine remembers: it is another ledger; restore the right one",
            memory.sequence
        )));
    }
    Ok(Ok(portfolio))
}

fn identity(context: &Context, account: &str) -> Identity {
    let settings = &context.settings.broker;
    Identity {
        account: account.to_owned(),
        mode: mode_of(account),
        gateway: settings.address.clone(),
        client_id: settings.ordering_client_id,
    }
}

fn other_identity(portfolio: &Portfolio, ours: &Identity) -> Option<String> {
    let known = portfolio.identity.as_ref()?;
    let same = known.account == ours.account && known.mode == ours.mode && known.client_id == ours.client_id;
    (!same).then(|| {
        format!(
            "this ledger is of account {} ({:?}, client {}) and the gateway's is {} ({:?}, client {}): use another state folder",
            known.account, known.mode, known.client_id, ours.account, ours.mode, ours.client_id
        )
    })
}

/// The identity, once, and the epoch of this incarnation: after it no older one can append anything.
async fn first_records(context: &Context, desk: &mut Desk, identity: Identity) -> anyhow::Result<()> {
    if desk.trader.portfolio.identity.is_none() {
        let id = Id::derive(&["identity", &identity.account]);
        desk.append_as(
            0,
            Draft {
                id,
                at: now(),
                cause: None,
                entry: Entry::Identity(identity),
            },
        )
        .await?;
    }
    let epoch = desk.trader.portfolio.epoch + 1;
    let id = Id::derive(&["epoch", &epoch.to_string(), &context.instance]);
    let entry = Entry::Epoch(Epoch {
        instance: context.instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    desk.append_as(
        epoch,
        Draft {
            id,
            at: now(),
            cause: None,
            entry,
        },
    )
    .await
    .map(drop)
}

/// Positions, orders and executions of the broker, folded in, before anything else. Tells what must not be folded in.
async fn broker_truth(
    context: &Context,
    desk: &mut Desk,
    notices: NoticeStream,
) -> anyhow::Result<Option<String>> {
    context.health.set(
        HealthState::Starting,
        "loading positions, orders and executions from the broker",
    );
    desk.listen(notices).await?;
    if !desk.trader.portfolio.opened {
        let gap = Duration::from_millis(u64::from(context.settings.broker.opening_gap_ms));
        let truth = still(desk, gap).await?;
        desk.append(opening(&truth)).await?;
        tell_working(context, &truth).await;
    }
    for _ in 0..READINGS_MAX {
        let truth = read(desk).await?;
        if let Some(execution) = reconcile::unwritten(&desk.trader.portfolio, &truth) {
            return Ok(Some(format!(
                "the broker has execution {} of order {}, which this pipeline sent and LEDGER does not have: this is an older backup, or another copy of it traded; bring the newest LEDGER back, or begin with an empty state folder",
                execution.fill.execution_id, execution.order_ref
            )));
        }
        let before = desk.trader.portfolio.sequence;
        let outputs = desk.trader.step(now(), Input::Truth(truth, Pass::First));
        let settled = outputs.iter().all(|output| !is_order_event(output));
        desk.perform(context, outputs).await?;
        tracing::info!(
            before,
            after = desk.trader.portfolio.sequence,
            "broker truth folded in"
        );
        if settled {
            return Ok(None);
        }
    }
    context
        .bus
        .alert(
            "start-restless",
            Level::Warning,
            "the broker's truth still changed after several readings; trading begins with the last",
        )
        .await;
    Ok(None)
}

/// Tells a person of orders that work at the broker when a ledger begins: nobody here decided them.
async fn tell_working(context: &Context, truth: &Truth) {
    let working = truth.open.iter().map(|order| {
        format!(
            "{:?} {} {}",
            order.side,
            order.quantity.normalize(),
            order.symbol.as_str()
        )
    });
    let working: Vec<String> = working.collect();
    if working.is_empty() {
        return;
    }
    let text = format!(
        "{} orders that this ledger does not know work at the broker: {}; what they fill is taken over as traded by hand, so cancel there what should not",
        working.len(),
        working.join(", ")
    );
    context.bus.alert("orders-at-opening", Level::Warning, text).await;
}

async fn read(desk: &Desk) -> anyhow::Result<Truth> {
    truth::read(&desk.broker, desk.trader.portfolio.sequence)
        .await
        .map_err(|error| Exit::error(code::AGAIN, format!("broker truth is not known: {error:#}")))
}

/// The account as two readings in a row, some time apart, tell it: a fill between the questions of one reading would be
/// in the opening positions and counted again as an execution.
async fn still(desk: &Desk, gap: Duration) -> anyhow::Result<Truth> {
    let mut before = read(desk).await?;
    for _ in 0..READINGS_MAX {
        tokio::time::sleep(gap).await;
        let truth = read(desk).await?;
        if truth.is_of_the_same_moment(&before) {
            return Ok(truth);
        }
        before = truth;
    }
    let text = "the account did not stand still long enough to take its positions over: another try follows";
    Err(Exit::error(code::AGAIN, text))
}

fn is_order_event(output: &engine::trader::Output) -> bool {
    matches!(
        output,
        engine::trader::Output::Append(Draft {
            entry: Entry::Order(_),
            ..
        })
    )
}

fn opening(truth: &Truth) -> Draft {
    let opening = reconcile::opening(truth);
    let text = serde_json::to_string(&opening).expect("an opening is plain data");
    let id = Id::derive(&["opening", &Hash::of(text.as_bytes()).0]);
    Draft {
        id,
        at: now(),
        cause: None,
        entry: Entry::Opening(opening),
    }
}
