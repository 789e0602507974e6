//! Prints the features of bars, so that training sees exactly what trading sees:
//! `cargo run --release -p signal --example features < bars.csv`
//!
//! In: CSV rows `timestamp,open,high,low,close,volume`; each header begins a new series. Out: CSV rows
//! `series,bar,` and the features by name, for every bar whose features are warm, and the regime at the end.

use std::io::{BufRead as _, Write as _};

use anyhow::Context as _;
use engine::features::{FEATURES, Features};
use engine::regime::Regimes;
use jiff::Timestamp;
use protocol::Price;
use protocol::market::{Bar, BarSize};

fn main() -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "series,bar,{},regime", FEATURES.join(","))?;
    let (mut series, mut count) = (0, 0);
    let (mut features, mut regimes) = (Features::default(), Regimes::default());
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        if line.starts_with("timestamp") {
            series += 1;
            count = 0;
            (features, regimes) = (Features::default(), Regimes::default());
            continue;
        }
        let bar = read(&line).with_context(|| format!("line {} is not a bar: {line}", number + 1))?;
        let regime = regimes.take(&bar);
        if let Some(row) = features.take(&bar) {
            write!(out, "{series},{count}")?;
            for value in row {
                write!(out, ",{value}")?;
            }
            writeln!(out, ",{}", serde_json::to_string(&regime)?.trim_matches('"'))?;
        }
        count += 1;
    }
    Ok(out.flush()?)
}

fn read(line: &str) -> anyhow::Result<Bar> {
    let fields: Vec<&str> = line.split(',').collect();
    anyhow::ensure!(fields.len() == 6, "it has {} fields instead of 6", fields.len());
    let start: Timestamp = fields[0].parse()?;
    let number = |index: usize| {
        fields[index]
            .parse::<Price>()
            .with_context(|| format!("field {}", index + 1))
    };
    let (symbol, size) = ("TRAIN".parse()?, BarSize::ONE_MINUTE);
    Ok(Bar {
        id: Bar::id_of(symbol, size, start),
        at: size.end_of(start),
        symbol,
        size,
        start,
        open: number(1)?,
        high: number(2)?,
        low: number(3)?,
        close: number(4)?,
        volume: number(5)?,
        complete: true,
        warm_up: false,
        gap: false,
    })
}
