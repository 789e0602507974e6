//! The empty stages: the way of an order without anything decided on it. Each is a process of its own with one thread,
//! as the real stages are, and connects through the same code.
//!
//! A message is a JSON text as long as the real one's JSON: a digit that says whether an order follows, nine digits
//! that number it, and filler.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use protocol::ledger::Record;
use protocol::{Hash, Id, subject};
use runtime::Bus;
use runtime::ledger::Ledger;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::lab::FLOOR_USER;

/// The variable with the password of the floor's user.
pub const SECRET: &str = "TRADEWIND_BENCH_SECRET";
/// Digits of a message's number.
const NUMBER_DIGITS: usize = 9;
/// Bytes of a frame before its text.
pub const LENGTH_BYTES: usize = 4;

/// Which empty stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Where market-data is: from the socket to the bus.
    In,
    /// Where signal is: from the bus to the bus.
    Middle,
    /// Where execution is: from the bus to LEDGER and then to the socket.
    Out,
}

/// How an empty stage is started.
#[derive(Debug, Clone, Args)]
pub struct Stage {
    /// Which.
    #[arg(long)]
    pub role: Role,
    /// Where NATS listens.
    #[arg(long)]
    pub nats: String,
    /// Where the bench listens in the gateway's place.
    #[arg(long)]
    pub gateway: SocketAddr,
    /// Length of what the stage says, in bytes.
    #[arg(long)]
    pub bytes: usize,
    /// The record that the last stage appends, under new ids.
    #[arg(long)]
    pub record: Option<PathBuf>,
}

impl Stage {
    /// Runs until the bench ends it.
    ///
    /// # Errors
    /// When the bus or a socket ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let secret = std::env::var(SECRET).context("the bench sets the password")?;
        let bus = Bus::connect(FLOOR_USER, &self.nats, &secret).await?;
        match self.role {
            Role::In => self.first(&bus).await,
            Role::Middle => self.middle(&bus).await,
            Role::Out => self.last(&bus).await,
        }
    }

    /// Connects to the bench, which then knows that this stage is ready.
    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let mut socket = TcpStream::connect(self.gateway)
            .await
            .context("connect to the bench")?;
        socket.set_nodelay(true)?;
        socket.write_u8(self.role as u8).await?;
        Ok(socket)
    }

    async fn first(&self, bus: &Bus) -> anyhow::Result<()> {
        let mut socket = BufReader::new(self.connect().await?);
        loop {
            let length = socket.read_u32().await?;
            let mut text = vec![0; length as usize];
            socket.read_exact(&mut text).await?;
            let text = String::from_utf8(text)?;
            let (symbol, head) = parts(&text).context("a frame of the bench")?;
            bus.publish(format!("market.bar.{symbol}"), &message(head, symbol, self.bytes))
                .await?;
        }
    }

    async fn middle(&self, bus: &Bus) -> anyhow::Result<()> {
        let mut bars = bus.subscribe::<String>(subject::filter::BARS).await?;
        drop(self.connect().await?);
        loop {
            let bar = bars.next().await.context("the bus is closed")?;
            let (symbol, head) = parts(&bar.body).context("a bar of the floor")?;
            bus.publish(format!("signal.{symbol}"), &message(head, symbol, self.bytes))
                .await?;
        }
    }

    async fn last(&self, bus: &Bus) -> anyhow::Result<()> {
        let file = self
            .record
            .as_ref()
            .context("the record to append is not named")?;
        let record: Record = serde_json::from_slice(&std::fs::read(file)?)?;
        let mut ledger = Ledger::after(bus, 0, Hash::zero());
        let mut signals = bus.subscribe::<String>(subject::filter::SIGNALS).await?;
        let mut socket = self.connect().await?;
        loop {
            let signal = signals.next().await.context("the bus is closed")?;
            let (symbol, head) = parts(&signal.body).context("a signal of the floor")?;
            if !head.starts_with('1') {
                continue;
            }
            let id = Id::derive(&["floor", head]);
            ledger.append(Record { id, ..record.clone() }).await?;
            socket.write_all(&frame(head, symbol, self.bytes)).await?;
        }
    }
}

/// What is said in front: whether an order follows, and the number.
#[must_use]
pub fn head(orders: bool, number: u32) -> String {
    format!("{}{number:0NUMBER_DIGITS$}", u8::from(orders))
}

/// The number in the text of a frame.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    text.get(1..=NUMBER_DIGITS)?.parse().ok()
}

/// A frame of `bytes` bytes in all.
#[must_use]
pub fn frame(head: &str, symbol: &str, bytes: usize) -> Vec<u8> {
    let text = filled(head, symbol, bytes.saturating_sub(LENGTH_BYTES));
    let length = u32::try_from(text.len()).expect("frames are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A text whose JSON has `bytes` bytes.
fn message(head: &str, symbol: &str, bytes: usize) -> String {
    filled(head, symbol, bytes.saturating_sub(2))
}

fn filled(head: &str, symbol: &str, bytes: usize) -> String {
    let mut text = format!("{head} {symbol} ");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// Symbol and head of a text.
fn parts(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split(' ');
    let head = words.next()?;
    Some((words.next()?, head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_has_the_length_asked_for_and_reads_back() {
        let head = head(true, 42);
        let text = message(&head, "AAPL", 300);
        assert_eq!(serde_json::to_vec(&text).unwrap().len(), 300);
        assert_eq!(parts(&text), Some(("AAPL", head.as_str())));
        let frame = frame(&head, "AAPL", 90);
        assert_eq!(frame.len(), 90);
        let text = std::str::from_utf8(&frame[LENGTH_BYTES..]).unwrap();
        assert_eq!((number(text), text.starts_with('1')), (Some(42), true));
    }
}
