//! Clients that send what is no protocol: each is cut off, and the others notice nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Stage;
use wire_client::{DEADLINE, GREETING, Raw, framed};

/// The gateway ends the connection in time.
async fn is_cut(mut socket: TcpStream, what: &str) {
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, socket.read_to_end(&mut rest))
        .await
        .unwrap_or_else(|_| panic!("{what} is not cut off"))
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_greeting_is_cut_off() {
    let stage = Stage::new().await;
    let mut other = stage.client(1).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"API\0\0\0\0\0",
        b"API\0\0\0\0\x03v21",
        b"API\0\xFF\xFF\xFF\xFF",
        b"API\0\0\0\0\x09v100..150",
        b"API\0\0\0\0\x09\xFF\xFE\xFD\xFC\xFB\xFA\xF9\xF8\xF7",
    ] {
        let mut socket = TcpStream::connect(stage.gateway.address()).await.unwrap();
        socket.write_all(bytes).await.ok();
        is_cut(socket, &String::from_utf8_lossy(bytes)).await;
        assert!(other.sync().await.is_empty());
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_an_impossible_length_or_in_text_are_cut_off() {
    let stage = Stage::new().await;
    let mut other = stage.client(1).await;
    let text = b"\0\0\0\x0771\x002\x000\x00";
    let mut frames: Vec<Vec<u8>> = (0..4u8).map(|length| vec![0, 0, 0, length, 0, 0, 0, 0]).collect();
    frames.extend([
        vec![0x7F, 0xFF, 0xFF, 0xFF],
        vec![0xFF; 64],
        vec![0x00, 0x10, 0x00, 0x05, 0, 0, 1, 15],
        text.to_vec(),
        vec![0, 0, 0, 4, 0, 0, 0, 49],
        vec![0, 0, 0, 4, 0x80, 0, 0, 0],
    ]);
    for (client, bytes) in (2..).zip(&frames) {
        // Both as the first frame and after a proper start.
        for start in [false, true] {
            let mut socket = if start {
                Raw::connect(stage.gateway.address(), client).await.socket
            } else {
                Raw::greeted(stage.gateway.address()).await
            };
            socket.write_all(bytes).await.ok();
            is_cut(socket, &format!("{bytes:?}")).await;
            assert!(other.sync().await.is_empty());
        }
    }
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_in_any_request_is_cut_off() {
    let stage = Stage::new().await;
    let mut other = stage.client(1000).await;
    // A field that promises more bytes than there are: no protobuf, whatever the message.
    let bad = [0x12, 0x7F, 1, 2, 3];
    for number in 1..=109_u8 {
        let mut client = Raw::greeted(stage.gateway.address()).await;
        client.write_all(&framed(71, &[8, number])).await.unwrap();
        let mut bytes = framed(number.into(), &bad);
        // Where a message has no body that is looked at, the next frame ends it.
        bytes.extend([0, 0, 0, 0]);
        client.write_all(&bytes).await.ok();
        let what = format!("message {number}");
        is_cut(client, &what).await;
        assert!(other.sync().await.is_empty(), "{what}");
    }
    assert!(other.sync().await.is_empty());
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_after_the_start_ends_that_client_only() {
    let stage = Stage::new().await;
    let mut other = stage.client(1).await;
    let mut seed = 7_u64;
    for client in 10..20 {
        let mut socket = Raw::connect(stage.gateway.address(), client).await.socket;
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8 | 0x80
        })
        .take(512)
        .collect();
        socket.write_all(&garbage).await.ok();
        is_cut(socket, "garbage").await;
    }
    assert!(other.sync().await.is_empty());
    stage.gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_that_takes_too_long_is_cut_off() {
    let stage = Stage::new().await;
    let mut other = stage.client(1).await;
    let mut slow = TcpStream::connect(stage.gateway.address()).await.unwrap();
    let begin = std::time::Instant::now();
    let dribble = async {
        for byte in GREETING.iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dribble)
        .await
        .expect("it is cut off");
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
    assert!(other.sync().await.is_empty());
    stage.gateway.stop().await.unwrap();
}
