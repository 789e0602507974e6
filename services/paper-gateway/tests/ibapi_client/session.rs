//! Connecting: the greeting, ids, time, and clients that don't belong.

use ibapi::prelude::*;
use paper_gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, connect, synthetic};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_connects_and_learns_its_account() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 7).await;
    assert_eq!(client.server_version(), 225);
    assert_eq!(client.handshake_managed_accounts(), ["DU1000001"]);
    assert_eq!(client.managed_accounts().await.unwrap(), ["DU1000001"]);
    assert_eq!(client.next_valid_order_id().await.unwrap(), 1);
    let drift = client.server_time().await.unwrap() - time::OffsetDateTime::now_utc();
    assert!(drift.abs() < time::Duration::seconds(5), "{drift}");
    assert!(client.time_zone().is_some());
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_is_used_once_and_free_again_afterwards() {
    let (gateway, _state) = synthetic().await;
    let first = connect(&gateway, 11).await;
    let address = gateway.address().to_string();
    match Client::builder()
        .address(&address)
        .client_id(11)
        .max_reconnect_attempts(0)
        .connect()
        .await
    {
        Err(Error::ClientIdInUse { client_id: 11 }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two clients of one id"),
    }
    assert_eq!(
        first.managed_accounts().await.unwrap(),
        ["DU1000001"],
        "the first client noticed nothing"
    );
    first.disconnect().await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match Client::builder()
            .address(&address)
            .client_id(11)
            .max_reconnect_attempts(0)
            .connect()
            .await
        {
            Ok(_) => break,
            Err(Error::ClientIdInUse { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::task::yield_now().await
            }
            Err(error) => panic!("{error}"),
        }
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_client_is_cut_off_and_the_others_notice_nothing() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let greeting = b"API\0\0\0\0\x09v213..226".to_vec();
    let bad_starts: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"API\0\xFF\xFF\xFF\xFF",
        b"API\0\0\0\0\x09v100..150",
        // After the greeting: a frame that is too long, one that is text, one that is no protobuf.
        &[&greeting[..], b"\x7F\xFF\xFF\xFF"].concat(),
        &[&greeting[..], b"\0\0\0\x06\0\0\0\x47\x08\x05"].concat(),
        &[&greeting[..], b"\0\0\0\x06\0\0\x01\x0F\xFF\xFF"].concat(),
    ];
    for bytes in bad_starts {
        let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
        // The gateway may close before all is written.
        socket.write_all(bytes).await.ok();
        let mut rest = Vec::new();
        tokio::time::timeout(DEADLINE, socket.read_to_end(&mut rest))
            .await
            .expect("the gateway cuts it off")
            .ok();
    }
    assert_eq!(client.managed_accounts().await.unwrap(), ["DU1000001"]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_served_gets_an_error() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let asked = tokio::time::timeout(DEADLINE, client.wsh_metadata()).await;
    let error = asked.expect("an answer").unwrap_err();
    assert!(error.to_string().contains("10276"), "{error}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_speaks_keeps_nobody_out_and_256_clients_are_served() {
    let (gateway, _state) = synthetic().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(gateway.address()).await.unwrap());
    }
    assert!(
        speak(&gateway, 0).await.is_ok(),
        "the first after the silent ones"
    );
    drop(silent);
    let mut clients = Vec::new();
    for client in 0..256 {
        // The one above is leaving.
        let id = client + 1;
        clients.push(soon(&gateway, id).await);
    }
    let more = speak(&gateway, 300).await;
    assert!(more.is_err(), "one more than the limit: {more:?}");
    clients.pop();
    soon(&gateway, 301).await;
    gateway.stop().await.unwrap();
}

/// A client that may have to wait for one that leaves.
async fn soon(gateway: &Gateway, client: u16) -> TcpStream {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match speak(gateway, client).await {
            Ok(socket) => return socket,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
    }
}

/// A connection that is greeted and has read the first answer to its start.
async fn speak(gateway: &Gateway, client: u16) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(gateway.address()).await?;
    socket.write_all(b"API\0\0\0\0\x09v213..226").await?;
    let start = [8, (client % 128) as u8 | 128, (client / 128) as u8];
    let number = 271u32.to_be_bytes();
    let frame = [&7u32.to_be_bytes()[..], &number, &start].concat();
    socket.write_all(&frame).await?;
    for _ in 0..2 {
        let length = socket.read_u32().await? as usize;
        socket.read_exact(&mut vec![0; length]).await?;
    }
    Ok(socket)
}
