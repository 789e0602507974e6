//! Reads a stream in order, from a sequence on, and follows it live.

use anyhow::Context as _;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use protocol::{Hash, Timestamp};
use serde::de::DeserializeOwned;

use crate::bus::Bus;

/// A message of a stream.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    /// Its place in the stream.
    pub sequence: u64,
    /// Where it was said.
    pub subject: String,
    /// The message.
    pub message: T,
    /// Its bytes as stored.
    pub bytes: Bytes,
}

impl<T> Stored<T> {
    /// [`Hash::of`] its bytes: what the next record of the chain names.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes)
    }
}

/// A stream in order, from a sequence on; goes on with what is stored later.
pub struct History<T> {
    /// Sequence of the last message when reading began; 0 for an empty stream.
    pub head: u64,
    messages: pull::Ordered,
    body: std::marker::PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for History<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// True when something failed because its stream is not there, by the server's own word.
#[must_use]
pub fn is_missing(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<GetStreamError>();
    error.is_some_and(|error| match error.kind() {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    })
}

impl Bus {
    /// Reads `stream` from `from_sequence` on, only subjects that match `filter`. Replay is over once a message of
    /// sequence [`History::head`] or later was returned; `head` is the last sequence that matches the filter.
    ///
    /// # Errors
    /// When the stream is not there or this user may not read it.
    pub async fn history<T: DeserializeOwned>(
        &self,
        stream: &str,
        filter: &str,
        from_sequence: u64,
    ) -> anyhow::Result<History<T>> {
        let handle = self
            .jetstream()
            .get_stream(stream)
            .await
            .with_context(|| format!("stream {stream}"))?;
        let head = last_sequence(&handle, filter)
            .await
            .with_context(|| format!("stream {stream}"))?;
        let config = pull::OrderedConfig {
            filter_subject: filter.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: from_sequence.max(1),
            },
            ..pull::OrderedConfig::default()
        };
        let consumer = handle
            .create_consumer(config)
            .await
            .with_context(|| format!("reader of stream {stream}"))?;
        let messages = consumer
            .messages()
            .await
            .with_context(|| format!("reader of stream {stream}"))?;
        Ok(History {
            head,
            messages,
            body: std::marker::PhantomData,
        })
    }
}

impl Bus {
    /// The last message that `stream` keeps on `subject` and when that was stored, by the server's clock; if there is one.
    ///
    /// # Errors
    /// When the stream is not there, this user may not read it, or the message is not readable.
    pub async fn last<T: DeserializeOwned>(
        &self,
        stream: &str,
        subject: &str,
    ) -> anyhow::Result<Option<(T, Timestamp)>> {
        let handle = self
            .jetstream()
            .get_stream(stream)
            .await
            .with_context(|| format!("stream {stream}"))?;
        match handle.get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                let why = || format!("last message on {subject}");
                let body = serde_json::from_slice(&message.payload).with_context(why)?;
                let stored = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
                Ok(Some((body, stored.with_context(why)?)))
            }
            Err(error) if error.kind() == stream::LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("last message on {subject}")),
        }
    }
}

/// The last sequence whose subject matches, so that a reader of a part of a stream knows when its replay is over.
async fn last_sequence(stream: &stream::Stream, filter: &str) -> anyhow::Result<u64> {
    if filter == ">" {
        let state = &stream.cached_info().state;
        // Where everything has aged out there is nothing to wait for, whatever the last number was.
        return Ok(if state.messages == 0 {
            0
        } else {
            state.last_sequence
        });
    }
    match stream.get_last_raw_message_by_subject(filter).await {
        Ok(message) => Ok(message.sequence),
        Err(error) if error.kind() == stream::LastRawMessageErrorKind::NoMessageFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

impl<T: DeserializeOwned> History<T> {
    /// The next message.
    ///
    /// # Errors
    /// When reading broke off, or the message is not what this stream should hold. Both end the reader.
    pub async fn next(&mut self) -> anyhow::Result<Stored<T>> {
        let message: jetstream::Message = self
            .messages
            .next()
            .await
            .context("the stream's reader ended")?
            .context("read a stream")?;
        let sequence = message
            .info()
            .map_err(|error| anyhow::anyhow!("a message without its place in the stream: {error}"))?
            .stream_sequence;
        let body = serde_json::from_slice(&message.payload)
            .with_context(|| format!("message {sequence} on {} is not readable", message.subject))?;
        Ok(Stored {
            sequence,
            subject: message.subject.to_string(),
            message: body,
            bytes: message.payload.clone(),
        })
    }
}
