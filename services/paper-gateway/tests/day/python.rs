//! The day as IB's own Python client sees it; the program in the folder `python` does it and says what is wrong.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::markets::{live, past};

/// Longest time that the day may take.
const DAY_SECONDS_MAX: u64 = 240;

#[tokio::test(flavor = "multi_thread")]
async fn ibs_own_client_trades_a_full_day() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = here.join("../../.tools/python");
    assert!(
        packages.join("ibapi").is_dir(),
        "IB's Python client is missing; `./just test` installs it, or by itself: services/supervisor/tools/get.sh ib-client"
    );
    let (live, _live_state) = live().await;
    let (replay, _folders) = past().await;
    let day = Command::new("python3")
        // Nothing is compiled into the source folder.
        .arg("-B")
        .arg(here.join("tests/day/python/day.py"))
        .args(["--live", &live.address().to_string()])
        .args(["--past", &replay.address().to_string()])
        .env("PYTHONPATH", &packages)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(Duration::from_secs(DAY_SECONDS_MAX), day).await;
    let ended = ended.expect("the day ends in time").expect("python3 is there");
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "\n{said}");
    println!("{said}");
    live.stop().await.unwrap();
    replay.stop().await.unwrap();
}
