//! A gateway on which faults are allowed, and the control port.

use std::path::Path;
use std::time::Duration;

use paper_gateway::{Gateway, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use wire_client::{Body, DEADLINE, Message, Raw};

/// A gateway with its state folder, and its control port.
pub struct Stage {
    pub gateway: Gateway,
    pub state: tempfile::TempDir,
    control: BufReader<TcpStream>,
}

pub fn options(state: &Path, more: &[&str]) -> Options {
    let state = state.to_str().unwrap();
    let first = ["gateway", "--listen", "127.0.0.1:0", "--state", state];
    let pace = ["--trades-per-second", "20", "--symbols", "AAPL,TSLA"];
    let all = first.iter().chain(&pace).chain(more);
    <Options as clap::Parser>::try_parse_from(all).unwrap()
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(more: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let more: Vec<&str> = ["--control", "127.0.0.1:0"].iter().chain(more).copied().collect();
        let gateway = Gateway::start(&options(state.path(), &more)).await.unwrap();
        let control = TcpStream::connect(gateway.control_address().unwrap())
            .await
            .unwrap();
        Self {
            gateway,
            state,
            control: BufReader::new(control),
        }
    }

    /// Says a line on the control port and returns what it answers.
    pub async fn say(&mut self, line: &str) -> Value {
        self.control
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        let read = self.control.read_line(&mut answer);
        tokio::time::timeout(DEADLINE, read)
            .await
            .expect("an answer in time")
            .unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// Orders something that must be possible.
    pub async fn order(&mut self, line: &str) -> Value {
        let answer = self.say(line).await;
        assert_eq!(answer["ok"], json!(true), "{line}: {answer}");
        answer
    }

    pub async fn client(&self, client: i32) -> Raw {
        Raw::connect(self.gateway.address(), client).await
    }
}

/// Reads for a while, as a market of 20 trades a second has something to tell in that time.
pub async fn hear(client: &mut Raw, millis: u64) -> Vec<Message> {
    let end = tokio::time::Instant::now() + Duration::from_millis(millis);
    let mut seen = Vec::new();
    while tokio::time::Instant::now() < end {
        client.send(49, &Body::new()).await;
        let told = client.all_until("the time", |frame| frame.number == 49).await;
        seen.extend(told.into_iter().filter(|frame| frame.number != 49));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen
}
