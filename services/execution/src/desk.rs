//! The loop of the incarnation that leads: hear, decide, append, send. One thing after the other, so that what is
//! decided next always knows what was done before.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use engine::reconcile::{Pass, Truth};
use engine::trader::{Ask, Draft, Input as Step, Output, Trader};
use futures::StreamExt as _;
use ibapi::orders::OrderUpdate;
use ibapi::subscriptions::{NoticeStream, Subscription as Rows, SubscriptionItem};
use ibapi::{Error, Notice};
use protocol::decision::{Level, Signal};
use protocol::ledger::Entry;
use protocol::market::{Quote, Session};
use protocol::operator::{Command, HealthState, Reply, Verb};
use protocol::subject::{self, filter, stream};
use protocol::Id;
use runtime::lease::{Lease, RENEW_SECONDS};
use runtime::ledger::Ledger;
use runtime::{Context, Exit, Request, Requests, Subscription, code, now};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::broker::{self, Broker};
use crate::notice::{Links, Meaning};
use crate::truth;
use crate::witness::{Memory, Witness};

/// Time between two looks at the kill file and at what has been silent for too long.
const TICK_MS: u64 = 250;
/// Readings of the broker's truth that may fail in a row before this incarnation ends.
const FAILED_READINGS_MAX: u32 = 3;

/// An incarnation that leads.
pub struct Desk {
    pub broker: Broker,
    pub trader: Trader,
    lease: Option<Lease>,
    ledger: Ledger,
    witness: Witness,
    order_id_max: i32,
    links: Links,
    rows: Option<(Rows<OrderUpdate>, NoticeStream)>,
    asked: BTreeMap<Id, Request>,
    failed_readings: u32,
    sent: u64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// Everything that can wake the desk.
enum Input {
    Stop,
    Order(Option<Result<SubscriptionItem<OrderUpdate>, Error>>),
    Notice(Option<Notice>),
    Ask(Option<Request>),
    Truth(anyhow::Result<Truth>, Pass),
    Signal(Option<Signal>),
    Quote(Option<Quote>),
    Session(Option<Session>),
    Renew,
    Reconcile(Pass),
    Tick,
}

/// What the desk listens to.
struct Ears {
    rows: Rows<OrderUpdate>,
    notices: NoticeStream,
    commands: Requests,
    web_commands: Requests,
    signals: Subscription<Signal>,
    quotes: Subscription<Quote>,
    sessions: Subscription<Session>,
    truths: mpsc::Receiver<(anyhow::Result<Truth>, Pass)>,
    tell: mpsc::Sender<(anyhow::Result<Truth>, Pass)>,
    renew: Interval,
    reconcile: Interval,
    tick: Interval,
    second_pass: Option<Instant>,
    reading: bool,
}

impl Desk {
    pub fn new(broker: Broker, lease: Lease, ledger: Ledger, witness: Witness, mut trader: Trader, order_id_max: i32) -> Self {
        trader.raise_order_id(order_id_max + 1);
        trader.raise_order_id(broker.client.next_order_id());
        Self {
            broker,
            trader,
            lease: Some(lease),
            ledger,
            witness,
            order_id_max,
            links: Links::default(),
            rows: None,
            asked: BTreeMap::new(),
            failed_readings: 0,
            sent: 0,
        }
    }

    /// Opens the stream of order events, before any snapshot is taken, so that nothing falls between the two.
    pub async fn listen(&mut self, notices: NoticeStream) -> anyhow::Result<()> {
        let rows = self.broker.client.order_update_stream().await;
        let rows = rows.map_err(|error| Exit::error(code::AGAIN, format!("order events can't be followed: {error}")))?;
        self.rows = Some((rows, notices));
        Ok(())
    }

    /// Trades until told to stop, or until the first doubt.
    pub async fn trade(mut self: Box<Self>, context: &Context) -> anyhow::Result<()> {
        let mut ears = self.ears(context).await?;
        if let Some(session) = context.bus.last(stream::MARKET, filter::SESSION).await? {
            self.decide(context, Step::Session(session)).await?;
        }
        self.watch_kill_file(context).await?;
        self.gate(context).await?;
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

    async fn ears(&mut self, context: &Context) -> anyhow::Result<Ears> {
        let (rows, notices) = self.rows.take().expect("the start opened the stream of order events");
        let bus = &context.bus;
        let (tell, truths) = mpsc::channel(1);
        let settings = &context.settings.broker;
        Ok(Ears {
            rows,
            notices,
            commands: bus.requests(filter::COMMANDS).await?,
            web_commands: bus.requests(filter::WEB_COMMANDS).await?,
            signals: bus.subscribe(filter::SIGNALS).await?,
            quotes: bus.subscribe(filter::QUOTES).await?,
            sessions: bus.subscribe(filter::SESSION).await?,
            truths,
            tell,
            renew: every(Duration::from_secs(RENEW_SECONDS)),
            reconcile: every(Duration::from_secs(u64::from(settings.reconcile_seconds.max(1)))),
            tick: every(Duration::from_millis(TICK_MS)),
            second_pass: Some(Instant::now() + Duration::from_secs(u64::from(settings.second_pass_seconds))),
            reading: false,
        })
    }

    async fn step(&mut self, context: &Context, ears: &mut Ears, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Stop => Ok(()),
            Input::Order(row) => self.on_order(context, ears, row).await,
            Input::Notice(notice) => {
                let notice = notice.ok_or_else(|| again("the gateway's notices ended"))?;
                self.on_notice(context, ears, &notice).await
            }
            Input::Ask(request) => self.on_ask(context, request.ok_or_else(|| again("the bus is closed"))?).await,
            Input::Truth(truth, pass) => self.on_truth(context, ears, truth, pass).await,
            Input::Signal(signal) => self.decide(context, Step::Signal(signal.ok_or_else(|| again("the bus is closed"))?)).await,
            Input::Quote(quote) => self.decide(context, Step::Quote(quote.ok_or_else(|| again("the bus is closed"))?)).await,
            Input::Session(session) => {
                self.decide(context, Step::Session(session.ok_or_else(|| again("the bus is closed"))?)).await
            }
            Input::Renew => self.renew().await,
            Input::Reconcile(pass) => {
                self.read_truth(ears, pass);
                Ok(())
            }
            Input::Tick => self.on_tick(context).await,
        }
    }

    async fn decide(&mut self, context: &Context, step: Step) -> anyhow::Result<()> {
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
                    context.bus.alert("unreadable-number", Level::Critical, format!("{text}; it is left out, compare with the broker")).await;
                    Ok(())
                }
            },
            SubscriptionItem::Notice(notice) => self.on_notice(context, ears, &notice).await,
        }
    }

    async fn on_notice(&mut self, context: &Context, ears: &mut Ears, notice: &Notice) -> anyhow::Result<()> {
        match self.links.note(notice) {
            Meaning::Closed(reason) => {
                context.bus.alert("broker-link", Level::Critical, format!("{reason}; nothing is ordered until it is whole and compared")).await;
                self.gate(context).await
            }
            Meaning::Whole => {
                self.read_truth(ears, Pass::Running);
                Ok(())
            }
            Meaning::End(text) => Err(again(format!("the gateway says {text}"))),
            Meaning::Nothing => {
                let Some(order_id) = notice.request_id.filter(|id| *id > 0) else { return Ok(()) };
                let news = engine::trader::News::Error(notice.code, notice.message.clone());
                let heard = engine::trader::Heard { order_ref: String::new(), order_id, permanent_id: 0, news };
                self.decide(context, Step::Broker(heard)).await
            }
        }
    }

    async fn on_ask(&mut self, context: &Context, request: Request) -> anyhow::Result<()> {
        let verb = request.last_token().to_owned();
        let by = if request.subject.starts_with("command.web.") { "web" } else { "operator" };
        let parsed = match (verb.parse::<Verb>(), command(&request.payload)) {
            (Ok(verb), Ok(command)) => Ok((verb, command)),
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error),
        };
        let stamp = Id::derive(&["command", &verb, by, &now().to_string()]);
        match parsed {
            Ok((verb, command)) => {
                let id = command.id.clone().unwrap_or(stamp);
                self.asked.insert(id.clone(), request);
                let outcome = self.decide(context, Step::Ask(Ask { id: id.clone(), verb, by: by.to_owned(), command })).await;
                self.asked.remove(&id);
                self.gate(context).await?;
                outcome
            }
            Err(text) => {
                request.reply(&Reply { id: stamp, at: now(), verb, accepted: false, text }).await;
                Ok(())
            }
        }
    }

    /// Reads the broker's truth beside the loop, one reading at a time.
    fn read_truth(&self, ears: &mut Ears, pass: Pass) {
        if std::mem::replace(&mut ears.reading, true) {
            // The reading under way may miss what asked for this one; the interval brings the next soon.
            if pass == Pass::Second {
                ears.second_pass = Some(Instant::now() + Duration::from_secs(1));
            }
            return;
        }
        let (broker, tell, folded) = (self.broker.clone(), ears.tell.clone(), self.trader.portfolio.sequence);
        tokio::spawn(async move {
            let truth = truth::read(&broker, folded).await;
            // The desk may have ended meanwhile.
            let _ = tell.send((truth, pass)).await;
        });
    }

    async fn on_truth(&mut self, context: &Context, ears: &mut Ears, truth: anyhow::Result<Truth>, pass: Pass) -> anyhow::Result<()> {
        ears.reading = false;
        match truth {
            Ok(truth) => {
                self.failed_readings = 0;
                self.decide(context, Step::Truth(truth, pass)).await?;
                context.health.figure("reconciled_at_s", now().as_second() as f64);
                self.gate(context).await
            }
            Err(error) => {
                self.failed_readings += 1;
                if self.failed_readings >= FAILED_READINGS_MAX {
                    return Err(again(format!("the broker's truth can't be read: {error:#}")));
                }
                tracing::warn!(error = format!("{error:#}"), "broker truth not read, trying again");
                Ok(())
            }
        }
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        let Some(lease) = &mut self.lease else { return Ok(()) };
        if let Err(error) = lease.renew().await {
            self.lease = None;
            return Err(again(error.to_string()));
        }
        Ok(())
    }

    async fn on_tick(&mut self, context: &Context) -> anyhow::Result<()> {
        self.watch_kill_file(context).await?;
        self.decide(context, Step::Tick).await?;
        context.health.figure("ledger_sequence_count", self.ledger.sequence() as f64);
        context.health.figure("epoch_count", self.trader.portfolio.epoch as f64);
        context.health.figure("orders_sent_count", self.sent as f64);
        Ok(())
    }

    async fn watch_kill_file(&mut self, context: &Context) -> anyhow::Result<()> {
        let latched = kill_file(&context.state).exists();
        if latched != self.trader.killed_here() {
            self.decide(context, Step::KillHere(latched)).await?;
            self.gate(context).await?;
        }
        Ok(())
    }

    /// Opens or closes the gate by what is broken, and says so.
    async fn gate(&mut self, context: &Context) -> anyhow::Result<()> {
        let reason = self.links.reason().map(|broken| format!("{broken} is down: nothing is ordered until it is back and compared"));
        if self.trader.gate() != reason.as_deref() {
            self.decide(context, Step::Gate(reason.clone())).await?;
        }
        let killed = (self.trader.killed_here() || self.trader.portfolio.killed).then(|| "the kill switch is latched".to_owned());
        match reason.or(killed) {
            Some(reason) => context.health.set(HealthState::Degraded, reason),
            None => context.health.set(HealthState::Ready, ""),
        }
        Ok(())
    }

    /// Does what was decided, in its order.
    pub async fn perform(&mut self, context: &Context, outputs: Vec<Output>) -> anyhow::Result<()> {
        for output in outputs {
            match output {
                Output::Append(draft) => self.append(draft).await?,
                Output::Cancel(order_id) => {
                    self.broker.cancel(order_id).await.map_err(|error| again(format!("{error:#}")))?;
                }
                Output::Refuse(refusal) => {
                    tracing::info!(symbol = refusal.symbol.as_str(), check = ?refusal.check, "{}", refusal.text);
                    context.bus.publish(subject::refusal(refusal.symbol), &refusal).await?;
                }
                Output::Alert(alert) => context.bus.send_alert(&alert).await,
                Output::Reply(reply) => {
                    if let Some(request) = self.asked.get(&reply.id) {
                        request.reply(&reply).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends a record of this epoch; an intent is sent once it is acknowledged.
    pub async fn append(&mut self, draft: Draft) -> anyhow::Result<()> {
        self.append_as(self.trader.portfolio.epoch, draft).await
    }

    /// Appends a record of `epoch`: to LEDGER and to the witness side by side; both must have it.
    pub async fn append_as(&mut self, epoch: u64, draft: Draft) -> anyhow::Result<()> {
        let record = draft.record(epoch);
        let pending = match &record.entry {
            Entry::Intent(intent) => {
                self.order_id_max = self.order_id_max.max(intent.order_id);
                Some(format!("{} order id {}", record.id, intent.order_id))
            }
            _ => None,
        };
        let memory = Memory { sequence: self.ledger.sequence(), hash: self.ledger.hash().clone(), order_id_max: self.order_id_max };
        let (appended, witnessed) = tokio::join!(self.ledger.append(record), self.witness.remember(memory, pending));
        let appended = appended.map_err(|error| again(error.to_string()))?;
        witnessed.map_err(|error| again(format!("{error:#}")))?;
        let applied = self.trader.applied(appended.sequence, &appended.hash, &appended.record, now());
        applied.map_err(|fault| again(fault.to_string()))?;
        if let Entry::Intent(intent) = &appended.record.entry {
            if self.trader.may_send(intent) {
                self.broker.submit(&appended.record.id, intent).await.map_err(|error| again(format!("{error:#}")))?;
                self.sent += 1;
                tracing::info!(id = appended.record.id.as_str(), symbol = intent.symbol.as_str(), side = ?intent.side,
                    quantity = intent.quantity.to_string(), reason = ?intent.reason, "order sent");
            }
        }
        Ok(())
    }
}

impl Ears {
    async fn next(&mut self, context: &Context) -> Input {
        let second_pass = self.second_pass;
        tokio::select! {
            biased;
            () = context.stop.cancelled() => Input::Stop,
            row = self.rows.next() => Input::Order(row),
            notice = self.notices.next() => Input::Notice(notice),
            request = self.commands.next() => Input::Ask(request),
            request = self.web_commands.next() => Input::Ask(request),
            _ = self.renew.tick() => Input::Renew,
            Some((truth, pass)) = self.truths.recv() => Input::Truth(truth, pass),
            session = self.sessions.next() => Input::Session(session.map(|message| message.body)),
            signal = self.signals.next() => Input::Signal(signal.map(|message| message.body)),
            _ = self.tick.tick() => Input::Tick,
            _ = self.reconcile.tick() => Input::Reconcile(Pass::Running),
            () = tokio::time::sleep_until(second_pass.unwrap_or_else(Instant::now)), if second_pass.is_some() => {
                self.second_pass = None;
                Input::Reconcile(Pass::Second)
            }
            quote = self.quotes.next() => Input::Quote(quote.map(|message| message.body)),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}


/// The safe answer to doubt: end, and let the next incarnation read the truth.
fn again(text: impl Into<String>) -> anyhow::Error {
    Exit::error(code::AGAIN, format!("{}; a new incarnation reads the truth", text.into()))
}

/// The local kill switch: while this file is there, nothing goes out.
fn kill_file(state: &Path) -> std::path::PathBuf {
    state.join("KILL")
}

fn command(payload: &[u8]) -> Result<Command, String> {
    if payload.iter().all(u8::is_ascii_whitespace) {
        return Ok(Command::default());
    }
    serde_json::from_slice(payload).map_err(|error| format!("the body is not a command ({error}): use {{\"symbol\":\"AAPL\",\"note\":\"why\"}} or nothing"))
}
