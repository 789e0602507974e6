//! Frames on the socket: a length, a message number, a protobuf body; and the handshake before them.

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Added to the number of a message whose body is protobuf; here that is every message.
const PROTOBUF_OFFSET: i32 = 200;
/// Bytes before a frame's body: its length and the message's number.
pub(crate) const HEAD_BYTES: usize = 8;
/// Longest frame that a client may send. The protocol allows 16 MiB; no request comes near this.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;
/// Longest text of versions in the handshake.
const HANDSHAKE_BYTES_MAX: usize = 1 << 10;
/// Oldest server version at which every message is protobuf.
pub(crate) const SERVER_VERSION_MIN: i32 = 213;
/// Newest server version spoken here.
pub(crate) const SERVER_VERSION_MAX: i32 = 225;

/// A frame with a message in it.
pub(crate) fn frame(number: i32, message: &impl Message) -> Bytes {
    let body = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(8 + body);
    buffer.put_u32(u32::try_from(body + 4).expect("answers are far below four gigabytes"));
    buffer.put_i32(number + PROTOBUF_OFFSET);
    message.encode(&mut buffer).expect("the buffer grows as needed");
    buffer.freeze()
}

/// The number and the body of a frame made here.
pub(crate) fn parts(frame: &Bytes) -> Option<(i32, &[u8])> {
    let number = frame.get(4..HEAD_BYTES)?.try_into().ok()?;
    Some((i32::from_be_bytes(number) - PROTOBUF_OFFSET, &frame[HEAD_BYTES..]))
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
    if number <= PROTOBUF_OFFSET {
        bail!("message {number} is not in protobuf");
    }
    let mut body = BytesMut::zeroed(length - 4);
    socket.read_exact(&mut body).await?;
    Ok(Some((number - PROTOBUF_OFFSET, body.freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test]
    async fn bad_frames_are_refused() {
        for bytes in [
            &[0, 0, 0, 3, 0, 0, 0][..],
            &[0xFF, 0, 0, 0],
            &[0, 0, 0, 4, 0, 0, 0, 71],
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
