//! A client of bare frames: it builds and reads protobuf by field numbers, as the wire has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use paper_gateway::{Gateway, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The codes of no error at all.
pub const FINE: [i64; 0] = [];
/// Number of an error frame.
pub const ERROR: i32 = 4;

/// A gateway in a folder of its own, which must be kept as long as it runs.
pub async fn gateway(more: &[&str]) -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&options(state.path(), more)).await.unwrap();
    (gateway, state)
}

fn options(state: &Path, more: &[&str]) -> Options {
    let first = ["tradewind-paper-gateway", "--listen", "127.0.0.1:0", "--state"];
    let state = state.to_str().unwrap();
    let all = first.iter().chain([&state]).chain(more);
    <Options as clap::Parser>::try_parse_from(all).unwrap()
}

/// The body of a message, field by field.
#[derive(Clone, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7F {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn text(mut self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes());
        self
    }

    pub fn part(mut self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0);
        self
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }
}

/// A body that begins with a request id.
pub fn numbered(id: i64) -> Body {
    Body::default().int(1, id)
}

/// A contract of a stock.
pub fn stock(symbol: &str) -> Body {
    Body::default()
        .text(2, symbol)
        .text(3, "STK")
        .text(8, "SMART")
        .text(10, "USD")
}

/// A request id and a stock, as most requests for data begin.
pub fn about(id: i64, symbol: &str) -> Body {
    numbered(id).part(2, &stock(symbol))
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
}

/// A message, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub number: i32,
    pub fields: BTreeMap<u32, Vec<Value>>,
}

impl Message {
    /// Reads a body; panics where it is no protobuf.
    pub fn read(number: i32, mut bytes: &[u8]) -> Self {
        let mut fields: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Int(varint(&mut bytes).cast_signed()),
                1 => {
                    let (now, rest) = bytes.split_at(8);
                    bytes = rest;
                    Value::Double(f64::from_le_bytes(now.try_into().unwrap()))
                }
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    let (now, rest) = bytes.split_at(length);
                    bytes = rest;
                    Value::Bytes(now.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            fields
                .entry(u32::try_from(key >> 3).unwrap())
                .or_default()
                .push(value);
        }
        Self { number, fields }
    }

    pub fn int(&self, field: u32) -> Option<i64> {
        match self.fields.get(&field)?.first()? {
            Value::Int(value) => Some(*value),
            other => panic!("{other:?} is no integer"),
        }
    }

    pub fn double(&self, field: u32) -> Option<f64> {
        match self.fields.get(&field)?.first()? {
            Value::Double(value) => Some(*value),
            other => panic!("{other:?} is no double"),
        }
    }

    pub fn text(&self, field: u32) -> Option<String> {
        match self.fields.get(&field)?.first()? {
            Value::Bytes(bytes) => Some(String::from_utf8(bytes.clone()).unwrap()),
            other => panic!("{other:?} is no text"),
        }
    }

    /// All messages in a repeated field.
    pub fn parts(&self, field: u32) -> Vec<Self> {
        let values = self.fields.get(&field).into_iter().flatten();
        values
            .map(|value| match value {
                Value::Bytes(bytes) => Self::read(0, bytes),
                other => panic!("{other:?} is no message"),
            })
            .collect()
    }

    /// The code of an error frame.
    pub fn code(&self) -> Option<i64> {
        (self.number == ERROR).then(|| self.int(3)).flatten()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes")
}

/// Whether a message ends an answer about the past: its last part, or an error.
pub fn is_end_of_the_past(message: &Message) -> bool {
    matches!(message.number, 108 | 106 | 89 | 96 | 97 | 98 | ERROR)
}

/// A connected client.
pub struct Raw {
    pub socket: TcpStream,
    /// Longest wait for an answer.
    pub patience: Duration,
}

impl Raw {
    /// Connects, and reads what every client is told at first.
    pub async fn connect(gateway: &Gateway, client: i64) -> Self {
        Self::connect_to(&gateway.address().to_string(), client).await
    }

    /// The same, to a gateway of its own process.
    pub async fn connect_to(address: &str, client: i64) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"API\0\0\0\0\x09v213..225").await.unwrap();
        let length = socket.read_u32().await.unwrap();
        let mut greeting = vec![0; length as usize];
        socket.read_exact(&mut greeting).await.unwrap();
        let mut raw = Self {
            socket,
            patience: DEADLINE,
        };
        raw.send(71, &numbered(client)).await;
        raw.until("the last notice of the start", |message| {
            message.code() == Some(2158)
        })
        .await;
        raw
    }

    pub async fn send(&mut self, number: i32, body: &Body) {
        let length = u32::try_from(body.0.len() + 4).unwrap();
        let frame = [&length.to_be_bytes()[..], &(number + 200).to_be_bytes(), &body.0].concat();
        self.socket.write_all(&frame).await.unwrap();
    }

    pub async fn next(&mut self) -> Message {
        self.next_if_any().await.expect("the connection goes on")
    }

    /// The next message; `None` once the connection has ended.
    pub async fn next_if_any(&mut self) -> Option<Message> {
        let length = self.socket.read_u32().await.ok()? as usize;
        let number = self.socket.read_i32().await.ok()? - 200;
        let mut body = vec![0; length - 4];
        self.socket.read_exact(&mut body).await.ok()?;
        Some(Message::read(number, &body))
    }

    /// The next message that `wanted` accepts.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let mut told = self.all_until(what, wanted).await;
        told.pop().expect("the message that was looked for is the last")
    }

    /// All that is told before the answer to a question that is asked now.
    pub async fn told(&mut self) -> Vec<Message> {
        self.told_before(49, 49).await
    }

    async fn told_before(&mut self, question: i32, answer: i32) -> Vec<Message> {
        self.send(question, &Body::default()).await;
        let mut told = self.all_until("time", |message| message.number == answer).await;
        told.pop();
        told
    }

    /// All messages up to the first that `wanted` accepts, which is the last of them.
    pub async fn all_until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let patience = self.patience;
        let search = async {
            let mut told = Vec::new();
            loop {
                let message = self.next().await;
                let found = wanted(&message);
                told.push(message);
                if found {
                    return told;
                }
            }
        };
        let told = tokio::time::timeout(patience, search).await;
        told.unwrap_or_else(|_| panic!("no {what} in time"))
    }

    /// What a request is answered with at once.
    pub async fn ask(&mut self, number: i32, body: &Body) -> Vec<Message> {
        self.send(number, body).await;
        match number {
            49 => self.told_before(105, 109).await,
            // The past is looked up beside everything else.
            20 | 88 | 96 => {
                let mut told = self.all_until("end of the answer", is_end_of_the_past).await;
                told.extend(self.told().await);
                told
            }
            _ => self.told().await,
        }
    }

    /// The codes of the errors that a request is answered with at once.
    pub async fn codes(&mut self, number: i32, body: &Body) -> Vec<i64> {
        self.ask(number, body)
            .await
            .iter()
            .filter_map(Message::code)
            .collect()
    }
}
