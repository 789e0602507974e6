//! Reads one stream for as long as the process lives: opens it, follows it, and opens it again when that
//! breaks.

use std::time::Duration;

use protocol::subject::stream::LEDGER;
use runtime::{Bus, CancellationToken, Stored};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

/// Messages read ahead of the fold.
const AHEAD_MAX: usize = 1_024;
/// Wait before a stream that could not be read is opened again.
const AGAIN_MS: u64 = 500;

/// What a reader tells.
#[derive(Debug)]
pub(crate) enum Read {
    /// The stream is open; its last sequence is `head`.
    Open {
        /// 0 for an empty stream.
        head: u64,
    },
    /// The next message. Its body is still to be read from its bytes.
    Message(Stored<IgnoredAny>),
    /// The stream can't be read just now.
    Broken(String),
    /// The stream holds what it must not; nothing more is read of it.
    Fault(String),
}

/// Starts to read `stream` at sequence `from`.
pub(crate) fn start(
    bus: &Bus,
    stream: &'static str,
    from: u64,
    stop: &CancellationToken,
) -> mpsc::Receiver<Read> {
    let (sender, receiver) = mpsc::channel(AHEAD_MAX);
    let (bus, stop) = (bus.clone(), stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&bus, stream, from, &sender) => {}
            () = stop.cancelled() => {}
        }
    });
    receiver
}

/// Ends when nobody reads any more.
async fn follow(bus: &Bus, stream: &'static str, from: u64, sender: &mpsc::Sender<Read>) {
    let mut next = from.max(1);
    loop {
        let error = match bus.history::<IgnoredAny>(stream, ">", next).await {
            Ok(mut history) => {
                if sender.send(Read::Open { head: history.head }).await.is_err() {
                    return;
                }
                loop {
                    match history.next().await {
                        Ok(message) => {
                            next = message.sequence + 1;
                            if sender.send(Read::Message(message)).await.is_err() {
                                return;
                            }
                        }
                        Err(error) => break error,
                    }
                }
            }
            Err(error) => error,
        };
        if error.chain().any(|cause| cause.is::<serde_json::Error>()) {
            if stream == LEDGER {
                // Of LEDGER no message may be left out, whatever is wrong with it.
                let told = sender.send(Read::Fault(format!("{error:#}"))).await;
                if told.is_ok() {
                    std::future::pending::<()>().await;
                }
                return;
            }
            tracing::warn!(
                stream,
                sequence = next,
                error = format!("{error:#}"),
                "a message is left out"
            );
            next += 1;
        }
        if sender
            .send(Read::Broken(format!("stream {stream} can't be read: {error:#}")))
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
    }
}
