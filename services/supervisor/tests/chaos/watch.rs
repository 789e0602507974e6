//! Two who watch all the time: one reads LEDGER as it is stored and never forgets, one is a browser.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use protocol::Hash;
use protocol::subject::stream;
use runtime::Bus;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::books::Books;

/// Time between two tries.
const RETRY: Duration = Duration::from_millis(200);
/// How long a reader may be silent before it is opened anew: the server may have gone without a word.
const SILENCE: Duration = Duration::from_secs(3);

/// A record of LEDGER as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub subject: String,
    pub hash: Hash,
    pub record: Value,
}

/// LEDGER by sequence.
pub type Ledger = BTreeMap<u64, Stored>;

/// Something that a task writes and others read.
type Shared<T> = Arc<Mutex<T>>;

fn open<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads LEDGER from a sequence on, up to where it ends now.
pub async fn read(bus: &Bus, from: u64) -> anyhow::Result<Ledger> {
    let mut history = bus.history::<Value>(stream::LEDGER, ">", from).await?;
    let mut ledger = Ledger::new();
    while ledger
        .last_key_value()
        .map_or(from.saturating_sub(1), |(last, _)| *last)
        < history.head
    {
        let stored = tokio::time::timeout(SILENCE, history.next()).await??;
        let hash = stored.hash();
        let (subject, record) = (stored.subject, stored.message);
        ledger.insert(
            stored.sequence,
            Stored {
                subject,
                hash,
                record,
            },
        );
    }
    Ok(ledger)
}

/// Remembers every record it ever saw.
pub struct Follower {
    seen: Shared<Ledger>,
    task: tokio::task::JoinHandle<()>,
}

impl Follower {
    pub fn start(bus: Bus) -> Self {
        let seen = Shared::<Ledger>::default();
        let writes = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let next = open(&writes).last_key_value().map_or(1, |(last, _)| last + 1);
                if let Ok(more) = read(&bus, next).await {
                    open(&writes).extend(more);
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        Self { seen, task }
    }

    /// All that was ever seen.
    pub fn seen(&self) -> Ledger {
        open(&self.seen).clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a browser knows, and what it was told that can't be.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub sequence: u64,
    pub books: Books,
    /// Hashes of the records it was told, by sequence.
    pub hashes: BTreeMap<u64, Hash>,
    pub snapshots: u64,
    pub wrong: Vec<String>,
}

/// A browser that comes back whenever it loses the bridge.
pub struct Page {
    told: Shared<Told>,
    task: tokio::task::JoinHandle<()>,
}

impl Page {
    pub fn start(listen: String, token: PathBuf) -> Self {
        let told = Shared::<Told>::default();
        let writes = told.clone();
        let task = tokio::spawn(async move {
            loop {
                // The bridge may be away; that it comes back is what the judges wait for.
                let _ = visit(&listen, &token, &writes).await;
                tokio::time::sleep(RETRY).await;
            }
        });
        Self { told, task }
    }

    pub fn told(&self) -> Told {
        open(&self.told).clone()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn visit(listen: &str, token: &PathBuf, told: &Mutex<Told>) -> anyhow::Result<()> {
    let token = std::fs::read_to_string(token)?;
    let mut request = format!("ws://{listen}/ws").into_client_request()?;
    let origin = HeaderValue::from_str(&format!("http://{listen}"))?;
    request.headers_mut().insert("Origin", origin);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
    let hello = json!({"say": "hello", "token": token.trim()}).to_string();
    socket.send(hello.into()).await?;
    let mut greeted = false;
    loop {
        let message = tokio::time::timeout(SILENCE * 3, socket.next()).await?;
        let Some(message) = message else { return Ok(()) };
        let Ok(text) = message?.into_text() else { continue };
        let Ok(frame) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        match frame["frame"].as_str() {
            Some("snapshot") => {
                greeted = true;
                open(told).begin(&frame);
            }
            Some("record") => open(told).next(&frame, greeted),
            _ => {}
        }
    }
}

impl Told {
    fn begin(&mut self, frame: &Value) {
        let portfolio = &frame["portfolio"];
        self.books = Books::of_snapshot(portfolio);
        self.sequence = portfolio["sequence"].as_u64().unwrap_or_default();
        self.snapshots += 1;
    }

    fn next(&mut self, frame: &Value, greeted: bool) {
        let sequence = frame["sequence"].as_u64().unwrap_or_default();
        if !greeted || sequence != self.sequence + 1 {
            let after = self.sequence;
            self.wrong
                .push(format!("a browser was told record {sequence} after {after}"));
        }
        let hash = frame["hash"].as_str().unwrap_or_default();
        self.hashes.insert(sequence, Hash(hash.to_owned()));
        self.sequence = sequence;
        self.books.record(&frame["record"]);
    }
}
