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
    // Account values of about two kilobytes each time, which nobody reads: first it is not answered, then let go.
    let request = frame(6, &[8, 1]);
    let flood = async { while socket.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(2 * DEADLINE, flood)
        .await
        .expect("the gateway cuts it off");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.ok();
    assert_eq!(client.managed_accounts().await.unwrap(), ["DU1000001"]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_go_on_have_a_limit() {
    let (gateway, _state) = synthetic().await;
    let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
    socket.write_all(b"API\0\0\0\0\x09v213..226").await.unwrap();
    socket.write_all(&frame(71, &[8, 99])).await.unwrap();
    // One position request each, with numbers of two bytes; the one after the thousandth is refused.
    let request = |id: u16| frame(74, &[8, (id % 128) as u8 | 128, (id / 128) as u8]);
    for id in 200..=1200 {
        socket.write_all(&request(id)).await.unwrap();
    }
    // An error frame that names the request and the code.
    let expected = [8, (1200 % 128) as u8 | 128, (1200 / 128) as u8];
    let refused = async {
        loop {
            let length = socket.read_u32().await.unwrap() as usize;
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await.unwrap();
            if body[..4] == 204i32.to_be_bytes() && body.get(4..7) == Some(&expected[..]) {
                return body;
            }
            assert_ne!(body.get(4..7), Some(&expected[..]), "answered");
        }
    };
    let body = tokio::time::timeout(DEADLINE, refused)
        .await
        .expect("an error in time");
    assert!(
        body.windows(3).any(|bytes| bytes == [24, 194, 2]),
        "code 322: {body:?}"
    );
    // A request that ended makes room for another.
    socket.write_all(&frame(75, &request(200)[8..])).await.unwrap();
    socket.write_all(&request(1200)).await.unwrap();
    let answered = async {
        loop {
            let length = socket.read_u32().await.unwrap() as usize;
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await.unwrap();
            if body[..4] == 272i32.to_be_bytes() && body.get(4..7) == Some(&expected[..]) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, answered)
        .await
        .expect("an answer in time");
    gateway.stop().await.unwrap();
}
