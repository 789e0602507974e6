//! A wire that can break: everything between a runner and the outside goes through one of these.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are carried at a time.
const CHUNK: usize = 16 * 1024;
/// Distance between IB's numbers of messages and those of their protobuf forms.
const PROTOBUF: u32 = 200;

/// How the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// As it should be.
    Whole,
    /// Everything comes later.
    Late(Duration),
    /// Nothing is carried, either way; it comes when the wire is whole again.
    Stalled,
    /// What is asked arrives, and answers wait until the wire is whole again.
    Deaf,
    /// The far end has gone and the near end does not know: cut once the wire is whole again.
    HalfOpen,
}

/// A message at which a wire stops carrying anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A NATS message to a subject that begins so and has this in it.
    Publish(&'static str, &'static str),
    /// A frame of IB's protocol with this number, to the gateway.
    Asked(u8),
    /// The same from it.
    Told(u8),
}

/// How much of that message is still carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    Nothing,
    Bytes(usize),
    All,
}

impl Sign {
    fn is_answer(self) -> bool {
        matches!(self, Self::Told(_))
    }

    /// Where the message begins in these bytes, and where it ends, which may be behind them.
    fn find(self, chunk: &[u8]) -> Option<(usize, usize)> {
        match self {
            Self::Publish(begin, part) => publication(chunk, begin, part),
            Self::Asked(number) | Self::Told(number) => frame(chunk, u32::from(number) + PROTOBUF),
        }
    }
}

/// A message with headers, as every append has them: `HPUB subject reply header-bytes all-bytes`.
fn publication(chunk: &[u8], begin: &str, part: &str) -> Option<(usize, usize)> {
    let head = format!("HPUB {begin}");
    let place = chunk
        .windows(head.len())
        .position(|some| some == head.as_bytes())?;
    let line = chunk[place..].split(|byte| *byte == b'\r').next()?;
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let bytes: usize = words.last()?.parse().ok()?;
    let end = place + line.len() + "\r\n".len() + bytes + "\r\n".len();
    words[1].contains(part).then_some((place, end))
}

/// A frame, where frames begin with these bytes.
fn frame(chunk: &[u8], number: u32) -> Option<(usize, usize)> {
    let word = |at: usize| Some(u32::from_be_bytes(chunk.get(at..at + 4)?.try_into().ok()?));
    let mut begin = 0;
    loop {
        let end = begin + 4 + word(begin)? as usize;
        if word(begin + 4)? == number {
            return Some((begin, end));
        }
        begin = end;
    }
}

/// What waits for its message on all connections of a wire.
type Trap = Arc<Mutex<Option<(Sign, Carried)>>>;

/// A wire from an address of its own to another.
pub struct Proxy {
    pub address: String,
    wire: watch::Sender<Wire>,
    cuts: watch::Sender<u64>,
    trap: Trap,
    sprung: watch::Sender<Option<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Carries what comes in to `target`.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let (wire, wires) = watch::channel(Wire::Whole);
        let (cuts, cut) = watch::channel(0);
        let (trap, sprung) = (Trap::default(), watch::Sender::new(None));
        let traps = (trap.clone(), sprung.clone());
        let task = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                tokio::spawn(carry(
                    near,
                    target.clone(),
                    wires.clone(),
                    cut.clone(),
                    traps.clone(),
                ));
            }
        });
        Self {
            address,
            wire,
            cuts,
            trap,
            sprung,
            task,
        }
    }

    /// Waits for a message, carries so much of it, and from then on nothing on that connection.
    pub fn set_trap(&self, sign: Sign, carried: Carried) {
        self.sprung.send_replace(None);
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some((sign, carried));
    }

    /// What was on the wire when the message came.
    pub async fn sprung(&self) -> Vec<u8> {
        let mut sprung = self.sprung.subscribe();
        let sprung = sprung.wait_for(Option::is_some).await.expect("the wire is there");
        sprung.clone().expect("what was waited for")
    }

    /// Changes how the wire is, for all connections.
    pub fn be(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// Ends all connections, in the middle of whatever is carried.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn carry(
    mut near: TcpStream,
    target: String,
    mut wire: watch::Receiver<Wire>,
    mut cut: watch::Receiver<u64>,
    (trap, sprung): (Trap, watch::Sender<Option<Vec<u8>>>),
) {
    cut.mark_unchanged();
    let half_open = {
        let Ok(mut far) = TcpStream::connect(target).await else {
            return;
        };
        // Small frames must not wait for each other.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let dead = watch::Sender::new(false);
        let way = |answers| Way {
            wire: wire.clone(),
            trap: trap.clone(),
            sprung: sprung.clone(),
            dead: dead.clone(),
            left: 0,
            answers,
        };
        tokio::select! {
            () = way(false).pump(near_read, far_write) => false,
            () = way(true).pump(far_read, near_write) => false,
            _ = cut.changed() => false,
            _ = wire.wait_for(|wire| *wire == Wire::HalfOpen) => true,
        }
    };
    if half_open {
        tokio::select! {
            _ = wire.wait_for(|wire| *wire != Wire::HalfOpen) => {},
            _ = cut.changed() => {},
        }
    }
}

/// One direction of a connection.
struct Way {
    wire: watch::Receiver<Wire>,
    trap: Trap,
    sprung: watch::Sender<Option<Vec<u8>>>,
    /// True once the trap was sprung on this connection: what comes then is lost.
    dead: watch::Sender<bool>,
    /// Bytes of the message of the trap that are still carried.
    left: usize,
    answers: bool,
}

impl Way {
    /// Carries until one side ends.
    async fn pump(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let Ok(length @ 1..) = from.read(&mut chunk).await else {
                return;
            };
            let answers = self.answers;
            let passes = |wire: &Wire| match wire {
                Wire::Whole | Wire::Late(_) => true,
                Wire::Deaf => !answers,
                Wire::Stalled | Wire::HalfOpen => false,
            };
            let Ok(now) = self.wire.wait_for(passes).await.map(|wire| *wire) else {
                return;
            };
            if let Wire::Late(by) = now {
                tokio::time::sleep(by).await;
            }
            let carried = self.carried(&chunk[..length]);
            if to.write_all(&chunk[..carried]).await.is_err() {
                return;
            }
        }
    }

    /// How many of these bytes are carried. Springs the trap.
    fn carried(&mut self, chunk: &[u8]) -> usize {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let found = trap
            .as_ref()
            .filter(|_| !*self.dead.borrow())
            .and_then(|(sign, carried)| {
                let (begin, end) = sign.find(chunk).filter(|_| sign.is_answer() == self.answers)?;
                Some(match carried {
                    Carried::Nothing => begin,
                    Carried::Bytes(count) => end.min(begin + count),
                    Carried::All => end,
                })
            });
        if let Some(end) = found {
            *trap = None;
            self.left = end;
            self.dead.send_replace(true);
            self.sprung.send_replace(Some(chunk.to_owned()));
        } else if !*self.dead.borrow() {
            return chunk.len();
        }
        let carried = self.left.min(chunk.len());
        self.left -= carried;
        carried
    }
}
