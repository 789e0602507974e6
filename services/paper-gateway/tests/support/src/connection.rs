//! The way to the gateway and back, in two halves: cheap enough for fifty of them.

use std::io::{Error, ErrorKind, Result};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::{Body, OFFSET, framed, numbered};

/// Bytes of a frame before its body: the length and the message's number.
const HEAD_BYTES: usize = 8;
/// What a client says first.
pub const GREETING: &[u8] = b"API\0\0\0\0\x09v213..225";

/// What the gateway says.
#[derive(Debug)]
pub struct Reader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
}

/// What is said to the gateway.
#[derive(Debug)]
pub struct Writer(OwnedWriteHalf);

/// A socket that has said what a client says before its first request, and heard the answer.
///
/// # Errors
/// What the system says.
pub async fn greet(address: impl ToSocketAddrs) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    socket.write_all(GREETING).await?;
    let length = socket.read_u32().await?;
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text).await?;
    Ok(socket)
}

/// Connects as a client of an id.
///
/// # Errors
/// What the system says.
pub async fn connect(address: &str, client: i32) -> Result<(Reader, Writer)> {
    let (socket, writer) = greet(address).await?.into_split();
    let mut writer = Writer(writer);
    writer.send(71, &numbered(client.into())).await?;
    let buffer = BytesMut::with_capacity(1 << 16);
    Ok((Reader { socket, buffer }, writer))
}

impl Writer {
    /// Sends a message.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send(&mut self, number: i32, body: &Body) -> Result<()> {
        self.0.write_all(&framed(number, &body.0)).await
    }
}

impl Reader {
    /// Waits for more and shows every whole frame: its number and its body.
    ///
    /// # Errors
    /// What the system says, or that the gateway closed.
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
            each(i32::from_be_bytes(number) - OFFSET, body);
            self.buffer.advance(end);
        }
        self.buffer.reserve(1 << 14);
        Ok(())
    }
}
