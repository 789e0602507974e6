//! CSV bars in, the same bars out: a replay loses none and changes none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use protocol::market::{Bar, BarSize};
use protocol::operator::Query;
use protocol::{Price, Quantity, Symbol, Timestamp};

use crate::harness::{Whole, until};

/// Minutes of each symbol.
const MINUTES: i64 = 60;
/// The first bar: the open of a regular session.
const START: &str = "2013-10-07T13:30:00Z";
/// How long the whole hour may take at the highest speed.
const PLAYED: Duration = Duration::from_secs(120);

type Row = (Price, Price, Price, Price, Quantity);

/// Writes an hour of bars that go up and down; a few minutes have none, as in a real market.
fn write(folder: &Path, symbol: &str, base: i64, silent: &[i64]) -> BTreeMap<Timestamp, Row> {
    let start: Timestamp = START.parse().unwrap();
    let mut text = "timestamp,open,high,low,close,volume\n".to_owned();
    let mut rows = BTreeMap::new();
    let cents = |cents: i64| Price::new(cents, 2);
    for minute in (0..MINUTES).filter(|minute| !silent.contains(minute)) {
        let open = base + (minute * 37) % 61 - (minute * 11) % 17;
        let close = open + (minute * 13) % 9 - 4;
        let row = (
            cents(open),
            cents(open.max(close) + 3),
            cents(open.min(close) - 2),
            cents(close),
            Quantity::from(1_000 + minute),
        );
        let at = start + jiff::SignedDuration::from_secs(minute * 60);
        writeln!(text, "{at},{},{},{},{},{}", row.0, row.1, row.2, row.3, row.4).unwrap();
        rows.insert(at, row);
    }
    std::fs::write(folder.join(format!("{symbol}.csv")), text).unwrap();
    rows
}

async fn plays(speed: &str) {
    let market = tempfile::tempdir().unwrap();
    let folder = market.path().join("two");
    std::fs::create_dir(&folder).unwrap();
    let expected = [
        ("SPY", write(&folder, "SPY", 16_750, &[])),
        ("IBM", write(&folder, "IBM", 18_200, &[7, 8, 31])),
    ];
    let whole = Whole::with(|_, arguments| {
        arguments.market = Some(folder.clone());
        arguments.speed = Some(speed.to_owned());
    })
    .await;
    let plan = &whole.stack.plan;
    assert_eq!(
        (plan.settings.market.name.as_str(), plan.settings.market.bar_size),
        ("replay-two", BarSize::ONE_MINUTE)
    );
    for (symbol, rows) in expected {
        let symbol: Symbol = symbol.parse().unwrap();
        let query = Query {
            symbol: Some(symbol),
            limit: Some(1_000),
            ..Query::default()
        };
        let all = || async {
            let (bars, _) = whole.ask::<Bar>("bars", &query).await?;
            (bars.iter().filter(|bar| bar.complete).count() >= rows.len()).then_some(bars)
        };
        let bars = until(&format!("{} bars of {symbol}", rows.len()), PLAYED, all).await;
        let found: BTreeMap<Timestamp, Row> = bars
            .iter()
            .filter(|bar| bar.complete)
            .map(|bar| (bar.start, (bar.open, bar.high, bar.low, bar.close, bar.volume)))
            .collect();
        assert_eq!(found, rows, "{symbol} at speed {speed}");
        assert!(bars.iter().all(|bar| !bar.gap), "nothing was lost on the way");
    }
    whole.stop().await;
}

#[tokio::test]
async fn every_bar_equals_its_row_at_600_times() {
    plays("600").await;
}

#[tokio::test]
async fn every_bar_equals_its_row_at_the_highest_speed() {
    plays("max").await;
}
