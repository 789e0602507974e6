//! The control port: one JSON object a line comes in, one JSON object a line goes out. Only on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::fault;
use crate::hub::Command;

/// Longest line, its end included.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Most connections at a time; one more is closed at once.
const CONNECTIONS_MAX: usize = 8;
/// Longest time without a whole line, and until an answer is read; then a connection gives its place up.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Why there can be no control port.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address could be reached from elsewhere.
    #[error(
        "the control port {0} is refused: who reaches it can break everything, so use 127.0.0.1 or [::1]"
    )]
    Open(String),
    /// The address can't be had.
    #[error("can't listen on {0} for control ({1}): choose another address with --control")]
    Taken(String, std::io::Error),
}

/// Opens the port, if there is to be one.
pub(crate) async fn bind(address: Option<&str>) -> Result<Option<TcpListener>, ControlError> {
    let Some(address) = address else { return Ok(None) };
    let taken = |error| ControlError::Taken(address.to_owned(), error);
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(taken)?.collect();
    if found.iter().any(|address| !address.ip().is_loopback()) {
        return Err(ControlError::Open(address.to_owned()));
    }
    TcpListener::bind(&found[..]).await.map(Some).map_err(taken)
}

/// Serves the port until told to stop.
pub(crate) async fn serve(listener: TcpListener, hub: mpsc::Sender<Command>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // Out of file descriptors, say: it may pass.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            tracing::warn!(
                limit = CONNECTIONS_MAX,
                "too many control connections, one is closed"
            );
            continue;
        };
        let (hub, stop) = (hub.clone(), stop.clone());
        tokio::spawn(async move {
            let result = tokio::select! {
                result = converse(socket, hub, IDLE_MAX) => result,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = result {
                tracing::warn!(error = format!("{error:#}"), "control connection ended");
            }
            drop(place);
        });
    }
}

async fn converse(
    socket: impl AsyncRead + AsyncWrite,
    hub: mpsc::Sender<Command>,
    idle: Duration,
) -> Result<()> {
    let (reader, mut writer) = tokio::io::split(socket);
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(LINE_BYTES_MAX).expect("the limit is small");
        let mut limited = (&mut reader).take(most);
        let read = tokio::time::timeout(idle, limited.read_until(b'\n', &mut line))
            .await
            .context("no line came for too long")??;
        if read == 0 {
            return Ok(());
        }
        let too_long = read == LINE_BYTES_MAX && !line.ends_with(b"\n");
        // A page in a browser can send any text as the body of a request: it must not be taken for lines.
        let web = line.windows(7).any(|part| part == b" HTTP/1");
        let answer = if too_long {
            json!({ "error": format!("a line is longer than {LINE_BYTES_MAX} bytes") })
        } else if web {
            json!({ "error": "this is no web server" })
        } else {
            answer(&line, &hub).await?
        };
        let answer = format!("{answer}\n");
        tokio::time::timeout(idle, writer.write_all(answer.as_bytes()))
            .await
            .context("an answer was not read for too long")??;
        if too_long || web {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], hub: &mpsc::Sender<Command>) -> Result<Value> {
    let parsed = std::str::from_utf8(line)
        .map_err(|_| "the line is not text".to_owned())
        .and_then(|text| fault::parse(text.trim()));
    let line = match parsed {
        Ok(line) => Box::new(line),
        Err(error) => return Ok(json!({ "error": error })),
    };
    let (answer, answered) = oneshot::channel();
    hub.send(Command::Control { line, answer })
        .await
        .context("the gateway stops")?;
    answered.await.context("the gateway stops")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_says_nothing_gives_its_place_up() {
        let (hub, _commands) = mpsc::channel(1);
        for said in [&b""[..], b"{\"ask\":", b"no line\n"] {
            let (mut client, server) = tokio::io::duplex(1 << 10);
            client.write_all(said).await.unwrap();
            let ended = converse(server, hub.clone(), Duration::from_millis(20)).await;
            assert!(ended.is_err(), "the client is still there");
            let mut told = String::new();
            client.read_to_string(&mut told).await.unwrap();
            assert_eq!(told.lines().count(), usize::from(said.ends_with(b"\n")), "{told}");
        }
    }

    #[tokio::test]
    async fn who_reads_nothing_gives_its_place_up() {
        let (hub, _commands) = mpsc::channel(1);
        let (mut client, server) = tokio::io::duplex(16);
        let conversation = converse(server, hub, Duration::from_millis(20));
        let says = async { client.write_all(b"no line\n").await.unwrap() };
        let ((), ended) = tokio::join!(says, tokio::time::timeout(Duration::from_secs(30), conversation));
        let error = ended.expect("its place is free").unwrap_err();
        assert!(error.to_string().contains("was not read"), "{error}");
    }
}
