//! The program that this one replaces: it buys on every opinion, and what is not answered is sent again. It speaks IB's
//! protocol through the same wire, and nothing guards it; the judges must find what it does.

use std::time::Duration;

use protocol::decision::Signal;
use protocol::subject::filter;
use runtime::Bus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long it waits for a word on an order before it sends it again.
const SILENCE: Duration = Duration::from_millis(400);
/// How often it sends an order at the most.
const TRIES_MAX: u32 = 3;
/// Longest frame that it reads.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Distance between IB's numbers of messages and those of their protobuf forms.
const PROTOBUF: u32 = 200;
const NEXT_VALID_ID: u32 = 9;
const ORDER_STATUS: u32 = 3;
const PLACE_ORDER: u32 = 3;
const START_API: u32 = 71;

/// Buys a share on every opinion, through the gateway at `address`, until it is aborted.
pub async fn buy(bus: Bus, address: String) {
    let mut signals = bus.subscribe::<Signal>(filter::SIGNALS).await.expect("the bus");
    let mut link = None;
    while let Some(signal) = signals.next().await {
        let signal = signal.body;
        for _ in 0..TRIES_MAX {
            let outcome = timeout(SILENCE, once(&mut link, &address, &signal)).await;
            if matches!(outcome, Ok(Ok(()))) {
                break;
            }
            link = None;
        }
    }
}

struct Link {
    socket: TcpStream,
    next_id: i64,
}

/// Sends an order and waits for a word on it.
async fn once(link: &mut Option<Link>, address: &str, signal: &Signal) -> std::io::Result<()> {
    let link = match link {
        Some(link) => link,
        None => link.insert(connect(address).await?),
    };
    let id = link.next_id;
    link.next_id += 1;
    let contract = fields(&[(2, signal.symbol.as_str()), (3, "STK"), (8, "SMART"), (10, "USD")]);
    let mut order = fields(&[
        (5, "BUY"),
        (6, "1"),
        (8, "MKT"),
        (11, "DAY"),
        (28, signal.id.as_str()),
    ]);
    number(&mut order, 66, 1);
    let mut body = Vec::new();
    number(&mut body, 1, id.cast_unsigned());
    part(&mut body, 2, &contract);
    part(&mut body, 3, &order);
    send(&mut link.socket, PLACE_ORDER, &body).await?;
    loop {
        let (kind, body) = next(&mut link.socket).await?;
        if kind == ORDER_STATUS && first_number(&body) == Some(id.cast_unsigned()) {
            return Ok(());
        }
    }
}

async fn connect(address: &str) -> std::io::Result<Link> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(b"API\0\0\0\0\x09v213..225").await?;
    let length = socket.read_u32().await?.min(FRAME_BYTES_MAX);
    let mut greeting = vec![0; length as usize];
    socket.read_exact(&mut greeting).await?;
    let mut client = Vec::new();
    number(&mut client, 1, 11);
    send(&mut socket, START_API, &client).await?;
    loop {
        let (kind, body) = next(&mut socket).await?;
        if let Some(id) = first_number(&body).filter(|_| kind == NEXT_VALID_ID) {
            return Ok(Link {
                socket,
                next_id: id.cast_signed(),
            });
        }
    }
}

async fn send(socket: &mut TcpStream, kind: u32, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len() + 4).expect("a short body");
    let frame = [&length.to_be_bytes()[..], &(kind + PROTOBUF).to_be_bytes(), body].concat();
    socket.write_all(&frame).await
}

async fn next(socket: &mut TcpStream) -> std::io::Result<(u32, Vec<u8>)> {
    let length = socket.read_u32().await?.clamp(4, FRAME_BYTES_MAX);
    let kind = socket.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    socket.read_exact(&mut body).await?;
    Ok((kind.saturating_sub(PROTOBUF), body))
}

fn varint(body: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        body.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    body.push((value & 0x7F) as u8);
}

fn number(body: &mut Vec<u8>, field: u64, value: u64) {
    varint(body, field << 3);
    varint(body, value);
}

fn part(body: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(body, field << 3 | 2);
    varint(body, value.len() as u64);
    body.extend(value);
}

fn fields(texts: &[(u64, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, text) in texts {
        part(&mut body, *field, text.as_bytes());
    }
    body
}

/// The value of field 1, where a body begins with it as a number.
fn first_number(body: &[u8]) -> Option<u64> {
    let (key, rest) = body.split_first()?;
    let mut value = 0;
    for (place, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return (*key == 8).then_some(value);
        }
    }
    None
}
