//! Frames on the socket: a length, a message number, a protobuf body; and the handshake before them.

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Added to the number of a message whose body is protobuf; here that is every message.
const PROTOBUF_OFFSET: i32 = 200;
/// The first field of a message about a request, as it stands on the wire: its number.
const REQUEST_FIELD: u8 = 1 << 3;
/// Bytes before a frame's body: its length and the message's number.
pub(crate) const HEAD_BYTES: usize = 8;
/// Longest frame that a client may send. The protocol allows 16 MiB, but no request that is served comes near this,
/// and as many as may wait for the hub at this length fit into 64 MiB.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 16;
/// Highest number of a message. Text, which begins with digits, has one far above.
const NUMBER_MAX: i32 = 10_000;
/// Longest text of versions in the handshake.
const HANDSHAKE_BYTES_MAX: usize = 1 << 10;
/// Oldest server version at which every message is protobuf.
pub(crate) const SERVER_VERSION_MIN: i32 = 213;
/// Newest server version spoken here.
pub(crate) const SERVER_VERSION_MAX: i32 = 225;

/// Writes a frame with a message in it.
pub(crate) fn put_frame(buffer: &mut BytesMut, number: i32, message: &impl Message) {
    let body = message.encoded_len();
    buffer.reserve(HEAD_BYTES + body);
    put_head(buffer, number, body);
    message.encode(buffer).expect("the buffer grows as needed");
}

/// Writes a frame about a request: its number is the first field of the message, and `rest` the others, which
/// are encoded once for all who are told.
pub(crate) fn put_numbered(buffer: &mut BytesMut, number: i32, id: i32, rest: &[u8]) {
    // A protobuf integer is 64 bits wide, with its sign.
    let id = i64::from(id).cast_unsigned();
    let body = 1 + encoded_len_varint(id) + rest.len();
    buffer.reserve(HEAD_BYTES + body);
    put_head(buffer, number, body);
    buffer.put_u8(REQUEST_FIELD);
    encode_varint(id, buffer);
    buffer.put_slice(rest);
}

fn put_head(buffer: &mut BytesMut, number: i32, body: usize) {
    buffer.put_u32(u32::try_from(body + 4).expect("answers are far below four gigabytes"));
    buffer.put_i32(number + PROTOBUF_OFFSET);
}

/// Splits frames made here: the number, the body and the length of each.
pub(crate) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (i32, &[u8], usize)> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, d, number @ ..] = *head;
        let length = (u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(4)?;
        let (body, next) = rest.split_at_checked(length)?;
        bytes = next;
        Some((
            i32::from_be_bytes(number) - PROTOBUF_OFFSET,
            body,
            HEAD_BYTES + length,
        ))
    })
}

/// Reads the client's greeting and returns the server version to speak.
pub(crate) async fn read_greeting(socket: &mut (impl AsyncRead + Unpin)) -> Result<i32> {
    let mut prefix = [0; 4];
    socket
        .read_exact(&mut prefix)
        .await
        .context("the client left before its greeting")?;
    if &prefix != b"API\0" {
        bail!("the client does not begin with the greeting of IB's API");
    }
    let length = socket.read_u32().await? as usize;
    if !(4..=HANDSHAKE_BYTES_MAX).contains(&length) {
        bail!("the client's greeting has a length of {length} bytes");
    }
    let mut text = vec![0; length];
    socket.read_exact(&mut text).await?;
    let text = String::from_utf8(text).context("the client's greeting is not text")?;
    negotiate(&text).with_context(|| format!("the client asks for versions `{}`", text.escape_debug()))
}

/// The version to speak with a client that says `vMIN..MAX`, perhaps with options after a blank.
fn negotiate(text: &str) -> Result<i32> {
    let versions = text.split(' ').next().unwrap_or_default().trim_end_matches('\0');
    let range = versions
        .strip_prefix('v')
        .context("which is no range of versions")?;
    let (least, most) = range.split_once("..").unwrap_or((range, range));
    let (least, most): (i32, i32) = (least.parse()?, most.parse()?);
    let version = most.min(SERVER_VERSION_MAX);
    if version < SERVER_VERSION_MIN || least > SERVER_VERSION_MAX {
        bail!("this server speaks {SERVER_VERSION_MIN} to {SERVER_VERSION_MAX}: use a newer client");
    }
    Ok(version)
}

/// The server's answer to the greeting. It must leave in one write.
pub(crate) fn greeting(version: i32, connected: &str) -> Bytes {
    let text = format!("{version}\0{connected}\0");
    let mut buffer = BytesMut::with_capacity(4 + text.len());
    buffer.put_u32(u32::try_from(text.len()).expect("the text is short"));
    buffer.put_slice(text.as_bytes());
    buffer.freeze()
}

/// Reads one frame: the message's number and its body. `None` when the client closed between two frames.
pub(crate) async fn read_frame(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<(i32, Bytes)>> {
    let mut length = [0; 4];
    match socket.read(&mut length[..1]).await? {
        0 => return Ok(None),
        _ => socket.read_exact(&mut length[1..]).await?,
    };
    let length = u32::from_be_bytes(length) as usize;
    if !(4..=FRAME_BYTES_MAX).contains(&length) {
        bail!("a frame of {length} bytes is not legal");
    }
    let number = socket.read_i32().await?;
    if !(PROTOBUF_OFFSET + 1..=NUMBER_MAX).contains(&number) {
        bail!("message {number} is not in protobuf");
    }
    let mut body = BytesMut::zeroed(length - 4);
    socket.read_exact(&mut body).await?;
    Ok(Some((number - PROTOBUF_OFFSET, body.freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::market::TickSize;

    #[test]
    fn versions_are_negotiated_or_refused() {
        for (text, version) in [
            ("v213..226", Some(225)),
            ("v100..223", Some(223)),
            ("v100..225 +PACEAPI", Some(225)),
            ("v100..212", None),
            ("v226..230", None),
            ("x", None),
            ("v", None),
        ] {
            assert_eq!(negotiate(text).ok(), version, "{text}");
        }
    }

    #[test]
    fn a_message_encoded_once_is_the_same_for_every_request() {
        let tick = |req_id| TickSize {
            req_id,
            tick_type: Some(8),
            size: Some("1200".into()),
        };
        let rest = tick(None).encode_to_vec();
        let (mut whole, mut patched) = (BytesMut::new(), BytesMut::new());
        for id in [0, 1, 127, 128, 1_500_000_007, i32::MAX, -1, i32::MIN] {
            put_frame(&mut whole, 2, &tick(Some(id)));
            put_numbered(&mut patched, 2, id, &rest);
        }
        assert_eq!(whole, patched);
        let bodies: Vec<Option<i32>> = frames(&whole)
            .map(|(number, body, _)| {
                assert_eq!(number, 2);
                TickSize::decode(body).unwrap().req_id
            })
            .collect();
        assert_eq!(
            (bodies.len(), bodies[4], bodies[6]),
            (8, Some(1_500_000_007), Some(-1))
        );
    }

    #[tokio::test]
    async fn bad_frames_are_refused() {
        for bytes in [
            &[0, 0, 0, 3, 0, 0, 0][..],
            &[0xFF, 0, 0, 0],
            &[0, 0, 0, 4, 0, 0, 0, 71],
            b"\0\0\0\x0771\x002\x000\x00",
            &[0, 0, 0, 9, 0, 0],
        ] {
            let mut reader = bytes;
            assert!(read_frame(&mut reader).await.is_err(), "{bytes:?}");
        }
        let mut reader: &[u8] = &[0, 0, 0, 6, 0, 0, 1, 0x0F, 8, 5];
        let (number, body) = read_frame(&mut reader).await.unwrap().unwrap();
        assert_eq!((number, &body[..]), (71, &[8u8, 5][..]));
        assert!(read_frame(&mut reader).await.unwrap().is_none());
    }
}
