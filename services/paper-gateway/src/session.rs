//! One client's connection: its greeting, a reader that decodes requests, a writer with a bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::hub::Command;
use crate::request::Request;
use crate::trace::Trace;
use crate::{times, wire};

/// Most frames that wait for a client that does not read; one more, and it is cut off.
pub(crate) const QUEUE_FRAMES_MAX: usize = 1 << 16;
/// Most bytes that wait for a client that does not read; above, and it is cut off.
pub(crate) const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Time from the connection to the client's first request.
const GREETING_SECONDS_MAX: u64 = 10;
/// Most bytes of frames joined into one write.
const WRITE_BYTES: usize = 64 << 10;
/// Most frames joined into one write.
const WRITE_FRAMES: usize = 256;

/// The hub's end of a connection: frames to write, how many wait, and the switch that cuts it.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<Bytes>,
    bytes: Arc<AtomicUsize>,
    cut: CancellationToken,
}

impl Outbox {
    /// Queues a frame. False when a limit is reached: the client reads too slowly.
    pub(crate) fn send(&self, frame: Bytes) -> bool {
        let length = frame.len();
        let waiting = self.bytes.fetch_add(length, Ordering::Relaxed) + length;
        waiting <= QUEUE_BYTES_MAX && self.sender.try_send(frame).is_ok()
    }

    /// Frames that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Ends the connection without writing what waits.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

/// Serves one connection to its end. Whatever is wrong with the client ends this connection and no other.
pub(crate) async fn serve(
    socket: TcpStream,
    number: u64,
    hub: mpsc::Sender<Command>,
    drained: Arc<Notify>,
    trace: Trace,
    stop: CancellationToken,
) {
    let peer = socket
        .peer_addr()
        .map_or_else(|_| "unknown".into(), |address| address.to_string());
    let cut = stop.child_token();
    let result = tokio::select! {
        result = converse(socket, number, &hub, drained, trace, &cut) => result,
        () = cut.cancelled() => Ok(()),
    };
    if let Err(error) = result {
        tracing::warn!(
            session = number,
            peer,
            error = format!("{error:#}"),
            "connection cut"
        );
    }
    // The hub is gone only when the gateway stops.
    hub.send(Command::Gone { session: number }).await.ok();
}

async fn converse(
    socket: TcpStream,
    number: u64,
    hub: &mpsc::Sender<Command>,
    drained: Arc<Notify>,
    trace: Trace,
    cut: &CancellationToken,
) -> Result<()> {
    socket.set_nodelay(true).context("can't set TCP_NODELAY")?;
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let started = tokio::time::timeout(Duration::from_secs(GREETING_SECONDS_MAX), async {
        let version = wire::read_greeting(&mut reader).await?;
        let connected = times::with_zone(jiff::Timestamp::now());
        writer.write_all(&wire::greeting(version, &connected)).await?;
        match wire::read_frame(&mut reader).await? {
            None => Ok(None),
            Some((id, body)) => match Request::decode(id, body)? {
                Request::StartApi(start) => Ok(Some(start.client_id.unwrap_or(0))),
                _ => bail!("the first request must be StartApi, not {id}"),
            },
        }
    });
    let started = started
        .await
        .context("the client did not finish its greeting in time")??;
    let Some(client) = started else { return Ok(()) };

    let (sender, receiver) = mpsc::channel(QUEUE_FRAMES_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        sender,
        bytes: bytes.clone(),
        cut: cut.clone(),
    };
    let writing = tokio::spawn(write(
        writer,
        receiver,
        bytes,
        drained,
        (trace.clone(), number),
        cut.clone(),
    ));
    hub.send(Command::Started {
        session: number,
        client,
        outbox,
    })
    .await
    .context("the gateway stops")?;
    let reading = async {
        while let Some((id, body)) = wire::read_frame(&mut reader).await? {
            let (read, length) = (trace.now(), body.len());
            let request =
                Request::decode(id, body).with_context(|| format!("message {id} can't be decoded"))?;
            trace.read(read, number, &request, length);
            hub.send(Command::Request {
                session: number,
                request: Box::new(request),
            })
            .await
            .context("the gateway stops")?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        result = reading => result,
        // The hub let go of this client: what it queued last has been written.
        result = writing => result.context("the writer failed")?,
    }
}

/// Writes queued frames, several at once when several wait, until the hub lets go of the queue.
async fn write(
    mut writer: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<Bytes>,
    bytes: Arc<AtomicUsize>,
    drained: Arc<Notify>,
    (trace, number): (Trace, u64),
    cut: CancellationToken,
) -> Result<()> {
    let mut frames = Vec::with_capacity(WRITE_FRAMES);
    let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
    loop {
        let count = tokio::select! {
            count = receiver.recv_many(&mut frames, WRITE_FRAMES) => count,
            () = cut.cancelled() => return Ok(()),
        };
        if count == 0 {
            writer.shutdown().await.ok();
            return Ok(());
        }
        for frame in &frames {
            buffer.extend_from_slice(frame);
        }
        let begin = trace.now();
        tokio::select! {
            result = writer.write_all(&buffer) => result.context("the client does not take what is written")?,
            () = cut.cancelled() => return Ok(()),
        }
        trace.wrote(begin, number, &frames);
        bytes.fetch_sub(buffer.len(), Ordering::Relaxed);
        frames.clear();
        buffer.clear();
        drained.notify_one();
    }
}
