//! The two markets of the day. One is made up and goes on while a client is connected. The other replays two days of
//! minutes that the tests write themselves, so that every order type meets the price that it waits for.
//!
//! The programs of the day rely on its path. Times are New York's, in minutes after 08:00:
//!
//! IBM stands at 100 until the open (90), rises to 104 by 10:30, falls to 98 by 12:00, stands there until 15:00,
//! rises to 99 at the close (480), and stands there until 20:00. The next day it stands at 101 from 04:00 to 07:00.
//! SPY stands at 160 on both days.

use std::fmt::Write;
use std::path::Path;

use paper_gateway::Gateway;

use crate::harness::options;

/// Monday, 2013-10-07, 08:00 in New York.
const MORNING: i64 = 1_381_147_200;
const DAY_SECONDS: i64 = 86_400;
/// Cents by which each minute goes beyond its open and close.
const REACH: i64 = 5;
const VOLUME: i64 = 60_000;
/// Minutes of the first day, and those of the second.
const FIRST_DAY: std::ops::Range<i64> = 0..720;
const SECOND_DAY: std::ops::Range<i64> = -240..-60;
/// How fast the past goes by: the regular session takes thirteen seconds.
const SPEED: &str = "1800";

/// Minutes and the cents that the path passes through then.
type Corners = [(i64, i64)];

const IBM: [(i64, i64); 7] = [
    (0, 10_000),
    (90, 10_000),
    (150, 10_400),
    (240, 9_800),
    (420, 9_800),
    (480, 9_900),
    (720, 9_900),
];
const IBM_NEXT: [(i64, i64); 2] = [(-240, 10_100), (0, 10_100)];
const SPY: [(i64, i64); 2] = [(-240, 16_000), (720, 16_000)];

fn cents(path: &Corners, minute: i64) -> i64 {
    let leg = path
        .windows(2)
        .find(|leg| minute <= leg[1].0)
        .expect("the path covers the day");
    let ((from, begin), (to, end)) = (leg[0], leg[1]);
    begin + (end - begin) * (minute - from) / (to - from)
}

fn write(folder: &Path, symbol: &str, days: [(std::ops::Range<i64>, &Corners); 2]) {
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    for (day, (minutes, path)) in days.into_iter().enumerate() {
        for minute in minutes {
            let start = MORNING + day as i64 * DAY_SECONDS + minute * 60;
            let at = time::OffsetDateTime::from_unix_timestamp(start).unwrap();
            let (open, close) = (cents(path, minute), cents(path, minute + 1));
            let (high, low) = (open.max(close) + REACH, open.min(close) - REACH);
            let [open, high, low, close] = [open, high, low, close].map(|cents| cents as f64 / 100.0);
            let (date, hour, minute) = (at.date(), at.hour(), at.minute());
            writeln!(
                text,
                "{date}T{hour:02}:{minute:02}:00Z,{open},{high},{low},{close},{VOLUME}"
            )
            .unwrap();
        }
    }
    std::fs::write(folder.join(format!("{symbol}.csv")), text).unwrap();
}

/// A gateway with made-up prices, and the folder that it needs. It begins on a Monday at ten in New York, so that no
/// date changes while a test runs, and is five times as fast as the wall's clock, so that bars come every second.
pub async fn live() -> (Gateway, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let market = [
        "--start",
        "2026-11-23T15:00:00Z",
        "--speed",
        "5",
        "--trades-per-second",
        "4",
    ];
    let gateway = Gateway::start(&options(state.path(), &market)).await.unwrap();
    (gateway, state)
}

/// A gateway that replays the two days, and the folders that it needs.
pub async fn past() -> (Gateway, [tempfile::TempDir; 2]) {
    let (market, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(market.path(), "IBM", [(FIRST_DAY, &IBM), (SECOND_DAY, &IBM_NEXT)]);
    write(market.path(), "SPY", [(FIRST_DAY, &SPY), (SECOND_DAY, &SPY)]);
    let folder = market.path().to_str().unwrap();
    let options = options(state.path(), &["--market", folder, "--speed", SPEED]);
    (Gateway::start(&options).await.unwrap(), [market, state])
}
