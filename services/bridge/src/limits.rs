//! Every limit of the bridge in one place, so that a test can set small ones.

use std::time::Duration;

/// What one browser may hold, say and wait for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Browsers connected at the same time, signed in or not.
    pub clients: usize,
    /// Frames that wait for one browser before they are replaced by a fresh snapshot.
    pub queue_frames: usize,
    /// Bytes that wait for one browser before they are replaced by a fresh snapshot.
    pub queue_bytes: usize,
    /// Frames written between two flushes.
    pub flush_frames: usize,
    /// Bytes of one message from a browser.
    pub message_bytes: usize,
    /// Messages from one browser in a second.
    pub messages_per_second: u32,
    /// Commands of one browser that are not answered yet.
    pub commands_open: usize,
    /// Characters of a command's note.
    pub note_characters: usize,
    /// Time for the first message, which must be the token.
    pub hello: Duration,
    /// Time in which a browser must take what is written to it.
    pub write: Duration,
    /// Time between two pings.
    pub ping: Duration,
    /// Time without any sign of life, pongs included, after which a browser is let go.
    pub silence: Duration,
    /// Complete bars of each symbol that a snapshot holds.
    pub bars: usize,
    /// Refusals, and alerts, and model events, that a snapshot holds.
    pub events: usize,
    /// Points of the equity curve that a snapshot holds.
    pub equity: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 50,
            queue_frames: 4_096,
            queue_bytes: 4 * 1024 * 1024,
            flush_frames: 256,
            message_bytes: 16 * 1024,
            messages_per_second: 20,
            commands_open: 4,
            note_characters: 500,
            hello: Duration::from_secs(5),
            write: Duration::from_secs(20),
            ping: Duration::from_secs(10),
            silence: Duration::from_secs(35),
            bars: 300,
            events: 200,
            equity: 2_000,
        }
    }
}
