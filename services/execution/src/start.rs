//! The one sequence of every start: connection, lease, ledger, witness, epoch, broker truth. Nothing is ordered before
//! its end, and where two things that must agree do not, it stops for good.

use std::time::{Duration, Instant};

use anyhow::Context as _;
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
use tokio::time::timeout;

use crate::broker::{Broker, ConnectError};
use crate::ears::Ears;
use crate::latch::Latch;
use crate::leader::{Contradiction, Held, Leader, again, doubt};
use crate::room;
use crate::sweep;
use crate::witness::Witness;

/// Time between two tries to connect or to lead.
const RETRY_MS: u64 = 500;
/// How long the client id may be in use while nobody leads: longer than a lease lasts that nobody renews, and than one
/// that has just connected needs to hold it.
const UNLED_SECONDS_MAX: u64 = 60;
/// How long a look at the lease may take: the next try to connect waits for it.
const LOOK_SECONDS_MAX: u64 = 2;
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
    let outcome = held(&mut lease, read(context, &latch, &broker, notices)).await;
    let (witness, memory, portfolio, ears) = match outcome {
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
    latch: &Latch,
    broker: &Broker,
    notices: NoticeStream,
) -> anyhow::Result<(Witness, Memory, Portfolio, Ears)> {
    let (witness, memory) = Witness::open(&context.state)?;
    let portfolio = read_ledger(context, &memory).await?;
    room::wait(context, latch, broker).await?;
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

/// Connects; while another incarnation holds the one client id, stands by. Where nobody leads meanwhile, that is told.
async fn connect(context: &Context, latch: &Latch) -> (Broker, NoticeStream) {
    let settings = &context.settings.broker;
    let (mut standby, mut unled) = (Standby::default(), Unled::default());
    loop {
        match Broker::connect(&settings.address, settings.ordering_client_id).await {
            Ok(connected) => return connected,
            Err(ConnectError::InUse) => {
                let sight = look(context).await;
                if unled.is_too_long(Instant::now(), sight) {
                    unled.tell(context, sight).await;
                } else {
                    let holder = format!(
                        "another execution orders as client {}",
                        settings.ordering_client_id
                    );
                    standby.tell(context, latch, &holder).await;
                }
            }
            Err(ConnectError::Down(reason)) => {
                // Who uses the id after this may be one that starts to lead.
                unled = Unled::default();
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

/// What the lease says while another uses the client id.
#[derive(Debug, Clone, Copy)]
enum Sight {
    /// Somebody holds it, or did until a moment ago; the revision changes with every renewal.
    Held(u64),
    /// Nobody holds it.
    Free,
    /// It could not be read.
    Unread,
}

/// Looks at the lease. Only a connection tells the account that the settings leave open, so then any account's counts:
/// the server is of one account.
async fn look(context: &Context) -> Sight {
    let named = context.settings.broker.account.as_str();
    let account = if named.is_empty() { "*" } else { named };
    let looking = Lease::look(&context.bus, account);
    let seen = timeout(Duration::from_secs(LOOK_SECONDS_MAX), looking).await;
    match seen.context("the server did not answer in time").flatten() {
        Ok(Some(revision)) => Sight::Held(revision),
        Ok(None) => Sight::Free,
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "the lease was not read");
            Sight::Unread
        }
    }
}

/// How long the client id was in use and nobody was seen to lead: a dead session may keep it for ever.
#[derive(Default)]
struct Unled {
    /// When a lease was seen that was new or renewed; at first, when the id was found in use.
    since: Option<Instant>,
    revision: Option<u64>,
    told: bool,
}

impl Unled {
    /// True when the id is in use long after anybody took or renewed the lease. One that leads renews it every
    /// [`RENEW_SECONDS`]; one that starts has it soon after it has the id.
    fn is_too_long(&mut self, now: Instant, sight: Sight) -> bool {
        if let Sight::Held(revision) = sight
            && self.revision != Some(revision)
        {
            *self = Self {
                since: Some(now),
                revision: Some(revision),
                told: false,
            };
        }
        let since = *self.since.get_or_insert(now);
        now.duration_since(since) > Duration::from_secs(UNLED_SECONDS_MAX)
    }

    async fn tell(&mut self, context: &Context, sight: Sight) {
        let settings = &context.settings.broker;
        let (led, then) = match sight {
            Sight::Held(_) | Sight::Free => (
                "nobody leads on this NATS server: no stop is executed and nothing is cancelled",
                "restart the gateway",
            ),
            Sight::Unread => (
                "the lease can't be read: if nobody leads, no stop is executed and nothing is cancelled",
                "see that the NATS server answers, then restart the gateway",
            ),
        };
        let text = format!(
            "client id {} is in use at the gateway {} and {led}; {then} or end the program that uses the id",
            settings.ordering_client_id, settings.address
        );
        context.health.set(HealthState::Degraded, text.clone());
        // What is said while the bus is away is heard when it is back, and need not be true any more.
        if context.bus.connected() && !std::mem::replace(&mut self.told, true) {
            context.bus.alert("client-id-stuck", Level::Critical, text).await;
        }
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

    #[test]
    fn an_id_in_use_is_a_leaders_that_renews_its_lease_and_is_told_after_a_minute_without_one() {
        let (begin, mut unled) = (Instant::now(), Unled::default());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!((0..600).all(|second| !unled.is_too_long(at(second), Sight::Held(second / 2))));
        // It was last seen to renew at 598. Until the lease has run out it is there, and then one may be starting.
        assert!((600..606).all(|second| !unled.is_too_long(at(second), Sight::Held(299))));
        assert!((606..659).all(|second| !unled.is_too_long(at(second), Sight::Free)));
        assert!(unled.is_too_long(at(659), Sight::Free));
        assert!(unled.is_too_long(at(660), Sight::Held(299)), "nobody renews it");
        assert!(unled.is_too_long(at(661), Sight::Unread), "nobody was seen since");
        assert!(
            !unled.is_too_long(at(662), Sight::Held(300)),
            "one leads after all"
        );
        assert!(!unled.is_too_long(at(722), Sight::Unread));
        assert!(unled.is_too_long(at(723), Sight::Unread), "by time alone");
    }

    #[test]
    fn an_id_that_was_never_seen_with_a_lease_is_told_a_minute_after_it_was_found_in_use() {
        for sight in [Sight::Held(7), Sight::Free, Sight::Unread] {
            let (begin, mut unled) = (Instant::now(), Unled::default());
            let at = |seconds| begin + Duration::from_secs(seconds);
            assert!((0..61).all(|second| !unled.is_too_long(at(second), sight)));
            assert!(unled.is_too_long(at(61), sight), "{sight:?}");
        }
    }
}
