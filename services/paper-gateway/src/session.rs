//! One client's connection: its greeting, a reader that decodes requests, a writer with a bounded queue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::hub::Command;
use crate::outbox::{Outgoing, outbox};
use crate::request::Request;
use crate::trace::Trace;
use crate::{times, wire};

/// Time from the connection to the client's first request.
const GREETING_SECONDS_MAX: u64 = 10;

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

    let (outbox, outgoing) = outbox(cut.clone());
    let frozen = outbox.frozen();
    let writing = tokio::spawn(write(
        writer,
        outgoing,
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
                number: id,
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
        // Half open: the socket stays as it is until the connection is cut.
        () = frozen.cancelled() => std::future::pending().await,
    }
}

/// Writes queued frames, all that wait at once, until the hub lets go of the queue.
async fn write(
    mut writer: OwnedWriteHalf,
    outgoing: Outgoing,
    drained: Arc<Notify>,
    (trace, number): (Trace, u64),
    cut: CancellationToken,
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
            result = writer.write_all(&buffer) => result.context("the client does not take what is written")?,
            () = cut.cancelled() => return Ok(()),
        }
        trace.wrote(begin, number, &buffer);
        buffer.clear();
        outgoing.written();
        drained.notify_one();
    }
}
