//! Market depth: what a client keeps of a book by the changes it is told is a book.

use std::collections::BTreeMap;

use crate::harness::{FINE, gateway};
use wire_client::{Message, Raw, about, numbered};

/// Price and size by side (0 ask, 1 bid) and place.
type Book = BTreeMap<(i64, i64), (f64, f64)>;

fn apply(book: &mut Book, frame: &Message) {
    let level = frame.parts(2).remove(0);
    let at = (level.int(3).unwrap(), level.int(1).unwrap());
    let value = (level.double(4).unwrap(), level.text(5).unwrap().parse().unwrap());
    match level.int(2).unwrap() {
        0 => assert!(book.insert(at, value).is_none(), "{at:?} was there"),
        1 => assert!(book.insert(at, value).is_some(), "{at:?} was not there"),
        _ => assert!(book.remove(&at).is_some(), "{at:?} was not there"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_is_told_whole_and_then_by_its_changes() {
    let (gateway, _state) = gateway(&["--trades-per-second", "20"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for (smart, number) in [(0, 12), (1, 13)] {
        let id = 5 + smart;
        let told = client.ask(10, &about(id, "AAPL").int(3, 5).int(4, smart)).await;
        let mut book = Book::new();
        let mine = |message: &Message| message.number == number && message.int(1) == Some(id);
        for frame in told.iter().filter(|message| mine(message)) {
            apply(&mut book, frame);
        }
        for change in 0..60 {
            assert_eq!(book.len(), 10, "five levels on each side");
            let frame = client.until("change of the book", mine).await;
            assert_eq!(frame.parts(2)[0].text(6).is_some(), smart == 1);
            apply(&mut book, &frame);
            assert!(
                book.values().all(|(price, size)| *price > 0.0 && *size > 0.0),
                "{change}: {book:?}"
            );
        }
        let best = |side| book[&(side, 0)].0;
        assert!((best(0) - best(1)).abs() < 1.0, "{book:?}");
        assert_eq!(client.codes(11, &numbered(id).int(2, smart)).await, FINE);
    }
    gateway.stop().await.unwrap();
}
