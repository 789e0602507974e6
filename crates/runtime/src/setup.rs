//! Creates the streams and the bucket, as the user `admin`, before any stage starts. No stage may do it.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::{self, kv, stream};
use protocol::subject::{self, filter};

use crate::run::{Exit, code};

/// Bytes of bars and sessions that are kept.
const MARKET_BYTES_MAX: i64 = 512 * 1024 * 1024;
/// Age of bars and sessions that are kept.
const MARKET_AGE_DAYS_MAX: u64 = 14;
/// Bytes of signals, refusals, alerts and model events that are kept.
const EVENTS_BYTES_MAX: i64 = 256 * 1024 * 1024;
/// Age of signals, refusals, alerts and model events that are kept.
const EVENTS_AGE_DAYS_MAX: u64 = 14;
/// Bytes of LEDGER. Full refuses new records rather than forgetting old ones, and without its record nothing is ordered, no
/// exit either: execution tells it long before ([`crate::ledger::Room`]). One that is there keeps the size it was given.
pub const LEDGER_BYTES_MAX: i64 = 4 * 1024 * 1024 * 1024;
/// Window in which a repeated bar is recognised by its id.
const REPETITION_SECONDS: u64 = 120;

/// Creates what is missing and checks what is there.
///
/// # Errors
/// [`code::UNAVAILABLE`] when the server can't be reached as `admin`; [`code::CONTRADICTION`] when LEDGER exists with
/// rules that would let records be lost.
pub async fn streams(address: &str, admin_secret: &str) -> anyhow::Result<()> {
    let client =
        async_nats::ConnectOptions::with_user_and_password("admin".to_owned(), admin_secret.to_owned())
            .name("set-up")
            .custom_inbox_prefix("_INBOX_admin")
            .connect(address)
            .await
            .map_err(|error| {
                Exit::error(
                    code::UNAVAILABLE,
                    format!("no NATS server for user `admin` at {address} ({error})"),
                )
            })?;
    let jetstream = jetstream::new(client.clone());
    for config in [market(), events(), ledger()] {
        let name = config.name.clone();
        let stream = jetstream
            .get_or_create_stream(config.clone())
            .await
            .with_context(|| format!("create stream {name}"))?;
        let there = &stream.cached_info().config;
        if name == subject::stream::LEDGER && !keeps_everything(there) {
            let text = "stream LEDGER exists with rules that would lose records: look at it with `nats stream info LEDGER`";
            return Err(Exit::error(code::CONTRADICTION, text));
        }
    }
    let bucket = kv::Config {
        bucket: subject::stream::LEASE.to_owned(),
        history: 1,
        limit_markers: Some(Duration::from_secs(crate::lease::LEASE_SECONDS)),
        ..kv::Config::default()
    };
    if jetstream.get_key_value(subject::stream::LEASE).await.is_err() {
        jetstream
            .create_key_value(bucket)
            .await
            .context("create bucket LEASE")?;
    }
    client.flush().await?;
    Ok(())
}

fn market() -> stream::Config {
    stream::Config {
        name: subject::stream::MARKET.to_owned(),
        subjects: vec![filter::BARS.to_owned(), filter::SESSION.to_owned()],
        max_bytes: MARKET_BYTES_MAX,
        max_age: Duration::from_secs(MARKET_AGE_DAYS_MAX * 86_400),
        duplicate_window: Duration::from_secs(REPETITION_SECONDS),
        compression: Some(stream::Compression::S2),
        persist_mode: Some(stream::PersistenceMode::Async),
        ..stream::Config::default()
    }
}

fn events() -> stream::Config {
    stream::Config {
        name: subject::stream::EVENTS.to_owned(),
        subjects: [filter::SIGNALS, filter::MODELS, filter::REFUSALS, filter::ALERTS]
            .map(str::to_owned)
            .to_vec(),
        max_bytes: EVENTS_BYTES_MAX,
        max_age: Duration::from_secs(EVENTS_AGE_DAYS_MAX * 86_400),
        duplicate_window: Duration::from_secs(REPETITION_SECONDS),
        persist_mode: Some(stream::PersistenceMode::Async),
        ..stream::Config::default()
    }
}

fn ledger() -> stream::Config {
    stream::Config {
        name: subject::stream::LEDGER.to_owned(),
        subjects: vec![filter::ORDERS.to_owned(), filter::ACCOUNT.to_owned()],
        max_bytes: LEDGER_BYTES_MAX,
        // A subject is written once, for ever; nothing is ever forgotten or removed.
        max_messages_per_subject: 1,
        discard: stream::DiscardPolicy::New,
        discard_new_per_subject: true,
        deny_delete: true,
        deny_purge: true,
        ..stream::Config::default()
    }
}

fn keeps_everything(config: &stream::Config) -> bool {
    config.max_messages_per_subject == 1
        && config.discard == stream::DiscardPolicy::New
        && config.discard_new_per_subject
        && config.deny_delete
        && config.deny_purge
        && config.max_age.is_zero()
        && config.persist_mode != Some(stream::PersistenceMode::Async)
}
