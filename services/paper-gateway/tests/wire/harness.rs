//! A gateway to try.

use std::path::Path;

use paper_gateway::{Gateway, Options};

/// The codes of no error at all.
pub const FINE: [i64; 0] = [];

/// A gateway in a folder of its own, which must be kept as long as it runs.
pub async fn gateway(more: &[&str]) -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&options(state.path(), more)).await.unwrap();
    (gateway, state)
}

fn options(state: &Path, more: &[&str]) -> Options {
    let first = ["tradewind-paper-gateway", "--listen", "127.0.0.1:0", "--state"];
    let state = state.to_str().unwrap();
    let all = first.iter().chain([&state]).chain(more);
    <Options as clap::Parser>::try_parse_from(all).unwrap()
}
