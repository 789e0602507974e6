//! One client's connection: its greeting, a reader that decodes requests, a writer with a bounded queue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::hub::Command;
use crate::outbox::{Outgoing, outbox};
use crate::request::{Asked, Request};
use crate::trace::Trace;
use crate::{times, wire};

/// Time from the connection to the client's first request.
const GREETING_SECONDS_MAX: u64 = 10;
/// Most clients at a time that have been greeted.
pub(crate) const CLIENTS_MAX: usize = 256;
/// Longest time in which a client takes no byte though some wait for it.
const STALLED: Duration = Duration::from_secs(20);
/// Most requests of a client that the hub has not taken up; then its socket waits.
const REQUESTS_AHEAD_MAX: usize = 64;
/// A client whose machine is gone without a word is noticed after this silence and so many questions into it.
const SILENCE: Duration = Duration::from_secs(60);
const SILENT_INTERVAL: Duration = Duration::from_secs(10);
const SILENT_TRIES: u32 = 3;

/// What all connections have in common.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) hub: mpsc::Sender<Command>,
    pub(crate) drained: Arc<Notify>,
    pub(crate) trace: Trace,
    /// A place for each client that has been greeted.
    pub(crate) places: Arc<Semaphore>,
}

/// A client that has been greeted.
struct Guest {
    client: i32,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// Free again when the connection ends.
    _place: OwnedSemaphorePermit,
}

/// Serves one connection to its end. Whatever is wrong with the client ends this connection and no other. `silent` is
/// held until the client has been greeted.
pub(crate) async fn serve(
    socket: TcpStream,
    number: u64,
    house: House,
    cut: CancellationToken,
    silent: Arc<()>,
) {
    let peer = socket
        .peer_addr()
        .map_or_else(|_| "unknown".into(), |address| address.to_string());
    let greeted = tokio::select! {
        greeted = greet(socket, &house.places) => greeted,
        () = cut.cancelled() => Ok(None),
    };
    drop(silent);
    let result = match greeted {
        // The hub never heard of it.
        Ok(None) => return,
        Err(error) => Err(error),
        Ok(Some(guest)) => {
            let hub = house.hub.clone();
            let result = tokio::select! {
                result = converse(guest, number, house, &cut) => result,
                () = cut.cancelled() => Ok(()),
            };
            // The hub is gone only when the gateway stops.
            hub.send(Command::Gone { session: number }).await.ok();
            result
        }
    };
    if let Err(error) = result {
        tracing::warn!(
            session = number,
            peer,
            error = format!("{error:#}"),
            "connection cut"
        );
    }
}

/// Reads a client's greeting and start, unless it leaves before, and takes a place for it.
async fn greet(socket: TcpStream, places: &Arc<Semaphore>) -> Result<Option<Guest>> {
    socket.set_nodelay(true).context("can't set TCP_NODELAY")?;
    keep_alive(&socket).context("can't set TCP keepalive")?;
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let started = timeout(Duration::from_secs(GREETING_SECONDS_MAX), async {
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
    let Some(client) = started else { return Ok(None) };
    let place = places.clone().try_acquire_owned();
    let place = place.with_context(|| format!("{CLIENTS_MAX} clients are connected, as many as can be"))?;
    Ok(Some(Guest {
        client,
        reader,
        writer,
        _place: place,
    }))
}

async fn converse(guest: Guest, number: u64, house: House, cut: &CancellationToken) -> Result<()> {
    let House {
        hub, drained, trace, ..
    } = house;
    let Guest {
        client,
        mut reader,
        writer,
        _place,
    } = guest;
    let (outbox, outgoing) = outbox(cut.clone());
    let frozen = outbox.frozen();
    let writing = tokio::spawn(write(
        writer,
        outgoing,
        drained,
        (trace.clone(), number),
        (STALLED, cut.clone()),
    ));
    hub.send(Command::Started {
        session: number,
        client,
        outbox,
    })
    .await
    .context("the gateway stops")?;
    let ahead = Arc::new(Semaphore::new(REQUESTS_AHEAD_MAX));
    let reading = async {
        loop {
            let place = ahead.clone().acquire_owned().await?;
            let Some((id, body)) = wire::read_frame(&mut reader).await? else {
                return Ok(());
            };
            let (read, length) = (trace.now(), body.len());
            let request =
                Request::decode(id, body).with_context(|| format!("message {id} can't be decoded"))?;
            trace.read(read, number, &request, length);
            let asked = Asked {
                number: id,
                request: Box::new(request),
                bytes: length,
                place,
            };
            hub.send(Command::Request {
                session: number,
                asked,
            })
            .await
            .context("the gateway stops")?;
        }
    };
    tokio::select! {
        result = reading => result,
        // The hub let go of this client: what it queued last has been written.
        result = writing => result.context("the writer failed")?,
        // Half open: the socket stays as it is until the connection is cut.
        () = frozen.cancelled() => std::future::pending().await,
    }
}

/// Lets the system ask a client that is silent whether it is still there.
fn keep_alive(socket: &TcpStream) -> std::io::Result<()> {
    let questions = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(SILENT_INTERVAL)
        .with_retries(SILENT_TRIES);
    SockRef::from(socket).set_tcp_keepalive(&questions)
}

/// Writes queued frames, all that wait at once, until the hub lets go of the queue or the client takes none for so long.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    outgoing: Outgoing,
    drained: Arc<Notify>,
    (trace, number): (Trace, u64),
    (stalled, cut): (Duration, CancellationToken),
) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let more = tokio::select! {
            more = outgoing.take(&mut buffer) => more,
            () = cut.cancelled() => return Ok(()),
        };
        if !more {
            writer.shutdown().await.ok();
            return Ok(());
        }
        let begin = trace.now();
        tokio::select! {
            result = write_all(&mut writer, &buffer, stalled) => result?,
            () = cut.cancelled() => return Ok(()),
        }
        trace.wrote(begin, number, &buffer);
        buffer.clear();
        outgoing.written();
        drained.notify_one();
    }
}

/// Writes it all, as long as some of it is taken within each such time.
async fn write_all(writer: &mut (impl AsyncWrite + Unpin), mut left: &[u8], stalled: Duration) -> Result<()> {
    while !left.is_empty() {
        let written = timeout(stalled, writer.write(left)).await;
        let written = written.with_context(|| {
            let seconds = stalled.as_secs_f64();
            format!(
                "the client took no byte for {seconds} seconds though {} wait for it",
                left.len()
            )
        })?;
        let count = written.context("the client does not take what is written")?;
        if count == 0 {
            bail!("the client does not take what is written");
        }
        left = &left[count..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (socket, mut client) = tokio::io::duplex(64);
        let cut = CancellationToken::new();
        let (outbox, outgoing) = outbox(cut.clone());
        outbox.hand(1, &mut BytesMut::zeroed(100));
        let trace = (Trace::start(None).unwrap(), 1);
        let limits = (Duration::from_millis(1), cut);
        let ended = write(socket, outgoing, Arc::new(Notify::new()), trace, limits).await;
        let said = format!("{:#}", ended.unwrap_err());
        assert!(
            said.starts_with("the client took no byte for 0.001 seconds though 36 wait for it"),
            "{said}"
        );
        // What it could have taken is there.
        assert_eq!(client.read(&mut [0; 100]).await.unwrap(), 64);
    }

    #[tokio::test]
    async fn a_client_that_goes_without_a_word_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        keep_alive(&socket).unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), SILENT_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), SILENT_TRIES);
    }
}
