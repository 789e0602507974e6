//! What waits for one browser. Bounded, and never waits for the browser: the hub puts, the browser's task
//! takes.
//!
//! Quotes, running bars and heartbeats wait at most once each, the newest replacing the one before. All
//! else waits in order. When too much waits, all of it is dropped and the browser gets a fresh snapshot
//! instead, which is made only once the browser has taken what was written before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use axum::extract::ws::Utf8Bytes;
use protocol::Symbol;
use tokio::sync::Notify;

use crate::limits::Limits;

/// A serialised frame and how it may wait. Cheap to clone: its text is shared by all browsers.
#[derive(Debug, Clone)]
pub enum Event {
    /// Waits in order and is never left out.
    Ordered(Utf8Bytes),
    /// Waits in order, and the running bar of its symbol is out of date with it.
    CompleteBar(Symbol, Utf8Bytes),
    /// Replaces one of the same key that still waits.
    Newest(Key, Utf8Bytes),
}

/// What can be out of date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The quote of a symbol.
    Quote(Symbol),
    /// The running bar of a symbol.
    Bar(Symbol),
    /// The heartbeat of a process, by service and instance.
    Health(String, String),
    /// Where the bridge's fold stands.
    Mark,
}

/// What a browser's task finds.
#[derive(Debug)]
pub enum Taken {
    /// Frames to be written, in order.
    Frames(Vec<Utf8Bytes>),
    /// Too much had waited: ask the hub for a snapshot.
    SnapshotNeeded,
    /// Nothing.
    Nothing,
}

/// One browser's queue.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
    frames_max: usize,
    bytes_max: usize,
    flush_max: usize,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Goes before all that is ordered. Not counted: one larger than the limit would ask for itself for ever.
    snapshot: Option<Utf8Bytes>,
    ordered: VecDeque<Utf8Bytes>,
    bytes: usize,
    newest: BTreeMap<Key, Utf8Bytes>,
    /// Answers to this browser's commands. As few as commands may be open; they outlive a snapshot.
    replies: VecDeque<Utf8Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Frames are put and taken.
    Flowing,
    /// Too much waited: nothing is put until a snapshot is.
    Overflowed,
    /// A snapshot is asked for.
    SnapshotAsked,
}

impl Queue {
    /// An empty queue of a browser whose first snapshot is asked for.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state: State::SnapshotAsked,
                snapshot: None,
                ordered: VecDeque::new(),
                bytes: 0,
                newest: BTreeMap::new(),
                replies: VecDeque::new(),
            }),
            changed: Notify::new(),
            frames_max: limits.queue_frames,
            bytes_max: limits.queue_bytes,
            flush_max: limits.flush_frames,
        }
    }

    /// Puts an event. False when too much waited and all of it was dropped just now.
    pub fn put(&self, event: &Event) -> bool {
        let mut inner = self.lock();
        if inner.state != State::Flowing {
            return true;
        }
        match event {
            Event::Ordered(text) => inner.put(text.clone()),
            Event::CompleteBar(symbol, text) => {
                inner.newest.remove(&Key::Bar(*symbol));
                inner.put(text.clone());
            }
            Event::Newest(key, text) => {
                inner.newest.insert(key.clone(), text.clone());
            }
        }
        let fits = inner.ordered.len() <= self.frames_max && inner.bytes <= self.bytes_max;
        if !fits {
            inner.clear();
            inner.state = State::Overflowed;
        }
        drop(inner);
        self.changed.notify_one();
        fits
    }

    /// Puts a snapshot; whatever waited is older than it and goes.
    pub fn put_snapshot(&self, text: Utf8Bytes) {
        let mut inner = self.lock();
        inner.clear();
        inner.state = State::Flowing;
        inner.snapshot = Some(text);
        drop(inner);
        self.changed.notify_one();
    }

    /// Puts the answer to a command of this browser.
    pub fn put_reply(&self, text: Utf8Bytes) {
        self.lock().replies.push_back(text);
        self.changed.notify_one();
    }

    /// Waits until there may be something to take.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes what may be written at once.
    pub fn take(&self) -> Taken {
        let mut inner = self.lock();
        let mut frames: Vec<_> = inner.replies.drain(..).collect();
        if inner.state == State::Overflowed && frames.is_empty() {
            inner.state = State::SnapshotAsked;
            return Taken::SnapshotNeeded;
        }
        frames.extend(inner.snapshot.take());
        while frames.len() < self.flush_max
            && let Some(text) = inner.ordered.pop_front()
        {
            inner.bytes = inner.bytes.saturating_sub(text.len());
            frames.push(text);
        }
        // A running bar or a mark must not overtake the records and bars before it.
        if inner.ordered.is_empty() {
            frames.extend(std::mem::take(&mut inner.newest).into_values());
        }
        if frames.is_empty() {
            Taken::Nothing
        } else {
            Taken::Frames(frames)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding it")
    }
}

impl Inner {
    fn put(&mut self, text: Utf8Bytes) {
        self.bytes += text.len();
        self.ordered.push_back(text);
    }

    fn clear(&mut self) {
        self.snapshot = None;
        self.ordered.clear();
        self.newest.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(frames: usize) -> Queue {
        let queue = Queue::new(&Limits {
            queue_frames: frames,
            flush_frames: 3,
            ..Limits::default()
        });
        queue.put_snapshot("snapshot".into());
        queue
    }

    fn frames(queue: &Queue) -> Vec<String> {
        match queue.take() {
            Taken::Frames(frames) => frames.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn symbol() -> Symbol {
        "SPY".parse().unwrap()
    }

    #[test]
    fn quotes_conflate_and_records_do_not() {
        let queue = queue(10);
        for text in ["q1", "q2", "q3"] {
            queue.put(&Event::Newest(Key::Quote(symbol()), text.into()));
            queue.put(&Event::Ordered(text.replace('q', "r").into()));
        }
        assert_eq!(frames(&queue), ["snapshot", "r1", "r2"]);
        assert_eq!(frames(&queue), ["r3", "q3"]);
        assert!(matches!(queue.take(), Taken::Nothing));
    }

    #[test]
    fn a_complete_bar_ends_the_running_one() {
        let queue = queue(10);
        queue.put(&Event::Newest(Key::Bar(symbol()), "running".into()));
        queue.put(&Event::CompleteBar(symbol(), "complete".into()));
        queue.put(&Event::Newest(Key::Bar(symbol()), "next".into()));
        assert_eq!(frames(&queue), ["snapshot", "complete", "next"]);
    }

    #[test]
    fn too_much_becomes_one_snapshot_and_replies_stay() {
        let queue = queue(2);
        assert!(queue.put(&Event::Ordered("r1".into())) && queue.put(&Event::Ordered("r2".into())));
        assert!(
            !queue.put(&Event::Ordered("r3".into())),
            "one more than the limit"
        );
        assert!(queue.put(&Event::Ordered("r4".into())), "said once");
        queue.put_reply("reply".into());
        assert_eq!(frames(&queue), ["reply"]);
        assert!(matches!(queue.take(), Taken::SnapshotNeeded));
        assert!(matches!(queue.take(), Taken::Nothing), "asked once");
        queue.put(&Event::Ordered("older than the snapshot".into()));
        queue.put_snapshot("fresh".into());
        queue.put(&Event::Ordered("r5".into()));
        assert_eq!(frames(&queue), ["fresh", "r5"]);
    }
}
