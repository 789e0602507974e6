//! What clients send is never trusted: a gateway that is fed with noise goes on, serves the others, and stays small.
//!
//! It runs for a few seconds, or for `TRADEWIND_FUZZ_SECONDS`; `TRADEWIND_FUZZ_SEED` begins with another seed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;

use crate::noise::Noise;
use wire_client::{Body, DEADLINE, GREETING, Raw, about, framed};

/// How long it runs where nothing else is asked for.
const SECONDS: u64 = 4;
/// Clients that send noise at the same time.
const SOURCES: u64 = 4;
/// Most frames that one of them sends on a connection.
const FRAMES_MAX: usize = 300;
/// Longest wait of the client that behaves: noise asks for a lot of work, on a machine that may be slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds between two lines that say how far it is.
const REPORT_SECONDS: u64 = 60;
/// Frames of noise between two questions whose answer says that they have been handled.
const FRAMES_AT_ONCE: usize = 10;
/// Time after which a client that never reads gives up, as it is not heard.
const UNHEARD: Duration = Duration::from_secs(1);
/// The question, which is no part of the noise, and its answer.
const TIME: i32 = 105;
const TIME_TOLD: i32 = 109;
/// Most memory that the gateway may ever have taken, in MiB. What may wait for clients that don't read is most of it.
const PEAK_MIB_MAX: u64 = 768;

/// The gateway as a program of its own, so that its memory can be told apart.
struct Program {
    child: Child,
    address: String,
    state: tempfile::TempDir,
}

impl Program {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(state.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tradewind-paper-gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--symbols",
                "AAPL,NVDA,SOFI",
                "--state",
            ])
            .arg(state.path().join("account"))
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim().to_owned();
        Self {
            child,
            address,
            state,
        }
    }

    /// The most memory that it has taken, in MiB.
    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.state.path().join("log")).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One message. What is no frame or no protobuf ends the connection, so there is little of it.
fn volley(noise: &mut Noise) -> Vec<u8> {
    match noise.below(200) {
        0 => noise.bytes(300),
        1 => framed(noise.number(), &noise.bytes(200)),
        2 => [&(noise.next() as u32).to_be_bytes()[..], &noise.bytes(64)].concat(),
        3..=20 => noise.mutant(),
        _ => noise.absurd(),
    }
}

/// One connection of noise, from its greeting to the moment at which it is cut off or all of it was handled.
async fn attack(address: &str, noise: &mut Noise, sent: &AtomicU64) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    if noise.below(20) == 0 {
        let greeting = [&b"API\0"[..noise.below(5)], &noise.bytes(100)].concat();
        sent.fetch_add(1, Ordering::Relaxed);
        return socket.write_all(&greeting).await;
    }
    socket.write_all(GREETING).await?;
    let client = u8::try_from(noise.below(100)).unwrap() + 10;
    socket.write_all(&framed(71, &[8, client])).await?;
    let (reader, mut writer) = socket.into_split();
    if noise.below(8) == 0 {
        // A client that never reads, until it is not heard any more.
        for _ in 0..noise.below(FRAMES_MAX) {
            let noise = volley(noise);
            let heard = tokio::time::timeout(UNHEARD, writer.write_all(&noise));
            let Ok(written) = heard.await else { break };
            written?;
        }
        return Ok(());
    }
    let (told, mut handled) = mpsc::unbounded_channel();
    let reading = tokio::spawn(read(reader, told));
    for _ in 0..noise.below(FRAMES_MAX) / FRAMES_AT_ONCE {
        for _ in 0..FRAMES_AT_ONCE {
            writer.write_all(&volley(noise)).await?;
        }
        writer.write_all(&framed(TIME, &[])).await?;
        // The answer comes when all before it has been handled; none comes from a connection that was cut.
        match tokio::time::timeout(DEADLINE, handled.recv()).await {
            Ok(Some(())) => sent.fetch_add(FRAMES_AT_ONCE as u64, Ordering::Relaxed),
            _ => break,
        };
    }
    drop(writer);
    reading.abort();
    Ok(())
}

/// Reads frames until the connection ends, and says when the time is told.
async fn read(mut reader: OwnedReadHalf, told: mpsc::UnboundedSender<()>) -> std::io::Result<()> {
    loop {
        let length = reader.read_u32().await? as usize;
        let mut frame = vec![0; length];
        reader.read_exact(&mut frame).await?;
        if frame.starts_with(&(TIME_TOLD + 200).to_be_bytes()) {
            told.send(()).ok();
        }
    }
}

fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_neither_ends_the_gateway_nor_fills_it_nor_disturbs_others() {
    let mut program = Program::start();
    let seconds = number_from_environment("TRADEWIND_FUZZ_SECONDS", SECONDS);
    let seed = number_from_environment("TRADEWIND_FUZZ_SEED", 1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let sent = Arc::new(AtomicU64::new(0));
    let sources: Vec<_> = (0..SOURCES)
        .map(|source| {
            let (address, sent) = (program.address.clone(), sent.clone());
            tokio::spawn(async move {
                let mut noise = Noise::new(seed * SOURCES + source);
                loop {
                    // A connection that is refused or cut is what noise deserves.
                    attack(&address, &mut noise, &sent).await.ok();
                    if Instant::now() >= end {
                        break;
                    }
                }
            })
        })
        .collect();
    // Somebody who behaves is served all the time.
    let mut client = Raw::connect(&program.address, 1).await;
    client.patience = PATIENCE;
    client.send(1, &about(5, "AAPL")).await;
    let mut served = 0;
    let mut report = Instant::now() + Duration::from_secs(REPORT_SECONDS);
    loop {
        assert!(program.child.try_wait().unwrap().is_none(), "{}", program.log());
        client.until("quote", |message| message.number == 1).await;
        let told = client.ask(8, &Body::default()).await;
        assert!(told.iter().any(|message| message.number == 9));
        served += 1;
        if Instant::now() >= report {
            report += Duration::from_secs(REPORT_SECONDS);
            let sent = sent.load(Ordering::Relaxed);
            println!("{sent} frames, {served} rounds, peak {} MiB", program.peak_mib());
        }
        if Instant::now() >= end {
            break;
        }
    }
    for source in sources {
        source.await.unwrap();
    }
    let (peak, log) = (program.peak_mib(), program.log());
    assert!(!log.contains("panicked"), "{log}");
    assert!(program.child.try_wait().unwrap().is_none(), "{log}");
    assert!(peak <= PEAK_MIB_MAX, "{peak} MiB");
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > 0 && served > 0, "{sent} frames, {served} answers");
    println!(
        "{sent} frames of noise in {seconds} seconds, {served} rounds of another client, peak {peak} MiB"
    );
}
