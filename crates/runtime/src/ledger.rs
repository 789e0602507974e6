//! Appends to LEDGER: each record conditional on the exact last sequence, on a subject that is written once.
//!
//! A refused append means that another incarnation wrote; an append without an answer may or may not be stored, now or
//! later. Both end the incarnation: the next one reads the truth.

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::context::traits::Publisher as _;
use bytes::Bytes;
use protocol::ledger::Record;
use protocol::{Hash, subject};

use crate::bus::Bus;

/// Largest record, in bytes, within what the server takes: an opening of a busy account is the largest.
pub const RECORD_BYTES_MAX: usize = 768 * 1024;

/// The end of LEDGER as this incarnation knows it.
#[derive(Debug, Clone)]
pub struct Ledger {
    jetstream: jetstream::Context,
    sequence: u64,
    hash: Hash,
}

/// Why a record may not be in LEDGER. Each means: end, and let a new incarnation read.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another incarnation wrote, or the subject was written before. The record is not stored.
    #[error("LEDGER refused record {sequence} on {subject}: another incarnation wrote")]
    Refused {
        /// The place it was meant for.
        sequence: u64,
        /// Its subject.
        subject: String,
    },
    /// There is no room. The record is not stored.
    #[error("LEDGER is full and takes no record {sequence} on {subject}")]
    Full {
        /// The place it was meant for.
        sequence: u64,
        /// Its subject.
        subject: String,
    },
    /// No answer. The record may be stored, now or later.
    #[error("LEDGER did not answer for record {sequence} on {subject}: {reason}")]
    Unknown {
        /// The place it was meant for.
        sequence: u64,
        /// Its subject.
        subject: String,
        /// What the client says.
        reason: String,
    },
}

/// A record with its place and hash, as stored.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Its place.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
    /// The record.
    pub record: Record,
}

impl Ledger {
    /// Begins after the record `sequence` with `hash`, which the caller has read.
    #[must_use]
    pub fn after(bus: &Bus, sequence: u64, hash: Hash) -> Self {
        Self {
            jetstream: bus.jetstream().clone(),
            sequence,
            hash,
        }
    }

    /// The last sequence.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The last record's hash.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Appends a record and waits for the synced acknowledgement. `previous_hash` is set here.
    ///
    /// # Errors
    /// See [`AppendError`]; after any nothing more may be appended.
    pub async fn append(&mut self, mut record: Record) -> Result<Appended, AppendError> {
        record.previous_hash = self.hash.clone();
        let sequence = self.sequence + 1;
        let subject = subject::record(&record, sequence);
        let unknown = |reason: String| AppendError::Unknown {
            sequence,
            subject: subject.clone(),
            reason,
        };
        let bytes = Bytes::from(serde_json::to_vec(&record).map_err(|error| unknown(error.to_string()))?);
        assert!(
            bytes.len() <= RECORD_BYTES_MAX,
            "a record of {} bytes on {subject}",
            bytes.len()
        );
        let hash = Hash::of(&bytes);
        let publish = jetstream::message::PublishMessage::build()
            .payload(bytes)
            .expected_stream(subject::stream::LEDGER)
            .expected_last_sequence(self.sequence)
            .outbound_message(subject.clone());
        let acknowledgement = self.jetstream.publish_message(publish).await;
        let outcome = match acknowledgement {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(stored) => {
                assert_eq!(
                    stored.sequence, sequence,
                    "LEDGER stored a conditional append elsewhere"
                );
                self.sequence = sequence;
                self.hash = hash.clone();
                Ok(Appended {
                    sequence,
                    hash,
                    record,
                })
            }
            Err(error) if full(&error) => Err(AppendError::Full { sequence, subject }),
            Err(error) if refused(&error) => Err(AppendError::Refused { sequence, subject }),
            Err(error) => Err(unknown(error.to_string())),
        }
    }
}

fn refused(error: &jetstream::context::PublishError) -> bool {
    // A second write to a write-once subject has no kind of its own. Its code, 10077, is also that of a disk that fails.
    error.kind() == PublishErrorKind::WrongLastSequence
        || format!("{error:?}").contains("maximum messages per subject exceeded")
}

fn full(error: &jetstream::context::PublishError) -> bool {
    // The same code once more; only the text tells.
    format!("{error:?}").contains("maximum bytes exceeded")
}

/// How much LEDGER holds, and how much it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of its records.
    pub bytes: u64,
    /// Bytes from which on it takes no more.
    pub bytes_max: u64,
}

impl Room {
    /// True while even the largest record would be taken.
    #[must_use]
    pub fn takes_any_record(self) -> bool {
        self.bytes_max.saturating_sub(self.bytes) > RECORD_BYTES_MAX as u64
    }

    /// Hundredths that are used.
    #[must_use]
    pub fn percent(self) -> u64 {
        self.bytes.saturating_mul(100) / self.bytes_max.max(1)
    }
}

impl Bus {
    /// How full LEDGER is now.
    ///
    /// # Errors
    /// When the stream is not there or the server does not answer.
    pub async fn ledger_room(&self) -> anyhow::Result<Room> {
        let stream = self.jetstream().get_stream(subject::stream::LEDGER).await;
        let stream = stream.context("stream LEDGER")?;
        let info = stream.cached_info();
        // The server writes -1 where there is no limit.
        let limit = u64::try_from(info.config.max_bytes).ok();
        Ok(Room {
            bytes: info.state.bytes,
            bytes_max: limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX),
        })
    }
}
