//! The loop of the incarnation that leads: hear, decide, append, send. One thing after the other, so that what is
//! decided next always knows what was done before.

use std::collections::BTreeMap;

use engine::gate::Gate;
use engine::reconcile::{Pass, Truth};
use engine::trader::{Ask, Input as Step, Trader};
use ibapi::orders::OrderUpdate;
use ibapi::subscriptions::{NoticeStream, Subscription as Rows, SubscriptionItem};
use ibapi::{Error, Notice};
use protocol::Id;
use protocol::decision::Level;
use protocol::ledger::Mode;
use protocol::operator::{Command, HealthState, Reply, Verb};
use protocol::subject::{filter, stream};
use runtime::lease::Lease;
use runtime::ledger::Ledger;
use runtime::{Context, Exit, Request, code, now};

use crate::broker::{self, Broker};
use crate::ears::{Ears, Input};
use crate::latch::Latch;
use crate::notice::{Link, Links, Meaning};
use crate::witness::Witness;

/// Characters of an operator's note that are recorded.
const NOTE_CHARACTERS_MAX: usize = 500;
/// Readings of the broker's truth that may fail in a row before this incarnation ends.
const FAILED_READINGS_MAX: u32 = 3;

/// What only one process can hold at a time.
pub struct Held {
    pub broker: Broker,
    pub lease: Lease,
    pub witness: Witness,
}

/// An incarnation that leads.
pub struct Desk {
    pub broker: Broker,
    pub trader: Trader,
    lease: Option<Lease>,
    pub ledger: Ledger,
    pub witness: Witness,
    pub order_id_max: i32,
    pub last_gate: Gate,
    links: Links,
    /// The same at the moment before an order is written.
    pub link: Link,
    pub latch: Latch,
    rows: Option<(Rows<OrderUpdate>, NoticeStream)>,
    pub asked: BTreeMap<Id, Request>,
    failed_readings: u32,
    /// True from the loss of a link until a reading that began after its return was compared.
    compare_due: bool,
    /// True when the reading under way began before the link was whole again.
    outdated: bool,
    /// True while the gateway's daily restart is expected.
    restarting: bool,
    pub sent: u64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}

impl Desk {
    pub fn new(
        held: Held,
        latch: Latch,
        ledger: Ledger,
        mut trader: Trader,
        order_id_max: i32,
    ) -> anyhow::Result<Self> {
        let Held {
            broker,
            lease,
            witness,
        } = held;
        let notices = broker.client.notice_stream();
        let notices =
            notices.map_err(|error| again(format!("the gateway's notices can't be followed: {error}")))?;
        trader.raise_order_id(order_id_max + 1);
        trader.raise_order_id(broker.client.next_order_id());
        let used_max = order_id_max.max(trader.portfolio.order_id_max);
        Ok(Self {
            last_gate: Gate::new(trader.limits().clone(), used_max),
            broker,
            trader,
            lease: Some(lease),
            ledger,
            witness,
            order_id_max,
            links: Links::default(),
            link: Link::new(notices),
            latch,
            restarting: false,
            rows: None,
            asked: BTreeMap::new(),
            failed_readings: 0,
            compare_due: false,
            outdated: false,
            sent: 0,
        })
    }

    /// Opens the stream of order events, before any snapshot is taken, so that nothing falls between the two.
    pub async fn listen(&mut self, notices: NoticeStream) -> anyhow::Result<()> {
        let rows = self.broker.client.order_update_stream().await;
        let rows = rows
            .map_err(|error| Exit::error(code::AGAIN, format!("order events can't be followed: {error}")))?;
        self.rows = Some((rows, notices));
        Ok(())
    }

    /// Trades until told to stop, or until the first doubt.
    pub async fn trade(mut self: Box<Self>, context: &Context) -> anyhow::Result<()> {
        let (rows, notices) = self
            .rows
            .take()
            .expect("the start opened the stream of order events");
        let mut ears = Ears::open(context, rows, notices).await?;
        if let Some(session) = context.bus.last(stream::MARKET, filter::SESSION).await? {
            self.decide(context, Step::Session(session)).await?;
        }
        self.watch_latch(context).await?;
        self.gate(context);
        let outcome = loop {
            let input = ears.next(context).await;
            if matches!(input, Input::Stop) {
                break Ok(());
            }
            if let Err(error) = self.step(context, &mut ears, input).await {
                break Err(error);
            }
        };
        if let Some(lease) = self.lease.take() {
            lease.release().await;
        }
        self.broker.client.disconnect().await;
        outcome
    }

    async fn step(&mut self, context: &Context, ears: &mut Ears, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Stop => Ok(()),
            Input::Order(row) => self.on_order(context, ears, row).await,
            Input::Notice(notice) => {
                let notice = notice.ok_or_else(|| again("the gateway's notices ended"))?;
                self.on_notice(context, ears, &notice).await
            }
            Input::Ask(request) => {
                self.on_ask(context, request.ok_or_else(|| again("the bus is closed"))?)
                    .await
            }
            Input::Truth(truth, pass) => self.on_truth(context, ears, truth, pass).await,
            Input::Signal(signal) => {
                self.decide(
                    context,
                    Step::Signal(signal.ok_or_else(|| again("the bus is closed"))?),
                )
                .await
            }
            Input::Quote(quote) => {
                self.decide(
                    context,
                    Step::Quote(quote.ok_or_else(|| again("the bus is closed"))?),
                )
                .await
            }
            Input::Session(session) => {
                self.decide(
                    context,
                    Step::Session(session.ok_or_else(|| again("the bus is closed"))?),
                )
                .await
            }
            Input::Renew => self.renew().await,
            // While a link is down the gateway tells what it remembers, and nothing may be called absent by that.
            Input::Reconcile(Pass::Second) if self.links.reason().is_some() => {
                ears.look_again();
                Ok(())
            }
            Input::Reconcile(pass) => {
                self.read_truth(ears, pass);
                Ok(())
            }
            Input::Tick => self.on_tick(context, ears).await,
        }
    }

    /// Takes a step of the engine, after a look at the kill switch: what is decided then would be stopped anyway, and
    /// a look takes a microsecond.
    async fn decide(&mut self, context: &Context, step: Step) -> anyhow::Result<()> {
        self.watch_latch(context).await?;
        let outputs = self.trader.step(now(), step);
        self.perform(context, outputs).await
    }

    async fn on_order(
        &mut self,
        context: &Context,
        ears: &mut Ears,
        row: Option<Result<SubscriptionItem<OrderUpdate>, Error>>,
    ) -> anyhow::Result<()> {
        let row = row.ok_or_else(|| again("the stream of order events ended"))?;
        match row.map_err(|error| again(format!("the stream of order events broke: {error}")))? {
            SubscriptionItem::Data(update) => match broker::heard(update, now()) {
                Ok(Some(heard)) => {
                    let filled = matches!(heard.news, engine::trader::News::Execution(..));
                    self.decide(context, Step::Broker(heard)).await?;
                    if filled {
                        self.read_truth(ears, Pass::Running);
                    }
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(text) => {
                    context
                        .bus
                        .alert(
                            "unreadable-number",
                            Level::Critical,
                            format!("{text}; it is left out, compare with the broker"),
                        )
                        .await;
                    Ok(())
                }
            },
            SubscriptionItem::Notice(notice) => self.on_notice(context, ears, &notice).await,
        }
    }

    async fn on_notice(&mut self, context: &Context, ears: &mut Ears, notice: &Notice) -> anyhow::Result<()> {
        match self.links.note(notice) {
            Meaning::Closed(reason) => {
                self.compare_due = true;
                context
                    .bus
                    .alert(
                        "broker-link",
                        Level::Critical,
                        format!("{reason}; nothing is ordered until it is whole and compared"),
                    )
                    .await;
                self.gate(context);
                Ok(())
            }
            Meaning::Whole => {
                self.compare_due = true;
                self.outdated = ears.reading();
                self.read_truth(ears, Pass::Running);
                self.gate(context);
                Ok(())
            }
            Meaning::End(text) => Err(again(format!("the gateway says {text}"))),
            Meaning::Nothing => {
                let Some(order_id) = notice.request_id.filter(|id| *id > 0) else {
                    return Ok(());
                };
                let news = engine::trader::News::Error(notice.code, notice.message.clone());
                let heard = engine::trader::Heard {
                    order_ref: String::new(),
                    order_id,
                    permanent_id: 0,
                    news,
                };
                self.decide(context, Step::Broker(heard)).await
            }
        }
    }

    async fn on_ask(&mut self, context: &Context, request: Request) -> anyhow::Result<()> {
        let verb = request.last_token().to_owned();
        let by = if request.subject.starts_with("command.web.") {
            "web"
        } else {
            "operator"
        };
        let parsed = match (verb.parse::<Verb>(), command(&request.payload)) {
            (Ok(verb), Ok(_)) if by == "web" && self.is_live() && !verb.only_reduces_risk() => Err(format!(
                "a browser may only reduce risk on a live account: ask `command.{verb}` with the nats CLI"
            )),
            (Ok(verb), Ok(command)) => Ok((verb, command)),
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error),
        };
        let stamp = Id::derive(&["command", &verb, by, &now().to_string()]);
        match parsed {
            Ok((verb, command)) => {
                let id = command.id.clone().unwrap_or(stamp);
                self.asked.insert(id.clone(), request);
                let outcome = self
                    .decide(
                        context,
                        Step::Ask(Ask {
                            id: id.clone(),
                            verb,
                            by: by.to_owned(),
                            command,
                        }),
                    )
                    .await;
                self.asked.remove(&id);
                self.gate(context);
                outcome
            }
            Err(text) => {
                request
                    .reply(&Reply {
                        id: stamp,
                        at: now(),
                        verb,
                        accepted: false,
                        text,
                    })
                    .await;
                Ok(())
            }
        }
    }

    fn read_truth(&mut self, ears: &mut Ears, pass: Pass) {
        if !ears.reading() {
            self.link.read(&self.broker);
        }
        ears.read_truth(&self.broker, self.trader.portfolio.sequence, pass);
    }

    fn is_live(&self) -> bool {
        let identity = self.trader.portfolio.identity.as_ref();
        identity.is_some_and(|identity| identity.mode == Mode::Live)
    }

    async fn on_truth(
        &mut self,
        context: &Context,
        ears: &mut Ears,
        truth: anyhow::Result<Truth>,
        pass: Pass,
    ) -> anyhow::Result<()> {
        match truth {
            Ok(_) if std::mem::take(&mut self.outdated) => {
                self.read_truth(ears, pass);
                Ok(())
            }
            Ok(_) if pass == Pass::Second && self.links.reason().is_some() => {
                ears.look_again();
                Ok(())
            }
            Ok(truth) => {
                self.failed_readings = 0;
                self.compare_due &= self.links.reason().is_some();
                self.decide(context, Step::Truth(truth, pass)).await?;
                self.link.compared();
                if self.trader.wants_another_look() {
                    ears.look_soon();
                }
                context.health.figure("reconciled_at_s", now().as_second() as f64);
                self.gate(context);
                Ok(())
            }
            Err(error) => {
                self.failed_readings += 1;
                if self.failed_readings >= FAILED_READINGS_MAX {
                    return Err(again(format!("the broker's truth can't be read: {error:#}")));
                }
                tracing::warn!(
                    error = format!("{error:#}"),
                    "broker truth not read, trying again"
                );
                Ok(())
            }
        }
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

    async fn on_tick(&mut self, context: &Context, ears: &mut Ears) -> anyhow::Result<()> {
        self.watch_restart(context, ears);
        // Heard now and then, so that it does not fall behind. If it did all the same, or has ended, nothing can be sent
        // by this incarnation any more.
        drop(self.link.reason(&self.broker));
        self.link.alive().map_err(again)?;
        self.decide(context, Step::Tick).await?;
        context
            .health
            .figure("ledger_sequence_count", self.ledger.sequence() as f64);
        context
            .health
            .figure("epoch_count", self.trader.portfolio.epoch as f64);
        context.health.figure("orders_sent_count", self.sent as f64);
        Ok(())
    }

    /// After the gateway's daily restart the broker is compared with the ledger before anything is sent.
    fn watch_restart(&mut self, context: &Context, ears: &mut Ears) {
        let restarting = self.trader.restarting(now());
        if restarting == std::mem::replace(&mut self.restarting, restarting) {
            return;
        }
        if !restarting {
            self.compare_due = true;
            self.outdated = ears.reading();
            self.read_truth(ears, Pass::Running);
        }
        self.gate(context);
    }

    async fn watch_latch(&mut self, context: &Context) -> anyhow::Result<()> {
        let latched = self.latch.is_set();
        if latched != self.trader.killed_here() {
            let outputs = self.trader.step(now(), Step::KillHere(latched));
            self.perform(context, outputs).await?;
            self.gate(context);
        }
        Ok(())
    }

    /// Opens or closes the gate by what is broken, and says so.
    fn gate(&mut self, context: &Context) {
        let reason = self
            .links
            .reason()
            .map(|broken| format!("{broken} is down: nothing is ordered until it is back and compared"))
            .or_else(|| {
                self.compare_due
                    .then(|| "the broker is being compared with the ledger".to_owned())
            });
        if self.trader.gate() != reason.as_deref() {
            // The way alone asks for nothing.
            drop(self.trader.step(now(), Step::Gate(reason.clone())));
        }
        let killed = (self.trader.killed_here() || self.trader.portfolio.killed)
            .then(|| "the kill switch is latched".to_owned());
        let closed = self.trader.closed(now()).map(ToOwned::to_owned);
        match closed.or(killed) {
            Some(reason) => context.health.set(HealthState::Degraded, reason),
            None => context.health.set(HealthState::Ready, ""),
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
