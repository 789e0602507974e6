//! Typed messages over NATS: publish, subscribe, ask and answer. Every queue is bounded, every loss is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::context::traits::Publisher as _;
use async_nats::service::ServiceExt as _;
use bytes::Bytes;
use futures::StreamExt as _;
use protocol::decision::{Alert, Level};
use protocol::{Id, WIRE_VERSION, subject};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::run::{Exit, code, now};

/// How long a stage waits for the server at its start.
const CONNECT_SECONDS_MAX: u64 = 30;
/// How long a request waits for its answer.
pub const REQUEST_SECONDS_MAX: u64 = 5;
/// How long the stages of another version have to make themselves known.
const WIRE_CHECK_MS: u64 = 200;
/// Messages a subscription holds before the newest are dropped, which is then said.
const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;

/// The connection to the bus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    name: &'static str,
    client: async_nats::Client,
    jetstream: jetstream::Context,
    watch: Arc<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    connected: AtomicBool,
    slow_consumers: AtomicU64,
    refused: AtomicU64,
}

/// A message and where it was said.
#[derive(Debug, Clone)]
pub struct Message<T> {
    /// Where.
    pub subject: String,
    /// What.
    pub body: T,
}

/// A message that is not what its subject should carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it was said.
    pub subject: String,
    /// Why it can't be read.
    pub why: String,
}

impl Bus {
    /// Connects as the user `name`; waits for a server that is not up yet.
    ///
    /// # Errors
    /// [`code::UNAVAILABLE`] when there is no server, or the server does not know the user.
    pub async fn connect(name: &'static str, address: &str, secret: &str) -> anyhow::Result<Self> {
        let watch = Arc::new(Watch::default());
        let events = watch.clone();
        let options = async_nats::ConnectOptions::with_user_and_password(name.to_owned(), secret.to_owned())
            .name(name)
            .custom_inbox_prefix(format!("_INBOX_{name}"))
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .request_timeout(Some(Duration::from_secs(REQUEST_SECONDS_MAX)))
            .reconnect_delay_callback(|attempt| Duration::from_millis((50 * attempt.min(20)) as u64))
            .event_callback(move |event| {
                let watch = events.clone();
                async move { watch.note(&event) }
            });
        let deadline = tokio::time::Instant::now() + Duration::from_secs(CONNECT_SECONDS_MAX);
        let client = loop {
            match options.clone().connect(address).await {
                Ok(client) => break client,
                Err(error) if tokio::time::Instant::now() >= deadline => {
                    let text = format!(
                        "no NATS server for user `{name}` at {address} ({error}): start it with `./just run-all`"
                    );
                    return Err(Exit::error(code::UNAVAILABLE, text));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        watch.connected.store(true, Ordering::Relaxed);
        let jetstream = jetstream::new(client.clone());
        Ok(Self {
            name,
            client,
            jetstream,
            watch,
        })
    }

    /// True while the server answers.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.watch.connected.load(Ordering::Relaxed)
    }

    /// Times a subscription was too slow and lost messages.
    #[must_use]
    pub fn slow_consumers(&self) -> u64 {
        self.watch.slow_consumers.load(Ordering::Relaxed)
    }

    /// Times the server refused what this user may not do. Anything but zero is a fault of the set-up.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.watch.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Says something to whoever listens; a stream on the subject keeps it too.
    ///
    /// # Errors
    /// When the message can't be written as JSON or the client is closed.
    pub async fn publish<T: Serialize>(&self, subject: impl Into<String>, message: &T) -> anyhow::Result<()> {
        let payload = Bytes::from(serde_json::to_vec(message)?);
        let subject = subject.into();
        let queued = self.client.publish(subject.clone(), payload).await;
        queued.with_context(|| format!("publish on {subject}"))?;
        // The connection writes when this thread lets it: now, not after everything else that is ready.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Says something and waits until the stream of the subject has it. `id` marks repetitions.
    ///
    /// # Errors
    /// When the stream did not acknowledge it; whether it is stored is then unknown.
    pub async fn keep<T: Serialize>(
        &self,
        subject: impl Into<String>,
        id: &Id,
        message: &T,
    ) -> anyhow::Result<()> {
        let subject = subject.into();
        let publish = jetstream::message::PublishMessage::build()
            .payload(Bytes::from(serde_json::to_vec(message)?))
            .message_id(id.as_str())
            .outbound_message(subject.clone());
        let acknowledgement = self.jetstream.publish_message(publish).await;
        acknowledgement
            .with_context(|| format!("publish on {subject}"))?
            .await
            .with_context(|| format!("stream of {subject}"))?;
        Ok(())
    }

    /// Listens to a subject; hears what is said from now on.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn subscribe<T: DeserializeOwned>(&self, filter: &str) -> anyhow::Result<Subscription<T>> {
        let subscriber = self
            .client
            .subscribe(filter.to_owned())
            .await
            .with_context(|| format!("subscribe to {filter}"))?;
        // The server must know of it before the caller reads history, or messages in between are lost.
        self.settle()
            .await
            .with_context(|| format!("subscribe to {filter}"))?;
        Ok(Subscription {
            subscriber,
            body: std::marker::PhantomData,
        })
    }

    /// Listens for questions on a subject.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn requests(&self, filter: &str) -> anyhow::Result<Requests> {
        let subscriber = self
            .client
            .subscribe(filter.to_owned())
            .await
            .with_context(|| format!("subscribe to {filter}"))?;
        self.settle()
            .await
            .with_context(|| format!("subscribe to {filter}"))?;
        Ok(Requests {
            client: self.client.clone(),
            subscriber,
        })
    }

    /// Asks a question and waits at most [`REQUEST_SECONDS_MAX`] for the answer.
    ///
    /// # Errors
    /// When nobody answers, or the answer is not what was expected.
    pub async fn request<Q: Serialize, A: DeserializeOwned>(
        &self,
        subject: &str,
        question: &Q,
    ) -> anyhow::Result<A> {
        let payload = Bytes::from(serde_json::to_vec(question)?);
        let answer = self
            .client
            .request(subject.to_owned(), payload)
            .await
            .with_context(|| format!("ask {subject}"))?;
        serde_json::from_slice(&answer.payload).with_context(|| format!("answer of {subject}"))
    }

    /// Tells a person something, on the bus and in the log.
    pub async fn alert(&self, kind: &str, level: Level, text: impl Into<String>) {
        let at = now();
        let alert = Alert {
            id: Id::derive(&["alert", self.name, kind, &at.to_string()]),
            at,
            cause: None,
            service: self.name.to_owned(),
            kind: kind.to_owned(),
            level,
            symbol: None,
            text: text.into(),
        };
        self.send_alert(&alert).await;
    }

    /// Tells a person something that was put together elsewhere.
    pub async fn send_alert(&self, alert: &Alert) {
        match alert.level {
            Level::Info => tracing::info!(kind = alert.kind, "{}", alert.text),
            Level::Warning => tracing::warn!(kind = alert.kind, "{}", alert.text),
            Level::Critical => tracing::error!(kind = alert.kind, "{}", alert.text),
        }
        if let Err(error) = self
            .publish(subject::alert(&alert.service, &alert.kind), alert)
            .await
        {
            tracing::warn!(error = format!("{error:#}"), "alert not sent");
        }
    }

    /// Sends what is queued and waits until the server has it.
    pub async fn drain(&self) {
        if let Err(error) = self.settle().await {
            tracing::warn!(error = format!("{error:#}"), "the last messages may be lost");
        }
    }

    /// Waits until the server has handled everything sent on this connection. The client's flush would only wait until
    /// it is written: a server that has not read a subscription yet tells an asker that nobody listens.
    async fn settle(&self) -> anyhow::Result<()> {
        let inbox = self.client.new_inbox();
        let mut echo = self.client.subscribe(inbox.clone()).await?;
        self.client.publish(inbox, Bytes::new()).await?;
        let heard = tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS_MAX), echo.next()).await;
        heard
            .context("the server did not answer in time")?
            .context("the connection is closed")?;
        Ok(())
    }

    /// Refuses to go on next to stages that speak another version of the wire.
    pub(crate) async fn refuse_other_wires(&self, name: &str) -> anyhow::Result<()> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        self.client
            .publish_with_reply("$SRV.INFO".to_owned(), inbox, Bytes::new())
            .await?;
        let deadline = tokio::time::Instant::now() + Duration::from_millis(WIRE_CHECK_MS);
        while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.next()).await {
            let Ok(info) = serde_json::from_slice::<serde_json::Value>(&answer.payload) else {
                continue;
            };
            let Some(wire) = info["metadata"]["wire"].as_str() else {
                continue;
            };
            if wire != WIRE_VERSION.to_string() {
                let other = info["name"].as_str().unwrap_or("a stage");
                let text = format!(
                    "{other} speaks wire version {wire} and {name} version {WIRE_VERSION}: stop all and start them from one build"
                );
                return Err(Exit::error(code::CONTRADICTION, text));
            }
        }
        Ok(())
    }

    /// Answers `nats service ls`, `info` and `stats` for this stage, for as long as the process lives.
    pub(crate) async fn answer_service_calls(&self, name: &str) -> anyhow::Result<()> {
        let metadata = std::collections::HashMap::from([("wire".to_owned(), WIRE_VERSION.to_string())]);
        let service = self
            .client
            .service_builder()
            .metadata(metadata)
            .start(name, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(|error| anyhow::anyhow!("service calls can't be answered: {error}"))?;
        // Dropping it would end the answers; the process ends it.
        std::mem::forget(service);
        Ok(())
    }
}

impl Watch {
    fn note(&self, event: &async_nats::Event) {
        match event {
            async_nats::Event::Connected => self.connected.store(true, Ordering::Relaxed),
            // The end of our own connection is no news to anybody.
            async_nats::Event::Closed => self.connected.store(false, Ordering::Relaxed),
            async_nats::Event::Disconnected => {
                self.connected.store(false, Ordering::Relaxed);
                tracing::warn!(event = event.to_string(), "the bus is not reached");
            }
            async_nats::Event::SlowConsumer(_) => {
                self.slow_consumers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("messages were lost because this stage is too slow");
            }
            async_nats::Event::ServerError(error) => {
                if error.to_string().to_lowercase().contains("permissions violation") {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                tracing::error!(error = error.to_string(), "the server refused");
            }
            other => tracing::debug!(event = other.to_string(), "bus event"),
        }
    }
}

/// What is said on a subject, decoded.
#[derive(Debug)]
pub struct Subscription<T> {
    subscriber: async_nats::Subscriber,
    body: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Subscription<T> {
    /// The next message that can be read; one that can't is logged and left out. `None` once the client is closed.
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message<T>> {
        loop {
            if let Ok(message) = self.heard().await? {
                return Some(message);
            }
        }
    }

    /// The next message, for who must know of one that can't be read too. Else as [`Subscription::next`].
    pub async fn heard(&mut self) -> Option<Result<Message<T>, Unreadable>> {
        let message = self.subscriber.next().await?;
        Some(decode(&message))
    }

    /// The next message that is here already, if any.
    pub fn ready(&mut self) -> Option<Message<T>> {
        use futures::FutureExt as _;
        self.next().now_or_never().flatten()
    }
}

fn decode<T: DeserializeOwned>(message: &async_nats::Message) -> Result<Message<T>, Unreadable> {
    let subject = message.subject.to_string();
    match serde_json::from_slice(&message.payload) {
        Ok(body) => Ok(Message { subject, body }),
        Err(error) => {
            let why = error.to_string();
            tracing::warn!(subject, error = why, "unreadable message left out");
            Err(Unreadable { subject, why })
        }
    }
}

/// Questions on a subject.
#[derive(Debug)]
pub struct Requests {
    client: async_nats::Client,
    subscriber: async_nats::Subscriber,
}

impl Requests {
    /// The next question; `None` once the client is closed.
    pub async fn next(&mut self) -> Option<Request> {
        let message = self.subscriber.next().await?;
        Some(Request {
            client: self.client.clone(),
            subject: message.subject.to_string(),
            payload: message.payload,
            inbox: message.reply,
        })
    }
}

/// A question and the way to its asker.
#[derive(Debug)]
pub struct Request {
    client: async_nats::Client,
    /// Where it was asked.
    pub subject: String,
    /// The question's bytes; may be empty.
    pub payload: Bytes,
    inbox: Option<async_nats::Subject>,
}

impl Request {
    /// Answers. A question without a way back is answered by nothing.
    pub async fn reply<T: Serialize>(&self, answer: &T) {
        let Some(inbox) = self.inbox.clone() else { return };
        let payload = match serde_json::to_vec(answer) {
            Ok(payload) => Bytes::from(payload),
            Err(error) => {
                tracing::error!(error = error.to_string(), "answer can't be written as JSON");
                return;
            }
        };
        if let Err(error) = self.client.publish(inbox, payload).await {
            tracing::warn!(error = error.to_string(), "answer not sent");
        }
    }

    /// The last token of the subject: the verb or the query's name.
    #[must_use]
    pub fn last_token(&self) -> &str {
        self.subject.rsplit('.').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn next_to_a_stage_of_another_wire_nobody_starts() {
        let server = Server::start().await;
        let (bus, old) = (server.bus("execution").await, server.bus("signal").await);
        bus.refuse_other_wires("execution")
            .await
            .expect("nobody speaks another one");
        let mut asked = old.requests("$SRV.INFO").await.expect("the bus");
        let answer = async {
            let info = serde_json::json!({"name": "signal", "metadata": {"wire": "1"}});
            asked.next().await.expect("a question").reply(&info).await;
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = bus.refuse_other_wires("execution") => outcome,
            () = answer => unreachable!("an answer is all it gives"),
        };
        let error = outcome.expect_err("the stages do not understand each other");
        let exit = error.downcast_ref::<Exit>().map(|exit| exit.code);
        assert_eq!(exit, Some(code::CONTRADICTION));
        assert!(
            error.to_string().contains("signal speaks wire version 1"),
            "{error}"
        );
    }
}
