//! A wire that can break: everything between a runner and the outside goes through one of these.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are carried at a time.
const CHUNK: usize = 16 * 1024;

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

/// A wire from an address of its own to another.
pub struct Proxy {
    pub address: String,
    wire: watch::Sender<Wire>,
    cuts: watch::Sender<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Carries what comes in to `target`.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let (wire, wires) = watch::channel(Wire::Whole);
        let (cuts, cut) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                tokio::spawn(carry(near, target.clone(), wires.clone(), cut.clone()));
            }
        });
        Self {
            address,
            wire,
            cuts,
            task,
        }
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
        tokio::select! {
            () = pump(near_read, far_write, wire.clone(), false) => false,
            () = pump(far_read, near_write, wire.clone(), true) => false,
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

/// Carries one way until one side ends.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut wire: watch::Receiver<Wire>, answers: bool) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else {
            return;
        };
        let passes = |wire: &Wire| match wire {
            Wire::Whole | Wire::Late(_) => true,
            Wire::Deaf => !answers,
            Wire::Stalled | Wire::HalfOpen => false,
        };
        let Ok(now) = wire.wait_for(passes).await.map(|wire| *wire) else {
            return;
        };
        if let Wire::Late(by) = now {
            tokio::time::sleep(by).await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
