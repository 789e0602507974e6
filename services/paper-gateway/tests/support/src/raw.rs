//! A client that asks and waits, frame by frame.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout};

use crate::{Body, ERROR, Message, OFFSET, about, framed, greet, numbered, stock};

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A connected client.
#[derive(Debug)]
pub struct Raw {
    /// Its connection.
    pub socket: TcpStream,
    /// Longest wait for an answer.
    pub patience: Duration,
    /// The next order id that it was told when it connected.
    pub next_id: i32,
    /// Notices that came when it connected.
    pub notices: Vec<Message>,
}

/// Messages in few words.
#[must_use]
pub fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::line).collect()
}

/// Whether a message ends an answer about the past: its last part, or an error.
#[must_use]
pub fn is_end_of_the_past(message: &Message) -> bool {
    matches!(message.number, 108 | 106 | 89 | 96 | 97 | 98 | ERROR)
}

impl Raw {
    /// A client on a socket that has been greeted.
    #[must_use]
    pub fn on(socket: TcpStream) -> Self {
        Self {
            socket,
            patience: DEADLINE,
            next_id: 0,
            notices: Vec::new(),
        }
    }

    /// A socket that has been greeted. A gateway that restarts needs a moment to listen again.
    pub async fn greeted(address: impl ToSocketAddrs + Clone) -> TcpStream {
        let end = Instant::now() + DEADLINE;
        loop {
            match greet(address.clone()).await {
                Ok(socket) => return socket,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
    }

    /// Connects, and reads what every client is told at first.
    pub async fn connect(address: impl ToSocketAddrs + Clone, client: i32) -> Self {
        let mut raw = Self::on(Self::greeted(address).await);
        raw.send(71, &numbered(client.into())).await;
        let is_last = |message: &Message| matches!(message.code(), Some(1100 | 2110 | 2157 | 2158));
        let told = raw.all_until("the last notice of the start", is_last).await;
        let next = told.iter().find(|message| message.number == 9).unwrap();
        raw.next_id = i32::try_from(next.int(1).unwrap()).unwrap();
        raw.notices = told
            .into_iter()
            .filter(|message| message.number == ERROR)
            .collect();
        raw
    }

    /// Sends a message.
    pub async fn send(&mut self, number: i32, body: &Body) {
        self.socket.write_all(&framed(number, &body.0)).await.unwrap();
    }

    /// The next message; `None` once the connection has ended.
    pub async fn next(&mut self) -> Option<Message> {
        let read = async {
            let length = self.socket.read_u32().await.ok()? as usize;
            let number = self.socket.read_i32().await.ok()? - OFFSET;
            let mut body = vec![0; length - 4];
            self.socket.read_exact(&mut body).await.ok()?;
            Some(Message { number, body })
        };
        timeout(self.patience, read).await.expect("a frame in time")
    }

    /// All messages up to and with the first that is wanted.
    pub async fn all_until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let end = self.patience;
        let search = async {
            let mut seen = Vec::new();
            loop {
                let Some(message) = self.next().await else {
                    panic!("the connection ended before {what}: {:?}", lines(&seen))
                };
                seen.push(message);
                if seen.last().is_some_and(&wanted) {
                    return seen;
                }
            }
        };
        let found = timeout(end, search).await;
        found.unwrap_or_else(|_| panic!("no {what} in time"))
    }

    /// The first message that is wanted; those before it are left out.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        self.all_until(what, wanted).await.pop().unwrap()
    }

    /// All messages in few words, up to and with the first that reads so.
    pub async fn story(&mut self, last: &str) -> Vec<String> {
        lines(&self.all_until(last, |message| message.line() == last).await)
    }

    /// What is left up to the end of the connection, in few words.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(message) = self.next().await {
            seen.push(message);
        }
        lines(&seen)
    }

    /// All that is told before the answer to a question that is asked now.
    pub async fn told(&mut self) -> Vec<Message> {
        self.told_before(49, 49).await
    }

    /// The same in few words.
    pub async fn sync(&mut self) -> Vec<String> {
        lines(&self.told().await)
    }

    async fn told_before(&mut self, question: i32, answer: i32) -> Vec<Message> {
        self.send(question, &Body::new()).await;
        let mut told = self.all_until("time", |message| message.number == answer).await;
        told.pop();
        told
    }

    /// What a request is answered with at once.
    pub async fn ask(&mut self, number: i32, body: &Body) -> Vec<Message> {
        self.send(number, body).await;
        match number {
            49 => self.told_before(105, 109).await,
            // The past is looked up beside everything else.
            20 | 88 | 96 => {
                let mut told = self.all_until("end of the answer", is_end_of_the_past).await;
                told.extend(self.told().await);
                told
            }
            _ => self.told().await,
        }
    }

    /// The codes of the errors that a request is answered with at once.
    pub async fn codes(&mut self, number: i32, body: &Body) -> Vec<i64> {
        let told = self.ask(number, body).await;
        told.iter().filter_map(Message::code).collect()
    }

    /// Places an order to buy at the market, or at a limit.
    pub async fn buy(&mut self, order_id: i32, symbol: &str, shares: u32, limit: Option<f64>) {
        self.send(3, &Self::order(order_id, symbol, shares, limit)).await;
    }

    /// An order to buy.
    #[must_use]
    pub fn order(order_id: i32, symbol: &str, shares: u32, limit: Option<f64>) -> Body {
        let kind = if limit.is_some() { "LMT" } else { "MKT" };
        let mut order = Body::new()
            .text(5, "BUY")
            .text(6, &shares.to_string())
            .text(8, kind);
        if let Some(limit) = limit {
            order = order.double(9, limit);
        }
        let order = order.text(28, &format!("ref-{order_id}")).int(66, 1);
        let contract = stock(symbol);
        numbered(order_id.into()).part(2, &contract).part(3, &order)
    }

    /// Gives an order up.
    pub async fn cancel(&mut self, order_id: i32) {
        self.send(4, &numbered(order_id.into())).await;
    }

    /// Open orders of everybody, in few words.
    pub async fn open_orders(&mut self) -> Vec<String> {
        self.send(16, &Body::new()).await;
        let mut told = self.story("message 53").await;
        told.pop();
        told
    }

    /// Asks for the quotes of a stock.
    pub async fn quotes(&mut self, id: i32, symbol: &str) {
        self.send(1, &about(id.into(), symbol)).await;
    }
}
