//! Everything that can wake the desk, and in which order it is heard.

use std::time::Duration;

use engine::reconcile::{Pass, Truth};
use futures::StreamExt as _;
use ibapi::orders::OrderUpdate;
use ibapi::subscriptions::{NoticeStream, Subscription as Rows, SubscriptionItem};
use ibapi::{Error, Notice};
use protocol::decision::Signal;
use protocol::market::{Quote, Session};
use protocol::subject::filter;
use runtime::lease::RENEW_SECONDS;
use runtime::{Context, Request, Requests, Subscription};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::broker::Broker;
use crate::truth;

/// Time between two looks at the kill file and at what has been silent for too long.
const TICK_MS: u64 = 250;

/// Everything that can wake the desk.
#[expect(clippy::large_enum_variant, reason = "one at a time, and never stored")]
pub enum Input {
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

/// Time between a reading that contradicts the ledger and the one that confirms it.
const ANOTHER_LOOK_MS: u64 = 1_000;

/// What the desk listens to.
pub struct Ears {
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

impl Ears {
    /// Opens everything but the order events, which the start opened before its snapshots.
    pub async fn open(
        context: &Context,
        rows: Rows<OrderUpdate>,
        notices: NoticeStream,
    ) -> anyhow::Result<Self> {
        let bus = &context.bus;
        let (tell, truths) = mpsc::channel(1);
        let settings = &context.settings.broker;
        Ok(Self {
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

    /// True while a reading of the broker's truth is under way.
    pub fn reading(&self) -> bool {
        self.reading
    }

    /// Reads the broker's truth beside the loop, one reading at a time.
    pub fn read_truth(&mut self, broker: &Broker, folded: u64, pass: Pass) {
        if std::mem::replace(&mut self.reading, true) {
            // The reading under way may miss what asked for this one; the interval brings the next soon.
            if pass == Pass::Second {
                self.look_again();
            }
            return;
        }
        let (broker, tell) = (broker.clone(), self.tell.clone());
        tokio::spawn(async move {
            let truth = truth::read(&broker, folded).await;
            // The desk may have ended meanwhile.
            let _ = tell.send((truth, pass)).await;
        });
    }

    /// Brings the next comparison near: the last one needs to be confirmed.
    pub fn look_soon(&mut self) {
        self.reconcile.reset_after(Duration::from_millis(ANOTHER_LOOK_MS));
    }

    /// Puts the second pass off for a moment: without it, what is in doubt stays in doubt.
    pub fn look_again(&mut self) {
        self.second_pass = Some(Instant::now() + Duration::from_secs(1));
    }

    /// Waits for the next thing that happens; what concerns money comes first.
    pub async fn next(&mut self, context: &Context) -> Input {
        let second_pass = self.second_pass;
        tokio::select! {
            biased;
            () = context.stop.cancelled() => Input::Stop,
            row = self.rows.next() => Input::Order(row),
            notice = self.notices.next() => Input::Notice(notice),
            request = self.commands.next() => Input::Ask(request),
            request = self.web_commands.next() => Input::Ask(request),
            _ = self.renew.tick() => Input::Renew,
            Some((truth, pass)) = self.truths.recv() => {
                self.reading = false;
                if truth.is_err() && pass == Pass::Second {
                    self.look_again();
                }
                Input::Truth(truth, pass)
            }
            session = self.sessions.next() => Input::Session(session.map(|message| message.body)),
            signal = self.signals.next() => Input::Signal(signal.map(|message| message.body)),
            _ = self.tick.tick() => Input::Tick,
            // Before the interval, and as soon as the reading under way has ended: in step with it, it would wait for ever.
            () = tokio::time::sleep_until(second_pass.unwrap_or_else(Instant::now)), if second_pass.is_some() && !self.reading => {
                self.second_pass = None;
                Input::Reconcile(Pass::Second)
            }
            _ = self.reconcile.tick() => Input::Reconcile(Pass::Running),
            quote = self.quotes.next() => Input::Quote(quote.map(|message| message.body)),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
