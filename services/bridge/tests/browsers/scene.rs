//! A server, the bridge on a free port, and browsers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bridge::limits::Limits;
use engine::portfolio::Portfolio;
use futures::{SinkExt as _, StreamExt as _};
use protocol::feed::{Frame, Say, Snapshot};
use protocol::ledger::{Entry, Epoch, Identity, Mode, Opening, Record, StateChange, TradingState};
use protocol::settings::Settings;
use protocol::{Hash, Symbol, Timestamp};
use runtime::ledger::Ledger;
use runtime::testing::Server;
use runtime::{Bus, CancellationToken};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const TOKEN: &str = "a-token-of-the-test";

pub struct Scene {
    pub server: Server,
    /// Whoever publishes; the test server lets everybody.
    pub bus: Bus,
    pub ledger: Ledger,
    pub settings: Settings,
    pub limits: Limits,
}

/// The bridge, running.
pub struct Running {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .expect("ends in time")
            .unwrap()
            .unwrap();
    }
}

pub fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_381_152_600 + second).unwrap()
}

impl Scene {
    pub async fn start() -> Self {
        let server = Server::start().await;
        std::fs::write(server.state.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let page = server.state.path().join("dist");
        std::fs::create_dir(&page).unwrap();
        std::fs::write(page.join("index.html"), "<!doctype html><title>page</title>").unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.toml");
        let mut settings = runtime::config::read(&file).unwrap();
        settings.market.watchlist = vec![symbol("SPY"), symbol("IBM")];
        settings.bridge.page = page;
        let bus = server.bus("execution").await;
        let ledger = Ledger::after(&bus, 0, Hash::zero());
        Self {
            server,
            bus,
            ledger,
            settings,
            limits: Limits::default(),
        }
    }

    pub async fn run(&self) -> Running {
        let context = self.server.context("bridge", self.settings.clone()).await;
        let stop = context.stop.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(bridge::serve_on(context, listener, self.limits.clone()));
        Running { address, stop, task }
    }

    pub async fn append(&mut self, id: &str, epoch: u64, entry: Entry) {
        let record = Record {
            id: id.parse().unwrap(),
            at: at(0),
            cause: None,
            epoch,
            previous_hash: Hash::zero(),
            entry,
        };
        self.ledger.append(record).await.unwrap();
    }

    /// Identity, first epoch, opening positions: records 1 to 3.
    pub async fn open(&mut self, mode: Mode) {
        let identity = Identity {
            account: "DU1".into(),
            mode,
            gateway: "127.0.0.1:1".into(),
            client_id: 11,
        };
        self.append("identity", 0, Entry::Identity(identity)).await;
        self.append(
            "epoch",
            1,
            Entry::Epoch(Epoch {
                instance: "test-1".into(),
                version: "0".into(),
            }),
        )
        .await;
        let cash = "100000".parse().unwrap();
        self.append(
            "opening",
            1,
            Entry::Opening(Opening {
                cash,
                positions: [].into(),
                execution_ids: Vec::new(),
                order_refs: Vec::new(),
            }),
        )
        .await;
    }

    /// One more record.
    pub async fn state(&mut self, state: TradingState, text: &str) {
        let id = format!("state-{}", self.ledger.sequence());
        self.append(
            &id,
            1,
            Entry::State(StateChange {
                state,
                symbol: None,
                by: "operator".into(),
                text: text.into(),
            }),
        )
        .await;
    }
}

/// A page's side of `/ws`.
pub struct Browser {
    pub socket: WebSocketStream<TcpStream>,
}

/// Connects with the headers that a test wants.
pub async fn connect(
    address: SocketAddr,
    origin: Option<&str>,
    host: Option<&str>,
) -> Result<Browser, Error> {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    if let Some(host) = host {
        request.headers_mut().insert("host", host.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    Ok(Browser { socket })
}

impl Browser {
    /// Connects as the page does, says the token, and takes the snapshot.
    pub async fn sign_in(address: SocketAddr) -> (Self, Box<Snapshot<Portfolio>>) {
        let mut browser = connect(address, Some(&format!("http://{address}")), None)
            .await
            .unwrap();
        browser.say(&Say::Hello { token: TOKEN.into() }).await;
        match browser.frame().await {
            Frame::Snapshot(snapshot) => (browser, snapshot),
            other => panic!("the first frame is {other:?}"),
        }
    }

    pub async fn say(&mut self, say: &Say) {
        self.text(serde_json::to_string(say).unwrap()).await;
    }

    pub async fn text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Frame<Portfolio> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame in time");
            match message.expect("open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    /// The next frame that `wanted` takes.
    pub async fn find<T>(&mut self, mut wanted: impl FnMut(Frame<Portfolio>) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = wanted(self.frame().await) {
                return found;
            }
            assert!(Instant::now() < deadline, "the frame did not come");
        }
    }

    /// Reads until the bridge closes; the code it gives.
    pub async fn closed(&mut self) -> u16 {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline, self.socket.next())
                .await
                .expect("closed in time")
            {
                Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
                Some(Ok(_)) => {}
                other => panic!("no close code: {other:?}"),
            }
        }
    }
}

/// Status, head and body of a plain request.
pub async fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = if headers.to_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let request = format!("GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), answer[end + 4..].to_vec())
}
