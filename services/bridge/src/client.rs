//! One browser: token, snapshot, then events; and its commands on their way to the stage that owns them.
//!
//! Each browser has its own task and its own queue, so that a slow one slows nobody else.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use protocol::feed::Say;
use protocol::operator::{Command, Reply, Verb};
use protocol::{Id, Symbol, subject};
use runtime::{Bus, CancellationToken, now};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use crate::hub::{self, Call, Mode, PageFrame};
use crate::limits::Limits;
use crate::queue::{Queue, Taken};

/// Close codes of this protocol and of RFC 6455.
pub mod close {
    /// The token is wrong or did not come in time.
    pub const TOKEN: u16 = 4401;
    /// What was said is not understood, or too much of it.
    pub const POLICY: u16 = 1008;
    /// A message is too large.
    pub const SIZE: u16 = 1009;
    /// The bridge ends.
    pub const AWAY: u16 = 1001;
}

/// What every browser's task works with.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Way to the hub.
    pub hub: mpsc::Sender<Call>,
    /// Way to the stages that own the verbs.
    pub bus: Bus,
    /// What the operator gave to the page.
    pub token: Arc<str>,
    /// Play money or real money.
    pub mode: Mode,
    /// Limits in force.
    pub limits: Arc<Limits>,
    /// Cancelled when the bridge ends.
    pub stop: CancellationToken,
}

/// Why a browser is let go: a close code and a sentence.
type Farewell = (u16, &'static str);

/// Serves one browser until it goes or is let go.
pub async fn serve(mut socket: WebSocket, desk: Desk) {
    let hello = tokio::select! {
        hello = timeout(desk.limits.hello, greet(&mut socket, &desk)) => hello,
        () = desk.stop.cancelled() => Ok(Err((close::AWAY, "the bridge ends"))),
    };
    let farewell = match hello {
        Ok(Ok(())) => {
            let queue = Arc::new(Queue::new(&desk.limits));
            if desk.hub.send(Call::Join(queue.clone())).await.is_err() {
                return;
            }
            let (sink, stream) = socket.split();
            converse(sink, stream, &queue, &desk).await;
            return;
        }
        Ok(Err(farewell)) => farewell,
        Err(_) => (close::TOKEN, "no token came: the first message must be a hello"),
    };
    part(&mut socket, farewell, desk.limits.write).await;
}

/// The first message proves that the operator gave this page the token.
async fn greet(socket: &mut WebSocket, desk: &Desk) -> Result<(), Farewell> {
    let message = match socket.recv().await {
        Some(Ok(message)) => message,
        Some(Err(error)) => return Err(unreadable(&error)),
        None => return Err((close::AWAY, "gone")),
    };
    let refused = (
        close::TOKEN,
        "the token is not this bridge's: open the address that run-all printed",
    );
    let Message::Text(text) = message else {
        return Err(refused);
    };
    let Ok(Say::Hello { token }) = serde_json::from_str(&text) else {
        return Err(refused);
    };
    if bool::from(token.as_bytes().ct_eq(desk.token.as_bytes())) {
        Ok(())
    } else {
        Err(refused)
    }
}

async fn converse(
    mut sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    queue: &Arc<Queue>,
    desk: &Desk,
) {
    let farewell = tokio::select! {
        farewell = listen(stream, queue, desk) => farewell,
        farewell = tell(&mut sink, queue, desk) => farewell,
        () = desk.stop.cancelled() => Some((close::AWAY, "the bridge ends")),
    };
    if let Some((code, reason)) = farewell {
        tracing::debug!(code, reason, "browser let go");
        let bye = Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }));
        // A browser that does not read does not hear this either.
        let _ = timeout(Duration::from_secs(1), sink.send(bye)).await;
    }
}

/// Reads what the browser says. `None` when it went by itself.
async fn listen(mut stream: SplitStream<WebSocket>, queue: &Arc<Queue>, desk: &Desk) -> Option<Farewell> {
    let open = Arc::new(Semaphore::new(desk.limits.commands_open));
    let mut second = Instant::now();
    let mut count = 0;
    loop {
        let Ok(message) = timeout(desk.limits.silence, stream.next()).await else {
            return Some((close::POLICY, "no sign of life"));
        };
        let message = match message? {
            Ok(message) => message,
            Err(error) => return Some(unreadable(&error)),
        };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, count) = (Instant::now(), 0);
        }
        count += 1;
        if count > desk.limits.messages_per_second {
            return Some((close::POLICY, "too many messages in a second"));
        }
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(Say::Command {
                    id,
                    verb,
                    symbol,
                    note,
                }) => {
                    command(
                        Asked {
                            id,
                            verb,
                            symbol,
                            note,
                        },
                        &open,
                        queue,
                        desk,
                    );
                }
                Ok(Say::Hello { .. }) => {}
                Err(_) => return Some((close::POLICY, "a message that is not of this protocol")),
            },
            Message::Binary(_) => return Some((close::POLICY, "a message that is not of this protocol")),
            Message::Close(_) => return None,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

fn unreadable(error: &axum::Error) -> Farewell {
    if error.to_string().contains("too long") || error.to_string().contains("too large") {
        return (close::SIZE, "a message is too large");
    }
    (close::POLICY, "the connection is not readable")
}

/// Writes what waits. Several frames go between two flushes. `None` when the browser went by itself.
async fn tell(sink: &mut SplitSink<WebSocket, Message>, queue: &Arc<Queue>, desk: &Desk) -> Option<Farewell> {
    let mut ping_due = Instant::now() + desk.limits.ping;
    loop {
        let mut messages = Vec::new();
        if Instant::now() >= ping_due {
            ping_due = Instant::now() + desk.limits.ping;
            messages.push(Message::Ping(Bytes::new()));
        }
        match queue.take() {
            Taken::Frames(frames) => messages.extend(frames.into_iter().map(Message::Text)),
            Taken::SnapshotNeeded => desk.hub.send(Call::Snapshot(queue.clone())).await.ok()?,
            Taken::Nothing if messages.is_empty() => tokio::select! {
                () = queue.changed() => {}
                () = tokio::time::sleep_until(ping_due) => {}
            },
            Taken::Nothing => {}
        }
        if messages.is_empty() {
            continue;
        }
        let write = async {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        match timeout(desk.limits.write, write).await {
            Ok(outcome) => outcome.ok()?,
            Err(_) => return Some((close::POLICY, "what was written is not read")),
        }
    }
}

struct Asked {
    id: Id,
    verb: String,
    symbol: Option<Symbol>,
    note: String,
}

/// Carries a command to its owner, in its own task: the answer may take seconds.
fn command(asked: Asked, open: &Arc<Semaphore>, queue: &Arc<Queue>, desk: &Desk) {
    let refusal = refuse(&asked, desk);
    let permit = open.clone().try_acquire_owned();
    let (queue, bus) = (queue.clone(), desk.bus.clone());
    let text = match (refusal, permit) {
        (Some(text), _) => text,
        (None, Err(_)) => "the commands before this one are not answered yet: wait for them".to_owned(),
        (None, Ok(permit)) => {
            tokio::spawn(async move {
                let reply = carry(asked, &bus).await;
                queue.put_reply(frame(reply));
                drop(permit);
            });
            return;
        }
    };
    queue.put_reply(frame(refused(asked.id, &asked.verb, text)));
}

/// Why a command goes no further than the bridge.
fn refuse(asked: &Asked, desk: &Desk) -> Option<String> {
    let verb: Verb = match asked.verb.parse() {
        Ok(verb) => verb,
        Err(error) => return Some(format!("{error}")),
    };
    if desk.mode.is_live() && !verb.only_reduces_risk() {
        return Some(format!(
            "`{verb}` is not taken from a browser while real money trades: use `nats request command.{verb}`"
        ));
    }
    if asked.note.chars().count() > desk.limits.note_characters {
        return Some(format!(
            "the note is longer than {} characters: shorten it",
            desk.limits.note_characters
        ));
    }
    None
}

async fn carry(asked: Asked, bus: &Bus) -> Reply {
    let question = Command {
        id: Some(asked.id.clone()),
        symbol: asked.symbol,
        order: None,
        choice: None,
        note: asked.note,
    };
    match bus
        .request::<_, Reply>(&subject::web_command(&asked.verb), &question)
        .await
    {
        Ok(reply) => reply,
        Err(error) => {
            tracing::warn!(
                verb = asked.verb,
                error = format!("{error:#}"),
                "command not answered"
            );
            let text = format!(
                "nobody answered `{}`, and it may or may not be carried out: \
                 look at the trading state, then ask again",
                asked.verb
            );
            refused(asked.id, &asked.verb, text)
        }
    }
}

fn refused(id: Id, verb: &str, text: String) -> Reply {
    Reply {
        id,
        at: now(),
        verb: verb.chars().take(40).collect(),
        accepted: false,
        text,
    }
}

fn frame(reply: Reply) -> Utf8Bytes {
    hub::text(&PageFrame::Reply(reply))
}

/// Says why and closes, before there is a queue.
async fn part(socket: &mut WebSocket, (code, reason): Farewell, limit: Duration) {
    tracing::info!(code, reason, "browser turned away");
    let bye = Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }));
    let closing = async {
        socket.send(bye).await?;
        // Wait for the browser's own close, so that the reason is not lost with a reset connection.
        while let Some(Ok(_)) = socket.recv().await {}
        Ok::<_, axum::Error>(())
    };
    let _ = timeout(limit.min(Duration::from_secs(2)), closing).await;
}
