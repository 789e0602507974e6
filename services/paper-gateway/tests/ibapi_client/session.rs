//! Connecting: the greeting, ids, time, and clients that don't belong.

use crate::harness::{connect, synthetic};

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
