//! The one sequence of every start: connection, lease, ledger, witness, epoch, broker truth. Nothing is ordered before
//! its end, and where two things that must agree do not, it stops for good.

use std::time::Duration;

use engine::desk::{Desk, Memory, Recall};
use engine::portfolio::Portfolio;
use ibapi::subscriptions::NoticeStream;
use protocol::decision::Level;
use protocol::ledger::{Identity, Mode, Record};
use protocol::operator::HealthState;
use protocol::subject::stream;
use runtime::Context;
use runtime::lease::{Asked, Lease};
use runtime::ledger::Ledger;

use crate::broker::{Broker, ConnectError};
use crate::ears::Ears;
use crate::latch::Latch;
use crate::leader::{Contradiction, Held, Leader, doubt};
use crate::witness::Witness;

/// Time between two tries to connect or to lead.
const RETRY_MS: u64 = 500;
/// Prefixes of IB's paper accounts.
const PAPER_PREFIXES: [&str; 2] = ["DU", "DF"];

/// Waits until this incarnation may lead, and makes it ready. `None` when it was told to stop meanwhile.
///
/// # Errors
/// [`Contradiction`] when two things that must agree do not; [`runtime::code::AGAIN`] at any doubt.
pub async fn lead(context: &Context, latch: Latch) -> anyhow::Result<Option<Box<Leader>>> {
    tokio::select! {
        leader = sequence(context, latch) => leader.map(Some),
        () = context.stop.cancelled() => Ok(None),
    }
}

async fn sequence(context: &Context, latch: Latch) -> anyhow::Result<Box<Leader>> {
    let (mut broker, notices) = connect(context, &latch).await;
    broker.account = account(context, &broker).map_err(Contradiction)?;
    let lease = take_lease(context, &latch, &broker.account).await?;
    context.health.set(HealthState::Starting, "reading the ledger");
    let (witness, memory, portfolio, ears) = match read(context, &broker, notices).await {
        Ok(read) => read,
        Err(error) => {
            // Whoever tries next need not wait for a lease of nobody.
            lease.release().await;
            return Err(error);
        }
    };
    let ledger = Ledger::after(&context.bus, portfolio.sequence, portfolio.hash.clone());
    let identity = identity(context, &broker.account);
    let next_order_id = broker.client.next_order_id();
    let settings = context.settings.clone();
    let desk = Desk::new(settings, portfolio, memory.order_id_max, next_order_id);
    let held = Held {
        broker,
        ears,
        lease,
        witness,
    };
    let mut leader = Box::new(Leader::new(held, latch, ledger, desk));
    match leader.begin(context, identity).await {
        Ok(()) => Ok(leader),
        Err(error) => {
            leader.end().await;
            Err(error)
        }
    }
}

/// Opens what a start needs: the witness, the ledger as it must be, the stream of order events.
async fn read(
    context: &Context,
    broker: &Broker,
    notices: NoticeStream,
) -> anyhow::Result<(Witness, Memory, Portfolio, Ears)> {
    let (witness, memory) = Witness::open(&context.state)?;
    let portfolio = read_ledger(context, &memory).await?;
    let ears = Ears::open(broker, notices).await?;
    Ok((witness, memory, portfolio, ears))
}

/// What one that stands by says of itself.
#[derive(Default)]
struct Standby {
    /// True while the kill switch of this machine is latched and that was told.
    latched: bool,
}

impl Standby {
    /// Says that another one leads. A kill switch here stops nothing there, which a person must know at once.
    async fn tell(&mut self, context: &Context, latch: &Latch, leads: &str) {
        let before = std::mem::replace(&mut self.latched, latch.is_set());
        if !self.latched {
            let text = format!("{leads}; this one takes over when it ends");
            context.health.set(HealthState::Standby, text);
            return;
        }
        let text = format!(
            "the file KILL is here, but {leads} and does not see it: use `command.kill`, or the file in its own state folder"
        );
        context.health.set(HealthState::Standby, text.clone());
        if !before {
            context.bus.alert("kill-on-standby", Level::Critical, text).await;
        }
    }
}

/// Connects; while another incarnation holds the one client id, stands by.
async fn connect(context: &Context, latch: &Latch) -> (Broker, NoticeStream) {
    let settings = &context.settings.broker;
    let mut standby = Standby::default();
    loop {
        match Broker::connect(&settings.address, settings.ordering_client_id).await {
            Ok(connected) => return connected,
            Err(ConnectError::InUse) => {
                let holder = format!(
                    "another execution orders as client {}",
                    settings.ordering_client_id
                );
                standby.tell(context, latch, &holder).await;
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

async fn take_lease(context: &Context, latch: &Latch, account: &str) -> anyhow::Result<Lease> {
    let mut standby = Standby::default();
    loop {
        let asked = Lease::ask(&context.bus, account, &context.instance).await;
        match asked.map_err(doubt)? {
            Asked::Held(lease) => return Ok(lease),
            Asked::Taken { holder } => {
                let holder = format!("{holder} holds the lease on {account}");
                standby.tell(context, latch, &holder).await;
                tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            }
        }
    }
}

/// Folds the whole ledger and compares it with what this machine remembers of it.
async fn read_ledger(context: &Context, memory: &Memory) -> anyhow::Result<Portfolio> {
    let mut recall = Recall::new(memory);
    let history = context.bus.history::<Record>(stream::LEDGER, ">", 1).await;
    let mut history = match history {
        Ok(history) => history,
        Err(error) => {
            if runtime::history::is_missing(&error) {
                memory.of_no_ledger().map_err(Contradiction)?;
            }
            return Err(doubt(error));
        }
    };
    while recall.sequence() < history.head {
        let stored = match history.next().await {
            Ok(stored) => stored,
            Err(error) if error.is::<serde_json::Error>() => {
                let text = format!(
                    "{error:#}: no execution writes such a record; nothing is ordered until a person has looked at it"
                );
                return Err(Contradiction(text).into());
            }
            Err(error) => return Err(doubt(error)),
        };
        recall
            .apply(stored.sequence, &stored.hash(), &stored.message)
            .map_err(Contradiction)?;
    }
    Ok(recall.end().map_err(Contradiction)?)
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
