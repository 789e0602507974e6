//! The gateway's place at the floor: writes bursts of frames into the first empty stage and reads what comes out of
//! the last, with the instants of both.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use runtime::Bus;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::floor::{self, Role, SECRET};
use crate::lab::{FLOOR_USER, Lab};
use crate::witness::{Frames, Messages, Witness};

/// How long an empty stage may take to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Length of a bar, in nanoseconds.
const BAR_NANOS: u128 = 5_000_000_000;
/// When in a bar the floor has its turn: far from the pipeline's own bursts, so that neither waits for the other.
const TURN_NANOS: u128 = 2_500_000_000;

/// How long one order took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Which burst of bars it was in.
    pub burst: u64,
    /// From the bar's bytes to the order's, in microseconds.
    pub micros: f64,
}

/// Frames on their way, by number: burst, and when they were written.
type Sent = BTreeMap<u32, (u64, Instant)>;

/// The floor, running.
pub struct Feed {
    stages: Vec<Child>,
    into: TcpStream,
    frames: Frames,
    bursts: u64,
    number: u32,
    sent: Arc<Mutex<Sent>>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Feed {
    /// Makes the floor's LEDGER, with the settings of the real one, and starts the empty stages.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(lab: &Lab, messages: &Messages, frames: Frames) -> anyhow::Result<Self> {
        make_ledger(lab).await?;
        let record = lab.folder().join("record.json");
        std::fs::write(&record, serde_json::to_vec(&messages.intent)?)?;
        let listener = TcpListener::bind("127.0.0.1:0").context("open a port for the floor")?;
        let address = listener.local_addr()?;
        let mut stages = Vec::new();
        let mut sockets = Vec::new();
        // Those who listen come before those who talk.
        let roles = [
            (Role::Out, frames.order),
            (Role::Middle, messages.signal),
            (Role::In, messages.bar),
        ];
        for (role, bytes) in roles {
            stages.push(spawn(lab, role, address, bytes, &record)?);
            sockets.push(accept(&listener, role).await?);
        }
        let into = sockets.pop().context("the first stage's socket")?;
        let out = sockets.swap_remove(0);
        let (sent, samples) = (Arc::new(Mutex::new(Sent::new())), Arc::default());
        let reader = (sent.clone(), Arc::clone(&samples));
        std::thread::spawn(move || read(out, &reader.0, &reader.1));
        Ok(Self {
            stages,
            into,
            frames,
            bursts: 0,
            number: 0,
            sent,
            samples,
        })
    }

    /// Waits for the floor's turn and repeats the pipeline's last burst: as many frames, with orders after the same
    /// ones. False once `end` has come.
    ///
    /// # Errors
    /// When an empty stage ended.
    pub async fn burst(&mut self, witness: &Witness, end: tokio::time::Instant) -> anyhow::Result<bool> {
        let now = crate::witness::nanos();
        let wait = BAR_NANOS - (now + BAR_NANOS - TURN_NANOS) % BAR_NANOS;
        let turn = tokio::time::Instant::now() + Duration::from_nanos(u64::try_from(wait)?);
        if turn >= end {
            tokio::time::sleep_until(end).await;
            return Ok(false);
        }
        tokio::time::sleep_until(turn).await;
        let mut bytes = Vec::new();
        let mut numbers = Vec::new();
        for (symbol, orders) in witness.last_burst() {
            self.number += 1;
            numbers.extend(orders.then_some(self.number));
            bytes.extend(floor::frame(
                &floor::head(orders, self.number),
                symbol.as_str(),
                self.frames.bar,
            ));
        }
        self.bursts += 1;
        let begin = {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = Instant::now();
            sent.extend(numbers.into_iter().map(|number| (number, (self.bursts, begin))));
            begin
        };
        self.into
            .write_all(&bytes)
            .context("the first empty stage ended")?;
        tracing::debug!(bytes = bytes.len(), micros = begin.elapsed().as_micros(), "burst");
        Ok(true)
    }

    /// Ends the empty stages. Returns how long each order took, and how many did not come back.
    pub async fn finish(mut self) -> (Vec<Sample>, usize) {
        for stage in &mut self.stages {
            // One that ended by itself is as gone as we want it.
            let _ = stage.kill().await;
        }
        let missing = self.sent.lock().unwrap_or_else(PoisonError::into_inner).len();
        let samples = std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        (samples, missing)
    }
}

async fn make_ledger(lab: &Lab) -> anyhow::Result<()> {
    let info: Value = lab
        .bus()?
        .request("$JS.API.STREAM.INFO.LEDGER", &json!({}))
        .await?;
    let mut config = info
        .get("config")
        .cloned()
        .context("LEDGER says nothing of its settings")?;
    if let Some(config) = config.as_object_mut() {
        config.remove("metadata");
    }
    let bus = Bus::connect(FLOOR_USER, lab.nats(), &lab.floor_secret).await?;
    let answer: Value = bus.request("$JS.API.STREAM.CREATE.LEDGER", &config).await?;
    anyhow::ensure!(
        answer.get("error").is_none(),
        "the floor's LEDGER was not made: {answer}"
    );
    Ok(())
}

fn spawn(
    lab: &Lab,
    role: Role,
    gateway: SocketAddr,
    bytes: usize,
    record: &std::path::Path,
) -> anyhow::Result<Child> {
    let name = match role {
        Role::In => "in",
        Role::Middle => "middle",
        Role::Out => "out",
    };
    Command::new(std::env::current_exe()?)
        .args(["floor", "--role", name, "--nats", lab.nats(), "--gateway"])
        .args([gateway.to_string(), "--bytes".to_owned(), bytes.to_string()])
        .arg("--record")
        .arg(record)
        .env(SECRET, &lab.floor_secret)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start an empty stage")
}

async fn accept(listener: &TcpListener, role: Role) -> anyhow::Result<TcpStream> {
    let listener = listener.try_clone()?;
    let accepted = tokio::task::spawn_blocking(move || -> std::io::Result<(TcpStream, u8)> {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut first = [0];
        socket.read_exact(&mut first)?;
        Ok((socket, first[0]))
    });
    let accepted = tokio::time::timeout(CONNECT, accepted).await;
    let (socket, first) =
        accepted.with_context(|| format!("the empty stage {role:?} did not connect"))???;
    anyhow::ensure!(first == role as u8, "another empty stage connected than {role:?}");
    Ok(socket)
}

/// Reads orders until the last stage ends, each with the instant at which its bytes were there.
fn read(mut socket: TcpStream, sent: &Mutex<Sent>, samples: &Mutex<Vec<Sample>>) {
    loop {
        let mut length = [0; floor::LENGTH_BYTES];
        if socket.read_exact(&mut length).is_err() {
            return;
        }
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        if socket.read_exact(&mut text).is_err() {
            return;
        }
        let now = Instant::now();
        let number = std::str::from_utf8(&text).ok().and_then(floor::number);
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((burst, begin)) = number.and_then(|number| sent.remove(&number)) {
            let micros = now.duration_since(begin).as_secs_f64() * 1e6;
            samples
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Sample { burst, micros });
        }
    }
}
