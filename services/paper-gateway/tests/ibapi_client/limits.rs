//! A client that does not read is cut off by a named limit; the others notice nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, connect, synthetic};

/// A frame of the protocol: a message number and a body.
fn frame(number: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &(number + 200).to_be_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off() {
    let (gateway, _state) = synthetic().await;
    let client = connect(&gateway, 1).await;
    let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
    socket.write_all(b"API\0\0\0\0\x09v213..226").await.unwrap();
    socket.write_all(&frame(71, &[8, 99])).await.unwrap();
    // Account values of about two kilobytes each time, which nobody reads.
    let request = frame(6, &[8, 1]);
    let flood = async { while socket.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, flood)
        .await
        .expect("the gateway cuts it off");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.ok();
    assert_eq!(client.managed_accounts().await.unwrap(), ["DU1000001"]);
    gateway.stop().await.unwrap();
}
