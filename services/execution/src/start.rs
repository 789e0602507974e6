//! The one sequence of every start: connection, lease, ledger, witness, epoch, broker truth. Nothing is ordered before
//! its end, and where two things that must agree do not, it stops for good.

use std::time::{Duration, Instant};

use engine::desk::{Desk, Memory, Recall};
use engine::portfolio::Portfolio;
use ibapi::subscriptions::NoticeStream;
use protocol::decision::Level;
use protocol::ledger::{Identity, Mode, Record};
use protocol::operator::HealthState;
use protocol::subject::stream;
use runtime::Context;
use runtime::lease::{Asked, LEASE_SECONDS, Lease, RENEW_SECONDS};
use runtime::ledger::Ledger;

use crate::broker::{Broker, ConnectError};
use crate::ears::Ears;
use crate::latch::Latch;
use crate::leader::{Contradiction, Held, Leader, again, doubt};
use crate::sweep;
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
    let mut lease = take_lease(context, &latch, &broker).await?;
    context.health.set(HealthState::Starting, "reading the ledger");
    let (witness, memory, portfolio, ears) = match held(&mut lease, read(context, &broker, notices)).await {
        Ok(read) => read,
        Err(error) => {
            sweep::obey(&latch, &broker).await;
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
            // A ledger that is not what was written says nothing of what may be cancelled.
            if !error.is::<Contradiction>() {
                sweep::obey(&leader.latch, &leader.broker).await;
            }
            leader.end().await;
            Err(error)
        }
    }
}

/// Does what may take longer than the lease lasts, and keeps it meanwhile.
async fn held<T>(lease: &mut Lease, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(Duration::from_secs(RENEW_SECONDS)) => {
                lease.renew().await.map_err(|error| again(error.to_string()))?;
            }
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
    let account = broker.account_of(settings)?;
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

/// Waits for the lease. The kill switch of this machine goes on meanwhile: nobody else can cancel as this client.
async fn take_lease(context: &Context, latch: &Latch, broker: &Broker) -> anyhow::Result<Lease> {
    let account = broker.account.as_str();
    let mut standby = Standby::default();
    let mut silence = Silence::default();
    loop {
        sweep::obey(latch, broker).await;
        let asked = Lease::ask(&context.bus, account, &context.instance).await;
        match asked.map_err(doubt)? {
            Asked::Held(lease) => return Ok(lease),
            Asked::Taken { holder, revision } => {
                let holder = format!("{holder} holds the lease on {account}");
                if silence.is_too_long(Instant::now(), revision) {
                    silence.tell(context, &holder).await;
                } else {
                    standby.tell(context, latch, &holder).await;
                }
                tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            }
        }
    }
}

/// How long a lease that another holds was not renewed.
#[derive(Default)]
struct Silence {
    since: Option<(u64, Instant)>,
    told: bool,
}

impl Silence {
    /// True when a lease was neither renewed nor ended long after its time: the server can't end it.
    fn is_too_long(&mut self, now: Instant, revision: u64) -> bool {
        let since = match self.since {
            Some((known, since)) if known == revision => since,
            _ => {
                self.told = false;
                now
            }
        };
        self.since = Some((revision, since));
        now.duration_since(since) > Duration::from_secs(2 * LEASE_SECONDS)
    }

    async fn tell(&mut self, context: &Context, holder: &str) {
        let text = format!(
            "{holder}, does not renew it, and the NATS server does not end it: nobody leads; see that the server's disk is whole and has room, then start the server again"
        );
        context.health.set(HealthState::Degraded, text.clone());
        if !std::mem::replace(&mut self.told, true) {
            context.bus.alert("lease-stuck", Level::Critical, text).await;
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
        gateway: settings.gateway_name().to_owned(),
        client_id: settings.ordering_client_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_renewed_is_of_one_who_lives_and_one_that_stays_is_told() {
        let (begin, mut silence) = (Instant::now(), Silence::default());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!((0..60).all(|second| !silence.is_too_long(at(second), second / 2)));
        assert!(!silence.is_too_long(at(60), 100), "another holder");
        assert!(!silence.is_too_long(at(72), 100));
        assert!(silence.is_too_long(at(73), 100));
        assert!(!silence.is_too_long(at(74), 101), "it lives after all");
    }
}
