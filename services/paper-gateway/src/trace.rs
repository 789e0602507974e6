//! When what left and came at the socket, for who measures: one line for each five-second bar written and each order
//! read. Off unless a file is named.
//!
//! A line is `bar NANOS SYMBOL START BYTES`, the instant before the bar's frame is written to its client, or
//! `order NANOS SYMBOL REFERENCE BYTES`, the instant at which the order's frame was read. NANOS is the wall clock in
//! nanoseconds since 1970, START the bar's start in seconds since 1970, BYTES the length of the frame.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use prost::Message as _;

use crate::message::market::RealTimeBarTick;
use crate::request::Request;
use crate::wire;

/// Number of a frame with a bar.
const BAR: i32 = 50;
/// Lines wait in memory, so that writing them costs the path that is measured nothing; this many bytes at the most.
const BUFFER_BYTES: usize = 1 << 20;
/// Time between two writes to the file.
const FLUSH: Duration = Duration::from_secs(1);

/// The file of the trace, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Option<Arc<Mutex<Book>>>);

#[derive(Debug)]
struct Book {
    file: BufWriter<File>,
    /// What each client's requests for bars are of: (session, request id).
    bars: BTreeMap<(u64, i32), String>,
}

impl Trace {
    /// Begins a new file; without one nothing is ever noted.
    pub(crate) fn start(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else { return Ok(Self(None)) };
        let file = File::create(path).with_context(|| format!("can't write {}", path.display()))?;
        let book = Book {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            bars: BTreeMap::new(),
        };
        let book = Arc::new(Mutex::new(book));
        let weak = Arc::downgrade(&book);
        std::thread::spawn(move || {
            while let Some(book) = weak.upgrade() {
                // A full disk ends the trace, not the gateway.
                if book
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .file
                    .flush()
                    .is_err()
                {
                    return;
                }
                drop(book);
                std::thread::sleep(FLUSH);
            }
        });
        Ok(Self(Some(book)))
    }

    /// The instant to give to [`Trace::wrote`] or [`Trace::read`], which are called when there is time for it.
    pub(crate) fn now(&self) -> u128 {
        let elapsed = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos()
        };
        self.0.as_ref().map_or(0, |_| elapsed())
    }

    /// Writing these frames to a client began at an instant.
    pub(crate) fn wrote(&self, at: u128, session: u64, written: &[u8]) {
        let Some(book) = &self.0 else { return };
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, body, length) in wire::frames(written) {
            if number != BAR {
                continue;
            }
            let Ok(bar) = RealTimeBarTick::decode(body) else {
                continue;
            };
            let Book { file, bars } = &mut *book;
            let Some(symbol) = bars.get(&(session, bar.req_id.unwrap_or_default())) else {
                continue;
            };
            writeln!(
                file,
                "bar {at} {symbol} {} {length}",
                bar.time.unwrap_or_default()
            )
            .ok();
        }
    }

    /// A request with a body of so many bytes was read at an instant.
    pub(crate) fn read(&self, at: u128, session: u64, request: &Request, body: usize) {
        let Some(book) = &self.0 else { return };
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::RealTimeBars(bars) => {
                let symbol = bars
                    .contract
                    .as_ref()
                    .and_then(|contract| contract.symbol.clone());
                book.bars.insert(
                    (session, bars.req_id.unwrap_or_default()),
                    symbol.unwrap_or_default(),
                );
            }
            Request::PlaceOrder(place) => {
                let symbol = place
                    .contract
                    .as_ref()
                    .and_then(|contract| contract.symbol.as_deref())
                    .unwrap_or("-");
                let reference = place
                    .order
                    .as_ref()
                    .and_then(|terms| terms.order.order_ref.as_deref())
                    .unwrap_or("-");
                writeln!(
                    book.file,
                    "order {at} {symbol} {reference} {}",
                    body + wire::HEAD_BYTES
                )
                .ok();
            }
            _ => {}
        }
    }
}
