//! The lease on an account decides who tries to trade. It is for liveness only: what keeps two incarnations from both
//! writing is the position in LEDGER, never this.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::context::traits::Publisher as _;
use bytes::Bytes;
use protocol::subject::stream;

use crate::bus::Bus;

/// The lease ends by itself after so long without renewal.
pub const LEASE_SECONDS: u64 = 6;
/// Time between two renewals.
pub const RENEW_SECONDS: u64 = 2;

/// A lease held by this process.
#[derive(Debug)]
pub struct Lease {
    jetstream: jetstream::Context,
    subject: String,
    holder: String,
    revision: u64,
}

/// The answer to asking for the lease.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "made once at a start and taken apart at once"
)]
pub enum Asked {
    /// It is ours.
    Held(Lease),
    /// Somebody else has it.
    Taken {
        /// Who.
        holder: String,
        /// Changes with every renewal.
        revision: u64,
    },
}

impl Lease {
    /// Asks once for the lease of `account`.
    ///
    /// # Errors
    /// When the bus does not answer.
    pub async fn ask(bus: &Bus, account: &str, holder: &str) -> anyhow::Result<Asked> {
        let subject = subject_of(account);
        let (revision, taken_by) = last_word(bus, &subject).await?;
        if let Some(holder) = taken_by {
            return Ok(Asked::Taken { holder, revision });
        }
        let mut lease = Self {
            jetstream: bus.jetstream().clone(),
            subject,
            holder: holder.to_owned(),
            revision,
        };
        match lease.renew().await {
            Ok(()) => Ok(Asked::Held(lease)),
            Err(RenewError::Lost) => Ok(Asked::Taken {
                holder: "another that was quicker".to_owned(),
                revision,
            }),
            Err(RenewError::Unknown(reason)) => Err(anyhow::anyhow!("take the lease: {reason}")),
        }
    }

    /// Looks at the lease of `account` and does not ask for it; `*` means the one that was written last, of any account.
    /// Its revision changes with every renewal; `None` when nobody holds it.
    ///
    /// # Errors
    /// When the bus does not answer.
    pub async fn look(bus: &Bus, account: &str) -> anyhow::Result<Option<u64>> {
        let (revision, taken_by) = last_word(bus, &subject_of(account)).await?;
        Ok(taken_by.map(|_| revision))
    }

    /// Keeps the lease for another [`LEASE_SECONDS`].
    ///
    /// # Errors
    /// See [`RenewError`].
    pub async fn renew(&mut self) -> Result<(), RenewError> {
        // The typed bucket drops the time to live on an update, so that such a lease would never end.
        let publish = jetstream::message::PublishMessage::build()
            .payload(Bytes::from(self.holder.clone()))
            .expected_last_subject_sequence(self.revision)
            .ttl(Duration::from_secs(LEASE_SECONDS))
            .outbound_message(self.subject.clone());
        let outcome = match self.jetstream.publish_message(publish).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(stored) => {
                self.revision = stored.sequence;
                Ok(())
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Err(RenewError::Lost),
            Err(error) => Err(RenewError::Unknown(error.to_string())),
        }
    }

    /// Gives the lease up, so that a standby need not wait for its end.
    pub async fn release(self) {
        let publish = jetstream::message::PublishMessage::build()
            .header("KV-Operation", "DEL")
            .expected_last_subject_sequence(self.revision)
            .outbound_message(self.subject.clone());
        if let Ok(acknowledgement) = self.jetstream.publish_message(publish).await {
            // Not held any more or not answered: either way it ends by itself.
            let _ = tokio::time::timeout(Duration::from_secs(1), acknowledgement).await;
        }
    }
}

fn subject_of(account: &str) -> String {
    format!("$KV.{}.{account}", stream::LEASE)
}

/// The last word on a key, with its revision: a holder, or `None` for the marker that a lease has run out and for
/// nothing yet.
async fn last_word(bus: &Bus, subject: &str) -> anyhow::Result<(u64, Option<String>)> {
    let bucket = format!("KV_{}", stream::LEASE);
    let handle = bus
        .jetstream()
        .get_stream(&bucket)
        .await
        .context("bucket LEASE")?;
    match handle.get_last_raw_message_by_subject(subject).await {
        Ok(message)
            if message.headers.get("Nats-Marker-Reason").is_some()
                || message.headers.get("KV-Operation").is_some() =>
        {
            Ok((message.sequence, None))
        }
        Ok(message) => Ok((
            message.sequence,
            Some(String::from_utf8_lossy(&message.payload).into_owned()),
        )),
        Err(error) if error.kind() == jetstream::stream::LastRawMessageErrorKind::NoMessageFound => {
            Ok((0, None))
        }
        Err(error) => Err(error).context("read the lease"),
    }
}

/// Why a lease may not be held any more.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It is not ours any more.
    #[error("the lease was lost: it ran out before it was renewed, or another incarnation has it")]
    Lost,
    /// The bus did not answer.
    #[error("the lease was not renewed: {0}")]
    Unknown(String),
}
