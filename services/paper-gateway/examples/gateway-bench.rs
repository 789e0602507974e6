//! `./just bench-gateway`: how many messages a second the gateway tells a crowd of clients, and how long an order takes
//! to be acknowledged, beside bare TCP and a bare synced file of the same run.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that can't go on should panic where it stands"
)]

#[path = "../tests/load/crowd.rs"]
mod crowd;
#[path = "../tests/load/process.rs"]
mod process;

use std::io::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use process::Process;
use wire_client::{Body, connect, framed, stock};

/// Orders that are placed and acknowledged, one after the other, and round trips of the floors.
const ORDERS: i32 = 1_500;
/// Bytes of a record of an order in the account's file, roughly.
const RECORD_BYTES: usize = 500;
/// Price at which no order trades.
const AWAY: f64 = 1.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let program = program();
    println!("{}", crowd::measure(&program, false).await);
    println!("{ORDERS} orders, one after the other, in microseconds (median, 99 %, most):");
    println!("  placed to acknowledged      {}", table(orders(&program).await));
    println!("  the same bytes over TCP     {}", table(echo(false).await));
    println!("  and a record on the disk    {}", table(echo(true).await));
}

/// The gateway, which cargo puts next to the folder of this program.
fn program() -> String {
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("tradewind-paper-gateway");
    assert!(
        program.exists(),
        "{} is missing: build it, or type ./just bench-gateway",
        program.display()
    );
    program.display().to_string()
}

fn table(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
    format!("{:>7} {:>7} {:>7}", at(0.5), at(0.99), at(1.0))
}

/// An order that rests until the end of the day.
fn order(id: i32) -> Body {
    let terms = Body::new()
        .text(5, "BUY")
        .text(6, "1")
        .text(8, "LMT")
        .double(9, AWAY)
        .text(11, "DAY")
        .int(66, 1);
    Body::new()
        .int(1, id.into())
        .part(2, &stock("AAPL"))
        .part(3, &terms)
}

/// From an order's frame to the first status of it.
async fn orders(program: &str) -> Vec<Duration> {
    let state = tempfile::tempdir().unwrap();
    let gateway = Process::start(program, state.path(), &["--cash", "10000000"]);
    let (mut reader, mut writer) = connect(&gateway.address, 1).await.unwrap();
    let mut times = Vec::new();
    for id in 1..=ORDERS {
        let begin = Instant::now();
        writer.send(3, &order(id)).await.unwrap();
        let mut acknowledged = false;
        while !acknowledged {
            reader
                .read(|number, _| acknowledged |= number == 3)
                .await
                .unwrap();
        }
        times.push(begin.elapsed());
        // Cancelled again, so that every order meets the same empty book.
        writer.send(4, &Body::new().int(1, id.into())).await.unwrap();
        let mut ended = false;
        while !ended {
            reader.read(|number, _| ended |= number == 4).await.unwrap();
        }
    }
    assert_eq!(gateway.stop(), Some(0));
    times
}

/// The floor: the frame of an order there and back between two tasks, with a synced record between if asked for.
async fn echo(synced: bool) -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let length = framed(3, &order(1).0).len();
    let other = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut bytes = vec![0; length];
        while socket.read_exact(&mut bytes).await.is_ok() {
            if synced {
                file.write_all(&[b'x'; RECORD_BYTES]).unwrap();
                file.sync_data().unwrap();
            }
            socket.write_all(&bytes).await.unwrap();
        }
    });
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    for id in 1..=ORDERS {
        let mut bytes = framed(3, &order(id).0);
        bytes.resize(length, 0);
        let begin = Instant::now();
        socket.write_all(&bytes).await.unwrap();
        socket.read_exact(&mut bytes).await.unwrap();
        times.push(begin.elapsed());
    }
    drop(socket);
    other.await.unwrap();
    times
}
