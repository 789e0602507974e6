//! A gateway on a free port with a state folder of its own, and clients to try it with.

use futures::Stream;
use ibapi::prelude::*;
use paper_gateway::Gateway;

pub use crate::client::{DEADLINE, Item, all, connect, next, options, until};

/// A synthetic gateway in a folder of its own, which must be kept as long as the gateway runs.
pub async fn synthetic() -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&options(state.path(), &["--trades-per-second", "20"]))
        .await
        .unwrap();
    (gateway, state)
}

/// The next notice on a subscription: errors of orders come this way on the stream of order updates.
pub async fn notice<T>(mut stream: impl Stream<Item = Item<T>> + Unpin) -> Notice {
    loop {
        match next("notice", &mut stream).await.unwrap() {
            SubscriptionItem::Notice(notice) => return notice,
            SubscriptionItem::Data(_) => {}
        }
    }
}
