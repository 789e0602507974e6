//! Who asks for more than it has read is answered as it reads; nobody else waits for it.

use crate::harness::gateway;
use tokio::io::AsyncWriteExt;
use wire_client::{Body, Message, Raw, connect};

/// Open orders of all clients, and the end of their list.
const ALL_OPEN: i32 = 16;
const END: i32 = 53;
/// Together their answers are more frames than may ever wait for a client.
const ORDERS: i32 = 300;
const QUESTIONS: i32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_is_never_cut_off_however_much_it_asks() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut trader = Raw::connect(gateway.address(), 1).await;
    for id in 1..=ORDERS {
        trader.buy(id, "AAPL", 1, Some(1.0)).await;
    }
    trader.sync().await;
    let (mut reader, mut writer) = connect(&gateway.address().to_string(), 2).await.unwrap();
    for _ in 0..QUESTIONS {
        writer.send(ALL_OPEN, &Body::new()).await.unwrap();
    }
    // It has read nothing yet: an order of another's is taken meanwhile.
    trader.buy(ORDERS + 1, "AAPL", 1, Some(1.0)).await;
    trader
        .until("acknowledgement", |message| message.number == 3)
        .await;
    let (mut ends, mut orders) = (0, 0);
    while ends < QUESTIONS {
        let each = |number, _: &[u8]| match number {
            END => ends += 1,
            5 => orders += 1,
            _ => {}
        };
        let read = tokio::time::timeout(wire_client::DEADLINE, reader.read(each));
        read.await.unwrap().unwrap();
    }
    assert!(orders >= ORDERS * QUESTIONS, "{orders}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_placed_though_their_sender_read_nothing_and_left() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut trader = Raw::connect(gateway.address(), 1).await;
    for id in 1..=ORDERS {
        trader.buy(id, "AAPL", 1, Some(1.0)).await;
    }
    trader.sync().await;
    let mut hasty = Raw::connect(gateway.address(), 2).await;
    // As many requests as are looked at ahead: the last of them is an order.
    for _ in 0..60 {
        hasty.send(ALL_OPEN, &Body::new()).await;
    }
    hasty.buy(1, "AAPL", 7, Some(1.0)).await;
    hasty.socket.shutdown().await.unwrap();
    let placed = async {
        let is_it = |message: &Message| message.number == 5 && message.part(3).int(1) == Some(2);
        loop {
            trader.send(ALL_OPEN, &Body::new()).await;
            let told = trader.all_until("the end", |message| message.number == END).await;
            if told.iter().any(is_it) {
                return;
            }
        }
    };
    tokio::time::timeout(wire_client::DEADLINE, placed).await.unwrap();
    gateway.stop().await.unwrap();
}
