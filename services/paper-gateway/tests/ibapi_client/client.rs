//! The options of a gateway on a free port, and the real client.

use std::path::Path;
use std::time::Duration;

use futures::{Stream, StreamExt};
use ibapi::prelude::*;
use paper_gateway::{Gateway, Options};

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Options as on the command line; the state folder and more come from the test.
pub fn options(state: &Path, more: &[&str]) -> Options {
    let state = state.to_str().unwrap();
    let first = [
        "tradewind-paper-gateway",
        "--listen",
        "127.0.0.1:0",
        "--state",
        state,
    ];
    <Options as clap::Parser>::try_parse_from(first.iter().chain(more)).unwrap()
}

pub async fn connect(gateway: &Gateway, client: i32) -> Client {
    Client::builder()
        .address(gateway.address().to_string())
        .client_id(client)
        .connect()
        .await
        .unwrap()
}

/// The next item of a stream that a test is waiting for.
pub async fn next<T>(what: &str, stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    let item = tokio::time::timeout(DEADLINE, stream.next()).await;
    item.unwrap_or_else(|_| panic!("no {what} in time"))
        .unwrap_or_else(|| panic!("the stream of {what} ended"))
}

/// What a subscription of the client yields.
pub type Item<T> = Result<SubscriptionItem<T>, Error>;

/// Data of a subscription up to and with the first item that `enough` accepts.
pub async fn until<T>(
    what: &str,
    mut stream: impl Stream<Item = Item<T>> + Unpin,
    enough: impl Fn(&T) -> bool,
) -> Vec<T> {
    let mut seen = Vec::new();
    loop {
        match next(what, &mut stream)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
        {
            SubscriptionItem::Data(item) => {
                let done = enough(&item);
                seen.push(item);
                if done {
                    return seen;
                }
            }
            SubscriptionItem::Notice(_) => {}
        }
    }
}

/// All data of a subscription that ends by itself.
pub async fn all<T>(what: &str, mut stream: impl Stream<Item = Item<T>> + Unpin) -> Vec<T> {
    let mut seen = Vec::new();
    loop {
        let item = tokio::time::timeout(DEADLINE, stream.next())
            .await
            .unwrap_or_else(|_| panic!("{what} did not end"));
        match item {
            Some(Ok(SubscriptionItem::Data(item))) => seen.push(item),
            Some(Ok(SubscriptionItem::Notice(_))) => {}
            Some(Err(error)) => panic!("{what}: {error}"),
            None => return seen,
        }
    }
}
