//! What one client has asked to be told of, and the way to tell it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use engine::venue::bars::{Bar, BarSize};
use engine::venue::history::Show;
use prost::Message;
use protocol::Symbol;

use crate::followed::Followed;
use crate::hub::depth::DepthLine;
use crate::hub::lookup::Lookup;
use crate::line::{DataType, Line};
use crate::message::account::ErrorMessage;
use crate::outbox::{Backlog, Outbox, QUEUE_BYTES_MAX};
use crate::request::Asked;
use crate::wire;

/// Most requests that go on at a time for one client, of all kinds together.
const REQUESTS_MAX: usize = 1_000;
/// Most questions about the past of one client that wait; more are refused.
pub(crate) const LOOKUPS_MAX: usize = 200;
/// Questions that a request for quotes asks at most: how a delayed quote begins, and the prices of weeks.
const LOOKUPS_OF_A_REQUEST: usize = 2;
/// Number of an error frame.
const ERROR: i32 = 4;
/// Why a client is cut off that has more to read than may wait for it.
const UNREAD: &str = "too many frames or bytes wait for it";
/// The id of what concerns no request.
pub(crate) const NO_REQUEST: i32 = -1;

/// Which trades or quotes a client wants one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TickKind {
    Last,
    AllLast,
    BidAsk,
    MidPoint,
}

/// Trades or quotes that are followed one by one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickLine {
    pub(crate) kind: TickKind,
    /// Whether those of the past that come first are still looked up: until they are told, nothing is.
    pub(crate) waits: bool,
}

/// Five-second bars that are followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BarLine {
    pub(crate) show: Show,
    pub(crate) regular_only: bool,
}

/// A history that goes on.
#[derive(Debug)]
pub(crate) struct LiveHistory {
    pub(crate) size: BarSize,
    pub(crate) show: Show,
    pub(crate) regular_only: bool,
    /// Whether times are told as text instead of seconds.
    pub(crate) as_text: bool,
    /// The bar in progress.
    pub(crate) bar: Option<Bar>,
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) client: i32,
    outbox: Outbox,
    /// Frames that are handed to the connection together, at the end of the hub's turn.
    frames: usize,
    buffer: BytesMut,
    /// How many of those frames and bytes have passed the faults in force.
    checked: (usize, usize),
    /// Set when nothing is told to it any more, though it is connected.
    pub(crate) muted: bool,
    /// Why it reads too slowly, once a limit was reached; the hub lets go of it at the end of its turn.
    pub(crate) late: Option<&'static str>,
    /// What it asked before it had read what was answered earlier.
    pub(crate) requests: VecDeque<Asked>,
    /// The kind of prices that it asked for last.
    pub(crate) data_type: DataType,
    pub(crate) quotes: Followed<Line>,
    pub(crate) bars: Followed<BarLine>,
    pub(crate) ticks: Followed<TickLine>,
    pub(crate) depths: Followed<DepthLine>,
    pub(crate) histories: Followed<LiveHistory>,
    /// Questions about the past that wait for their turn.
    pub(crate) lookups: VecDeque<Lookup>,
    pub(crate) summaries: BTreeMap<i32, BTreeSet<String>>,
    /// Requests for the account's values, and whether those of the ledger and its worth are all that is wanted.
    pub(crate) account_multi: BTreeMap<i32, bool>,
    pub(crate) positions_multi: BTreeSet<i32>,
    pub(crate) gains: BTreeSet<i32>,
    pub(crate) gains_single: BTreeMap<i32, Symbol>,
    pub(crate) account: bool,
    pub(crate) positions: bool,
    /// Whether orders that a person places are bound to it as they come.
    pub(crate) auto_bind: bool,
}

impl Peer {
    pub(crate) fn new(client: i32, outbox: Outbox) -> Self {
        Self {
            client,
            outbox,
            frames: 0,
            buffer: BytesMut::new(),
            checked: (0, 0),
            muted: false,
            late: None,
            requests: VecDeque::new(),
            data_type: DataType::default(),
            quotes: Followed::default(),
            bars: Followed::default(),
            ticks: Followed::default(),
            depths: Followed::default(),
            histories: Followed::default(),
            lookups: VecDeque::new(),
            summaries: BTreeMap::new(),
            account_multi: BTreeMap::new(),
            positions_multi: BTreeSet::new(),
            gains: BTreeSet::new(),
            gains_single: BTreeMap::new(),
            account: false,
            positions: false,
            auto_bind: false,
        }
    }

    /// Queues a message.
    pub(crate) fn send(&mut self, number: i32, message: &impl Message) {
        self.put(|buffer| wire::put_frame(buffer, number, message));
    }

    /// Queues a message about a request that was encoded without its first field, the request's number.
    pub(crate) fn send_numbered(&mut self, number: i32, id: i32, rest: &[u8]) {
        self.put(|buffer| wire::put_numbered(buffer, number, id, rest));
    }

    /// Queues a frame that is made already.
    pub(crate) fn send_made(&mut self, frame: &[u8]) {
        self.put(|buffer| buffer.extend_from_slice(frame));
    }

    /// Queues one frame that is written into the buffer. Everything that a client is told goes through here.
    fn put(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if self.late.is_some() || self.muted {
            return;
        }
        write(&mut self.buffer);
        self.frames += 1;
        self.late = (self.buffer.len() > QUEUE_BYTES_MAX).then_some(UNREAD);
    }

    /// Hands all queued frames to the connection.
    pub(crate) fn flush(&mut self) {
        if self.frames > 0 && self.late.is_none() {
            let fits = self.outbox.hand(self.frames, &mut self.buffer);
            self.late = (!fits).then_some(UNREAD);
            self.frames = 0;
            self.checked = (0, 0);
        }
    }

    /// Takes out of the queue what came since the last frame that passed.
    pub(crate) fn unchecked(&mut self) -> Bytes {
        let (frames, bytes) = self.checked;
        self.frames = frames;
        self.buffer.split_off(bytes).freeze()
    }

    /// Queues what has passed: a frame, or a part of one before the connection ends.
    pub(crate) fn pass(&mut self, frame: &[u8]) {
        self.put(|buffer| buffer.extend_from_slice(frame));
        self.checked = (self.frames, self.buffer.len());
    }

    /// Neither reads nor writes any more, and keeps the connection.
    pub(crate) fn freeze(&mut self) {
        self.muted = true;
        self.outbox.freeze();
    }

    /// Queues an error or a notice about a request or an order.
    pub(crate) fn error(&mut self, id: i32, code: i32, text: &str) {
        self.send(ERROR, &error(id, code, text));
    }

    /// Queues the refusal of an order, with its reason as JSON too.
    pub(crate) fn reject(&mut self, order_id: i32, code: i32, text: &str) {
        let json = serde_json::json!({ "rejects": [{ "code": code, "reason": text }] }).to_string();
        let refused = ErrorMessage {
            advanced_order_reject_json: Some(json),
            ..error(order_id, code, text)
        };
        self.send(ERROR, &refused);
    }

    /// What waits to be written.
    pub(crate) fn backlog(&self) -> Backlog {
        self.outbox.backlog().and(self.frames, self.buffer.len())
    }

    /// Bytes that are kept for it: those that wait to be written, and its requests that wait until it has read some.
    pub(crate) fn bytes_kept(&self) -> usize {
        let asked: usize = self.requests.iter().map(|asked| asked.bytes).sum();
        self.backlog().bytes + asked
    }

    /// The next of the requests that wait, once it has read enough of the answers to those before.
    pub(crate) fn next_request(&mut self) -> Option<Asked> {
        if self.muted {
            self.requests.clear();
        }
        if self.requests.is_empty() || self.backlog().is_long() {
            return None;
        }
        self.requests.pop_front()
    }

    /// Whether it will be answered as soon as it has read some.
    pub(crate) fn waits_for_itself(&self) -> bool {
        let asks = !(self.requests.is_empty() && self.lookups.is_empty());
        asks && self.backlog().is_long()
    }

    /// Ends the connection at once.
    pub(crate) fn cut(&self) {
        self.outbox.cut();
    }

    /// Whether it follows as much as one client may.
    pub(crate) fn is_full(&self) -> bool {
        let prices =
            self.quotes.len() + self.bars.len() + self.ticks.len() + self.depths.len() + self.histories.len();
        let account = self.account_multi.len()
            + self.positions_multi.len()
            + self.gains.len()
            + self.gains_single.len();
        prices + account + self.lookups.len() >= REQUESTS_MAX
    }

    /// Whether as many questions about the past as one request can ask may wait, too.
    pub(crate) fn has_room_for_lookups(&self) -> bool {
        self.lookups.len() + LOOKUPS_OF_A_REQUEST <= LOOKUPS_MAX
    }

    /// Whether any price of any stock is pushed to it.
    pub(crate) fn watches_prices(&self) -> bool {
        !(self.quotes.is_empty()
            && self.bars.is_empty()
            && self.ticks.is_empty()
            && self.depths.is_empty()
            && self.histories.is_empty())
    }
}

fn error(id: i32, code: i32, text: &str) -> ErrorMessage {
    ErrorMessage {
        id: Some(id),
        error_time: Some(jiff::Timestamp::now().as_millisecond()),
        error_code: Some(code),
        error_msg: Some(text.into()),
        advanced_order_reject_json: None,
    }
}
