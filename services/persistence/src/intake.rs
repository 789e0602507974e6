//! Brings LEDGER and MARKET into one order. What is read live comes as it comes; what is read again at a
//! start is merged by the market clock, so that the equity curve of a rebuilt file is that of the file
//! that was deleted.

use std::time::Duration;

use protocol::Timestamp;
use protocol::ledger::{Entry, Record};
use protocol::market::Bar;
use runtime::Stored;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::reader::Read;

/// How long one stream waits for the other while both are read again. A stream whose last messages were
/// aged out never reaches its head.
const MERGE_WAIT: Duration = Duration::from_secs(10);

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// LEDGER is open and ends at this sequence.
    LedgerOpen(u64),
    /// MARKET is open and ends at this sequence.
    MarketOpen(u64),
    /// A record, or why its bytes are none.
    Record(Stored<IgnoredAny>, Box<Result<Record, String>>),
    /// A bar, or something else of MARKET.
    Market(Stored<IgnoredAny>, Option<Bar>),
    /// A stream can't be read just now.
    Broken(String),
    /// LEDGER holds what it must not.
    LedgerFault(String),
}

/// The two readers and what they told that is not handed on yet.
#[derive(Debug)]
pub(crate) struct Intake {
    ledger: Side<Box<Result<Record, String>>>,
    market: Side<Option<Bar>>,
    /// Market clock of the last record that had one.
    clock: Timestamp,
    /// Until when the other stream is waited for before what there is goes on alone.
    patience: Instant,
}

#[derive(Debug)]
struct Side<T> {
    receiver: mpsc::Receiver<Read>,
    waiting: Option<(Stored<IgnoredAny>, T)>,
    /// Last sequence when the reader was opened.
    head: Option<u64>,
    seen: u64,
}

impl<T> Side<T> {
    fn new(receiver: mpsc::Receiver<Read>, seen: u64) -> Self {
        Self {
            receiver,
            waiting: None,
            head: None,
            seen,
        }
    }

    /// True while more will come that was there when the reader was opened.
    fn behind(&self) -> bool {
        self.head.is_none_or(|head| self.seen < head)
    }
}

impl Intake {
    /// Begins where both streams were read up to.
    pub(crate) fn new(ledger: mpsc::Receiver<Read>, market: mpsc::Receiver<Read>, seen: (u64, u64)) -> Self {
        Self {
            ledger: Side::new(ledger, seen.0),
            market: Side::new(market, seen.1),
            clock: Timestamp::MIN,
            patience: Instant::now() + MERGE_WAIT,
        }
    }

    /// MARKET is read anew from its beginning.
    pub(crate) fn restart_market(&mut self, market: mpsc::Receiver<Read>) {
        self.market = Side::new(market, 0);
    }

    /// Ends the waiting for each other: what comes is handed on as it comes.
    fn hurry(&mut self) {
        self.ledger.head = Some(0);
        self.market.head = Some(0);
    }

    /// Nothing of LEDGER is waited for any more, so that MARKET goes on without it.
    pub(crate) fn give_ledger_up(&mut self) {
        self.ledger.head = Some(0);
        self.ledger.waiting = None;
    }

    /// True once everything was handed on that was there when the readers were opened.
    pub(crate) fn caught_up(&self) -> bool {
        !self.ledger.behind()
            && !self.market.behind()
            && self.ledger.waiting.is_none()
            && self.market.waiting.is_none()
    }

    /// What comes next; `None` once both readers ended. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        loop {
            let wants_record = self.ledger.waiting.is_none() && self.ledger.behind();
            let wants_bar = self.market.waiting.is_none() && self.market.behind();
            if !wants_record
                && !wants_bar
                && let Some(next) = self.earlier()
            {
                return Some(next);
            }
            // A reader that is behind is waited for; one that is not may tell as it likes.
            let open = |wants: bool, other: bool| wants || !other;
            let takes_record = open(wants_record, wants_bar) && self.ledger.waiting.is_none();
            let takes_bar = open(wants_bar, wants_record) && self.market.waiting.is_none();
            let one_waits = self.ledger.waiting.is_some() || self.market.waiting.is_some();
            let told = tokio::select! {
                biased;
                read = self.ledger.receiver.recv(), if takes_record => self.ledger_told(read?),
                read = self.market.receiver.recv(), if takes_bar => self.market_told(read?),
                () = tokio::time::sleep_until(self.patience), if one_waits => {
                    self.hurry();
                    continue;
                }
            };
            self.patience = Instant::now() + MERGE_WAIT;
            if told.is_some() {
                return told;
            }
        }
    }

    /// What is handed on at once; a record waits for its turn.
    fn ledger_told(&mut self, read: Read) -> Option<Next> {
        match read {
            Read::Open { head } => {
                self.ledger.head = Some(head);
                Some(Next::LedgerOpen(head))
            }
            Read::Broken(text) => Some(Next::Broken(text)),
            Read::Fault(text) => Some(Next::LedgerFault(text)),
            Read::Message(stored) => {
                self.ledger.seen = stored.sequence;
                let record = serde_json::from_slice(&stored.bytes).map_err(|error| error.to_string());
                self.ledger.waiting = Some((stored, Box::new(record)));
                None
            }
        }
    }

    /// What is handed on at once; a bar waits for its turn.
    fn market_told(&mut self, read: Read) -> Option<Next> {
        match read {
            Read::Open { head } => {
                self.market.head = Some(head);
                Some(Next::MarketOpen(head))
            }
            Read::Broken(text) | Read::Fault(text) => Some(Next::Broken(text)),
            Read::Message(stored) => {
                self.market.seen = stored.sequence;
                let bar = serde_json::from_slice(&stored.bytes).ok();
                self.market.waiting = Some((stored, bar));
                None
            }
        }
    }

    /// The earlier of what waits, by the market clock; at the same instant the bar, from which orders follow.
    fn earlier(&mut self) -> Option<Next> {
        if let Some((_, record)) = &self.ledger.waiting
            && let Ok(record) = record.as_ref()
            && matches!(record.entry, Entry::Intent(_) | Entry::Order(_))
        {
            // Other records have the wall clock, and go with the record before them.
            self.clock = self.clock.max(record.at);
        }
        let bar_first = match &self.market.waiting {
            None => false,
            Some((_, bar)) => {
                self.ledger.waiting.is_none() || bar.as_ref().is_none_or(|bar| bar.at <= self.clock)
            }
        };
        if bar_first {
            return self
                .market
                .waiting
                .take()
                .map(|(stored, bar)| Next::Market(stored, bar));
        }
        self.ledger
            .waiting
            .take()
            .map(|(stored, record)| Next::Record(stored, record))
    }
}
