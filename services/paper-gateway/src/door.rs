//! The port that clients come to: open, or closed for a while as a gateway's is that restarts.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What who comes finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// Connections are accepted and closed at once.
    Refuses,
    /// Nobody listens.
    Closed,
}

/// The listening socket and who may close it.
#[derive(Debug)]
pub(crate) struct Entrance {
    listener: Option<TcpListener>,
    address: SocketAddr,
    /// `None` where nothing ever closes it.
    door: Option<watch::Receiver<Door>>,
}

impl Entrance {
    pub(crate) fn new(
        listener: TcpListener,
        address: SocketAddr,
        door: Option<watch::Receiver<Door>>,
    ) -> Self {
        Self {
            listener: Some(listener),
            address,
            door,
        }
    }

    /// The next connection, once the door is open. Who calls may give up waiting at any point.
    pub(crate) async fn accept(&mut self) -> io::Result<TcpStream> {
        loop {
            let door = match &mut self.door {
                Some(door) => *door.borrow_and_update(),
                None => Door::Open,
            };
            if door == Door::Closed {
                self.listener = None;
                self.changed().await;
                continue;
            }
            let listener = match self.listener.take() {
                Some(listener) => listener,
                None => TcpListener::bind(self.address).await?,
            };
            let listener = self.listener.insert(listener);
            let accepted = match &mut self.door {
                None => listener.accept().await,
                Some(changes) => tokio::select! {
                    accepted = listener.accept() => accepted,
                    changed = changes.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => std::future::pending().await,
                    },
                },
            };
            let (socket, _) = accepted?;
            if door == Door::Open {
                return Ok(socket);
            }
        }
    }

    async fn changed(&mut self) {
        if let Some(door) = &mut self.door
            && door.changed().await.is_err()
        {
            // The hub is gone, and nobody opens it any more.
            std::future::pending::<()>().await;
        }
    }
}
