//! A gateway on which faults are allowed, the control port, and a client that shows every frame.

use std::path::Path;
use std::time::Duration;

use paper_gateway::{Gateway, Options};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Added to the numbers of messages on the wire.
const OFFSET: i32 = 200;

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
        Raw::connect(&self.gateway, client).await
    }
}

/// A client that sends and shows frames.
#[derive(Debug)]
pub struct Raw {
    pub socket: TcpStream,
    /// The next order id that it was told when it connected.
    pub next_id: i32,
    /// Notices that came with the greeting.
    pub notices: Vec<Frame>,
}

/// A message as it came: its number and its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub number: i32,
    pub body: Vec<u8>,
}

pub fn framed(number: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &(number + OFFSET).to_be_bytes(), body].concat()
}

impl Raw {
    /// A socket that has said what a client says before its first request.
    pub async fn greeted(address: std::net::SocketAddr) -> TcpStream {
        // A gateway that restarts needs a moment to listen again.
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            match Self::greet(address).await {
                Ok(socket) => return socket,
                Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
            }
        }
    }

    async fn greet(address: std::net::SocketAddr) -> std::io::Result<TcpStream> {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(b"API\0\0\0\0\x09v213..225").await?;
        let length = socket.read_u32().await?;
        let mut text = vec![0; length as usize];
        socket.read_exact(&mut text).await?;
        Ok(socket)
    }

    /// Connects and reads all that a client is told at first.
    pub async fn connect(gateway: &Gateway, client: i32) -> Self {
        let mut raw = Self {
            socket: Self::greeted(gateway.address()).await,
            next_id: 0,
            notices: Vec::new(),
        };
        let start = Start {
            client_id: Some(client),
        };
        raw.send(71, &start).await;
        let told = raw.until("the third notice", |frame| {
            matches!(frame.line().as_str(), "error 2158" | "error 2157")
        });
        let told = told.await;
        let next = told.iter().find(|frame| frame.number == 9).unwrap();
        raw.next_id = next.read::<Numbered>().id.unwrap();
        raw.notices = told.into_iter().filter(|frame| frame.number == 4).collect();
        raw
    }

    pub async fn send(&mut self, number: i32, message: &impl Message) {
        let bytes = framed(number, &message.encode_to_vec());
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// The next frame; `None` when the connection ended.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let length = self.socket.read_u32().await.ok()?;
            let number = self.socket.read_i32().await.ok()? - OFFSET;
            let mut body = vec![0; length as usize - 4];
            self.socket.read_exact(&mut body).await.ok()?;
            Some(Frame { number, body })
        };
        tokio::time::timeout(DEADLINE, read)
            .await
            .expect("a frame in time")
    }

    /// All frames up to and with the first one that is wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut seen = Vec::new();
        loop {
            let Some(frame) = self.next().await else {
                panic!("the connection ended before {what}: {:?}", lines(&seen))
            };
            seen.push(frame);
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
    }

    /// All frames up to and with the first one that reads so.
    pub async fn story(&mut self, last: &str) -> Vec<String> {
        lines(&self.until(last, |frame| frame.line() == last).await)
    }

    /// What is left up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next().await {
            seen.push(frame);
        }
        lines(&seen)
    }

    /// Places an order to buy at the market, or at a limit that rests.
    pub async fn buy(&mut self, order_id: i32, symbol: &str, shares: u32, limit: Option<f64>) {
        self.send(3, &place(order_id, symbol, shares, limit)).await;
    }

    pub async fn cancel(&mut self, order_id: i32) {
        self.send(4, &Numbered { id: Some(order_id) }).await;
    }

    /// Asks for the time, so that everything before the answer is what came by then.
    pub async fn sync(&mut self) -> Vec<String> {
        self.send(49, &Empty {}).await;
        let mut told = self.story("message 49").await;
        told.pop();
        told
    }

    /// Open orders of everybody.
    pub async fn open_orders(&mut self) -> Vec<String> {
        self.send(16, &Empty {}).await;
        let mut told = self.story("message 53").await;
        told.pop();
        told
    }

    pub async fn quotes(&mut self, id: i32, symbol: &str) {
        let request = Asked {
            id: Some(id),
            contract: Some(contract(symbol)),
        };
        self.send(1, &request).await;
    }
}

pub fn place(order_id: i32, symbol: &str, shares: u32, limit: Option<f64>) -> Place {
    Place {
        order_id: Some(order_id),
        contract: Some(contract(symbol)),
        order: Some(Order {
            client_id: None,
            perm_id: None,
            action: Some("BUY".into()),
            quantity: Some(shares.to_string()),
            kind: Some(if limit.is_some() { "LMT" } else { "MKT" }.into()),
            limit,
            reference: Some(format!("ref-{order_id}")),
            transmit: Some(true),
        }),
    }
}

pub fn contract(symbol: &str) -> Contract {
    Contract {
        symbol: Some(symbol.into()),
        kind: Some("STK".into()),
        exchange: Some("SMART".into()),
        currency: Some("USD".into()),
    }
}

pub fn lines(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(Frame::line).collect()
}

impl Frame {
    pub fn read<M: Message + Default>(&self) -> M {
        M::decode(&self.body[..]).unwrap()
    }

    /// A frame in few words.
    pub fn line(&self) -> String {
        let text = |text: Option<String>| text.unwrap_or_default();
        match self.number {
            3 => {
                let status: Status = self.read();
                format!(
                    "{} {}/{}",
                    text(status.status),
                    text(status.filled),
                    text(status.remaining)
                )
            }
            4 => format!("error {}", self.read::<Notice>().code.unwrap()),
            5 => format!("open {}", text(self.read::<Open>().state.unwrap().status)),
            11 => format!("fill {}", text(self.read::<Details>().execution.unwrap().shares)),
            59 => "fee".into(),
            number => format!("message {number}"),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Start {
    #[prost(int32, optional, tag = "1")]
    pub client_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct Numbered {
    #[prost(int32, optional, tag = "1")]
    pub id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Asked {
    #[prost(int32, optional, tag = "1")]
    pub id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub contract: Option<Contract>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Place {
    #[prost(int32, optional, tag = "1")]
    pub order_id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub contract: Option<Contract>,
    #[prost(message, optional, tag = "3")]
    pub order: Option<Order>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Contract {
    #[prost(string, optional, tag = "2")]
    pub symbol: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub kind: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub exchange: Option<String>,
    #[prost(string, optional, tag = "10")]
    pub currency: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Order {
    #[prost(int32, optional, tag = "1")]
    pub client_id: Option<i32>,
    #[prost(int64, optional, tag = "3")]
    pub perm_id: Option<i64>,
    #[prost(string, optional, tag = "5")]
    pub action: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub quantity: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub kind: Option<String>,
    #[prost(double, optional, tag = "9")]
    pub limit: Option<f64>,
    #[prost(string, optional, tag = "28")]
    pub reference: Option<String>,
    #[prost(bool, optional, tag = "66")]
    pub transmit: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Open {
    #[prost(int32, optional, tag = "1")]
    pub order_id: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub order: Option<Order>,
    #[prost(message, optional, tag = "4")]
    pub state: Option<OrderState>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OrderState {
    #[prost(string, optional, tag = "1")]
    pub status: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, optional, tag = "1")]
    pub order_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub status: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub filled: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub remaining: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Notice {
    #[prost(int32, optional, tag = "1")]
    pub id: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub code: Option<i32>,
    #[prost(string, optional, tag = "4")]
    pub text: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Details {
    #[prost(int32, optional, tag = "1")]
    pub id: Option<i32>,
    #[prost(message, optional, tag = "3")]
    pub execution: Option<Execution>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Execution {
    #[prost(int32, optional, tag = "1")]
    pub order_id: Option<i32>,
    #[prost(string, optional, tag = "2")]
    pub execution_id: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub shares: Option<String>,
    #[prost(double, optional, tag = "8")]
    pub price: Option<f64>,
    #[prost(int64, optional, tag = "9")]
    pub perm_id: Option<i64>,
    #[prost(int32, optional, tag = "10")]
    pub client_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tick {
    #[prost(int32, optional, tag = "1")]
    pub id: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct History {
    #[prost(int32, optional, tag = "1")]
    pub id: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub contract: Option<Contract>,
    #[prost(string, optional, tag = "4")]
    pub size: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub duration: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub show: Option<String>,
}
