//! The way of frames from the hub to a client's socket: one buffer with named limits, which the hub fills and
//! the connection's writer empties. Frames are handed over many at a time, so that neither side pays for each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Most frames that wait for a client that does not read; one more, and it is cut off.
pub(crate) const QUEUE_FRAMES_MAX: usize = 1 << 16;
/// Most bytes that wait for a client that does not read; above, and it is cut off.
pub(crate) const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Most bytes that wait for all clients together, with their requests that wait until they have read some; above, the
/// one for whom most waits is cut off.
pub(crate) const QUEUES_BYTES_MAX: usize = 256 << 20;
/// Frames and bytes that wait for a client from which on its next request waits too, until it has read some. Far
/// above what a replay that does not run ahead of its readers leaves unread.
const BEHIND_FRAMES: usize = 1 << 14;
const BEHIND_BYTES: usize = 4 << 20;
/// A buffer that grew beyond this is let go once it is written, instead of being kept for the next frames.
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// How much waits for a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Backlog {
    /// Whether it is so much that the client is not answered until it has read some.
    pub(crate) fn is_long(self) -> bool {
        self.frames > BEHIND_FRAMES || self.bytes > BEHIND_BYTES
    }

    fn is_too_long(self) -> bool {
        self.frames > QUEUE_FRAMES_MAX || self.bytes > QUEUE_BYTES_MAX
    }

    /// This and what else waits.
    pub(crate) fn and(self, frames: usize, bytes: usize) -> Self {
        Self {
            frames: self.frames + frames,
            bytes: self.bytes + bytes,
        }
    }
}

/// What waits for one client.
#[derive(Debug, Default)]
struct Queue {
    bytes: BytesMut,
    frames: usize,
    /// What the writer has taken and not yet written.
    writing: Backlog,
    /// Whether the hub has let go of the client.
    closed: bool,
}

impl Queue {
    fn backlog(&self) -> Backlog {
        self.writing.and(self.frames, self.bytes.len())
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hub's end of a connection. When it is dropped, what waits is written and the connection closed.
#[derive(Debug)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    cut: CancellationToken,
    frozen: CancellationToken,
}

/// The writer's end of a connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
}

/// Both ends for a connection, which `cut` ends without writing what waits.
pub(crate) fn outbox(cut: CancellationToken) -> (Outbox, Outgoing) {
    let shared = Arc::new(Shared::default());
    let outgoing = Outgoing {
        shared: shared.clone(),
    };
    let frozen = CancellationToken::new();
    (Outbox { shared, cut, frozen }, outgoing)
}

impl Outbox {
    /// Hands over so many frames and leaves the buffer empty. False when a limit is reached: the client reads
    /// too slowly.
    pub(crate) fn hand(&self, frames: usize, bytes: &mut BytesMut) -> bool {
        let mut queue = self.shared.queue();
        queue.frames += frames;
        if queue.bytes.is_empty() {
            std::mem::swap(&mut queue.bytes, bytes);
        } else {
            queue.bytes.extend_from_slice(bytes);
            bytes.clear();
        }
        let backlog = queue.backlog();
        drop(queue);
        self.shared.filled.notify_one();
        !backlog.is_too_long()
    }

    /// What waits to be written.
    pub(crate) fn backlog(&self) -> Backlog {
        self.shared.queue().backlog()
    }

    /// Ends the connection without writing what waits.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Stops reading, and keeps the connection.
    pub(crate) fn freeze(&self) {
        self.frozen.cancel();
    }

    /// Resolves when reading is to stop.
    pub(crate) fn frozen(&self) -> CancellationToken {
        self.frozen.clone()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Outgoing {
    /// Takes everything that waits into an empty buffer, as soon as there is something. False at the end.
    pub(crate) async fn take(&self, into: &mut BytesMut) -> bool {
        if into.capacity() > BUFFER_BYTES_KEPT {
            *into = BytesMut::new();
        }
        loop {
            {
                let mut queue = self.shared.queue();
                if !queue.bytes.is_empty() {
                    std::mem::swap(&mut queue.bytes, into);
                    queue.writing = Backlog {
                        frames: std::mem::take(&mut queue.frames),
                        bytes: into.len(),
                    };
                    return true;
                }
                if queue.closed {
                    return false;
                }
            }
            self.shared.filled.notified().await;
        }
    }

    /// What was taken last is written.
    pub(crate) fn written(&self) {
        self.shared.queue().writing = Backlog::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_handed_over_is_taken_at_once_and_then_it_ends() {
        let (outbox, outgoing) = outbox(CancellationToken::new());
        assert!(outbox.hand(2, &mut BytesMut::from("ab")));
        assert!(outbox.hand(1, &mut BytesMut::from("c")));
        assert_eq!(outbox.backlog().frames, 3);
        let mut taken = BytesMut::new();
        assert!(outgoing.take(&mut taken).await);
        assert_eq!((&taken[..], outbox.backlog().frames), (&b"abc"[..], 3));
        outgoing.written();
        assert_eq!(outbox.backlog().frames, 0);
        drop(outbox);
        taken.clear();
        assert!(!outgoing.take(&mut taken).await);
    }

    #[tokio::test]
    async fn limits_count_what_is_being_written() {
        let (outbox, outgoing) = outbox(CancellationToken::new());
        assert!(outbox.hand(QUEUE_FRAMES_MAX, &mut BytesMut::from("x")));
        let mut taken = BytesMut::new();
        outgoing.take(&mut taken).await;
        assert!(!outbox.hand(1, &mut BytesMut::from("y")));
        outgoing.written();
        assert!(outbox.hand(1, &mut BytesMut::from("z")));
        assert!(!outbox.hand(1, &mut BytesMut::zeroed(QUEUE_BYTES_MAX)));
    }
}
