//! The line to the bridge: says the token, takes frames, begins again when it breaks. Nothing is ever polled.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use engine::portfolio::Portfolio;
use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::{SinkExt, StreamExt};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, WebSocketError};
use leptos::prelude::*;
use leptos::task::spawn_local;
use protocol::decision::Level;
use protocol::feed::{Frame, Say};
use protocol::{Id, Symbol};

use crate::address;
use crate::clock::wall_ms;
use crate::frames::{Again, apply};
use crate::store::{Link, Pending, Store};
use crate::toast::say;

/// First wait before another try, milliseconds; it doubles up to the second.
const WAIT_MS_MIN: u64 = 250;
const WAIT_MS_MAX: u64 = 5_000;
/// Frames that come within this time are shown together, milliseconds: 30 pictures a second are enough.
const GATHER_MS: u64 = 33;
/// So many gathered frames are shown at once, however short the time: a hidden tab's timers hardly run.
const GATHER_MAX: usize = 1_000;
/// Commands that wait for the line; more are refused.
const COMMANDS_MAX: usize = 16;
/// The bridge's close code for a key that is wrong or did not come.
const SHUT_CODE: u16 = 4401;

/// The way to say something to the bridge.
#[derive(Debug, Clone)]
pub struct Feed {
    store: Store,
    commands: mpsc::Sender<Say>,
}

impl Feed {
    /// Asks for a command. The store shows it as pending until the bridge answers.
    pub fn command(&self, verb: &str, symbol: Option<Symbol>, note: &str) {
        let now = wall_ms();
        if self.store.link.get_untracked() != Link::Open {
            say(
                self.store,
                Level::Warning,
                format!("`{verb}` was not sent: the page is not connected."),
            );
            return;
        }
        let id = command_id(now);
        let asked = Say::Command {
            id: id.clone(),
            verb: verb.to_owned(),
            symbol,
            note: note.to_owned(),
        };
        if self.commands.clone().try_send(asked).is_err() {
            say(
                self.store,
                Level::Warning,
                format!("`{verb}` was not sent: too many commands wait."),
            );
            return;
        }
        self.store.pending.set(Some(Pending {
            id,
            verb: verb.to_owned(),
            asked_ms: now,
        }));
    }
}

/// An id that no other page and no other click has.
fn command_id(now: f64) -> Id {
    let chance = js_sys::Math::random();
    Id::derive(&["web", &now.to_string(), &chance.to_string()])
}

/// Opens the line and keeps it open as long as the page lives.
#[must_use]
pub fn start(store: Store) -> Feed {
    let (commands, mut queue) = mpsc::channel(COMMANDS_MAX);
    spawn_local(async move {
        let mut wait = WAIT_MS_MIN;
        loop {
            let Some(token) = address::token() else {
                store
                    .link
                    .set(Link::Shut("This page was opened without its key.".to_owned()));
                return;
            };
            let end = session(store, &token, &mut queue).await;
            if end.had_frames {
                wait = WAIT_MS_MIN;
            }
            drop_pending(store);
            match end.why {
                End::Shut(text) => {
                    store.link.set(Link::Shut(text));
                    return;
                }
                End::Again(Again::Reload) => {
                    if !address::reload() {
                        let text =
                            "This page and the pipeline are of two versions: build the page with ./just ui.";
                        store.link.set(Link::Shut(text.to_owned()));
                    }
                    return;
                }
                End::Again(Again::Mismatch(text)) => store.mismatch.set(Some(text)),
                End::Broken => {}
            }
            if !matches!(store.link.get_untracked(), Link::Lost(_)) {
                store.link.set(Link::Lost(wall_ms()));
            }
            gloo_timers::future::sleep(Duration::from_millis(wait)).await;
            wait = (wait * 2).min(WAIT_MS_MAX);
        }
    });
    Feed { store, commands }
}

/// A command whose answer can't come any more is not shown as pending.
fn drop_pending(store: Store) {
    if let Some(pending) = store.pending.get_untracked() {
        store.pending.set(None);
        let text = format!(
            "`{}` has no answer: the line broke. Look at the trading state.",
            pending.verb
        );
        say(store, Level::Warning, text);
    }
}

struct Ended {
    had_frames: bool,
    why: End,
}

enum End {
    Broken,
    Shut(String),
    Again(Again),
}

/// One connection from its opening to its end.
async fn session(store: Store, token: &str, queue: &mut mpsc::Receiver<Say>) -> Ended {
    let mut ended = Ended {
        had_frames: false,
        why: End::Broken,
    };
    let Ok(socket) = WebSocket::open(&socket_address()) else {
        return ended;
    };
    let (mut write, mut read) = socket.split();
    if write
        .send(text_of(&Say::Hello {
            token: token.to_owned(),
        }))
        .await
        .is_err()
    {
        return ended;
    }
    let gathered = Rc::new(Gathered::default());
    loop {
        let gate = gathered.failed.borrow_mut().take();
        if let Some(again) = gate {
            ended.why = End::Again(again);
            return ended;
        }
        match select(read.next(), queue.next()).await {
            Either::Left((Some(Ok(Message::Text(text))), _)) => match serde_json::from_str(&text) {
                Ok(frame) => {
                    ended.had_frames = true;
                    gather(store, &gathered, frame);
                }
                Err(error) => {
                    ended.why = End::Again(Again::Mismatch(format!("A frame could not be read: {error}")));
                    return ended;
                }
            },
            Either::Left((Some(Ok(Message::Bytes(_))), _)) => {}
            Either::Left((Some(Err(WebSocketError::ConnectionClose(close))), _)) => {
                if close.code == SHUT_CODE {
                    ended.why = End::Shut(
                        "The key of this page is not the one of the pipeline that runs now.".to_owned(),
                    );
                }
                return ended;
            }
            Either::Left((Some(Err(_)) | None, _)) | Either::Right((None, _)) => return ended,
            Either::Right((Some(asked), _)) => {
                if write.send(text_of(&asked)).await.is_err() {
                    return ended;
                }
            }
        }
    }
}

fn text_of(words: &Say) -> Message {
    Message::Text(serde_json::to_string(words).expect("ids, symbols and texts are always JSON"))
}

fn socket_address() -> String {
    let location = window().location();
    let scheme = if location.protocol().is_ok_and(|protocol| protocol == "https:") {
        "wss"
    } else {
        "ws"
    };
    format!("{scheme}://{}/ws", location.host().unwrap_or_default())
}

/// Frames that wait for the next picture.
#[derive(Default)]
struct Gathered {
    frames: RefCell<Vec<Frame<Portfolio>>>,
    waiting: RefCell<bool>,
    failed: RefCell<Option<Again>>,
}

fn gather(store: Store, gathered: &Rc<Gathered>, frame: Frame<Portfolio>) {
    gathered.frames.borrow_mut().push(frame);
    if gathered.frames.borrow().len() >= GATHER_MAX {
        show(store, gathered);
    } else if !gathered.waiting.replace(true) {
        let gathered = Rc::clone(gathered);
        spawn_local(async move {
            gloo_timers::future::sleep(Duration::from_millis(GATHER_MS)).await;
            gathered.waiting.replace(false);
            show(store, &gathered);
        });
    }
}

fn show(store: Store, gathered: &Gathered) {
    let frames = gathered.frames.take();
    if let Err(again) = apply(store, frames) {
        gathered.failed.replace(Some(again));
    }
}
