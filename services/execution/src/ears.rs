//! Everything that can wake the leader, and in which order it is heard.

use std::time::Duration;

use engine::desk::Input as Said;
use engine::trader::Garbled;
use futures::{FutureExt as _, StreamExt as _};
use ibapi::orders::OrderUpdate;
use ibapi::subscriptions::{NoticeStream, Subscription as Rows, SubscriptionItem};
use ibapi::{Error, Notice};
use protocol::decision::Signal;
use protocol::market::{Quote, Session};
use protocol::subject::filter;
use runtime::lease::RENEW_SECONDS;
use runtime::{Context, Exit, Message, Request, Requests, Subscription, Unreadable, code, now};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::broker::Broker;
use crate::truth::Readings;

/// Time between two looks at the kill file and at what has been silent for too long.
const TICK_MS: u64 = 250;

/// Everything that can wake the leader.
#[expect(clippy::large_enum_variant, reason = "one at a time, and never stored")]
pub enum Input {
    Stop,
    Row(Option<Result<SubscriptionItem<OrderUpdate>, Error>>),
    Notice(Option<Notice>),
    Ask(Option<Request>),
    Reading(Said),
    /// A session, a signal or a quote; or one that can't be read.
    Market(Option<Said>),
    Renew,
    Tick,
}

/// What the leader listens to from its start on: the gateway, readings, and when the next of them is due.
pub struct Ears {
    rows: Rows<OrderUpdate>,
    notices: NoticeStream,
    pub readings: Readings,
}

/// What it listens to once it trades.
pub struct Callers {
    commands: Requests,
    web_commands: Requests,
    signals: Subscription<Signal>,
    quotes: Subscription<Quote>,
    sessions: Subscription<Session>,
    renew: Interval,
    tick: Interval,
}

impl Callers {
    /// Opens everything on the bus.
    pub async fn open(context: &Context) -> anyhow::Result<Self> {
        let bus = &context.bus;
        Ok(Self {
            commands: bus.requests(filter::COMMANDS).await?,
            web_commands: bus.requests(filter::WEB_COMMANDS).await?,
            signals: bus.subscribe(filter::SIGNALS).await?,
            quotes: bus.subscribe(filter::QUOTES).await?,
            sessions: bus.subscribe(filter::SESSION).await?,
            renew: every(Duration::from_secs(RENEW_SECONDS)),
            tick: every(Duration::from_millis(TICK_MS)),
        })
    }
}

impl Ears {
    /// Opens the stream of order events, before any snapshot is taken, so that nothing falls between the two.
    pub async fn open(broker: &Broker, notices: NoticeStream) -> anyhow::Result<Self> {
        let rows = broker.client.order_update_stream().await;
        let rows = rows
            .map_err(|error| Exit::error(code::AGAIN, format!("order events can't be followed: {error}")))?;
        Ok(Self {
            rows,
            notices,
            readings: Readings::default(),
        })
    }

    /// The next notice that is there already, however much this task did before. The inner `None` when they ended.
    pub fn notice(&mut self) -> Option<Option<Notice>> {
        tokio::task::unconstrained(self.notices.next()).now_or_never()
    }

    /// Waits for the next thing that happens; what concerns money comes first.
    pub async fn next(&mut self, context: &Context, callers: &mut Callers) -> Input {
        tokio::select! {
            biased;
            () = context.stop.cancelled() => Input::Stop,
            row = self.rows.next() => Input::Row(row),
            notice = self.notices.next() => Input::Notice(notice),
            request = callers.commands.next() => Input::Ask(request),
            request = callers.web_commands.next() => Input::Ask(request),
            _ = callers.renew.tick() => Input::Renew,
            reading = self.readings.next() => Input::Reading(reading),
            session = callers.sessions.heard() => {
                Input::Market(session.map(|heard| said(heard, |session| Said::Session(session, now()))))
            }
            signal = callers.signals.heard() => Input::Market(signal.map(|heard| said(heard, Said::Signal))),
            _ = callers.tick.tick() => Input::Tick,
            quote = callers.quotes.heard() => Input::Market(quote.map(|heard| said(heard, Said::Quote))),
        }
    }
}

/// A message as the desk takes it. It must know of one that can't be read: a person is told.
fn said<T>(heard: Result<Message<T>, Unreadable>, wrap: impl FnOnce(T) -> Said) -> Said {
    match heard {
        Ok(message) => wrap(message.body),
        Err(Unreadable { subject, why }) => Said::Garbled(Garbled { subject, why }),
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
