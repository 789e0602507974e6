//! The loop of the incarnation that leads: it carries what happens to [`engine::desk`], and does what that says. One
//! thing after the other, so that what is decided next always knows what was done before.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::desk::{Deed, Desk, Input as Said, Notice as Told};
use engine::reconcile::Pass;
use engine::trader::{Ask, BY_WEB, Unclear};
use ibapi::orders::OrderUpdate;
use ibapi::subscriptions::SubscriptionItem;
use ibapi::{Error, NOTICE_STREAM_LAG_CODE, Notice, SUBSCRIPTION_LAG_CODE, TRANSPORT_RECONNECT_CODE};
use protocol::Id;
use protocol::decision::Level;
use protocol::ledger::Identity;
use protocol::operator::{Command, HealthState, Verb};
use protocol::subject::{filter, stream};
use runtime::lease::{Lease, RENEW_SECONDS};
use runtime::ledger::Ledger;
use runtime::{Context, Exit, Request, code, now};
use tokio::time::sleep;

use crate::broker::Broker;
use crate::ears::{Callers, Ears, Input};
use crate::latch::Latch;
use crate::witness::Witness;

/// Characters of what somebody took for a verb that are recorded.
const VERB_CHARACTERS_MAX: usize = 30;
/// Characters of an operator's note that are recorded, and of the answer to what can't be understood.
const NOTE_CHARACTERS_MAX: usize = 500;
/// What the client library says when it lost notices or connected anew: what was missed can't be known here.
const MISSED: [i32; 3] = [
    SUBSCRIPTION_LAG_CODE,
    NOTICE_STREAM_LAG_CODE,
    TRANSPORT_RECONNECT_CODE,
];

/// Two things that must agree do not; the sentence says which.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Contradiction(pub String);

/// What only one process can hold at a time.
pub struct Held {
    pub broker: Broker,
    pub ears: Ears,
    pub lease: Lease,
    pub witness: Witness,
}

/// An incarnation that leads.
pub struct Leader {
    pub broker: Broker,
    /// What decides.
    pub desk: Desk,
    pub ears: Ears,
    lease: Option<Lease>,
    pub ledger: Ledger,
    pub witness: Witness,
    pub latch: Latch,
    pub asked: BTreeMap<Id, Request>,
    /// True from the end of the start.
    pub trading: bool,
    pub sent: u64,
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader")
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}

impl Leader {
    pub fn new(held: Held, latch: Latch, ledger: Ledger, desk: Desk) -> Self {
        Self {
            broker: held.broker,
            desk,
            ears: held.ears,
            lease: Some(held.lease),
            ledger,
            witness: held.witness,
            latch,
            asked: BTreeMap::new(),
            trading: false,
            sent: 0,
        }
    }

    /// Writes its first records and folds in what the broker has, before anything else.
    pub async fn begin(&mut self, context: &Context, identity: Identity) -> anyhow::Result<()> {
        context.health.set(
            HealthState::Starting,
            "loading positions, orders and executions from the broker",
        );
        let version = env!("CARGO_PKG_VERSION");
        self.listen();
        let deeds = self.desk.begin(now(), identity, &context.instance, version);
        self.perform(context, deeds).await?;
        while !self.trading {
            let before = self.desk.trader.portfolio.sequence;
            if let Some(why) = self.desk.closed() {
                context.health.set(HealthState::Starting, why);
            }
            let reading = self.next_reading().await?;
            self.listen();
            self.renew().await?;
            self.decide(context, reading).await?;
            let after = self.desk.trader.portfolio.sequence;
            tracing::info!(before, after, "broker truth read");
        }
        Ok(())
    }

    /// Waits for the next reading, which may take longer than the lease lasts.
    async fn next_reading(&mut self) -> anyhow::Result<Said> {
        loop {
            tokio::select! {
                reading = self.ears.readings.next() => return Ok(reading),
                () = sleep(Duration::from_secs(RENEW_SECONDS)) => self.renew().await?,
            }
        }
    }

    /// Trades until told to stop, or until the first doubt.
    pub async fn trade(mut self: Box<Self>, context: &Context) -> anyhow::Result<()> {
        let callers = Callers::open(context).await;
        let mut callers = callers.map_err(doubt)?;
        let session = context.bus.last(stream::MARKET, filter::SESSION).await;
        if let Some((session, published)) = session.map_err(doubt)? {
            self.decide(context, Said::Session(session, published)).await?;
        }
        self.tell_health(context);
        let outcome = loop {
            let outcome = if self.desk.has_heard() {
                let outcome = self.decide(context, Said::Heard).await;
                self.tell_health(context);
                outcome
            } else {
                match self.ears.next(context, &mut callers).await {
                    Input::Stop => break Ok(()),
                    input => self.step(context, input).await,
                }
            };
            if outcome.is_err() {
                break outcome;
            }
        };
        if let Err(error) = &outcome
            && !error.is::<Contradiction>()
        {
            self.look_once_more().await;
        }
        self.end().await;
        outcome
    }

    /// Cancels what the kill switch wants cancelled, before it lets go at a doubt: the switch may have been latched
    /// while this one waited for the bus, and nobody knows when the next one leads.
    async fn look_once_more(&mut self) {
        if !self.latch.is_set() {
            return;
        }
        for deed in self.desk.step(now(), true, Said::Tick) {
            if let Deed::Cancel(order_id) = deed
                && let Err(error) = self.broker.cancel(order_id).await
            {
                tracing::error!(order_id, error = format!("{error:#}"), "not cancelled");
            }
        }
    }

    /// Lets go of what only one can hold.
    pub async fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release().await;
        }
        self.broker.client.disconnect().await;
    }

    async fn step(&mut self, context: &Context, input: Input) -> anyhow::Result<()> {
        let closed = || again("the bus is closed");
        match input {
            Input::Stop => Ok(()),
            Input::Row(row) => self.on_row(context, row).await,
            Input::Notice(notice) => {
                self.hear(notice);
                Ok(())
            }
            Input::Ask(request) => {
                let outcome = self.on_ask(context, request.ok_or_else(closed)?).await;
                self.tell_health(context);
                outcome
            }
            Input::Reading(reading) => {
                let outcome = self.decide(context, reading).await;
                self.tell_health(context);
                outcome
            }
            Input::Market(said) => self.decide(context, said.ok_or_else(closed)?).await,
            Input::Renew => self.renew().await,
            Input::Tick => {
                self.listen();
                let outcome = self.decide(context, Said::Tick).await;
                self.tell_health(context);
                outcome
            }
        }
    }

    /// Takes a step of the desk, with a look at the kill switch, which takes a microsecond.
    async fn decide(&mut self, context: &Context, said: Said) -> anyhow::Result<()> {
        let deeds = self.desk.step(now(), self.latch.is_set(), said);
        self.perform(context, deeds).await
    }

    /// Hears all that the gateway told until now.
    pub fn listen(&mut self) {
        while let Some(notice) = self.ears.notice() {
            let ended = notice.is_none();
            self.hear(notice);
            if ended {
                break;
            }
        }
        if !self.broker.client.is_connected() {
            self.desk.cut("the connection to the gateway is lost".to_owned());
        }
    }

    fn hear(&mut self, notice: Option<Notice>) {
        match notice {
            None => self.desk.cut("the gateway's notices ended".to_owned()),
            Some(notice) if MISSED.contains(&notice.code) => {
                let text = format!("the gateway says {} {}", notice.code, notice.message);
                self.desk.cut(text);
            }
            Some(notice) => self.desk.hear(Told {
                code: notice.code,
                text: notice.message,
                order_id: notice.request_id.unwrap_or_default(),
            }),
        }
    }

    async fn on_row(
        &mut self,
        context: &Context,
        row: Option<Result<SubscriptionItem<OrderUpdate>, Error>>,
    ) -> anyhow::Result<()> {
        let row = row.ok_or_else(|| again("the stream of order events ended"))?;
        match row.map_err(|error| again(format!("the stream of order events broke: {error}")))? {
            SubscriptionItem::Data(update) => match self.broker.heard(update) {
                Ok(Some(heard)) => self.decide(context, Said::Order(heard)).await,
                Ok(None) => Ok(()),
                Err(text) => {
                    let text = format!("{text}; it is left out, and the broker is read");
                    let bus = &context.bus;
                    bus.alert("unreadable-number", Level::Critical, text).await;
                    self.decide(context, Said::Look(Pass::Running)).await
                }
            },
            SubscriptionItem::Notice(notice) => {
                self.hear(Some(notice));
                Ok(())
            }
        }
    }

    async fn on_ask(&mut self, context: &Context, request: Request) -> anyhow::Result<()> {
        let verb: String = request.last_token().chars().take(VERB_CHARACTERS_MAX).collect();
        let by = if request.subject.starts_with("command.web.") {
            BY_WEB
        } else {
            "operator"
        };
        let by = by.to_owned();
        let stamp = Id::derive(&["command", &verb, &by, &now().to_string()]);
        let parsed = verb.parse::<Verb>().map_err(|error| error.to_string());
        let parsed = parsed.and_then(|verb| Ok((verb, command(&request.payload)?)));
        let (id, said) = match parsed {
            Ok((verb, command)) => {
                let id = command.id.clone().unwrap_or(stamp);
                let ask = Ask {
                    id: id.clone(),
                    verb,
                    by,
                    command,
                };
                (id, Said::Ask(ask))
            }
            Err(text) => {
                let text = text.chars().take(NOTE_CHARACTERS_MAX).collect();
                let id = stamp.clone();
                let unclear = Unclear { id, verb, by, text };
                (stamp, Said::Unclear(unclear))
            }
        };
        self.asked.insert(id.clone(), request);
        let outcome = self.decide(context, said).await;
        self.asked.remove(&id);
        outcome
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        let Some(lease) = &mut self.lease else {
            return Ok(());
        };
        if let Err(error) = lease.renew().await {
            self.lease = None;
            return Err(again(error.to_string()));
        }
        Ok(())
    }

    /// Says how it is: ready, or why nothing is ordered.
    fn tell_health(&self, context: &Context) {
        let trader = &self.desk.trader;
        let killed = || trader.killed().then_some("the kill switch is latched");
        match trader.closed(now()).or_else(killed) {
            Some(reason) => context.health.set(HealthState::Degraded, reason),
            None => context.health.set(HealthState::Ready, ""),
        }
        let figures = [
            ("ledger_sequence_count", self.ledger.sequence() as f64),
            ("epoch_count", trader.portfolio.epoch as f64),
            ("orders_sent_count", self.sent as f64),
            ("decisions_repeated_count", trader.repeated() as f64),
            ("reconciled_at_s", trader.compared_at().as_second() as f64),
        ];
        for (name, value) in figures {
            context.health.figure(name, value);
        }
    }
}

/// The safe answer to doubt: end, and let the next incarnation read the truth.
pub fn again(text: impl Into<String>) -> anyhow::Error {
    Exit::error(
        code::AGAIN,
        format!("{}; a new incarnation reads the truth", text.into()),
    )
}

/// The same, of an error.
pub fn doubt(error: anyhow::Error) -> anyhow::Error {
    again(format!("{error:#}"))
}

fn command(payload: &[u8]) -> Result<Command, String> {
    if payload.iter().all(u8::is_ascii_whitespace) {
        return Ok(Command::default());
    }
    if !payload.trim_ascii_start().starts_with(b"{") {
        return Err(
            "the body is not a command: use {\"symbol\":\"AAPL\",\"note\":\"why\"} or nothing".to_owned(),
        );
    }
    let parsed: Result<Command, _> = serde_json::from_slice(payload);
    let mut command = parsed.map_err(|error| {
        format!(
            "the body is not a command ({error}): use {{\"symbol\":\"AAPL\",\"note\":\"why\"}} or nothing"
        )
    })?;
    // A long note must not keep a halt from being carried out; its beginning is recorded.
    command.note = command.note.chars().take(NOTE_CHARACTERS_MAX).collect();
    Ok(command)
}
