//! A client made of plain frames: cheap enough for fifty of them, and able to do what no proper client does.

use std::io::{Error, ErrorKind, Result};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes of a frame before its body: the length and the message's number.
const HEAD_BYTES: usize = 8;
/// Added to a message's number on the wire.
const PROTOBUF_OFFSET: i32 = 200;

/// What the gateway says.
pub struct Reader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
}

/// What is said to the gateway.
pub struct Writer(OwnedWriteHalf);

/// Connects as a client of an id.
pub async fn connect(address: &str, client: i32) -> Result<(Reader, Writer)> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (mut socket, writer) = socket.into_split();
    let mut writer = Writer(writer);
    writer.0.write_all(b"API\0\0\0\0\x09v213..226").await?;
    let length = socket.read_u32().await?;
    let mut greeting = vec![0; length as usize];
    socket.read_exact(&mut greeting).await?;
    writer.send(71, &Body::new().int(1, client.into())).await?;
    let buffer = BytesMut::with_capacity(1 << 16);
    Ok((Reader { socket, buffer }, writer))
}

impl Writer {
    pub async fn send(&mut self, number: i32, body: &Body) -> Result<()> {
        self.0.write_all(&frame(number, body)).await
    }
}

/// A frame as it goes out.
pub fn frame(number: i32, body: &Body) -> Vec<u8> {
    let length = u32::try_from(body.0.len() + 4).unwrap();
    let number = number + PROTOBUF_OFFSET;
    [&length.to_be_bytes()[..], &number.to_be_bytes(), &body.0].concat()
}

impl Reader {
    /// Waits for more and shows every whole frame: its number and its body.
    pub async fn read(&mut self, mut each: impl FnMut(i32, &[u8])) -> Result<()> {
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the gateway closed"));
        }
        while let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() {
            let [a, b, c, d, number @ ..] = *head;
            let end = u32::from_be_bytes([a, b, c, d]) as usize + 4;
            let Some(body) = self.buffer.get(HEAD_BYTES..end) else {
                break;
            };
            each(i32::from_be_bytes(number) - PROTOBUF_OFFSET, body);
            self.buffer.advance(end);
        }
        self.buffer.reserve(1 << 14);
        Ok(())
    }
}

/// A protobuf message on its way out.
#[derive(Default)]
pub struct Body(Vec<u8>);

impl Body {
    pub fn new() -> Self {
        Self::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub fn double(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A stock as a contract.
pub fn stock(symbol: &str) -> Body {
    let named = Body::new().text(2, symbol).text(3, "STK");
    named.text(8, "SMART").text(10, "USD")
}

/// A message that came in: a view of its fields, of which the last one of a number counts.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

#[derive(Clone, Copy)]
enum Value<'a> {
    Int(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7F) << shift;
        if *first < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

impl<'a> Fields<'a> {
    fn get(self, wanted: u64) -> Option<Value<'a>> {
        let (mut bytes, mut found) = (self.0, None);
        while let Some(key) = varint(&mut bytes) {
            let value = match key & 7 {
                0 => Value::Int(varint(&mut bytes)?),
                1 => {
                    let (value, rest) = bytes.split_first_chunk()?;
                    bytes = rest;
                    Value::Double(f64::from_le_bytes(*value))
                }
                _ => {
                    let length = varint(&mut bytes)? as usize;
                    let (value, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    Value::Bytes(value)
                }
            };
            if key >> 3 == wanted {
                found = Some(value);
            }
        }
        found
    }

    /// An integer; zero where it is absent.
    pub fn int(self, field: u64) -> i64 {
        match self.get(field) {
            Some(Value::Int(value)) => value.cast_signed(),
            _ => 0,
        }
    }

    pub fn double(self, field: u64) -> Option<f64> {
        match self.get(field) {
            Some(Value::Double(value)) => Some(value),
            _ => None,
        }
    }

    /// A text; empty where it is absent.
    pub fn text(self, field: u64) -> &'a str {
        std::str::from_utf8(self.message(field).0).unwrap()
    }

    pub fn message(self, field: u64) -> Self {
        match self.get(field) {
            Some(Value::Bytes(value)) => Self(value),
            _ => Self(&[]),
        }
    }
}
